//! Outbound: sends each request to one endpoint of its destination, and brings back one response,
//! whatever happens to paths, endpoints and clusters meanwhile.
//!
//! It decides nothing itself: which endpoint, whether a path is alive, whether a cluster is out and
//! whether a request may run again are `tombolo_core` machines. It never sees discovery, only
//! [`Destination`]s, and never TLS, only a [`Connector`].
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::{AsyncRead, AsyncWrite};
use tombolo_core::limits;
use tombolo_shell::task::Tasks;

use crate::body::Body;
use crate::endpoint::Destination;

pub use cluster::{ClusterReport, Outcome};
pub use replay::Replay;
pub use reply::Reply;

use balancer::Balancers;
use forward::{Admitted, forward};
use shared::Shared;

mod attempt;
mod balancer;
mod cluster;
mod connect;
mod drive;
mod forward;
mod meter;
mod path;
mod pick;
mod plain;
mod replay;
mod reply;
mod respond;
mod shared;
mod template;

/// What a meshed connection is made to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The peer proxy's inbound listener.
    pub addr: SocketAddr,
    /// The identity that it must prove.
    pub identity: Arc<str>,
}

/// A byte stream to a peer, TLS included.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// The future of [`Connector::connect`].
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens mTLS connections to peer proxies (ALPN `tombolo_wire::transport::ALPN`), up to but without
/// the transport header. Called per connection, never per request; the caller sets the deadline.
pub trait Connector: Send + Sync + 'static {
    /// Connects and completes the TLS handshake.
    fn connect(&self, target: &Target) -> Connecting;
}

/// The way out: one per process (or per worker), shared by listeners and gateway.
#[derive(Clone)]
pub struct Outbound {
    shared: Arc<Shared>,
    balancers: Arc<Balancers>,
}

impl Outbound {
    /// An outbound that meets its peers through `connector`, and runs its connections below `tasks`.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>, tasks: Tasks) -> Self {
        let shared = Arc::new(Shared::new(connector, tasks));
        Self {
            shared,
            balancers: Arc::new(Balancers::new()),
        }
    }

    /// Follows the destination's endpoints from now on and opens connections to them, so that the
    /// first request finds them warm. `call` does the same; calling this twice costs nothing.
    pub fn warm(&self, destination: &Arc<Destination>) {
        self.balancers.of(&self.shared, destination);
    }

    /// Sends `request` to an endpoint of `destination` and brings back the response. Never fails:
    /// what cannot be served becomes 502, 503 or 504 with the header `l5d-proxy-error`, which names
    /// the service, the cluster and the reason (for gRPC: trailers only, with a status).
    ///
    /// The request's version is that of the client (HTTP/1.x is carried as HTTP/2 with
    /// `l5d-orig-proto`); `Host` or the authority is sent on unless the endpoint overrides it.
    /// Dropping the future or the response's body cancels the request at the peer.
    pub async fn call(
        &self,
        destination: &Arc<Destination>,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        let admitted = Admitted::new(&self.shared, limits::OUTBOUND_IN_FLIGHT_MAX);
        let _admitted = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return failure.response(&destination.name, false),
        };
        let balancer = self.balancers.of(&self.shared, destination);
        forward(&self.shared, &balancer, request).await
    }

    /// Every cluster that was ever met: its verdict, why, and how attempts ended; sorted by name.
    #[must_use]
    pub fn clusters(&self) -> Vec<ClusterReport> {
        self.shared.reports()
    }

    /// How many requests have arrived, ever.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Relaxed)
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}
