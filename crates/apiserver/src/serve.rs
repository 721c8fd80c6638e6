//! Connections: accepts them on one address, speaks TLS, and serves HTTP/1.1 and HTTP/2 on them, all within bounds.
//!
//! Must not know what requests mean. Ends in good order when asked: no new requests, running ones finish.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

use crate::auth::Certificate;
use crate::http::{ApiServer, ApiService, Body};
use crate::tls::ServerTls;

const CONNECTIONS_MAX: usize = 4096;
/// Connections without a client certificate: the rest of the places is kept for administrators and the cluster itself.
const STRANGERS_MAX: usize = CONNECTIONS_MAX / 4 * 3;
const STREAMS_MAX: u32 = 1000;
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: u32 = 64 * 1024;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// From the handshake on: neither a half preface nor an HTTP/2 connection without requests ends by itself.
const FIRST_REQUEST_DEADLINE: Duration = Duration::from_secs(30);
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
        strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
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
    strangers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let handshake = self.acceptor.accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await??;
        let certificate = self.tls.certificate(stream.get_ref().1.peer_certificates());
        let _place = match certificate {
            Certificate::Of(_) => None,
            Certificate::Absent | Certificate::Refused => Some(
                self.strangers
                    .try_acquire()
                    .map_err(|_full| "too many connections without a client certificate")?,
            ),
        };
        let service = TowerToHyperService::new(ApiService::new(self.server, certificate));
        drive(stream, service, &self.stop).await
    }
}

/// Serves one byte stream. Whoever does not ask anything does not keep his place.
async fn drive<IO, S>(
    io: IO,
    service: S,
    stop: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let asked = AtomicBool::new(false);
    let noted = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        service.call(request)
    });
    let silence = async {
        tokio::time::sleep(FIRST_REQUEST_DEADLINE).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(io), noted);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        () = silence => return Err("no request came in time".into()),
    }
    connection.await
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_that_asks_nothing_does_not_last() {
        for said in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (mut client, server) = tokio::io::duplex(1024);
            client.write_all(said).await.unwrap();
            let service = service_fn(|_request| async {
                Ok::<_, Infallible>(Response::new(Body::whole("")))
            });
            let stop = CancellationToken::new();
            let served = drive(server, service, &stop);
            let ended = tokio::time::timeout(Duration::from_secs(300), served).await;
            assert!(ended.is_ok(), "{said:?}");
        }
    }
}
