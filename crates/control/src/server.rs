//! The gRPC ports: TLS 1.3 with our own acceptor, so that the caller's identity reaches the services; or none.
//!
//! Decides who may connect to which port. Knows nothing of what is served there.
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_shell::drain::Drain;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{HANDSHAKE_DEADLINE, ServerStream, ServerTls};
use tonic::transport::server::{Connected, Router, Server};

use crate::args::GatewayExports;
use crate::discovery::board::Board;
use crate::follow::Alive;
use crate::identity::name::Scheme;

/// Handshakes under way on one port at a time.
const HANDSHAKES_MAX: usize = 256;
/// Connections of one port at a time, those in their handshake included: two for each of the 10,000
/// proxies that one process is made for.
const CONNECTIONS_MAX: usize = 20_000;
/// How long a connection may take for its preface; before that nothing asks whether it is alive.
const PREFACE_DEADLINE: Duration = Duration::from_secs(10);
/// The length of an HTTP/2 client's preface.
const PREFACE_BYTES: u64 = 24;
/// Streams that one proxy may hold open: one per destination that it uses, and some.
const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;
/// A proxy that is silent this long is asked.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A proxy that does not answer within this is gone, and its streams with it.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all services of this process share.
pub(crate) struct Shared {
    /// The DNS domain of this cluster.
    pub(crate) domain: String,
    /// The name of this cluster.
    pub(crate) cluster: String,
    /// What identities look like.
    pub(crate) scheme: Scheme,
    /// What gateways are told of.
    pub(crate) gateway_exports: GatewayExports,
    /// The answers.
    pub(crate) board: Board,
    /// Ends streams.
    pub(crate) drain: Drain,
    /// How many streams there are.
    pub(crate) streams: Streams,
}

/// Streams that are alive, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// `Destination.Get`
    pub(crate) endpoints: Alive,
    /// `Destination.GetProfile`
    pub(crate) profiles: Alive,
    /// `OutboundPolicies.Watch`
    pub(crate) outbound: Alive,
    /// `InboundServerPolicies.WatchPort`
    pub(crate) inbound: Alive,
}

/// Who called: reaches services as an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The identity in its certificate, verified; none if it presented none.
    #[expect(
        dead_code,
        reason = "for the logs and policies of services, once they want it"
    )]
    pub(crate) identity: Option<Arc<str>>,
}

/// A server with the limits that every port has.
pub(crate) fn grpc() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .tcp_nodelay(true)
}

/// What a port gives to its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at a time; what comes beyond them is closed.
    connections: usize,
    /// From the end of the handshake to the end of the preface.
    preface: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            preface: PREFACE_DEADLINE,
        }
    }
}

/// How a connection becomes one that is spoken on.
pub(crate) trait Entrance: Clone + Send + Sync + 'static {
    /// What is spoken on.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Lets a client in, or says why not.
    fn enter(
        self,
        stream: TcpStream,
    ) -> impl Future<Output = Result<(Self::Io, Caller), String>> + Send;
}

impl Entrance for ServerTls {
    type Io = ServerStream<TcpStream>;

    async fn enter(self, stream: TcpStream) -> Result<(Self::Io, Caller), String> {
        match self.accept(stream, HANDSHAKE_DEADLINE).await {
            Ok(done) => {
                let identity = done.peer.identity;
                Ok((done.stream, Caller { identity }))
            }
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
        }
    }
}

/// Lets everybody in, whoever it is, and hides nothing: for loopback addresses only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plaintext;

impl Entrance for Plaintext {
    type Io = TcpStream;

    async fn enter(self, stream: TcpStream) -> Result<(Self::Io, Caller), String> {
        Ok((stream, Caller { identity: None }))
    }
}

/// One port.
pub(crate) struct Port<E> {
    /// What the logs call it.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) listener: TcpListener,
    /// Who may connect.
    pub(crate) entrance: E,
    /// How many, and how slowly.
    pub(crate) bounds: Bounds,
}

/// Serves `router` on `port` until the drain.
pub(crate) async fn serve<E: Entrance>(
    port: Port<E>,
    router: Router,
    (tasks, drain): (Tasks, Drain),
) {
    let name = port.name;
    let (accepted, connections) = mpsc::channel(16);
    let accepting = accept(port, tasks.clone(), accepted);
    let connections = ReceiverStream::new(connections);
    let serving = router.serve_with_incoming_shutdown(connections, drain.clone().wait());
    tokio::select! {
        biased;
        result = serving => if let Err(error) = result {
            tracing::error!(port = name, %error, "a port ended");
        },
        () = accepting => {}
    }
}

trait Wait {
    fn wait(self) -> impl Future<Output = ()> + Send;
}

impl Wait for Drain {
    async fn wait(self) {
        self.started().await;
    }
}

async fn accept<E: Entrance>(
    port: Port<E>,
    tasks: Tasks,
    accepted: mpsc::Sender<io::Result<Connection<E::Io>>>,
) {
    let Port { name, bounds, .. } = port;
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let (stream, peer) = tombolo_shell::net::accept(&port.listener).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(port = name, %peer, "too many connections");
            continue;
        };
        let (entrance, accepted) = (port.entrance.clone(), accepted.clone());
        tasks.spawn_one("handshake", async move {
            match entrance.enter(stream).await {
                Ok((stream, caller)) => {
                    let connection = Connection {
                        caller,
                        stream,
                        preface: Some(Preface {
                            missing: PREFACE_BYTES,
                            deadline: Box::pin(tokio::time::sleep(bounds.preface)),
                        }),
                        _place: place,
                    };
                    if accepted.send(Ok(connection)).await.is_err() {
                        tracing::debug!(port = name, %peer, "a connection came after the end");
                    }
                }
                Err(error) => {
                    tracing::info!(port = name, %peer, error, "handshake failed");
                }
            }
            drop(handshake);
        });
    }
}

/// A connection after its handshake.
struct Connection<IO> {
    stream: IO,
    caller: Caller,
    /// None once it has come.
    preface: Option<Preface>,
    /// Among the connections of its port.
    _place: OwnedSemaphorePermit,
}

/// What is awaited of a client before HTTP/2's keep-alive watches over it.
struct Preface {
    missing: u64,
    deadline: Pin<Box<Sleep>>,
}

impl Preface {
    /// Whether it has taken too long; else the task is woken when it has.
    fn is_late(&mut self, ctx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().poll(ctx).is_ready()
    }
}

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(ctx, buf);
        let Some(preface) = &mut this.preface else {
            return read;
        };
        let came = (buf.filled().len() - before) as u64;
        preface.missing = preface.missing.saturating_sub(came);
        if preface.missing == 0 {
            this.preface = None;
        } else if preface.is_late(ctx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(ctx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(ctx, bufs)
    }
}

/// Listens on `ip:port`.
pub(crate) fn listen(ip: std::net::IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    Ok(tombolo_shell::net::listen(SocketAddr::new(ip, port))?)
}

#[cfg(test)]
mod tests;
