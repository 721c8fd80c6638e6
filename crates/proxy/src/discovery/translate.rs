//! From the messages of the proxy API to endpoints and backends; pure.
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tombolo_wire::labels;
use tombolo_wire::proxy_api::destination::update::Update as Change;
use tombolo_wire::proxy_api::destination::{WeightedAddr, tls_identity};
use tombolo_wire::proxy_api::outbound::{
    Backend, HttpRoute, OutboundPolicy, backend, http_route, proxy_protocol,
};

use crate::endpoint::{Endpoint, EndpointSet, Peer};

#[cfg(test)]
mod tests;

/// The weight of one whole endpoint on the wire.
const WEIGHT_WHOLE: u32 = 10_000;

/// The endpoints of one destination, as one stream after the other tells them.
///
/// A stream begins with all endpoints; hence the first `add` of a stream replaces what the last
/// stream told, and until it comes that is kept.
#[derive(Debug, Default)]
pub(super) struct Roll {
    endpoints: BTreeMap<SocketAddr, Endpoint>,
    stream: StreamState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StreamState {
    #[default]
    Fresh,
    Told,
}

impl Roll {
    /// A new stream begins.
    pub(super) fn reconnected(&mut self) {
        self.stream = StreamState::Fresh;
    }

    /// The set after `change`; nothing, if it does not change anything.
    pub(super) fn on(&mut self, change: Change) -> Option<EndpointSet> {
        match change {
            Change::Add(added) => {
                if self.stream == StreamState::Fresh {
                    self.endpoints.clear();
                }
                self.stream = StreamState::Told;
                let common = added.metric_labels;
                let endpoints = added
                    .addrs
                    .into_iter()
                    .filter_map(|addr| endpoint(addr, &common));
                self.endpoints
                    .extend(endpoints.map(|endpoint| (endpoint.addr, endpoint)));
                Some(self.set())
            }
            // What a fresh stream removes belongs to a set that it has not told yet.
            Change::Remove(_) if self.stream == StreamState::Fresh => None,
            Change::Remove(removed) => {
                for addr in removed.addrs {
                    if let Ok(addr) = SocketAddr::try_from(addr) {
                        self.endpoints.remove(&addr);
                    }
                }
                Some(self.set())
            }
            Change::NoEndpoints(none) => {
                self.endpoints.clear();
                self.stream = StreamState::Told;
                Some(if none.exists {
                    self.set()
                } else {
                    EndpointSet::Absent
                })
            }
        }
    }

    fn set(&self) -> EndpointSet {
        EndpointSet::Present(self.endpoints.values().cloned().collect())
    }
}

/// One endpoint; nothing, if its address is malformed or it is meshed in a way we do not speak.
fn endpoint(addr: WeightedAddr, common: &HashMap<String, String>) -> Option<Endpoint> {
    let label = |key: &str| -> Arc<str> {
        let value = addr.metric_labels.get(key).or_else(|| common.get(key));
        Arc::from(value.map_or("", String::as_str))
    };
    let socket_addr = SocketAddr::try_from(addr.addr?).ok()?;
    let port = addr
        .protocol_hint
        .as_ref()
        .and_then(|hint| hint.opaque_transport.as_ref())
        .and_then(|transport| u16::try_from(transport.inbound_port).ok());
    let identity = addr
        .tls_identity
        .as_ref()
        .and_then(|tls| match &tls.strategy {
            Some(tls_identity::Strategy::DnsLikeIdentity(identity)) => Some(identity.name.as_str()),
            _ => None,
        });
    let peer = match (identity, port) {
        (Some(identity), Some(inbound_port)) => Peer::Meshed {
            identity: identity.into(),
            inbound_port,
        },
        // A gateway's own port is its inbound port.
        (Some(identity), None) if addr.authority_override.is_some() => Peer::Meshed {
            identity: identity.into(),
            inbound_port: socket_addr.port(),
        },
        // It wants TLS and we do not know how: better not at all than in plain text.
        (Some(_), None) => {
            tracing::warn!(addr = %socket_addr, "a meshed endpoint without an inbound port is left out");
            return None;
        }
        (None, _) => Peer::Plain,
    };
    Some(Endpoint {
        addr: socket_addr,
        cluster: label(labels::CLUSTER),
        pod: label("pod"),
        peer,
        authority: addr
            .authority_override
            .as_ref()
            .map(|name| name.authority_override.as_str().into()),
        weight: if addr.weight == 0 {
            WEIGHT_WHOLE
        } else {
            addr.weight
        },
    })
}

/// Where a policy sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To what discovery knows by this name.
    Name(Arc<str>),
    /// To this endpoint alone.
    Endpoint(Box<Endpoint>),
    /// Nowhere.
    Nowhere,
}

/// The first backend of the first route: policies beyond the default one are not interpreted.
pub(super) fn target(policy: &OutboundPolicy) -> Target {
    let kind = policy
        .protocol
        .as_ref()
        .and_then(|protocol| protocol.kind.as_ref());
    let backend = match kind {
        Some(proxy_protocol::Kind::Detect(detect)) => detect
            .http1
            .as_ref()
            .and_then(|http| first_backend(&http.routes))
            .or_else(|| {
                detect
                    .http2
                    .as_ref()
                    .and_then(|http| first_backend(&http.routes))
            }),
        Some(proxy_protocol::Kind::Http1(http)) => first_backend(&http.routes),
        Some(proxy_protocol::Kind::Http2(http)) => first_backend(&http.routes),
        _ => None,
    };
    match backend.and_then(|backend| backend.kind.as_ref()) {
        Some(backend::Kind::Balancer(balancer)) => {
            let kind = balancer
                .discovery
                .as_ref()
                .and_then(|discovery| discovery.kind.as_ref());
            kind.map_or(
                Target::Nowhere,
                |backend::endpoint_discovery::Kind::Dst(get)| {
                    Target::Name(get.path.as_str().into())
                },
            )
        }
        Some(backend::Kind::Forward(addr)) => endpoint(addr.clone(), &HashMap::new())
            .map_or(Target::Nowhere, |endpoint| {
                Target::Endpoint(Box::new(endpoint))
            }),
        None => Target::Nowhere,
    }
}

fn first_backend(routes: &[HttpRoute]) -> Option<&Backend> {
    use http_route::distribution::Kind;
    let distribution = routes.first()?.rules.first()?.backends.as_ref()?;
    let route_backend = match distribution.kind.as_ref()? {
        Kind::FirstAvailable(first) => first.backends.first()?,
        Kind::RandomAvailable(random) => {
            let heaviest = random
                .backends
                .iter()
                .max_by_key(|backend| backend.weight)?;
            heaviest.backend.as_ref()?
        }
        Kind::Empty(_) => return None,
    };
    route_backend.backend.as_ref()
}
