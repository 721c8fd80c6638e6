//! Clients of the outbound side: HTTP/1.1 and HTTP/2 with prior knowledge.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tombolo_shell::net;

/// For what just has to happen, however slow the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// One kept HTTP/1.1 connection.
pub(crate) struct Http1(http1::SendRequest<Full<Bytes>>);

impl Http1 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).await.unwrap()
    }

    async fn try_connect(addr: SocketAddr) -> Result<Self, String> {
        let stream = net::connect(addr, DEADLINE).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tombolo_shell::task::Tasks::new().spawn_one("client", async move {
            connection.await.ok();
        });
        Ok(Self(sender))
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) async fn try_send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Answer, String> {
        let send = async {
            self.0.ready().await.map_err(|error| error.to_string())?;
            let response = self.0.send_request(request).await;
            read(response.map_err(|error| error.to_string())?).await
        };
        tokio::time::timeout(DEADLINE, send)
            .await
            .map_err(|error| error.to_string())?
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.try_send(request(path)).await.unwrap()
    }
}

/// `GET path` of the service `web`, as a client that would like to be somebody else.
pub(crate) fn request(path: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(path)
        .header("host", "web.shop:8080")
        .header("l5d-client-id", "forged")
        .body(Full::default())
        .unwrap()
}

/// One request over a new connection.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    Http1::connect(addr).await.get(path).await
}

/// The same, where there may be no answer yet.
pub(crate) async fn try_get(addr: SocketAddr, path: &str) -> Result<Answer, String> {
    let mut client = Http1::try_connect(addr).await?;
    client.try_send(request(path)).await
}

/// One request over a new HTTP/2 connection.
pub(crate) async fn post_http2(addr: SocketAddr, uri: &str, body: &str) -> Answer {
    let stream = net::connect(addr, DEADLINE).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tombolo_shell::task::Tasks::new().spawn_one("client", async move {
        connection.await.ok();
    });
    let request = http::Request::post(uri)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    read(sender.send_request(request).await.unwrap())
        .await
        .unwrap()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}
