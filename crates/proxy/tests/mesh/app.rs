//! An application that tells what it got, and can be slow.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Semaphore;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

/// The application; dropped, it is gone.
pub(crate) struct App {
    /// Requests that it got.
    pub(crate) seen: Arc<AtomicUsize>,
    /// Connections that it got.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Requests to `/wait` end when they get a permit.
    pub(crate) gate: Arc<Semaphore>,
    tasks: Tasks,
}

impl App {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let listener = net::listen(addr).unwrap();
        let app = Self {
            seen: Arc::default(),
            connections: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            tasks: Tasks::new(),
        };
        let (seen, connections, gate) =
            (app.seen.clone(), app.connections.clone(), app.gate.clone());
        let tasks = app.tasks.child();
        app.tasks.spawn("app", async move {
            loop {
                let (stream, _) = net::accept(&listener).await;
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, gate) = (seen.clone(), gate.clone());
                let service = service_fn(move |request| {
                    seen.fetch_add(1, Ordering::SeqCst);
                    answer(request, gate.clone())
                });
                tasks.spawn_one("app connection", async move {
                    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        app
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// The request's line and headers, then its body; pretends to be a proxy, which it is not.
async fn answer(
    request: http::Request<Incoming>,
    gate: Arc<Semaphore>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    match head.uri.path() {
        "/wait" => gate.acquire().await.unwrap().forget(),
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    text.push_str(&format!("body: {}\n", String::from_utf8_lossy(&body)));
    let response = http::Response::builder()
        .header("l5d-proxy-error", "forged")
        .header("l5d-proxy-unsent", "true")
        .header("x-app", "yes")
        .body(Full::new(text.into()));
    Ok(response.unwrap())
}
