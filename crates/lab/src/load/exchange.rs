//! One request and its answer over a pool of HTTP/1.1 connections to one address.
//!
//! Decides what counts as the right answer. A connection that is known to be closed is replaced
//! before anything is sent; one that is lost under a request fails that request. At most as many
//! requests are under way as connections are allowed; the others wait, and their time runs.
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::TaskTracker;

use super::Spec;
use super::record::{FailureKind, Outcome};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of a proxy's explanation is kept.
const PROXY_ERROR_CHARS_MAX: usize = 200;
/// Distinct clusters that are remembered; an application that invents names is not.
const CLUSTERS_MAX: usize = 1024;

/// The pool, and how to ask.
pub(super) struct Exchange {
    spec: Arc<Spec>,
    under_way: Semaphore,
    idle: Mutex<Vec<Connection>>,
    drivers: TaskTracker,
    clusters: Mutex<BTreeSet<Arc<str>>>,
}

struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Ends the connection with its owner: a request that is given up must not be left running.
    _driver: AbortOnDropHandle<()>,
}

impl Exchange {
    pub(super) fn new(spec: Arc<Spec>) -> Self {
        Self {
            under_way: Semaphore::new(spec.connections_max),
            idle: Mutex::new(Vec::new()),
            drivers: TaskTracker::new(),
            clusters: Mutex::new(BTreeSet::new()),
            spec,
        }
    }

    /// Sends one request and reads its answer. Has no deadline of its own.
    pub(super) async fn run(&self) -> Outcome {
        match self.attempt().await {
            Ok(outcome) => outcome,
            Err(kind) => Outcome::failed(kind),
        }
    }

    async fn attempt(&self) -> Result<Outcome, FailureKind> {
        // The semaphore is never closed; if it were, there would be no connection to be had.
        let _permit = self
            .under_way
            .acquire()
            .await
            .or(Err(FailureKind::Connect))?;
        let mut connection = self.connection().await?;
        let request = Request::get("/")
            .header(HOST, &self.spec.host)
            .body(Empty::new());
        let request = request.or(Err(FailureKind::Connect))?;
        let response = connection.sender.send_request(request).await;
        let outcome = self.judge(response.or(Err(FailureKind::Lost))?).await?;
        self.idle.lock().push(connection);
        Ok(outcome)
    }

    /// An idle connection that is still open, or a new one.
    async fn connection(&self) -> Result<Connection, FailureKind> {
        loop {
            let idle = self.idle.lock().pop();
            let Some(mut connection) = idle else { break };
            if connection.sender.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        self.connect().await.or(Err(FailureKind::Connect))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.spec.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = self.drivers.spawn(async move {
            // Why it ended shows in the request that was under way, if there was one.
            driver.await.ok();
        });
        Ok(Connection {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<Outcome, FailureKind> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FailureKind::Answer,
            false => FailureKind::Lost,
        });
        let body = body?.to_bytes();
        if head.status != StatusCode::OK {
            return Ok(failed(FailureKind::Status, head.status, &head.headers));
        }
        let text = std::str::from_utf8(&body).unwrap_or_default();
        match cluster_of(&self.spec.application, &head.headers, text) {
            Some(cluster) => Ok(Outcome::Ok {
                cluster: self.intern(cluster),
            }),
            None => Ok(failed(FailureKind::Answer, head.status, &head.headers)),
        }
    }

    /// One copy of each name: there are hundreds of thousands of records.
    fn intern(&self, cluster: &str) -> Arc<str> {
        let mut clusters = self.clusters.lock();
        if let Some(known) = clusters.get(cluster) {
            return known.clone();
        }
        let name: Arc<str> = cluster.into();
        if clusters.len() < CLUSTERS_MAX {
            clusters.insert(name.clone());
        }
        name
    }
}

/// Which cluster answered: `x-cluster`, else the end of `<application> from <cluster>`. None if it
/// was another application, or no application at all.
fn cluster_of<'a>(application: &str, headers: &'a HeaderMap, body: &'a str) -> Option<&'a str> {
    let (answered, cluster) = body.lines().next()?.trim().split_once(" from ")?;
    if answered != application {
        return None;
    }
    let named = headers
        .get("x-cluster")
        .and_then(|value| value.to_str().ok());
    Some(named.unwrap_or(cluster)).filter(|cluster| !cluster.is_empty())
}

fn failed(kind: FailureKind, status: StatusCode, headers: &HeaderMap) -> Outcome {
    let explained = headers.get("l5d-proxy-error").map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.chars()
            .take(PROXY_ERROR_CHARS_MAX)
            .collect::<String>()
            .into_boxed_str()
    });
    Outcome::Failed {
        kind,
        status: Some(status.as_u16()),
        proxy_error: explained,
    }
}
