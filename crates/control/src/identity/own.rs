//! The issuer's files, read again when they change, and control's own certificate made from them.
//!
//! Decides when to renew: at 70 % of a leaf's life, and at once when the issuer changes. A change that
//! cannot be used is logged and passed over; what was read last stays in force.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rcgen::KeyPair;
use tokio::sync::watch;
use tombolo_shell::tls::Credentials;

use super::issuer::Issuer;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after a failure to make a certificate.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Of a leaf's life, after which it is renewed.
const RENEW_AT_PERCENT: u32 = 70;

/// Where the issuer comes from.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The trust anchors, PEM.
    pub(crate) anchors: PathBuf,
    /// The issuer's chain, PEM, issuer first.
    pub(crate) certificate: PathBuf,
    /// The issuer's key, PEM.
    pub(crate) key: PathBuf,
}

/// What the files hold, byte for byte.
#[derive(PartialEq, Eq)]
pub(crate) struct Contents {
    anchors: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads the files.
    pub(crate) async fn read(&self) -> anyhow::Result<Contents> {
        let read = async |path: &PathBuf, what: &str| {
            tokio::fs::read(path)
                .await
                .with_context(|| format!("cannot read {what} {}", path.display()))
        };
        Ok(Contents {
            anchors: read(&self.anchors, "the trust anchors").await?,
            certificate: read(&self.certificate, "the issuer certificate").await?,
            key: read(&self.key, "the issuer key").await?,
        })
    }
}

impl Contents {
    /// The issuer in them.
    pub(crate) fn issuer(&self, now: Timestamp) -> anyhow::Result<Issuer> {
        Ok(Issuer::parse(
            &self.certificate,
            &self.key,
            &self.anchors,
            now,
        )?)
    }

    /// The anchors in them.
    pub(crate) fn anchors(&self) -> &[u8] {
        &self.anchors
    }
}

/// Follows the files for ever; publishes an issuer that can be used whenever they change.
pub(crate) async fn follow(files: Files, mut last: Contents, issuer: watch::Sender<Arc<Issuer>>) {
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let outcome = match files.read().await {
            Ok(contents) if contents == last => continue,
            Ok(contents) => contents.issuer(Timestamp::now()).map(|new| (contents, new)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((contents, new)) => {
                tracing::info!(issuer = ?new, "the issuer changed");
                last = contents;
                issuer.send_replace(Arc::new(new));
                complaint.clear();
            }
            Err(error) => {
                let text = format!("{error:#}");
                if text != complaint {
                    tracing::error!(
                        error = text,
                        "the issuer files cannot be used; the old issuer stays"
                    );
                    complaint = text;
                }
            }
        }
    }
}

/// Makes a certificate for `identity` now.
pub(crate) fn certify(identity: &str, issuer: &Issuer) -> anyhow::Result<(Credentials, Timestamp)> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let now = Timestamp::now();
    let leaf = issuer.sign(identity, &key, now)?;
    let mut chain = vec![leaf.certificate.to_vec()];
    chain.extend(leaf.intermediates.iter().map(|c| c.to_vec()));
    let credentials = Credentials::from_der(chain, key.serialize_der())?;
    Ok((credentials, leaf.valid_until))
}

/// Keeps a certificate for `identity` fresh for ever.
pub(crate) async fn renew(
    identity: String,
    mut valid_until: Timestamp,
    mut issuer: watch::Receiver<Arc<Issuer>>,
    credentials: watch::Sender<Option<Arc<Credentials>>>,
) {
    let mut pause = until_renewal(valid_until);
    loop {
        tokio::select! {
            biased;
            changed = issuer.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
        let current = Arc::clone(&issuer.borrow_and_update());
        match certify(&identity, &current) {
            Ok((new, until)) => {
                tracing::info!(valid_until = %until, "renewed the certificate of this process");
                credentials.send_replace(Some(Arc::new(new)));
                valid_until = until;
                pause = until_renewal(valid_until);
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), %valid_until, "cannot renew the certificate of this process");
                pause = RETRY_AFTER;
            }
        }
    }
}

fn until_renewal(valid_until: Timestamp) -> Duration {
    let left = valid_until.as_second() - Timestamp::now().as_second();
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
    (left * RENEW_AT_PERCENT / 100).max(RETRY_AFTER)
}
