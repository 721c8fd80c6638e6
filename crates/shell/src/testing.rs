//! A certificate authority for tests: a root, an issuer below it, and leaves that are good, expired
//! or for whatever name a test wants. Only with the feature `testing`.
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateSigningRequestDer;

use crate::tls::{Anchors, Credentials};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A root, and an issuer that it signed.
#[derive(Debug)]
pub struct Authority {
    root_pem: String,
    issuer_pem: String,
    issuer_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf with its issuer, and the key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The leaf, then its issuer.
    pub chain_pem: String,
    /// The key, PKCS#8.
    pub key_pem: String,
}

/// From when to when a leaf is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The beginning.
    pub not_before: Timestamp,
    /// The end.
    pub not_after: Timestamp,
}

impl Validity {
    /// From a minute ago for `life`.
    #[must_use]
    pub fn from_now(life: Duration) -> Self {
        let now = Timestamp::now();
        Self {
            not_before: now - Duration::from_secs(60),
            not_after: now + life,
        }
    }

    /// Ended a minute ago.
    #[must_use]
    pub fn expired() -> Self {
        let now = Timestamp::now();
        Self {
            not_before: now - DAY,
            not_after: now - Duration::from_secs(60),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority; each has another root.
    #[must_use]
    pub fn new() -> Self {
        let root_key = new_key();
        let root_params = authority_params("root");
        let root = root_params
            .self_signed(&root_key)
            .expect("a key of ours signs");
        let issuer_key = new_key();
        let issuer_params = authority_params("issuer");
        let issuer = issuer_params
            .signed_by(&issuer_key, &Issuer::new(root_params, root_key))
            .expect("a key of ours signs");
        Self {
            root_pem: root.pem(),
            issuer_pem: issuer.pem(),
            issuer_der: issuer.der().to_vec(),
            issuer: Issuer::new(issuer_params, issuer_key),
        }
    }

    /// The root as PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root as anchors.
    #[must_use]
    pub fn anchors(&self) -> Anchors {
        Anchors::from_pem(self.root_pem.as_bytes()).expect("our root is an anchor")
    }

    /// Credentials for `name`, valid for a day.
    #[must_use]
    pub fn credentials(&self, name: &str) -> Credentials {
        self.issue(name, Validity::from_now(DAY)).credentials()
    }

    /// A leaf for `name`.
    #[must_use]
    pub fn issue(&self, name: &str, validity: Validity) -> Issued {
        let key = new_key();
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        set_leaf(&mut params, validity);
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a key of ours signs");
        Issued {
            chain_pem: format!("{}{}", leaf.pem(), self.issuer_pem),
            key_pem: key.serialize_pem(),
        }
    }

    /// Signs a request, DER; the leaf, and the issuers above it. Nothing if it is malformed.
    #[must_use]
    pub fn sign(&self, request: &[u8], validity: Validity) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request).ok()?;
        set_leaf(&mut request.params, validity);
        let leaf = request.signed_by(&self.issuer).ok()?;
        Some((leaf.der().to_vec(), vec![self.issuer_der.clone()]))
    }
}

impl Issued {
    /// The leaf and its key as credentials.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes())
            .expect("what we issued is well formed")
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("the provider makes keys")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, Validity::from_now(10 * DAY));
    params
}

fn set_leaf(params: &mut CertificateParams, validity: Validity) {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    set_validity(params, validity);
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let time = |at: Timestamp| std::time::SystemTime::from(at).into();
    params.not_before = time(validity.not_before);
    params.not_after = time(validity.not_after);
}
