//! The admin port of every process: `/live`, `/ready`, `/metrics`, `/shutdown`.
//!
//! Whoever reaches it may be anybody: connections, their heads and their lives have bounds.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::drain::Drain;
use crate::metrics::{self, Metrics};
use crate::net;
use crate::ready::Ready;
use crate::task::Tasks;

/// What an admin port gives to its clients.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at a time; what comes beyond them is closed.
    connections: usize,
    /// How long a client may take for the head of a request, the next one's included.
    head: Duration,
    /// After this a connection takes no further request.
    age: Duration,
    /// How long the last answer may take to be read.
    last: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 64,
    head: Duration::from_secs(10),
    age: Duration::from_secs(300),
    last: Duration::from_secs(10),
};

/// Whether `POST /shutdown` is offered; only to clients on the same machine.
#[derive(Clone, Debug, Default)]
pub enum Shutdown {
    /// It is not.
    #[default]
    Refused,
    /// It starts this drain.
    Starts(Drain),
}

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What `/ready` asks.
    pub ready: Ready,
    /// What `/metrics` prints.
    pub metrics: Metrics,
    /// What `/shutdown` does.
    pub shutdown: Shutdown,
}

impl Admin {
    /// The routes, to be served anywhere.
    pub fn router(self) -> Router {
        Router::new()
            .route("/live", get(|| async { "live\n" }))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics_text))
            .route("/shutdown", post(shutdown))
            .with_state(self)
    }

    /// Serves the routes on `listener` until it is dropped; each connection is one of `tasks`.
    pub async fn serve(self, listener: TcpListener, tasks: Tasks) {
        self.serve_within(listener, tasks, BOUNDS).await;
    }

    async fn serve_within(self, listener: TcpListener, tasks: Tasks, bounds: Bounds) {
        let permits = Arc::new(Semaphore::new(bounds.connections));
        let router = self.router();
        loop {
            let (stream, peer) = net::accept(&listener).await;
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                tracing::debug!(%peer, "too many admin connections");
                continue;
            };
            let router = router.clone().layer(axum::Extension(ConnectInfo(peer)));
            tasks.spawn_one("admin connection", async move {
                if let Err(error) = connection(stream, router, bounds).await {
                    tracing::debug!(%peer, %error, "an admin connection failed");
                }
                drop(permit);
            });
        }
    }
}

async fn connection(stream: TcpStream, router: Router, bounds: Bounds) -> Result<(), hyper::Error> {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = tokio::time::sleep(bounds.age) => connection.as_mut().graceful_shutdown(),
    }
    // Who does not read his answer is cut off.
    tokio::time::timeout(bounds.last, connection)
        .await
        .unwrap_or(Ok(()))
}

async fn ready(State(admin): State<Admin>) -> Response {
    let waiting = admin.ready.waiting();
    if waiting.is_empty() {
        "ready\n".into_response()
    } else {
        let text = format!("waiting for {}\n", waiting.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn metrics_text(State(admin): State<Admin>) -> Response {
    match admin.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_format) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn shutdown(
    State(admin): State<Admin>,
    client: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
) -> StatusCode {
    let near = client.is_some_and(|axum::Extension(ConnectInfo(addr))| addr.ip().is_loopback());
    match admin.shutdown {
        Shutdown::Refused => StatusCode::NOT_FOUND,
        Shutdown::Starts(_) if !near => StatusCode::FORBIDDEN,
        Shutdown::Starts(drain) => {
            drain.start();
            StatusCode::OK
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// For what just has to happen, however slow the machine is.
    const DEADLINE: Duration = Duration::from_secs(30);

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = net::connect(addr, DEADLINE).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn admin_port_tells_what_is_awaited_and_shuts_down() {
        let (ready, drain) = (Ready::new(), Drain::new());
        let condition = ready.condition("identity");
        let admin = Admin {
            ready,
            metrics: Metrics::new(),
            shutdown: Shutdown::Starts(drain.clone()),
        };
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        tasks.spawn("admin", admin.serve(listener, tasks.child()));

        assert!(ask(addr, "GET /live").await.starts_with("HTTP/1.1 200"));
        let answer = ask(addr, "GET /ready").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("identity"),
            "{answer}"
        );
        condition.met();
        assert!(ask(addr, "GET /ready").await.starts_with("HTTP/1.1 200"));
        assert!(ask(addr, "GET /metrics").await.contains("# EOF"));
        assert!(ask(addr, "GET /shutdown").await.starts_with("HTTP/1.1 405"));
        assert!(!drain.is_started());
        assert!(
            ask(addr, "POST /shutdown")
                .await
                .starts_with("HTTP/1.1 200")
        );
        assert!(drain.is_started());
        tasks.cancel();
    }

    /// Serves within `bounds`.
    fn serve(bounds: Bounds, tasks: &Tasks) -> SocketAddr {
        let admin = Admin {
            ready: Ready::new(),
            metrics: Metrics::new(),
            shutdown: Shutdown::Refused,
        };
        let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        tasks.spawn("admin", admin.serve_within(listener, tasks.child(), bounds));
        addr
    }

    async fn connect(addr: SocketAddr) -> TcpStream {
        net::connect(addr, DEADLINE).await.unwrap()
    }

    /// What comes until the other side closes, which it has to do soon.
    async fn rest(mut stream: TcpStream) -> String {
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        // A reset is an end, too.
        tokio::time::timeout(DEADLINE, read).await.unwrap().ok();
        String::from_utf8(rest).unwrap()
    }

    /// One exchange on a connection that stays open.
    async fn exchange(stream: &mut TcpStream) {
        let request = b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"live\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }

    async fn is_served(addr: SocketAddr) -> bool {
        let mut stream = connect(addr).await;
        let request = b"GET /live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.is_ok() && rest(stream).await.contains("200")
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_are_closed_and_others_served() {
        let tasks = Tasks::new();
        let bounds = Bounds {
            connections: 1,
            ..BOUNDS
        };
        let addr = serve(bounds, &tasks);
        let mut first = connect(addr).await;
        exchange(&mut first).await;
        assert_eq!(rest(connect(addr).await).await, "");
        exchange(&mut first).await;
        drop(first);
        // The place is free as soon as the end of the first was seen.
        let freed = async { while !is_served(addr).await {} };
        tokio::time::timeout(DEADLINE, freed).await.unwrap();
        tasks.cancel();
    }

    #[tokio::test]
    async fn an_endless_head_and_an_old_connection_are_ended() {
        let tasks = Tasks::new();
        let (soon, never) = (Duration::from_millis(50), Duration::from_secs(600));
        let impatient = Bounds {
            head: soon,
            age: never,
            ..BOUNDS
        };
        let mut slow = connect(serve(impatient, &tasks)).await;
        slow.write_all(b"GET /live HTTP/1.1\r\nhost: ")
            .await
            .unwrap();
        assert!(!rest(slow).await.contains("200"));

        let short = Bounds {
            head: never,
            age: soon,
            ..BOUNDS
        };
        assert_eq!(rest(connect(serve(short, &tasks)).await).await, "");
        tasks.cancel();
    }
}
