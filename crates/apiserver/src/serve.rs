//! Connections: accepts them on one address, speaks TLS, and serves HTTP/1.1 and HTTP/2 on them, all within bounds.
//!
//! Must not know what requests mean. Ends in good order when asked: no new requests, running ones finish.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

use crate::http::{ApiServer, ApiService};
use crate::tls::ServerTls;

const CONNECTIONS_MAX: usize = 4096;
const STREAMS_MAX: u32 = 1000;
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 * 1024;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Also for the next request on an idle connection: longer than clients keep those, or they would meet in the middle.
const HEADER_DEADLINE: Duration = Duration::from_secs(120);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What running requests get to finish when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// What a listener needs.
pub struct Serving {
    /// Where connections come from.
    pub listener: TcpListener,
    /// How they are secured.
    pub tls: ServerTls,
    /// Who answers.
    pub server: Arc<ApiServer>,
    /// Where connections run.
    pub tasks: Tasks,
    /// Says when to end.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Serves until asked to stop, and then until all requests are answered or their time is over.
pub async fn serve(serving: Serving) {
    let Serving {
        listener,
        tls,
        server,
        tasks,
        stop,
    } = serving;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let running = tasks.child();
    let acceptor = TlsAcceptor::from(tls.config());
    let connection = Connection {
        acceptor,
        tls,
        server,
        stop: stop.clone(),
    };
    loop {
        // One that waits for a place waits in the backlog: nothing is accepted that cannot be served.
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else {
            break;
        };
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = net::accept(&listener) => accepted,
        };
        let connection = connection.clone();
        running.spawn_one("connection", async move {
            if let Err(error) = connection.run(stream).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    running.finish(GRACE).await;
}

#[derive(Clone)]
struct Connection {
    acceptor: TlsAcceptor,
    tls: ServerTls,
    server: Arc<ApiServer>,
    stop: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let handshake = self.acceptor.accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await??;
        let user = self.tls.user(stream.get_ref().1.peer_certificates());
        let service = TowerToHyperService::new(ApiService::new(self.server, user));
        let builder = builder();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    builder
}
