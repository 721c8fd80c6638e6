//! The admin port of every process: `/live`, `/ready`, `/metrics`, `/shutdown`.
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::drain::Drain;
use crate::metrics::{self, Metrics};
use crate::ready::Ready;

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

    /// Serves the routes on `listener` until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let service = self
            .router()
            .into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the admin port ended");
        }
    }
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = crate::net::connect(addr, Duration::from_secs(5))
            .await
            .unwrap();
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
        let listener = crate::net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = crate::task::Tasks::new();
        tasks.spawn("admin", admin.serve(listener));

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
}
