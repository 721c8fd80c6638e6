//! One endpoint as proxies are told about it: address, identity, protocol, labels.
//!
//! Decides how a slice's entry and its pod become a `WeightedAddr`. Knows nothing of streams.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tombolo_wire::labels;
use tombolo_wire::proxy_api::destination::{
    AuthorityOverride, Http2ClientParams, ProtocolHint, TlsIdentity, WeightedAddr,
    http2_client_params::KeepAlive, protocol_hint, tls_identity,
};
use tombolo_wire::proxy_api::meta::{Metadata, Resource, metadata};
use tombolo_wire::proxy_api::net::TcpAddress;

use super::inventory::Inventory;
use super::model::{self, Backend, Gateway, Key, Pod, Service, Slice};
use super::place::Place;
use crate::identity::name::Scheme;

/// Every endpoint has the same weight: Linkerd's unit.
const WEIGHT: u32 = 10_000;

/// An endpoint, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Endpoint {
    /// What proxies are told.
    pub(crate) told: WeightedAddr,
    /// Its host name within the Service.
    pub(crate) hostname: Option<Arc<str>>,
    /// The pod that it is, with the name of its cluster.
    pub(crate) pod: Option<(Arc<str>, Key)>,
    /// Where it is, if it is of the own cluster.
    pub(crate) place: Option<Place>,
}

/// Endpoints by address, so that every answer has one order.
pub(crate) type Endpoints = BTreeMap<SocketAddr, Endpoint>;

/// A cluster as endpoints see it.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Its objects.
    pub(crate) inventory: &'a Inventory,
    /// Its name as failure domain.
    pub(crate) cluster: &'a str,
    /// How its identities are formed.
    pub(crate) scheme: &'a Scheme,
    /// Whether it is the one in which clients are.
    pub(crate) side: Side,
}

/// Which cluster an endpoint is of, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Their own: what its owner says of nodes and zones holds for them.
    Own,
    /// Another one.
    Other,
}

/// What the far side of a gateway is called here: its failure domain, or `None` if it is dead.
pub(crate) type FarSide<'a> = &'a dyn Fn(&str) -> Option<Arc<str>>;

/// Adds the endpoints of `service` for `port`; an address that is there already stays as it is.
pub(crate) fn collect(
    origin: Origin<'_>,
    service: &Service,
    port: u16,
    far_side: FarSide<'_>,
    into: &mut Endpoints,
) {
    for slice in origin.inventory.slices(&service.key) {
        let Some(number) = port_on(slice, service, port) else {
            continue;
        };
        for backend in &slice.endpoints {
            let addr = SocketAddr::new(backend.ip, number);
            let told = match &backend.pod {
                Some(pod) => origin
                    .inventory
                    .pod(pod)
                    .and_then(|pod| of_pod(origin, pod, backend, addr)),
                None => of_gateway(origin, slice.gateway.as_ref(), (addr, port), far_side),
            };
            if let Some(told) = told {
                let pod = backend.pod.as_ref();
                let place = || place(origin, service, backend);
                into.entry(addr).or_insert_with(|| Endpoint {
                    told,
                    hostname: backend.hostname.clone(),
                    pod: pod.map(|pod| (origin.cluster.into(), pod.clone())),
                    place: (origin.side == Side::Own).then(place),
                });
            }
        }
    }
}

fn place(origin: Origin<'_>, service: &Service, backend: &Backend) -> Place {
    let pod = || origin.inventory.pod(backend.pod.as_ref()?)?.node.clone();
    Place {
        node: backend.node.clone().or_else(pod),
        for_zones: backend.for_zones.clone(),
        reach: service.traffic,
    }
}

/// Of a pod with addresses of both families, clients are told the IPv6 one, as Linkerd tells them.
pub(crate) fn one_per_pod(endpoints: &mut Endpoints) {
    let both = endpoints.iter().filter(|(addr, _)| addr.is_ipv6());
    let both: BTreeSet<_> = both
        .filter_map(|(addr, endpoint)| Some((endpoint.pod.clone()?, addr.port())))
        .collect();
    if both.is_empty() {
        return;
    }
    endpoints.retain(|addr, endpoint| {
        let pod = endpoint.pod.clone().filter(|_| addr.is_ipv4());
        pod.is_none_or(|pod| !both.contains(&(pod, addr.port())))
    });
}

/// The same endpoints on a port that their Service does not declare: taken as it is, as Linkerd takes it.
pub(crate) fn on_port(endpoints: &Endpoints, port: u16) -> Endpoints {
    let moved = endpoints.iter().map(|(addr, endpoint)| {
        let addr = SocketAddr::new(addr.ip(), port);
        let mut endpoint = endpoint.clone();
        endpoint.told.addr = Some(tcp(addr));
        if let Some(authority) = &mut endpoint.told.authority_override
            && let Some((name, _)) = authority.authority_override.rsplit_once(':')
        {
            authority.authority_override = format!("{name}:{port}");
        }
        (addr, endpoint)
    });
    moved.collect()
}

/// A pod on its own, as `GetProfile` and outbound policy of a pod's address show it.
pub(crate) fn alone(origin: Origin<'_>, pod: &Pod, addr: SocketAddr) -> WeightedAddr {
    let backend = Backend {
        ip: addr.ip(),
        hostname: None,
        zone: None,
        node: None,
        for_zones: Vec::new(),
        pod: Some(pod.key.clone()),
    };
    of_pod(origin, pod, &backend, addr).unwrap_or_else(|| plain(addr))
}

/// An address of which nothing is known.
pub(crate) fn plain(addr: SocketAddr) -> WeightedAddr {
    WeightedAddr {
        addr: Some(tcp(addr)),
        weight: WEIGHT,
        ..WeightedAddr::default()
    }
}

/// An address in the wire's form.
pub(crate) fn tcp(addr: SocketAddr) -> TcpAddress {
    TcpAddress {
        ip: Some(addr.ip().into()),
        port: u32::from(addr.port()),
    }
}

/// A reference to an object of the core group.
pub(crate) fn resource(kind: &str, key: &Key, port: u16) -> Metadata {
    Metadata {
        kind: Some(metadata::Kind::Resource(Resource {
            group: "core".into(),
            kind: kind.into(),
            name: key.name.to_string(),
            namespace: key.namespace.to_string(),
            section: String::new(),
            port: u32::from(port),
        })),
    }
}

/// A declared port is looked up by its name; any other number is taken as it is.
fn port_on(slice: &Slice, service: &Service, port: u16) -> Option<u16> {
    match service.ports.get(&port) {
        Some(declared) => slice.ports.get(&declared.name).copied(),
        None => Some(port),
    }
}

fn of_pod(
    origin: Origin<'_>,
    pod: &Pod,
    backend: &Backend,
    addr: SocketAddr,
) -> Option<WeightedAddr> {
    let mut told = plain(addr);
    told.resource_ref = Some(resource("Pod", &pod.key, 0));
    let mut put = |key: &str, value: &str| {
        told.metric_labels.insert(key.into(), value.into());
    };
    put(labels::CLUSTER, origin.cluster);
    put("pod", &pod.key.name);
    put("serviceaccount", &pod.service_account);
    if let Some((kind, name)) = &pod.owner {
        put(kind, name);
    }
    if let Some(hash) = &pod.template_hash {
        put("pod_template_hash", hash);
    }
    if let Some(zone) = &backend.zone {
        put(labels::ZONE, zone);
    }
    let Some(mesh) = &pod.mesh else {
        return Some(told);
    };
    if mesh.skipped_ports.contains(addr.port()) {
        return Some(told);
    }
    // A pod whose proxy cannot be understood would be sent traffic that it cannot read.
    let inbound_port = mesh.inbound_port?;
    put("control_plane_ns", &mesh.control_namespace);
    let control = &mesh.control_namespace;
    if !origin.scheme.includes(control) {
        return Some(told);
    }
    let account = (&*pod.key.namespace, &*pod.service_account);
    let identity = origin.scheme.identity_by(control, account);
    let opaque = model::is_opaque(pod.opaque_ports.as_ref(), addr.port())
        || origin.inventory.is_opaque(pod, addr.port());
    told.protocol_hint = Some(ProtocolHint {
        protocol: Some(if opaque {
            protocol_hint::Protocol::Opaque(protocol_hint::Opaque {})
        } else {
            protocol_hint::Protocol::H2(protocol_hint::H2 {})
        }),
        opaque_transport: (addr.port() != mesh.admin_port).then(|| {
            protocol_hint::OpaqueTransport {
                inbound_port: u32::from(inbound_port),
            }
        }),
    });
    let dns = tls_identity::DnsLikeIdentity { name: identity };
    told.tls_identity = Some(TlsIdentity {
        server_name: Some(dns.clone()),
        strategy: Some(tls_identity::Strategy::DnsLikeIdentity(dns)),
    });
    told.http2 = Some(meshed_http2());
    Some(told)
}

fn of_gateway(
    origin: Origin<'_>,
    gateway: Option<&Gateway>,
    (addr, requested): (SocketAddr, u16),
    far_side: FarSide<'_>,
) -> Option<WeightedAddr> {
    let mut told = plain(addr);
    let Some(gateway) = gateway else {
        told.metric_labels
            .insert(labels::CLUSTER.into(), origin.cluster.into());
        return Some(told);
    };
    let cluster = match &gateway.cluster {
        Some(cluster) => far_side(cluster)?,
        None => origin.cluster.into(),
    };
    told.metric_labels
        .insert(labels::CLUSTER.into(), cluster.to_string());
    if let Some(identity) = &gateway.identity {
        let dns = tls_identity::DnsLikeIdentity {
            name: identity.to_string(),
        };
        told.tls_identity = Some(TlsIdentity {
            server_name: None,
            strategy: Some(tls_identity::Strategy::DnsLikeIdentity(dns)),
        });
        told.protocol_hint = Some(ProtocolHint {
            protocol: Some(protocol_hint::Protocol::H2(protocol_hint::H2 {})),
            opaque_transport: None,
        });
        told.http2 = Some(meshed_http2());
    }
    told.authority_override = gateway.fq_name.as_ref().map(|name| AuthorityOverride {
        authority_override: format!("{name}:{requested}"),
    });
    Some(told)
}

/// Keep-alive of connections between proxies: Linkerd's defaults; a proxy may know better.
fn meshed_http2() -> Http2ClientParams {
    let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
    Http2ClientParams {
        keep_alive: Some(KeepAlive {
            interval: Some(seconds(10)),
            timeout: Some(seconds(3)),
            while_idle: true,
        }),
        ..Http2ClientParams::default()
    }
}
