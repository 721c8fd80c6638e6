//! HTTP/1.1 in plain text, to an application without a proxy: idle connections are kept and reused.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tombolo_core::breaker::Death;
use tombolo_core::limits;

use super::connect::death_of;
use super::path::Path;
use super::shared::Shared;
use crate::body::Body;

/// A request waits this long for a connection to an application.
const DIAL_MAX: Duration = Duration::from_millis(300);

/// A connection that one request at a time can use.
pub(super) type Sender = SendRequest<Body>;

/// The idle connections of one path.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Sender>>,
}

/// Why there is no response.
pub(super) enum Unanswered {
    /// Nothing was sent; here it is again.
    Unsent(Box<Request<Body>>, Death),
    /// The connection failed when the request may have been sent.
    Failed(hyper::Error),
}

impl Pool {
    /// Keeps a connection for the next request.
    pub(super) fn put(&self, sender: Sender) {
        let mut idle = self.idle.lock();
        if !sender.is_closed() && idle.len() < limits::OUTBOUND_IDLE_MAX {
            idle.push(sender);
        }
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }
}

/// Connects to an application.
pub(super) async fn dial(shared: &Shared, addr: SocketAddr) -> io::Result<Sender> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    shared.tasks.spawn_one("outbound-plain", async move {
        if let Err(error) = connection.await {
            tracing::debug!(peer = %addr, %error, "connection to the application failed");
        }
    });
    Ok(sender)
}

/// Sends one request over an idle or a new connection; the connection comes back with the response
/// and belongs into the pool when the body has ended.
pub(super) async fn send(
    shared: &Arc<Shared>,
    path: &Arc<Path>,
    mut request: Request<Body>,
) -> Result<(Response<Incoming>, Sender), Unanswered> {
    loop {
        let (mut sender, fresh) = match path.pool.take() {
            Some(sender) => (sender, false),
            None => match tokio::time::timeout(DIAL_MAX, dial(shared, path.key.addr)).await {
                Ok(Ok(sender)) => (sender, true),
                Ok(Err(error)) => {
                    return Err(Unanswered::Unsent(Box::new(request), death_of(&error)));
                }
                Err(_elapsed) => {
                    let death = Death::NoHandshake(DIAL_MAX);
                    return Err(Unanswered::Unsent(Box::new(request), death));
                }
            },
        };
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((response, sender)),
            Err(mut error) => match error.take_message() {
                Some(unsent) if fresh => {
                    return Err(Unanswered::Unsent(Box::new(unsent), Death::Reset));
                }
                Some(unsent) => request = unsent,
                None => return Err(Unanswered::Failed(error.into_error())),
            },
        }
    }
}
