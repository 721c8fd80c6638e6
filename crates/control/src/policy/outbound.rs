//! What a client does with a destination: detect HTTP, balance over a Service, or forward as it is.
//!
//! Pure: Service and port -> `OutboundPolicy`, with every field that Linkerd's proxy insists on.
use std::net::SocketAddr;

use tombolo_wire::proxy_api::destination::WeightedAddr;
use tombolo_wire::proxy_api::http_route::{
    HttpFailureInjector, HttpRouteMatch, PathMatch, Ratio, path_match,
};
use tombolo_wire::proxy_api::meta::{Metadata, metadata};
use tombolo_wire::proxy_api::opaque_route::Forbidden;
use tombolo_wire::proxy_api::outbound::{
    Backend, HttpRoute, OpaqueRoute, OutboundPolicy, ProxyProtocol, Queue, backend, http_route,
    opaque_route, proxy_protocol,
};

use crate::discovery::endpoints::resource;
use crate::discovery::model::{self, Service};

const fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

const fn millis(millis: i32) -> prost_types::Duration {
    prost_types::Duration {
        seconds: 0,
        nanos: millis * 1_000_000,
    }
}

/// A default that has a name and no object.
pub(crate) fn default_metadata(name: &str) -> Metadata {
    Metadata {
        kind: Some(metadata::Kind::Default(name.into())),
    }
}

/// The policy for a port of a Service: forbidden if it does not declare the port.
pub(crate) fn of_service(service: &Service, port: u16, domain: &str) -> OutboundPolicy {
    let metadata = resource("Service", &service.key, port);
    let Some(declared) = service.ports.get(&port) else {
        return forbidden(metadata);
    };
    let path = format!(
        "{}.{}.svc.{domain}:{port}",
        service.key.name, service.key.namespace
    );
    let backend = balancer(metadata.clone(), path);
    let opaque = model::is_opaque(service.opaque_ports.as_ref(), port);
    let kind = match declared.app_protocol.as_deref() {
        _ if opaque => Kind::Opaque,
        Some("linkerd.io/opaque" | "linkerd.io/tcp") => Kind::Opaque,
        Some("http") => Kind::Http1,
        Some("kubernetes.io/h2c") => Kind::Http2,
        _ => Kind::Detect,
    };
    policy(metadata, &backend, kind, ["http", "opaque"])
}

/// The policy for an address that is no Service's: forward to it as it is.
pub(crate) fn forward(endpoint: WeightedAddr) -> OutboundPolicy {
    let metadata = default_metadata("egress-fallback");
    let backend = Backend {
        metadata: Some(metadata.clone()),
        queue: Some(queue()),
        kind: Some(backend::Kind::Forward(endpoint)),
    };
    policy(
        metadata,
        &backend,
        Kind::Detect,
        ["egress-fallback", "egress-fallback"],
    )
}

/// Whether an address can be forwarded to at all.
pub(crate) fn is_forwardable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

#[derive(Clone, Copy)]
enum Kind {
    Detect,
    Http1,
    Http2,
    Opaque,
}

fn policy(
    metadata: Metadata,
    backend: &Backend,
    kind: Kind,
    [http, opaque]: [&str; 2],
) -> OutboundPolicy {
    let http_routes = || vec![http_route(http, backend.clone())];
    let opaque = || proxy_protocol::Opaque {
        routes: vec![opaque_route(opaque, backend.clone())],
    };
    let http1 = || proxy_protocol::Http1 {
        routes: http_routes(),
        failure_accrual: None,
    };
    let http2 = || proxy_protocol::Http2 {
        routes: http_routes(),
        failure_accrual: None,
    };
    let kind = match kind {
        Kind::Detect => proxy_protocol::Kind::Detect(proxy_protocol::Detect {
            timeout: Some(seconds(10)),
            opaque: Some(opaque()),
            http1: Some(http1()),
            http2: Some(http2()),
        }),
        Kind::Http1 => proxy_protocol::Kind::Http1(http1()),
        Kind::Http2 => proxy_protocol::Kind::Http2(http2()),
        Kind::Opaque => proxy_protocol::Kind::Opaque(opaque()),
    };
    OutboundPolicy {
        metadata: Some(metadata),
        protocol: Some(ProxyProtocol { kind: Some(kind) }),
    }
}

fn queue() -> Queue {
    Queue {
        capacity: 100,
        failfast_timeout: Some(seconds(3)),
    }
}

fn balancer(metadata: Metadata, path: String) -> Backend {
    use backend::{EndpointDiscovery, balance_p2c, endpoint_discovery};
    Backend {
        metadata: Some(metadata),
        queue: Some(queue()),
        kind: Some(backend::Kind::Balancer(backend::BalanceP2c {
            discovery: Some(EndpointDiscovery {
                kind: Some(endpoint_discovery::Kind::Dst(
                    endpoint_discovery::DestinationGet { path },
                )),
            }),
            load: Some(balance_p2c::Load::PeakEwma(balance_p2c::PeakEwma {
                default_rtt: Some(millis(30)),
                decay: Some(seconds(10)),
            })),
        })),
    }
}

fn every_path() -> Vec<HttpRouteMatch> {
    vec![HttpRouteMatch {
        path: Some(PathMatch {
            kind: Some(path_match::Kind::Prefix("/".into())),
        }),
        ..HttpRouteMatch::default()
    }]
}

fn http_route(name: &str, backend: Backend) -> HttpRoute {
    use http_route::{Distribution, RouteBackend, Rule, distribution};
    let backends = vec![RouteBackend {
        backend: Some(backend),
        ..RouteBackend::default()
    }];
    HttpRoute {
        metadata: Some(default_metadata(name)),
        hosts: Vec::new(),
        rules: vec![Rule {
            matches: every_path(),
            backends: Some(Distribution {
                kind: Some(distribution::Kind::FirstAvailable(
                    distribution::FirstAvailable { backends },
                )),
            }),
            ..Rule::default()
        }],
    }
}

fn opaque_route(name: &str, backend: Backend) -> OpaqueRoute {
    use opaque_route::{Distribution, RouteBackend, Rule, distribution};
    let backends = vec![RouteBackend {
        backend: Some(backend),
        filters: Vec::new(),
    }];
    OpaqueRoute {
        metadata: Some(default_metadata(name)),
        rules: vec![Rule {
            backends: Some(Distribution {
                kind: Some(distribution::Kind::FirstAvailable(
                    distribution::FirstAvailable { backends },
                )),
            }),
            filters: Vec::new(),
        }],
    }
}

/// A port that the Service does not declare: HTTP gets a 403, anything else is closed.
fn forbidden(metadata: Metadata) -> OutboundPolicy {
    let http = || {
        use http_route::{Distribution, Filter, Rule, distribution, filter};
        let injector = HttpFailureInjector {
            status: 403,
            message: "the service does not declare this port".into(),
            ratio: Some(Ratio {
                numerator: 1,
                denominator: 1,
            }),
        };
        vec![HttpRoute {
            metadata: Some(default_metadata("undefined-port")),
            hosts: Vec::new(),
            rules: vec![Rule {
                matches: every_path(),
                filters: vec![Filter {
                    kind: Some(filter::Kind::FailureInjector(injector)),
                }],
                backends: Some(Distribution {
                    kind: Some(distribution::Kind::Empty(distribution::Empty {})),
                }),
                ..Rule::default()
            }],
        }]
    };
    let opaque = {
        use opaque_route::{Distribution, Filter, Rule, distribution, filter};
        OpaqueRoute {
            metadata: Some(default_metadata("undefined-port")),
            rules: vec![Rule {
                backends: Some(Distribution {
                    kind: Some(distribution::Kind::Empty(distribution::Empty {})),
                }),
                filters: vec![Filter {
                    kind: Some(filter::Kind::Forbidden(Forbidden {})),
                }],
            }],
        }
    };
    let detect = proxy_protocol::Detect {
        timeout: Some(seconds(10)),
        opaque: Some(proxy_protocol::Opaque {
            routes: vec![opaque],
        }),
        http1: Some(proxy_protocol::Http1 {
            routes: http(),
            failure_accrual: None,
        }),
        http2: Some(proxy_protocol::Http2 {
            routes: http(),
            failure_accrual: None,
        }),
    };
    OutboundPolicy {
        metadata: Some(metadata),
        protocol: Some(ProxyProtocol {
            kind: Some(proxy_protocol::Kind::Detect(detect)),
        }),
    }
}

#[cfg(test)]
mod tests;
