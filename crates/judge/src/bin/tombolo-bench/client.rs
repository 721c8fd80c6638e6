//! The client of the measurements: HTTP/2 over TLS with as little of its own as can be, the same towards both servers.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tombolo_shell::task::Tasks;

/// Frames and windows large enough that a list is not held up by them.
const WINDOW: u32 = 8 * 1024 * 1024;

/// Where a server is, and as whom it is asked.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
    tasks: Tasks,
}

impl Target {
    /// The server and the user of a kubeconfig.
    pub(crate) async fn new(kubeconfig: &Path, address: SocketAddr) -> Result<Self> {
        let config = tombolo_judge::config(kubeconfig).await?;
        let mut tls = config.rustls_client_config().context("configure TLS")?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(tls)),
            tasks: Tasks::new(),
        })
    }

    /// A connection of its own.
    pub(crate) async fn open(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        self.tasks.spawn_one("connection", async move {
            // A server that is killed ends it badly, and that is meant.
            connection.await.ok();
        });
        Ok(Connection {
            sender,
            address: self.address,
        })
    }
}

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Asks, and gives the answer as it begins.
    pub(crate) async fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Incoming)> {
        let content_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.address))
            .header("content-type", content_type)
            .header("accept", "application/json")
            .header("user-agent", "tombolo-bench")
            .body(Full::new(Bytes::from(body)))?;
        let response = self.sender.send_request(request).await?;
        Ok((response.status(), response.into_body()))
    }

    /// Asks, and gives the whole answer; a refusal is an error.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes> {
        let (status, body) = self.begin(method, path, body).await?;
        let bytes = body.collect().await?.to_bytes();
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        ensure!(status.is_success(), "{path}: {status}: {}", text());
        Ok(bytes)
    }
}
