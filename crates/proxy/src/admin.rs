//! The proxy's admin port: plain HTTP for whoever is near, and TLS for a control plane that probes a
//! gateway, told apart by the first byte.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::ServerTls;
use tower::ServiceExt;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for its first byte, for its handshake, and for each head.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);
/// The first byte of a TLS connection (the record type of a handshake).
const TLS_HANDSHAKE: u8 = 0x16;

/// The admin port.
pub(crate) struct AdminPort {
    pub(crate) router: Router,
    /// Requires a certificate of ours, with any name.
    pub(crate) tls: ServerTls,
    pub(crate) tasks: Tasks,
}

impl AdminPort {
    /// Serves `listener` for ever. The process shows its state to the very end of a drain.
    pub(crate) async fn run(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let port = Arc::new(self);
        loop {
            let (stream, peer) = net::accept(&listener).await;
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                continue;
            };
            let serving = port.clone();
            port.tasks.spawn_one("admin connection", async move {
                if let Err(error) = serving.serve(stream, peer).await {
                    tracing::debug!(%peer, %error, "an admin connection failed");
                }
                drop(permit);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> anyhow::Result<()> {
        let mut first = [0];
        tokio::time::timeout(CLIENT_DEADLINE, stream.peek(&mut first)).await??;
        if first[0] == TLS_HANDSHAKE {
            let accepted = self.tls.accept(stream, CLIENT_DEADLINE).await?;
            self.serve_http(accepted.stream, None).await
        } else {
            self.serve_http(stream, Some(ConnectInfo(peer))).await
        }
    }

    /// `near` lets the routes know a client of this machine; a peer over TLS is none.
    async fn serve_http<IO>(
        &self,
        io: IO,
        near: Option<ConnectInfo<SocketAddr>>,
    ) -> anyhow::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|mut request: http::Request<hyper::body::Incoming>| {
            if let Some(near) = near {
                request.extensions_mut().insert(near);
            }
            let router = self.router.clone();
            async move { Ok::<_, Infallible>(infallible(router.oneshot(request).await)) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CLIENT_DEADLINE)
            .serve_connection(TokioIo::new(io), service)
            .await?;
        Ok(())
    }
}

pub(crate) fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
