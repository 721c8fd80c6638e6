//! A peer proxy with its application, in a thread of its own: HTTP/2 after a transport header.
//! Frozen, the thread stops and its sockets stay open; killed, they are reset.
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tombolo_wire::transport::TransportHeader;

use crate::world::DEADLINE;

enum Order {
    /// Says that it has stopped, and stops until nobody holds the other end.
    Freeze(Sender<()>, Receiver<()>),
    Drain,
    Kill,
}

/// What the peer saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) posts: AtomicUsize,
    pub(crate) body_bytes: AtomicUsize,
    pub(crate) resets: AtomicUsize,
}

pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    cluster: &'static str,
    orders: Option<tokio::sync::mpsc::Sender<Order>>,
    thaw: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(cluster: &'static str) -> Self {
        Self::start_at(cluster, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn start_at(cluster: &'static str, addr: SocketAddr) -> Self {
        let std = StdListener::bind(addr).unwrap();
        std.set_nonblocking(true).unwrap();
        let addr = std.local_addr().unwrap();
        let (orders, received) = tokio::sync::mpsc::channel(4);
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(std, cluster, shared, received));
        });
        Self {
            addr,
            seen,
            cluster,
            orders: Some(orders),
            thaw: None,
            thread: Some(thread),
        }
    }

    fn order(&self, order: Order) {
        self.orders.as_ref().unwrap().try_send(order).ok();
    }

    /// Stops the thread: from here on nothing is read or answered, and nothing is closed.
    pub(crate) fn freeze(&mut self) {
        let (thaw, wait) = channel();
        let (stopped, has_stopped) = channel();
        self.order(Order::Freeze(stopped, wait));
        self.thaw = Some(thaw);
        has_stopped.recv_timeout(DEADLINE).unwrap();
    }

    pub(crate) fn thaw(&mut self) {
        self.thaw = None;
    }

    /// Sends GOAWAY on all connections, and goes on.
    pub(crate) fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Resets all connections and refuses new ones.
    pub(crate) fn kill(&mut self) {
        self.order(Order::Kill);
        self.thaw = None;
        self.orders = None;
        self.thread.take().unwrap().join().unwrap();
    }

    /// Starts again on the same address.
    pub(crate) fn restart(&mut self) {
        let seen = self.seen.clone();
        *self = Self::start_at(self.cluster, self.addr);
        self.seen = seen;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.kill();
        }
    }
}

async fn run(
    std: StdListener,
    cluster: &'static str,
    seen: Arc<Seen>,
    mut orders: tokio::sync::mpsc::Receiver<Order>,
) {
    let listener = TcpListener::from_std(std).unwrap();
    let drain = Arc::new(tokio::sync::Notify::new());
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Freeze(stopped, wait)) => {
                    stopped.send(()).ok();
                    wait.recv().ok();
                }
                Some(Order::Drain) => drain.notify_waiters(),
                Some(Order::Kill) | None => return,
            },
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                stream.set_zero_linger().unwrap();
                seen.connections.fetch_add(1, SeqCst);
                connections.spawn(serve(stream, cluster, seen.clone(), drain.clone()));
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    cluster: &'static str,
    seen: Arc<Seen>,
    drain: Arc<tokio::sync::Notify>,
) {
    let mut buf = BytesMut::new();
    while TransportHeader::take(&mut buf).unwrap().is_none() {
        if stream.read_buf(&mut buf).await.unwrap_or(0) == 0 {
            return;
        }
    }
    stream.set_nodelay(true).unwrap();
    let io = tokio::io::join(std::io::Cursor::new(buf.freeze()), tokio::io::empty());
    let (read, write) = stream.into_split();
    let io = tokio::io::join(AsyncReadExt::chain(io, read), write);
    let Ok(mut connection) = h2::server::handshake(io).await else {
        return;
    };
    let draining = drain.notified();
    tokio::pin!(draining);
    let mut drained = false;
    loop {
        tokio::select! {
            () = &mut draining, if !drained => {
                drained = true;
                connection.graceful_shutdown();
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    tokio::task::spawn(answer(request, respond, cluster, seen.clone()));
                }
                Some(Err(_)) | None => return,
            },
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    cluster: &'static str,
    seen: Arc<Seen>,
) {
    let (parts, mut body) = request.into_parts();
    seen.requests.fetch_add(1, SeqCst);
    if parts.uri.path() == "/refuse" {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let mut bytes = 0;
    while let Some(Ok(data)) = body.data().await {
        bytes += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    seen.body_bytes.fetch_add(bytes, SeqCst);
    if parts.method == "POST" {
        seen.posts.fetch_add(1, SeqCst);
    }
    if let Some(ms) = parts.uri.path().strip_prefix("/slow/") {
        let slow = tokio::time::sleep(Duration::from_millis(ms.parse().unwrap()));
        tokio::select! {
            () = slow => {}
            _reset = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {
                seen.resets.fetch_add(1, SeqCst);
                return;
            }
        }
    }
    let mut response = Response::builder()
        .header("x-cluster", cluster)
        .header("l5d-orig-proto", "HTTP/1.1");
    match parts.uri.path() {
        "/app-down" if cluster == "east" => {
            response = response
                .status(502)
                .header("l5d-proxy-error", "application: refused");
            response = response.header("l5d-proxy-unsent", "true");
        }
        "/broken" if cluster == "east" => {
            response = response
                .status(502)
                .header("l5d-proxy-error", "application: reset");
        }
        _ => {}
    }
    let host = parts
        .uri
        .authority()
        .map_or("", |authority| authority.as_str());
    let text = Bytes::from(format!("{host} from {cluster}"));
    let response = response
        .header("content-length", text.len())
        .body(())
        .unwrap();
    let Ok(mut send) = respond.send_response(response, false) else {
        return;
    };
    send.send_data(text, false).ok();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    send.send_trailers(trailers).ok();
}
