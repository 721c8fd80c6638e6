//! Trust anchors and credentials, parsed once from PEM or DER.
use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::CertificateFacts;
use super::provider;

/// Why PEM or DER holds no usable certificate or key.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The text is not PEM.
    #[error("not PEM: {0}")]
    Syntax(rustls_pki_types::pem::Error),
    /// There is none of what was expected.
    #[error("no {0} in it")]
    Missing(&'static str),
    /// A certificate that cannot be an anchor.
    #[error("certificate {position} is no trust anchor")]
    Anchor {
        /// Which one, from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// A certificate that is no X.509.
    #[error("the certificate is malformed")]
    Certificate,
    /// A key that the provider cannot use, or that belongs to another certificate.
    #[error("the key does not fit: {0}")]
    Key(rustls::Error),
}

/// The certificates in which every chain must end.
#[derive(Clone, Debug)]
pub struct Anchors {
    roots: Arc<RootCertStore>,
}

impl Anchors {
    /// Reads one or more certificates.
    ///
    /// # Errors
    /// When there is none, or one that cannot be an anchor.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PemError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
            roots.add(certificate).map_err(|source| PemError::Anchor {
                position: index + 1,
                source,
            })?;
        }
        if roots.is_empty() {
            return Err(PemError::Missing("certificate"));
        }
        Ok(Self {
            roots: Arc::new(roots),
        })
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
}

/// A certificate chain and the key of its leaf.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

impl Credentials {
    /// Reads the chain, leaf first, and its key (PKCS#8, SEC1 or PKCS#1).
    ///
    /// # Errors
    /// When either is missing or malformed, or the two do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => PemError::Missing("private key"),
            other => PemError::Syntax(other),
        })?;
        Self::new(certificates(chain)?, key)
    }

    /// Takes the chain as DER, leaf first, and its key as PKCS#8 DER.
    ///
    /// # Errors
    /// When either is malformed, or the two do not belong together.
    pub fn from_der(chain: Vec<Vec<u8>>, key_pkcs8: Vec<u8>) -> Result<Self, PemError> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Self::new(
            chain,
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8)),
        )
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PemError> {
        let leaf = chain.first().ok_or(PemError::Missing("certificate"))?;
        let facts = CertificateFacts::read(leaf).ok_or(PemError::Certificate)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(PemError::Key)?;
        Ok(Self {
            key: Arc::new(key),
            facts,
        })
    }

    /// What the leaf says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

/// Without the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(PemError::Syntax)?;
    if all.is_empty() {
        Err(PemError::Missing("certificate"))
    } else {
        Ok(all)
    }
}
