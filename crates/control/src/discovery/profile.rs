//! What a client is told about a destination before it asks for endpoints: its name, and whether its
//! protocol is looked into.
//!
//! Pure: what holds an address or name -> `DestinationProfile`.
use std::net::SocketAddr;

use tombolo_wire::proxy_api::destination::{DestinationProfile, RetryBudget, WeightedAddr};

use super::authority::Authority;
use super::endpoints::resource;
use super::model::{self, Pod, Service};
use super::view::View;

/// Retries that clients may add: Linkerd's defaults.
fn retry_budget() -> RetryBudget {
    RetryBudget {
        retry_ratio: 0.2,
        min_retries_per_second: 10,
        ttl: Some(prost_types::Duration {
            seconds: 10,
            nanos: 0,
        }),
    }
}

/// The profile of a Service; empty if it does not declare the port.
pub(crate) fn of_service(service: &Service, port: u16, domain: &str) -> DestinationProfile {
    if !service.ports.contains_key(&port) {
        return DestinationProfile::default();
    }
    DestinationProfile {
        fully_qualified_name: format!(
            "{}.{}.svc.{domain}",
            service.key.name, service.key.namespace
        ),
        opaque_protocol: model::is_opaque(service.opaque_ports.as_ref(), port),
        retry_budget: Some(retry_budget()),
        parent_ref: Some(resource("Service", &service.key, port)),
        ..DestinationProfile::default()
    }
}

/// The profile of one endpoint.
pub(crate) fn of_endpoint(endpoint: WeightedAddr, opaque: bool) -> DestinationProfile {
    DestinationProfile {
        endpoint: Some(endpoint),
        opaque_protocol: opaque,
        ..DestinationProfile::default()
    }
}

/// The profile of one host of a Service; `None` if there is no such host.
pub(crate) fn of_host(view: &View, authority: &Authority) -> Option<DestinationProfile> {
    let set = view.port(authority.port)?;
    let mut hosts = set.endpoints.values();
    let endpoint = hosts.find(|endpoint| endpoint.hostname == authority.hostname)?;
    let opaque = model::is_opaque(view.service.opaque_ports.as_ref(), authority.port);
    Some(of_endpoint(endpoint.told.clone(), opaque))
}

/// Whether a pod's port is opaque.
pub(crate) fn pod_is_opaque(pod: &Pod, addr: SocketAddr) -> bool {
    model::is_opaque(pod.opaque_ports.as_ref(), addr.port())
}
