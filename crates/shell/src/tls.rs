//! TLS as everything here speaks it, and the only place that knows rustls.
//!
//! TLS 1.3 only, aws-lc-rs, X25519MLKEM768 preferred, resumption on. Credentials are *live*: each
//! handshake uses the newest that the channel holds, so a renewal needs no new listener and drops no
//! connection; a renewal also forgets all sessions, so that none outlives its certificate by much.
//! Start at [`ServerTls`] and [`ClientTls`]; a name is always a DNS name in the certificate's SAN.
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

mod certificate;
mod client;
mod error;
mod pem;
mod server;
#[cfg(test)]
mod tests;

pub use certificate::{CertificateFacts, dns_names};
pub use client::{ClientStream, ClientTls, Connected};
pub use error::TlsError;
pub use pem::{Anchors, Credentials, PemError};
pub use server::{Accepted, ClientCertificate, ServerStream, ServerTls};

/// Credentials that can be renewed under way: the newest counts, none means "not yet certified".
pub type LiveCredentials = watch::Receiver<Option<Arc<Credentials>>>;

/// The longest a handshake may take, unless the caller has a tighter deadline.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Sessions that each side remembers for resumption.
const SESSIONS_MAX: usize = 256;

/// The cryptography in use.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// Makes [`provider`] the process's default, for libraries that ask for one (kube). Harmless when
/// called again.
pub fn install_provider() {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if provider.install_default().is_err() {
        tracing::trace!("a cryptography provider was installed before");
    }
}

/// Credentials that never change, for clients and servers whose certificate is a file.
#[must_use]
pub fn fixed(credentials: Credentials) -> LiveCredentials {
    watch::Sender::new(Some(Arc::new(credentials))).subscribe()
}

/// What a handshake found out about the other side.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its certificate, verified up to an anchor; none if it did not present one.
    pub certificate: Option<CertificateDer<'static>>,
    /// Its identity: the certificate's first DNS SAN.
    pub identity: Option<Arc<str>>,
    /// The protocol that both sides agreed on, if they offered any in common.
    pub alpn: Option<Vec<u8>>,
}
