//! The application of the lab: a small HTTP server that says which service and cluster it is.
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge on one port. It knows nothing of Kubernetes or proxies.
//! On SIGTERM it accepts no more and finishes what is in flight.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use tombolo_shell::task::Tasks;
use tombolo_shell::{net, process};

/// How long `/sleep` may take at most.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How many connections are served at once; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what is in flight may take after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

type Body = Either<Full<Bytes>, Incoming>;

/// What the application says and where it listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address, never a wildcard in the lab.
    pub listen: SocketAddr,
    /// The answer, for example `frontend from west`.
    pub text: String,
    /// The value of the header `x-cluster`.
    pub cluster: String,
    /// The value of the header `x-pod`.
    pub pod: String,
}

#[derive(Debug)]
struct App {
    text: Bytes,
    cluster: HeaderValue,
    pod: HeaderValue,
}

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
/// The address cannot be listened on, or a text is no header value.
pub async fn run(config: Config) -> Result<()> {
    let listener = net::listen(config.listen).context("choose another with --listen")?;
    tracing::info!(address = %config.listen, text = config.text, "echo is ready");
    serve(listener, &config, process::asked_to_stop()).await
}

async fn serve(
    listener: TcpListener,
    config: &Config,
    stop: impl Future<Output = std::io::Result<&'static str>>,
) -> Result<()> {
    let tasks = Tasks::new();
    let header = |name: &str, value: &str| {
        HeaderValue::from_str(value).with_context(|| format!("{name} {value:?}"))
    };
    let app = Arc::new(App {
        text: Bytes::from(format!("{}\n", config.text)),
        cluster: header("cluster", &config.cluster)?,
        pod: header("pod", &config.pod)?,
    });
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .context("the semaphore closed")?;
        tokio::select! {
            biased;
            stopped = &mut stop => { stopped?; break; }
            (stream, _) = net::accept(&listener) => {
                tasks.spawn_one("connection", connection(stream, Arc::clone(&app), &graceful, permit));
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still in flight when the time to drain was over");
    }
    Ok(())
}

fn connection(
    stream: TcpStream,
    app: Arc<App>,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send + use<> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let service = hyper::service::service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(answer(&app, request).await) }
    });
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let watched = graceful.watch(served);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "connection ended");
        }
        drop(permit);
    }
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Body> {
    let body = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => text(Bytes::from_static(b"ok\n")),
        (&Method::GET, "/sleep") => match sleep_of(request.uri().query().unwrap_or_default()) {
            Some(time) => {
                tokio::time::sleep(time).await;
                text(app.text.clone())
            }
            None => {
                let message = format!("/sleep wants ?ms= from 0 to {}\n", SLEEP_MAX.as_millis());
                let mut response = Response::new(text(message.into()));
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return response;
            }
        },
        (&Method::POST | &Method::PUT, _) => Either::Right(request.into_body()),
        _ => text(app.text.clone()),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert("x-cluster", app.cluster.clone());
    headers.insert("x-pod", app.pod.clone());
    response
}

fn text(bytes: Bytes) -> Body {
    Either::Left(Full::new(bytes))
}

fn sleep_of(query: &str) -> Option<Duration> {
    let ms = query.split('&').find_map(|pair| pair.strip_prefix("ms="))?;
    let time = Duration::from_millis(ms.parse().ok()?);
    (time <= SLEEP_MAX).then_some(time)
}

#[cfg(test)]
mod tests;
