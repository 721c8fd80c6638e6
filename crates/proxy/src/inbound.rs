//! The inbound side: takes connections of peer proxies, over mTLS and with a transport header only,
//! and hands their requests to the application, to the gateway or to the admin port.
//!
//! No address earns trust, loopback included. Start at [`Inbound::run`].
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderValue;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tombolo_shell::drain::Drain;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{ServerStream, ServerTls, TlsError};
use tombolo_wire::transport::{ALPN, HeaderError, SessionKind, TransportHeader};

use crate::config::InboundConfig;
use crate::serve::{Prefixed, serve_h1, serve_h2};
use crate::stats::SideStats;

use application::Applications;
use gateway::Gateway;
use policy::Policies;
use session::{Session, Way};

pub(crate) mod application;
pub(crate) mod gateway;
pub(crate) mod policy;
mod session;

/// The inbound side of a proxy.
pub(crate) struct Inbound {
    pub(crate) config: InboundConfig,
    pub(crate) tls: ServerTls,
    pub(crate) policies: Policies,
    pub(crate) applications: Applications,
    pub(crate) gateway: Gateway,
    pub(crate) admin: Admin,
    /// Ports of the proxy's own, to which nothing is forwarded.
    pub(crate) own_ports: Vec<u16>,
    pub(crate) stats: SideStats,
    pub(crate) drain: Drain,
    pub(crate) tasks: Tasks,
}

/// The admin routes, and the port by which peers ask for them.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) port: u16,
    pub(crate) router: axum::Router,
}

/// Why a connection is not served. Nobody is answered: it is just closed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the client has no mesh identity")]
    NoIdentity,
    #[error("the client did not negotiate the transport header")]
    NoTransportHeader,
    #[error("the transport header is not valid")]
    Header(#[from] HeaderError),
    #[error("the connection ended before its transport header")]
    Ended(#[source] io::Error),
    #[error("no transport header within the deadline")]
    Timeout,
    #[error("port {0} cannot be forwarded to")]
    Port(i32),
    #[error("opaque connections are not served yet")]
    Opaque,
}

/// A connection that said who it is and what it wants.
struct Established {
    io: Prefixed<ServerStream<TcpStream>>,
    client: Arc<str>,
    header: TransportHeader,
}

impl Inbound {
    /// Serves `listener` until the drain starts. Each connection is one task.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(self.config.connections_max));
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = self.drain.started() => return,
                accepted = net::accept(&listener) => accepted,
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                self.stats.refused("too-many");
                continue;
            };
            self.stats.accepted.inc();
            self.stats.open.inc();
            let inbound = self.clone();
            self.tasks.spawn_one("inbound connection", async move {
                if let Err(refusal) = inbound.serve(stream, peer).await {
                    tracing::debug!(%peer, error = %refusal, "an inbound connection was refused");
                    inbound.stats.refused(refusal.kind());
                }
                inbound.stats.open.dec();
                drop(permit);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), Refusal> {
        let local = stream.local_addr().map_err(Refusal::Ended)?;
        net::set_keep_alive(&stream, self.config.accept_keep_alive).map_err(Refusal::Ended)?;
        let established = tokio::select! {
            biased;
            // Nothing has been asked yet, so nothing is lost.
            () = self.drain.started() => return Ok(()),
            established = tokio::time::timeout(
                self.config.detect_timeout,
                self.establish(stream),
            ) => established.map_err(|_elapsed| Refusal::Timeout)??,
        };
        let Established { io, client, header } = established;
        let kind = header.session_protocol.and_then(|protocol| protocol.kind);
        let session = self.session(
            &header,
            client,
            Ends {
                local: local.ip(),
                peer: peer.ip(),
            },
        )?;
        match kind {
            Some(SessionKind::Http2(_)) => serve_h2(io, &session, &self.drain).await,
            Some(SessionKind::Http1(_)) => {
                serve_h1(io, &session, self.config.detect_timeout, &self.drain).await;
            }
            None => return Err(Refusal::Opaque),
        }
        Ok(())
    }

    async fn establish(&self, stream: TcpStream) -> Result<Established, Refusal> {
        let mut accepted = self.tls.accept(stream, self.config.detect_timeout).await?;
        let client = accepted.peer.identity.take().ok_or(Refusal::NoIdentity)?;
        if accepted.peer.alpn.as_deref() != Some(ALPN) {
            return Err(Refusal::NoTransportHeader);
        }
        let mut stream = accepted.stream;
        let mut buf = BytesMut::with_capacity(512);
        let header = loop {
            if let Some(header) = TransportHeader::take(&mut buf)? {
                break header;
            }
            if stream.read_buf(&mut buf).await.map_err(Refusal::Ended)? == 0 {
                return Err(Refusal::Ended(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        Ok(Established {
            io: Prefixed::new(buf, stream),
            client,
            header,
        })
    }

    fn session(
        &self,
        header: &TransportHeader,
        client: Arc<str>,
        ends: Ends,
    ) -> Result<Session, Refusal> {
        let port = u16::try_from(header.port).ok().filter(|port| *port != 0);
        let port = port.ok_or(Refusal::Port(header.port))?;
        let client_id = HeaderValue::from_str(&client).map_err(|_control| Refusal::NoIdentity)?;
        let (way, policy_port) = if !header.name.is_empty() {
            (
                self.gateway.way(&header.name, port, &client),
                self.config.listen.port(),
            )
        } else if port == self.admin.port {
            (Way::Admin(self.admin.router.clone()), port)
        } else if self.own_ports.contains(&port) {
            return Err(Refusal::Port(header.port));
        } else {
            let addr = SocketAddr::new(ends.local, port);
            (
                Way::Application(self.applications.find(addr, ends.local)),
                port,
            )
        };
        let policy = self.policies.find(policy_port);
        let stats = self.stats.clone();
        Ok(Session {
            way,
            client,
            client_id,
            peer: ends.peer,
            policy_port,
            policy,
            stats,
        })
    }
}

/// The two addresses of a connection.
#[derive(Clone, Copy, Debug)]
struct Ends {
    local: IpAddr,
    peer: IpAddr,
}

impl Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.kind(),
            Self::NoIdentity => "no-identity",
            Self::NoTransportHeader => "no-transport-header",
            Self::Header(_) => "header",
            Self::Ended(_) => "ended",
            Self::Timeout => "timeout",
            Self::Port(_) => "port",
            Self::Opaque => "opaque",
        }
    }
}
