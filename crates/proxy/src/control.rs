//! The way to the control plane: one lazy HTTP/2 connection per service, over TLS, which proves the
//! service's name and redials by itself. What to do while it is away is up to the clients.
use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rand::RngExt;
use tokio::net::TcpStream;
use tombolo_core::backoff::Backoff;
use tombolo_shell::net;
use tombolo_shell::tls::{ClientStream, ClientTls};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::config::ControlAddr;

/// How long a connect to the control plane may take, TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How often a connection to the control plane is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long it may take to answer that.
const KEEP_ALIVE_DEADLINE: Duration = Duration::from_secs(3);
/// The protocol, as TLS calls it.
pub(crate) const ALPN: &[u8] = b"h2";

/// The pauses between two attempts at a stream: short enough that a restarted control plane is
/// found within a second.
pub(crate) fn stream_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1))
}

/// Waits as long as `backoff` says after another failure.
pub(crate) async fn pause(backoff: &mut Backoff) {
    let wait = backoff.failed(&mut rand::rng());
    tokio::time::sleep(wait).await;
}

/// A connection to `service`, made when it is first used. If it has several addresses, each attempt
/// takes one of them at random.
pub(crate) fn channel(service: &ControlAddr, tls: ClientTls) -> Channel {
    let service = service.clone();
    let connect = tower::service_fn(move |_uri: Uri| {
        let (service, tls) = (service.clone(), tls.clone());
        async move { dial(&service, &tls).await.map(TokioIo::new) }
    });
    // TLS is ours, so to tonic the service is plain.
    Endpoint::from_static("http://control")
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_DEADLINE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_with_connector_lazy(connect)
}

async fn dial(service: &ControlAddr, tls: &ClientTls) -> io::Result<ClientStream<TcpStream>> {
    let addrs: Vec<_> = tokio::net::lookup_host(&*service.addr).await?.collect();
    let Some(addr) = addrs.get(rand::rng().random_range(0..addrs.len().max(1))) else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} has no address", service.addr),
        ));
    };
    let stream = net::connect(*addr, CONNECT_DEADLINE)
        .await
        .map_err(io::Error::other)?;
    let connected = tls
        .connect(stream, &service.name, CONNECT_DEADLINE)
        .await
        .map_err(|error| io::Error::other(format!("{} at {addr}: {error}", service.name)))?;
    Ok(connected.stream)
}
