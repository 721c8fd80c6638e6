//! Who this proxy is: a key of its own, a certificate from the control plane, and its renewal.
//!
//! The key never leaves the process, and each certificate has a new one. Renewal at 70 % of the
//! certificate's life touches no connection: new handshakes use the new one, old connections go on.
//! While the control plane is away the certificate carries on for what is left of its life.
use std::sync::Arc;
use std::time::Duration;

use linkerd_identity::identity_client::IdentityClient;
use linkerd_identity::{CertifyRequest, CertifyResponse};
use prometheus_client::metrics::gauge::Gauge;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::sync::watch;
use tombolo_core::backoff::Backoff;
use tombolo_shell::clock::Clock;
use tombolo_shell::metrics::Metrics;
use tombolo_shell::tls::{ClientTls, Credentials, LiveCredentials, PemError};
use tombolo_wire::proxy_api::identity as linkerd_identity;
use tonic::transport::Channel;

use crate::config::IdentityConfig;
use crate::control;

/// How long one certification may take.
const CERTIFY_DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum CertifyError {
    #[error("cannot read the token file {path}")]
    Token {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot make a key and a signing request")]
    Request(#[source] rcgen::Error),
    #[error("the identity service refused: {0}")]
    Refused(Box<tonic::Status>),
    #[error("the identity service did not answer in time")]
    Timeout,
    #[error("the certificate does not fit")]
    Certificate(#[source] PemError),
    #[error("the certificate is for {0}, which is not our name")]
    Name(String),
}

/// Obtains and renews the certificate; one task, for the life of the process.
#[derive(Debug)]
pub(crate) struct Certifier {
    config: IdentityConfig,
    client: IdentityClient<Channel>,
    clock: Clock,
    live: watch::Sender<Option<Arc<Credentials>>>,
    expiry: Gauge,
}

impl Certifier {
    pub(crate) fn new(config: IdentityConfig, clock: Clock, metrics: &Metrics) -> Self {
        let tls = ClientTls::anonymous(config.anchors.clone(), &[control::ALPN]);
        let client = IdentityClient::new(control::channel(&config.service, tls));
        let expiry = Gauge::default();
        metrics.register(|registry| {
            registry.register(
                "identity_cert_expiration_timestamp_seconds",
                "Time at which the proxy's certificate expires, in seconds since the epoch",
                expiry.clone(),
            );
        });
        Self {
            config,
            client,
            clock,
            live: watch::Sender::new(None),
            expiry,
        }
    }

    /// The credentials, always the newest.
    pub(crate) fn credentials(&self) -> LiveCredentials {
        self.live.subscribe()
    }

    /// Certifies at once, and again whenever the certificate has lived 70 % of its life.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.certify().await {
                Ok(credentials) => {
                    backoff.succeeded();
                    let wait = self.publish(credentials);
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, name = %self.config.name, "not certified");
                    control::pause(&mut backoff).await;
                }
            }
        }
    }

    fn publish(&self, credentials: Credentials) -> Duration {
        let facts = credentials.facts();
        let (from, to, now) = (facts.not_before, facts.not_after, self.clock.now());
        let wait = renewal(
            from.duration_until(to),
            now.duration_until(to),
            &self.config,
        );
        tracing::info!(name = %self.config.name, expires = %to, renew_in_s = wait.as_secs(), "certified");
        self.expiry.set(to.as_second());
        self.live.send_replace(Some(Arc::new(credentials)));
        wait
    }

    async fn certify(&mut self) -> Result<Credentials, CertifyError> {
        let path = &self.config.token_file;
        let token = tokio::fs::read(path)
            .await
            .map_err(|source| CertifyError::Token {
                path: path.display().to_string(),
                source,
            })?;
        let name = &*self.config.name;
        let (key, request) = new_request(name).map_err(CertifyError::Request)?;
        let request = CertifyRequest {
            identity: name.to_owned(),
            token,
            certificate_signing_request: request,
        };
        let answer = tokio::time::timeout(CERTIFY_DEADLINE, self.client.certify(request))
            .await
            .map_err(|_elapsed| CertifyError::Timeout)?
            .map_err(|status| CertifyError::Refused(Box::new(status)))?;
        let CertifyResponse {
            leaf_certificate,
            intermediate_certificates,
            ..
        } = answer.into_inner();
        let chain = std::iter::once(leaf_certificate)
            .chain(intermediate_certificates)
            .collect();
        let credentials = Credentials::from_der(chain, key).map_err(CertifyError::Certificate)?;
        let names = &credentials.facts().dns_names;
        if names.len() != 1 || names[0] != name {
            return Err(CertifyError::Name(names.join(", ")));
        }
        Ok(credentials)
    }
}

/// A new key (PKCS#8) and a signing request for it (both DER).
fn new_request(name: &str) -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&key)?.der().to_vec();
    Ok((key.serialize_der(), request))
}

/// When to renew a certificate of `life`, of which `left` is left.
fn renewal(
    life: jiff::SignedDuration,
    left: jiff::SignedDuration,
    config: &IdentityConfig,
) -> Duration {
    let (life, left) = (
        life.unsigned_abs(),
        left.max(jiff::SignedDuration::ZERO).unsigned_abs(),
    );
    let wait = left.saturating_sub(life.mul_f64(0.3));
    wait.clamp(
        config.refresh_min,
        config.refresh_max.max(config.refresh_min),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tombolo_shell::testing::Authority;

    use super::*;

    #[test]
    fn renewal_is_due_at_70_percent_of_the_life() {
        let anchors = Authority::new().anchors();
        let config = IdentityConfig {
            name: "a".into(),
            anchors,
            token_file: "token".into(),
            service: crate::config::ControlAddr {
                addr: "a:1".into(),
                name: "a".into(),
            },
            refresh_min: Duration::from_secs(10),
            refresh_max: Duration::from_secs(24 * 3600),
        };
        let seconds = jiff::SignedDuration::from_secs;
        let table: BTreeMap<(i64, i64), u64> = [
            ((100, 100), 70),
            ((100, 60), 30),
            ((100, 20), 10),
            ((100, -5), 10),
            ((1_000_000, 1_000_000), 24 * 3600),
        ]
        .into();
        for ((life, left), want) in table {
            let wait = renewal(seconds(life), seconds(left), &config);
            assert_eq!(wait.as_secs(), want, "{life} {left}");
        }
    }

    #[test]
    fn request_names_the_identity_alone() {
        let name = "web.shop.serviceaccount.identity.tombolo.cluster.local";
        let (key, request) = new_request(name).unwrap();
        let authority = Authority::new();
        let validity = tombolo_shell::testing::Validity::from_now(Duration::from_secs(60));
        let (leaf, issuers) = authority.sign(&request, validity).unwrap();
        let chain = std::iter::once(leaf).chain(issuers).collect();
        let credentials = Credentials::from_der(chain, key).unwrap();
        assert_eq!(credentials.facts().dns_names, [name]);
        assert_eq!(credentials.facts().common_name.as_deref(), Some(name));
    }
}
