//! The certificates of the mesh: one trust anchor for all clusters, one issuer per cluster under it.
//!
//! One issuer can be replaced alone, since only the anchor is known to everybody. Private keys are
//! written so that only their owner can read them. Nothing here knows who uses them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// How long the anchor is valid.
const ANCHOR_DAYS: i64 = 3650;
/// How long an issuer is valid.
const ISSUER_DAYS: i64 = 365;

/// The trust anchor, with the key that signs issuers.
pub struct Anchor {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchor")
            .field("pem", &self.pem)
            .finish_non_exhaustive()
    }
}

/// Where an issuer's certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 PEM.
    pub key: PathBuf,
}

impl Anchor {
    /// Makes a new anchor.
    ///
    /// # Errors
    /// The random source fails.
    pub fn generate(now: Timestamp) -> Result<Self> {
        let params = authority("root.tombolo.cluster.local", now, ANCHOR_DAYS, 1)?;
        let key = KeyPair::generate().context("generate the anchor's key")?;
        let pem = params.self_signed(&key).context("sign the anchor")?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Writes the certificate and the key to `dir`; answers the path of the certificate.
    ///
    /// # Errors
    /// A file cannot be written; the error names it.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("trust-anchors.pem");
        write_private(&path, self.pem.as_bytes())?;
        write_private(
            &dir.join("trust-anchor.key"),
            self.issuer.key().serialize_pem().as_bytes(),
        )?;
        Ok(path)
    }

    /// Makes the issuer of `cluster` and writes it to `dir`.
    ///
    /// # Errors
    /// A file cannot be written; the error names it.
    pub fn issue(&self, cluster: &str, dir: &Path, now: Timestamp) -> Result<IssuerFiles> {
        let name = format!("identity.{cluster}.tombolo.cluster.local");
        let params = authority(&name, now, ISSUER_DAYS, 0)?;
        let key = KeyPair::generate().context("generate an issuer's key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("sign an issuer")?;
        let files = IssuerFiles {
            certificate: dir.join("issuer.crt"),
            key: dir.join("issuer.key"),
        };
        write_private(&files.certificate, certificate.pem().as_bytes())?;
        write_private(&files.key, key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}

fn authority(name: &str, now: Timestamp, days: i64, below: u8) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("an authority without names")?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    // From yesterday: the clocks of clusters differ.
    let from = now.to_zoned(TimeZone::UTC).saturating_sub(1.day());
    let until = from.saturating_add((days + 1).days());
    let day = |time: &jiff::Zoned| {
        let (month, day) = (time.month().unsigned_abs(), time.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(time.year()), month, day)
    };
    params.not_before = day(&from);
    params.not_after = day(&until);
    Ok(params)
}

/// Writes a file which only its owner can read, at once: a reader sees the old or the new text.
///
/// # Errors
/// The file cannot be written; the error names it.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.flush()?;
        std::fs::rename(&new, path)
    })();
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_readable_by_their_owner_only_and_issuers_differ() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::generate(Timestamp::now()).unwrap();
        anchor.write(dir.path()).unwrap();
        let mut certificates = Vec::new();
        for cluster in ["west", "east"] {
            let dir = dir.path().join(cluster);
            std::fs::create_dir(&dir).unwrap();
            let files = anchor.issue(cluster, &dir, Timestamp::now()).unwrap();
            for file in [&files.certificate, &files.key] {
                let mode = std::fs::metadata(file).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", file.display());
            }
            certificates.push(std::fs::read_to_string(files.certificate).unwrap());
        }
        assert_ne!(certificates[0], certificates[1]);
    }
}
