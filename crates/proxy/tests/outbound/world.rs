//! Clusters of peers, an outbound, and destinations over them.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tombolo_proxy::body::Body;
use tombolo_proxy::endpoint::{Destination, Endpoint, EndpointSet, Peer as Kind};
use tombolo_proxy::outbound::Outbound;
use tombolo_shell::task::Tasks;

use crate::connector::Tcp;
use crate::peer::Peer;

pub(crate) struct World {
    pub(crate) outbound: Outbound,
    pub(crate) west: Vec<Peer>,
    pub(crate) east: Vec<Peer>,
    pub(crate) north: Vec<Peer>,
}

/// For what just has to happen, however slow the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A destination whose endpoints the test feeds.
pub(crate) struct Fed {
    pub(crate) destination: Arc<Destination>,
    pub(crate) feed: watch::Sender<EndpointSet>,
}

pub(crate) fn endpoint(peer: &Peer, cluster: &str) -> Endpoint {
    Endpoint {
        addr: peer.addr,
        cluster: cluster.into(),
        pod: "".into(),
        peer: Kind::Meshed {
            identity: "peer.test".into(),
            inbound_port: peer.addr.port(),
        },
        authority: None,
        weight: 10_000,
    }
}

pub(crate) fn feed(name: &str, set: EndpointSet) -> Fed {
    let feed = watch::Sender::new(set);
    let destination = Destination {
        name: name.into(),
        endpoints: feed.subscribe(),
    };
    Fed {
        destination: Arc::new(destination),
        feed,
    }
}

impl World {
    /// Three clusters with so many replicas each.
    pub(crate) fn new(replicas: usize) -> Self {
        let start = |cluster| (0..replicas).map(|_| Peer::start(cluster)).collect();
        let (west, east, north) = (start("west"), start("east"), start("north"));
        let outbound = Outbound::new(Arc::new(Tcp), Tasks::new());
        Self {
            outbound,
            west,
            east,
            north,
        }
    }

    /// All endpoints of all clusters.
    pub(crate) fn federated(&self) -> Fed {
        let of = |peers: &[Peer], name| peers.iter().map(|p| endpoint(p, name)).collect::<Vec<_>>();
        let mut all = of(&self.west, "west");
        all.extend(of(&self.east, "east"));
        all.extend(of(&self.north, "north"));
        feed(
            "frontend-federated.mc-demo.svc.cluster.local:8080",
            EndpointSet::Present(all.into()),
        )
    }

    /// East's endpoints alone.
    pub(crate) fn mirror(&self) -> Fed {
        let all: Vec<_> = self
            .east
            .iter()
            .map(|peer| endpoint(peer, "east"))
            .collect();
        feed(
            "api-east.mc-demo.svc.cluster.local:8080",
            EndpointSet::Present(all.into()),
        )
    }

    pub(crate) async fn call(&self, fed: &Fed, request: Request<Body>) -> Answer {
        let began = Instant::now();
        let response = self.outbound.call(&fed.destination, request).await;
        Answer::of(response, began).await
    }

    pub(crate) async fn get(&self, fed: &Fed, path: &str) -> Answer {
        self.call(fed, request("GET", path, Body::Empty)).await
    }

    /// Calls until every cluster has answered: all connections are there.
    pub(crate) async fn settle(&self, fed: &Fed, endpoints: usize) {
        let up = async || {
            self.get(fed, "/").await;
            self.outbound
                .clusters()
                .iter()
                .map(|cluster| cluster.paths_up)
                .sum::<usize>()
        };
        let deadline = Instant::now() + DEADLINE;
        while up().await < endpoints {
            assert!(Instant::now() < deadline, "connections were not all made");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "svc:8080");
    builder.body(body).unwrap()
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) cluster: String,
    pub(crate) error: String,
    pub(crate) body: Result<Bytes, String>,
    pub(crate) trailers: bool,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) async fn of(response: Response<Body>, began: Instant) -> Self {
        let (parts, body) = response.into_parts();
        let header = |name| {
            parts
                .headers
                .get(name)
                .map_or("", |value: &http::HeaderValue| value.to_str().unwrap())
        };
        let body = body.collect().await;
        let trailers = body.as_ref().is_ok_and(|body| body.trailers().is_some());
        Self {
            status: parts.status.as_u16(),
            cluster: header("x-cluster").to_owned(),
            error: header("l5d-proxy-error").to_owned(),
            body: body
                .map(http_body_util::Collected::to_bytes)
                .map_err(|error| error.to_string()),
            trailers,
            took: began.elapsed(),
        }
    }

    pub(crate) fn ok(&self) -> bool {
        self.status == 200 && self.body.is_ok()
    }
}
