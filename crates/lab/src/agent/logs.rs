//! The node's log server: what a container has written, to the API server only.
//!
//! Speaks the path of a kubelet, over TLS with a client certificate of the cluster's CA. What is asked for in
//! a way that it does not know is refused, never answered wrongly.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tombolo_shell::net;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{
    Anchors, ClientCertificate, Credentials, HANDSHAKE_DEADLINE, ServerTls, fixed,
};

/// Who may ask.
const CLIENT: &str = "kube-apiserver-kubelet-client";
/// How often a followed log is looked at.
const FOLLOW_PERIOD: Duration = Duration::from_millis(200);
/// How many bytes are read at once.
const CHUNK_BYTES: u64 = 64 * 1024;
/// How many connections are served at once.
const CONNECTIONS_MAX: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The log of each container, by namespace, pod and container.
pub(super) type LogFiles = BTreeMap<(String, String, String), PathBuf>;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What the server needs.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) tls: ServerTls,
    pub(super) files: watch::Receiver<Arc<LogFiles>>,
}

/// The server's side of TLS, from the files that the API server wrote to `dir`.
pub(super) fn tls(dir: &Path) -> Result<ServerTls> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    let anchors = Anchors::from_pem(&read("ca.crt")?).context("ca.crt")?;
    let credentials = Credentials::from_pem(&read("kubelet.crt")?, &read("kubelet.key")?)
        .context("kubelet.crt and kubelet.key")?;
    let client = ClientCertificate::Required(anchors);
    Ok(ServerTls::new(client, fixed(credentials), &[b"http/1.1"]))
}

impl Server {
    /// Serves for ever.
    pub(super) async fn serve(self, tasks: Tasks) -> Result<()> {
        let listener = net::listen(self.address)?;
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let server = Arc::new(self);
        loop {
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .context("no permits")?;
            let (stream, _) = net::accept(&listener).await;
            let server = Arc::clone(&server);
            tasks.spawn_one("log connection", async move {
                if let Err(error) = server.connection(stream).await {
                    tracing::debug!(error = format!("{error:#}"), "log connection ended");
                }
                drop(permit);
            });
        }
    }

    async fn connection(&self, stream: TcpStream) -> Result<()> {
        let accepted = self.tls.accept(stream, HANDSHAKE_DEADLINE).await?;
        let identity = accepted.peer.identity.as_deref();
        anyhow::ensure!(identity == Some(CLIENT), "{identity:?} may not read logs");
        let service = hyper::service::service_fn(|request| {
            let files = self.files.clone();
            async move { Ok::<_, Infallible>(answer(files, request).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(accepted.stream), service)
            .await
            .context("serve")
    }
}

async fn answer(
    files: watch::Receiver<Arc<LogFiles>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let refusal = |status: StatusCode, text: String| {
        let body = Full::new(Bytes::from(text + "\n")).map_err(|never| match never {});
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = status;
        response
    };
    let path = request.uri().path();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let &["containerLogs", namespace, pod, container] = parts.as_slice() else {
        return refusal(StatusCode::NOT_FOUND, format!("no such path: {path}"));
    };
    if request.method() != Method::GET {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned());
    }
    let options = match Options::read(request.uri().query().unwrap_or_default()) {
        Ok(options) => options,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, why),
    };
    let key = (namespace.to_owned(), pod.to_owned(), container.to_owned());
    let Some(file) = files.borrow().get(&key).cloned() else {
        let text = format!("container {container:?} of pod {namespace}/{pod} is not on this node");
        return refusal(StatusCode::NOT_FOUND, text);
    };
    let reading = match Reading::start(&file, options, key, files).await {
        Ok(reading) => reading,
        // It has not written anything yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refusal(StatusCode::OK, String::new());
        }
        Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let frames = stream::try_unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Ok(chunk.map(|bytes| (Frame::data(bytes), reading)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let text = http::HeaderValue::from_static("text/plain");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, text);
    response
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    follow: Follow,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Follow {
    #[default]
    No,
    Yes,
}

impl Options {
    fn read(query: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let number = || {
                value
                    .parse()
                    .map_err(|_not_a_number| format!("{name}={value} is no number"))
            };
            match (name, value) {
                ("follow", "true" | "1") => options.follow = Follow::Yes,
                ("tailLines", _) => options.tail_lines = Some(number()?),
                ("limitBytes", _) => options.limit_bytes = Some(number()?),
                ("previous" | "timestamps" | "sinceSeconds" | "sinceTime" | "stream", given)
                    if given != "false" =>
                {
                    return Err(format!("{name} is not offered by this node"));
                }
                // The container is in the path; the rest changes nothing that is sent.
                _ => {}
            }
        }
        Ok(options)
    }
}

struct Reading {
    file: File,
    left: Option<u64>,
    follow: Follow,
    key: (String, String, String),
    files: watch::Receiver<Arc<LogFiles>>,
}

impl Reading {
    async fn start(
        path: &Path,
        options: Options,
        key: (String, String, String),
        files: watch::Receiver<Arc<LogFiles>>,
    ) -> std::io::Result<Self> {
        let mut file = File::open(path).await?;
        if let Some(lines) = options.tail_lines {
            let start = tail(&mut file, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        Ok(Self {
            file,
            left: options.limit_bytes,
            follow: options.follow,
            key,
            files,
        })
    }

    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let most = self.left.map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            let mut buffer = Vec::new();
            (&mut self.file).take(most).read_to_end(&mut buffer).await?;
            if !buffer.is_empty() {
                let bytes = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                return Ok(Some(buffer.into()));
            }
            if self.follow == Follow::No
                || most == 0
                || !self.files.borrow().contains_key(&self.key)
            {
                return Ok(None);
            }
            tokio::time::sleep(FOLLOW_PERIOD).await;
        }
    }
}

/// Where the last `lines` lines of the file start.
async fn tail(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let mut end = file.metadata().await?.len();
    // The newline that ends the last line starts none.
    let mut newlines = 0;
    let whole = end;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        file.seek(SeekFrom::Start(start)).await?;
        let mut buffer = Vec::new();
        (&mut *file)
            .take(end - start)
            .read_to_end(&mut buffer)
            .await?;
        for (index, byte) in buffer.iter().enumerate().rev() {
            let at = start + u64::try_from(index).unwrap_or(0);
            if *byte != b'\n' || at + 1 == whole {
                continue;
            }
            newlines += 1;
            if newlines == lines {
                return Ok(at + 1);
            }
        }
        end = start;
    }
    Ok(if lines == 0 { whole } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tail_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        for (lines, want) in [(0, 14), (1, 8), (2, 4), (3, 0), (9, 0)] {
            let mut file = File::open(&path).await.unwrap();
            assert_eq!(tail(&mut file, lines).await.unwrap(), want, "{lines}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        let options = Options::read("follow=true&tailLines=7&previous=false").unwrap();
        assert_eq!((options.follow, options.tail_lines), (Follow::Yes, Some(7)));
        assert_eq!(Options::read("").unwrap(), Options::default());
        assert!(
            Options::read("tailLines=x")
                .unwrap_err()
                .contains("tailLines")
        );
        assert!(
            Options::read("previous=true")
                .unwrap_err()
                .contains("previous")
        );
    }
}
