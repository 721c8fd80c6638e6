//! The accepting side.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::certificate::CertificateFacts;
use super::client::{VerifierClock, peer_of};
use super::{Anchors, Credentials, LiveCredentials, Peer, SESSIONS_MAX, TlsError, provider};
use crate::clock::Clock;

/// An accepted TLS connection.
pub type ServerStream<IO> = tokio_rustls::server::TlsStream<IO>;

/// Whether the client must prove who it is.
#[derive(Clone, Debug)]
pub enum ClientCertificate {
    /// It is not asked.
    None,
    /// It may present a certificate that ends in these anchors; a bad one is refused.
    Optional(Anchors),
    /// It must.
    Required(Anchors),
}

/// The accepting side of TLS; clones share its sessions.
#[derive(Clone, Debug)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: ClientCertificate,
    credentials: LiveCredentials,
    alpn: Vec<Vec<u8>>,
    clock: Clock,
    /// The configuration for the credentials of the last handshake; made anew when they change.
    /// Locked for the length of a comparison, once per connection.
    current: Mutex<Option<(Arc<Credentials>, Arc<ServerConfig>)>>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// The connection.
    pub stream: ServerStream<IO>,
    /// Who is at its other end.
    pub peer: Peer,
}

impl ServerTls {
    /// A server that offers `alpn` (in order of preference; empty: none is negotiated).
    #[must_use]
    pub fn new(client: ClientCertificate, credentials: LiveCredentials, alpn: &[&[u8]]) -> Self {
        Self::with_clock(client, credentials, alpn, Clock::system())
    }

    /// Like [`ServerTls::new`], by another clock.
    #[must_use]
    pub fn with_clock(
        client: ClientCertificate,
        credentials: LiveCredentials,
        alpn: &[&[u8]],
        clock: Clock,
    ) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let inner = Inner {
            client,
            credentials,
            alpn,
            clock,
            current: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Shakes hands over `io` within `deadline`.
    ///
    /// A client that offers no protocol at all passes; ask [`Peer::alpn`].
    ///
    /// # Errors
    /// When the handshake fails; see [`TlsError`].
    pub async fn accept<IO>(&self, io: IO, deadline: Duration) -> Result<Accepted<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.inner.config()?);
        let stream = tokio::time::timeout(deadline, acceptor.accept(io))
            .await
            .map_err(|_elapsed| TlsError::Timeout(deadline))?
            .map_err(|error| TlsError::from_io(error, ""))?;
        let session = stream.get_ref().1;
        let peer = peer_of(session.peer_certificates(), session.alpn_protocol());
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            still_valid(&peer, &self.inner.clock)?;
        }
        Ok(Accepted { stream, peer })
    }
}

impl Inner {
    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let credentials = self
            .credentials
            .borrow()
            .clone()
            .ok_or(TlsError::NotCertified)?;
        let mut current = self.current.lock();
        if let Some((known, config)) = &*current
            && Arc::ptr_eq(known, &credentials)
        {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build(&credentials)?);
        *current = Some((credentials, config.clone()));
        Ok(config)
    }

    fn build(&self, credentials: &Credentials) -> Result<ServerConfig, TlsError> {
        let clock = Arc::new(VerifierClock(self.clock.clone()));
        let builder = ServerConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Protocol)?;
        let verifier = |anchors: &Anchors| {
            WebPkiClientVerifier::builder_with_provider(anchors.roots(), provider())
                // The anchors' names tell a client nothing and cost bytes in each handshake.
                .clear_root_hint_subjects()
        };
        let refused = |error: rustls::server::VerifierBuilderError| {
            TlsError::Protocol(rustls::Error::General(error.to_string()))
        };
        let builder = match &self.client {
            ClientCertificate::None => builder.with_no_client_auth(),
            ClientCertificate::Optional(anchors) => {
                let verifier = verifier(anchors)
                    .allow_unauthenticated()
                    .build()
                    .map_err(refused)?;
                builder.with_client_cert_verifier(verifier)
            }
            ClientCertificate::Required(anchors) => {
                builder.with_client_cert_verifier(verifier(anchors).build().map_err(refused)?)
            }
        };
        let resolver = SingleCertAndKey::from(credentials.key());
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&self.alpn);
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

/// A resumed session carries the certificate of its first handshake, which may have expired since.
pub(super) fn still_valid(peer: &Peer, clock: &Clock) -> Result<(), TlsError> {
    let facts = peer.certificate.as_ref().and_then(CertificateFacts::read);
    match facts {
        Some(facts) if facts.not_after < clock.now() => Err(TlsError::Expired),
        _ => Ok(()),
    }
}
