//! The connecting side.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::certificate::dns_names;
use super::server::still_valid;
use super::{Anchors, Credentials, LiveCredentials, Peer, SESSIONS_MAX, TlsError, provider};
use crate::clock::Clock;

/// A TLS connection that this side opened.
pub type ClientStream<IO> = tokio_rustls::client::TlsStream<IO>;

/// The connecting side of TLS; clones share its sessions.
#[derive(Clone, Debug)]
pub struct ClientTls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    anchors: Anchors,
    credentials: Option<LiveCredentials>,
    alpn: Vec<Vec<u8>>,
    clock: Clock,
    /// As in the server: remade when the credentials change, locked once per connection.
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    credentials: Option<Arc<Credentials>>,
    config: Arc<ClientConfig>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connected<IO> {
    /// The connection.
    pub stream: ClientStream<IO>,
    /// Who is at its other end; its certificate is for the name that was expected.
    pub peer: Peer,
}

impl ClientTls {
    /// A client that proves who it is, and offers `alpn`.
    #[must_use]
    pub fn new(anchors: Anchors, credentials: LiveCredentials, alpn: &[&[u8]]) -> Self {
        Self::build(anchors, Some(credentials), alpn, Clock::system())
    }

    /// A client without a certificate.
    #[must_use]
    pub fn anonymous(anchors: Anchors, alpn: &[&[u8]]) -> Self {
        Self::build(anchors, None, alpn, Clock::system())
    }

    /// Like [`ClientTls::new`], by another clock.
    #[must_use]
    pub fn with_clock(
        anchors: Anchors,
        credentials: LiveCredentials,
        alpn: &[&[u8]],
        clock: Clock,
    ) -> Self {
        Self::build(anchors, Some(credentials), alpn, clock)
    }

    fn build(
        anchors: Anchors,
        credentials: Option<LiveCredentials>,
        alpn: &[&[u8]],
        clock: Clock,
    ) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let inner = Inner {
            anchors,
            credentials,
            alpn,
            clock,
            current: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Shakes hands over `io` within `deadline`; the other side must prove that it is `expected`,
    /// and agree to a protocol if any is offered.
    ///
    /// # Errors
    /// When the handshake fails; see [`TlsError`].
    pub async fn connect<IO>(
        &self,
        io: IO,
        expected: &str,
        deadline: Duration,
    ) -> Result<Connected<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(expected.trim_end_matches('.'))
            .map_err(|_invalid| TlsError::Name(expected.to_owned()))?
            .to_owned();
        let connector = TlsConnector::from(self.inner.config()?);
        let stream = tokio::time::timeout(deadline, connector.connect(name, io))
            .await
            .map_err(|_elapsed| TlsError::Timeout(deadline))?
            .map_err(|error| TlsError::from_io(error, expected))?;
        let session = stream.get_ref().1;
        let peer = peer_of(session.peer_certificates(), session.alpn_protocol());
        if peer.alpn.is_none() && !self.inner.alpn.is_empty() {
            return Err(TlsError::NoProtocol);
        }
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            still_valid(&peer, &self.inner.clock)?;
        }
        Ok(Connected { stream, peer })
    }
}

impl Inner {
    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let credentials = match &self.credentials {
            None => None,
            Some(live) => Some(live.borrow().clone().ok_or(TlsError::NotCertified)?),
        };
        let mut current = self.current.lock();
        if let Some(known) = &*current
            && known.credentials.as_ref().map(Arc::as_ptr) == credentials.as_ref().map(Arc::as_ptr)
        {
            return Ok(known.config.clone());
        }
        let config = Arc::new(self.build(credentials.as_deref())?);
        *current = Some(Current {
            credentials,
            config: config.clone(),
        });
        Ok(config)
    }

    fn build(&self, credentials: Option<&Credentials>) -> Result<ClientConfig, TlsError> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(self.anchors.roots(), provider())
                .build()
                .map_err(|error| TlsError::Protocol(rustls::Error::General(error.to_string())))?;
        let clock = Arc::new(VerifierClock(self.clock.clone()));
        let builder = ClientConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Protocol)?
            .with_webpki_verifier(verifier);
        let mut config = match credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.key()))),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(config)
    }
}

/// Our clock, as rustls asks it.
#[derive(Debug)]
pub(super) struct VerifierClock(pub(super) Clock);

impl TimeProvider for VerifierClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.unix_seconds(),
        )))
    }
}

pub(super) fn peer_of(certificates: Option<&[CertificateDer<'_>]>, alpn: Option<&[u8]>) -> Peer {
    let leaf = certificates.and_then(<[_]>::first);
    Peer {
        certificate: leaf.map(|leaf| leaf.clone().into_owned()),
        identity: leaf
            .and_then(|leaf| dns_names(leaf).into_iter().next())
            .map(Arc::from),
        alpn: alpn.map(<[u8]>::to_vec),
    }
}
