//! The hand-over between discovery, which learns where a destination is served, and balancing,
//! which picks. Discovery publishes a whole immutable [`EndpointSet`] at each change.
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

/// One address that serves a destination, as discovery described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the application, or a gateway, listens.
    pub addr: SocketAddr,
    /// The failure domain: the metric label `cluster`, or empty where discovery tells none.
    pub cluster: Arc<str>,
    /// The pod's name, for people; empty where discovery tells none.
    pub pod: Arc<str>,
    /// How to speak to it.
    pub peer: Peer,
    /// Replaces the authority of each request: the name by which a gateway knows the service
    /// (`host:port`).
    pub authority: Option<Arc<str>>,
    /// Relative weight as discovery gave it; 10,000 is one whole endpoint.
    pub weight: u32,
}

/// How an endpoint is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A peer proxy: mTLS and HTTP/2 to `addr.ip():inbound_port`, after a transport header.
    Meshed {
        /// The TLS identity that it must prove (DNS-like).
        identity: Arc<str>,
        /// The port of its inbound listener.
        inbound_port: u16,
    },
    /// An application without a proxy: HTTP/1.1 in plain text.
    Plain,
}

/// Where a destination is served, all of it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndpointSet {
    /// Discovery has not answered yet.
    #[default]
    Unknown,
    /// Discovery says that there is no such destination.
    Absent,
    /// All endpoints, sorted by address; none, if the destination exists but nothing serves it.
    Present(Arc<[Endpoint]>),
}

/// What a request is sent to: one destination, shared by all requests to it.
///
/// Dropped (its last `Arc`) when nothing asks for the destination any more; its discovery stream
/// ends with it.
#[derive(Debug)]
pub struct Destination {
    /// `host:port` as discovery knows it, for example `frontend-federated.mc-demo.svc.cluster.local:8080`.
    pub name: Arc<str>,
    /// The endpoints, always the newest.
    pub endpoints: watch::Receiver<EndpointSet>,
}
