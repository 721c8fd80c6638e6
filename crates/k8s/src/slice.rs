//! EndpointSlice objects, into the domain: ours as planners compare them, others' as readiness.
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use tombolo_core::keys::{CLUSTER_NAME, MIRRORED_SERVICE, SLICE_MANAGED_BY, SLICE_SERVICE};
use tombolo_core::name::{Hostname, Namespace, ServiceName};
use tombolo_core::service::{
    ManagedSlice, Readiness, ServiceKey, SliceEndpoint, SliceKey, SlicePort,
};
use tombolo_core::world::{LocalSlice, Uid};

use crate::ownership::{self, Owned};
use crate::service::protocol;

/// Who makes slices of Endpoints.
const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";

/// A slice of the local cluster under a name that we give, and whether it is ours; none for others.
#[must_use]
pub fn local(object: &EndpointSlice) -> Option<(SliceKey, LocalSlice)> {
    let namespace = Namespace::parse(object.metadata.namespace.as_deref()?).ok()?;
    let key = SliceKey::parse(&namespace, object.metadata.name.as_deref()?)?;
    let owned = Owned::of(&object.metadata).zip(object.metadata.uid.as_deref());
    let local = match owned {
        // A slice of one family under the name of the other cannot be made right.
        Some((owned, uid)) if object.address_type == key.family.address_type() => {
            LocalSlice::Ours {
                uid: Uid(uid.into()),
                managed: managed(object, owned),
            }
        }
        Some(_) | None => LocalSlice::Foreign,
    };
    Some((key, local))
}

/// The Service whose endpoints a slice holds.
#[must_use]
pub fn service(object: &EndpointSlice) -> Option<ServiceKey> {
    let namespace = Namespace::parse(object.metadata.namespace.as_deref()?).ok()?;
    let name = object.metadata.labels.as_ref()?.get(SLICE_SERVICE)?;
    Some(ServiceKey {
        namespace,
        name: ServiceName::parse(name).ok()?,
    })
}

/// The Service and the name of a slice that Kubernetes made of Endpoints that a Linkerd wrote.
#[must_use]
pub fn of_old_endpoints(object: &EndpointSlice) -> Option<(ServiceKey, String)> {
    let labels = object.metadata.labels.as_ref()?;
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let old = is(SLICE_MANAGED_BY, MIRRORING_CONTROLLER)
        && is(MIRRORED_SERVICE, "true")
        && labels.contains_key(CLUSTER_NAME);
    let name = object.metadata.name.clone()?;
    old.then(|| service(object))?.map(|service| (service, name))
}

/// Whether a slice has an endpoint that takes traffic.
#[must_use]
pub fn readiness(object: &EndpointSlice) -> Readiness {
    let ready = |endpoint: &Endpoint| {
        !endpoint.addresses.is_empty() && endpoint_readiness(endpoint) == Readiness::Ready
    };
    if object.endpoints.iter().flatten().any(ready) {
        Readiness::Ready
    } else {
        Readiness::NotReady
    }
}

/// Drops what neither planners nor discovery read, for objects that are kept in memory.
pub fn trim(object: &mut EndpointSlice) {
    ownership::trim(&mut object.metadata);
}

fn managed(object: &EndpointSlice, owned: Owned<'_>) -> ManagedSlice {
    let endpoints = if owned.has(&["f:endpoints"]) {
        endpoints(object)
    } else {
        Vec::new()
    };
    let ports = if owned.has(&["f:ports"]) {
        ports(object)
    } else {
        Vec::new()
    };
    ManagedSlice {
        labels: owned.labels(&object.metadata),
        annotations: owned.annotations(&object.metadata),
        ports,
        endpoints,
    }
}

fn endpoints(object: &EndpointSlice) -> Vec<SliceEndpoint> {
    let addresses = object.endpoints.iter().flatten().flat_map(|endpoint| {
        let addresses = endpoint.addresses.iter();
        addresses.map(move |address| (address, endpoint))
    });
    let parsed = addresses.filter_map(|(address, endpoint)| {
        let hostname = endpoint.hostname.as_deref();
        Some(SliceEndpoint {
            address: address.parse::<IpAddr>().ok()?,
            hostname: hostname.and_then(|name| Hostname::parse(name).ok()),
            readiness: endpoint_readiness(endpoint),
        })
    });
    parsed.collect()
}

/// Kubernetes asks readers to take an unknown readiness as ready.
fn endpoint_readiness(endpoint: &Endpoint) -> Readiness {
    match endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
    {
        Some(false) => Readiness::NotReady,
        Some(true) | None => Readiness::Ready,
    }
}

fn ports(object: &EndpointSlice) -> Vec<SlicePort> {
    let parsed = object.ports.iter().flatten().filter_map(|port| {
        Some(SlicePort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            protocol: protocol(port.protocol.as_deref()),
            port: u16::try_from(port.port?).ok()?,
        })
    });
    parsed.collect()
}
