//! The issuer of this cluster: reads its certificate and key, signs leaves of one day.
//!
//! Decides life and usage of a leaf. Knows nothing of tokens or callers; never logs a key.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

/// How long a leaf lives.
pub(crate) const LEAF_LIFE: Duration = Duration::from_secs(24 * 3600);
/// By how much clocks may differ: a leaf is valid from before, and until after, its life.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(20);

/// Why issuer files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    /// The certificate file holds no certificate that can be read.
    #[error("the issuer certificate cannot be read: {0}")]
    Certificate(String),
    /// The key file holds no private key that can be read.
    #[error("the issuer key cannot be read: {0}")]
    Key(String),
    /// Key and certificate do not belong together.
    #[error("the issuer key does not belong to the issuer certificate")]
    Mismatch,
    /// The certificate may not sign others.
    #[error("the issuer certificate is no certificate authority")]
    NoAuthority,
    /// The certificate has run out, or has not begun.
    #[error("the issuer certificate is not valid now (valid {from} to {until})")]
    Expired {
        /// Start of its validity.
        from: Timestamp,
        /// End of its validity.
        until: Timestamp,
    },
    /// The trust anchors file holds nothing usable.
    #[error("the trust anchors cannot be read: {0}")]
    Anchors(String),
    /// Leaves from this issuer would not be believed.
    #[error("the issuer certificate does not lead to a trust anchor: {0}")]
    Untrusted(String),
    /// A leaf could not be made.
    #[error("signing failed: {0}")]
    Sign(String),
}

/// A certified key: what `Certify` answers.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// The leaf itself.
    pub(crate) certificate: CertificateDer<'static>,
    /// What leads from the leaf towards the anchors, nearest first.
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    /// When it runs out.
    pub(crate) valid_until: Timestamp,
}

/// The issuer, ready to sign.
pub(crate) struct Issuer {
    signer: rcgen::Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
    valid_until: Timestamp,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Reads an issuer and proves that its leaves are believed by who holds `anchors`.
    pub(crate) fn parse(
        certificate_pem: &[u8],
        key_pem: &[u8],
        anchors_pem: &[u8],
        now: Timestamp,
    ) -> Result<Self, IssuerError> {
        let chain = certificates(certificate_pem).map_err(IssuerError::Certificate)?;
        let first = chain
            .first()
            .ok_or_else(|| IssuerError::Certificate("it is empty".into()))?;
        let text = std::str::from_utf8(key_pem)
            .map_err(|_utf8| IssuerError::Key("it is not PEM".into()))?;
        let key = KeyPair::from_pem(text).map_err(|error| IssuerError::Key(error.to_string()))?;
        let valid_until = check_authority(first, &key, now)?;
        let signer = rcgen::Issuer::from_ca_cert_der(first, key)
            .map_err(|error| IssuerError::Certificate(error.to_string()))?;
        let issuer = Self {
            signer,
            chain,
            valid_until,
        };
        issuer.prove(anchors_pem, now)?;
        Ok(issuer)
    }

    /// Certifies that `key` belongs to `identity`, for a day or as long as the issuer itself lives.
    pub(crate) fn sign(
        &self,
        identity: &str,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<Leaf, IssuerError> {
        let failed = |error: rcgen::Error| IssuerError::Sign(error.to_string());
        let valid_until = self.valid_until.min(now + LEAF_LIFE + CLOCK_SKEW);
        let mut params = CertificateParams::new(vec![identity.to_owned()]).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        // Longer common names are illegal (RFC 5280, 64 characters); the DNS name is what counts.
        if identity.len() <= 64 {
            params.distinguished_name.push(DnType::CommonName, identity);
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_epoch(now - CLOCK_SKEW);
        params.not_after = epoch + since_epoch(valid_until);
        let certificate = params.signed_by(key, &self.signer).map_err(failed)?;
        Ok(Leaf {
            certificate: certificate.der().clone(),
            intermediates: self.chain.clone(),
            valid_until,
        })
    }

    fn prove(&self, anchors_pem: &[u8], now: Timestamp) -> Result<(), IssuerError> {
        let key = KeyPair::generate().map_err(|error| IssuerError::Sign(error.to_string()))?;
        let leaf = self.sign("probe.tombolo.invalid", &key, now)?;
        let mut roots = rustls::RootCertStore::empty();
        for anchor in certificates(anchors_pem).map_err(IssuerError::Anchors)? {
            roots
                .add(anchor)
                .map_err(|error| IssuerError::Anchors(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| IssuerError::Anchors(error.to_string()))?;
        let at = UnixTime::since_unix_epoch(since_epoch(now));
        verifier
            .verify_client_cert(&leaf.certificate, &leaf.intermediates, at)
            .map_err(|error| IssuerError::Untrusted(error.to_string()))?;
        Ok(())
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(all)
}

fn check_authority(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Timestamp, IssuerError> {
    let (_rest, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| IssuerError::Certificate(error.to_string()))?;
    if !parsed.is_ca() {
        return Err(IssuerError::NoAuthority);
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(IssuerError::Mismatch);
    }
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| IssuerError::Certificate(error.to_string()))
    };
    let from = time(parsed.validity().not_before.timestamp())?;
    let until = time(parsed.validity().not_after.timestamp())?;
    if now < from || now >= until {
        return Err(IssuerError::Expired { from, until });
    }
    Ok(until)
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0))
}

fn serial() -> [u8; 16] {
    let mut bytes: [u8; 16] = rand::random();
    // Positive and not zero (RFC 5280, 4.1.2.2).
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    bytes
}

#[cfg(test)]
mod tests;
