//! A peer proxy in miniature: mTLS, the transport header, HTTP/2; every step can be got wrong.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{Anchors, ClientStream, ClientTls, Credentials, TlsError, fixed};
use tombolo_wire::transport::{ALPN, TransportHeader};

use crate::client::{Answer, DEADLINE};
use crate::world::{Proxy, World, identity};

/// Connects to the inbound port of `proxy` as `account`.
pub(crate) async fn connect(world: &World, account: &str, proxy: &Proxy) -> Stream {
    let credentials = world.control.authority.credentials(&identity(account));
    let anchors = world.control.authority.anchors();
    connect_with(anchors, credentials, ALPN, proxy)
        .await
        .unwrap()
}

pub(crate) type Stream = ClientStream<TcpStream>;

pub(crate) async fn connect_with(
    anchors: Anchors,
    credentials: Credentials,
    alpn: &[u8],
    proxy: &Proxy,
) -> Result<Stream, TlsError> {
    let stream = net::connect(SocketAddr::new(proxy.ip, 4143), DEADLINE)
        .await
        .unwrap();
    let alpn: Vec<&[u8]> = if alpn.is_empty() {
        Vec::new()
    } else {
        vec![alpn]
    };
    let tls = ClientTls::new(anchors, fixed(credentials), &alpn);
    Ok(tls.connect(stream, &proxy.identity, DEADLINE).await?.stream)
}

/// Whether the other side closes the connection, rather than answer.
pub(crate) async fn is_closed<S: AsyncReadExt + Unpin>(mut stream: S) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut byte)).await;
    matches!(read.expect("it is closed in time"), Ok(0) | Err(_))
}

/// A connection on which requests can be sent.
pub(crate) struct Peer {
    sender: h2::client::SendRequest<Bytes>,
    ping: h2::PingPong,
}

impl Peer {
    /// Says `header` on `stream` and begins HTTP/2.
    pub(crate) async fn start(mut stream: Stream, header: &TransportHeader) -> Self {
        stream.write_all(&header.to_bytes()).await.unwrap();
        let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
        let ping = connection.ping_pong().unwrap();
        Tasks::new().spawn_one("peer", async move {
            connection.await.ok();
        });
        Self { sender, ping }
    }

    pub(crate) async fn send(&self, request: http::Request<()>) -> Answer {
        let exchange = async {
            let mut sender = self.sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let (head, mut body) = response.await.unwrap().into_parts();
            let mut text = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                text.extend_from_slice(&data);
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            let body = String::from_utf8_lossy(&text).into_owned();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            }
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .expect("an answer in time")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(path).body(()).unwrap()).await
    }

    /// Sends a request and leaves it under way.
    pub(crate) async fn begin(&self, path: &str) -> h2::client::ResponseFuture {
        self.begin_with(request(path)).await
    }

    pub(crate) async fn begin_with(
        &self,
        request: http::request::Builder,
    ) -> h2::client::ResponseFuture {
        let mut sender = self.sender.clone().ready().await.unwrap();
        sender
            .send_request(request.body(()).unwrap(), true)
            .unwrap()
            .0
    }

    /// How long the proxy takes to answer a PING.
    pub(crate) async fn ping(&mut self) -> Duration {
        let asked = std::time::Instant::now();
        let ping = self.ping.ping(h2::Ping::opaque());
        tokio::time::timeout(DEADLINE, ping)
            .await
            .expect("a PONG in time")
            .unwrap();
        asked.elapsed()
    }
}

/// `GET path` of an HTTP/1.1 client.
pub(crate) fn request(path: &str) -> http::request::Builder {
    http::Request::get(format!("http://web.shop:8080{path}"))
        .version(http::Version::HTTP_2)
        .header("l5d-orig-proto", "HTTP/1.1")
}
