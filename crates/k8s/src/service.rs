//! Service objects, into the domain: whose they are, and what of them a planner reads.
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service as ServiceObject, ServicePort as PortObject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use tombolo_core::keys::{EXPORTED, FEDERATED, MIRRORED_SERVICE};
use tombolo_core::left;
use tombolo_core::link::Link;
use tombolo_core::name::{Namespace, ServiceName};
use tombolo_core::service::{
    ManagedService, Protocol, Service, ServiceKey, ServiceKind, ServicePort, TargetPort,
};
use tombolo_core::world::{LocalService, Uid};

use crate::names;
use crate::ownership::{self, Owned};

/// The key of a Service; none where it has no proper one, which no API server serves.
#[must_use]
pub fn key(metadata: &ObjectMeta) -> Option<ServiceKey> {
    let namespace = Namespace::parse(metadata.namespace.as_deref()?).ok()?;
    let name = ServiceName::parse(metadata.name.as_deref()?).ok()?;
    Some(ServiceKey { namespace, name })
}

/// A Service of the local cluster, and whether it is ours.
#[must_use]
pub fn local(object: &ServiceObject) -> Option<(ServiceKey, LocalService)> {
    let key = key(&object.metadata)?;
    let Some(uid) = object.metadata.uid.as_deref() else {
        return Some((key, LocalService::Foreign(service(object))));
    };
    let (uid, addresses) = (Uid(uid.into()), addresses(object));
    if let Some(owned) = Owned::of(&object.metadata) {
        let managed = managed(object, owned);
        let ours = LocalService::Ours {
            uid,
            addresses,
            managed,
        };
        return Some((key, ours));
    }
    let whole = service(object);
    let local = if left::is_left(&key, &whole.labels, &whole.annotations) {
        let Service {
            kind,
            labels,
            annotations,
            ports,
        } = whole;
        let managed = ManagedService {
            kind,
            labels,
            annotations,
            ports,
        };
        LocalService::Left {
            uid,
            addresses,
            managed,
        }
    } else {
        LocalService::Foreign(whole)
    };
    Some((key, local))
}

/// Whether a Service of ours was made by a Linkerd, and taken over.
#[must_use]
pub fn was_taken_over(object: &ServiceObject) -> bool {
    let entries = object.metadata.managed_fields.iter().flatten();
    { entries }.any(|entry| entry.manager.as_deref() == Some(names::TAKEN_OVER_MANAGER))
}

/// A Service of another cluster.
#[must_use]
pub fn remote(object: &ServiceObject) -> Option<(ServiceKey, Service)> {
    Some((key(&object.metadata)?, service(object)))
}

/// Whether a planner wants to see this Service of another cluster: it carries an export label,
/// whatever its value, or one of the Link's selectors matches; and it is not itself derived.
#[must_use]
pub fn is_of_interest(service: &Service, link: &Link) -> bool {
    let labels = &service.labels;
    if labels
        .get(MIRRORED_SERVICE)
        .is_some_and(|value| value == "true")
    {
        return false;
    }
    labels.contains_key(EXPORTED)
        || labels.contains_key(FEDERATED)
        || link.gateway_selector.matches(labels)
        || link.flat_selector.matches(labels)
        || link.federated_selector.matches(labels)
}

/// Drops what neither planners nor discovery read, for objects that are kept in memory.
pub fn trim(object: &mut ServiceObject) {
    ownership::trim(&mut object.metadata);
    object.status = None;
}

fn service(object: &ServiceObject) -> Service {
    let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    Service {
        kind: kind(object),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        annotations,
        ports: ports(object).filter_map(port).collect(),
    }
}

fn kind(object: &ServiceObject) -> ServiceKind {
    match &object.spec {
        Some(spec) if spec.type_.as_deref() == Some("ExternalName") => ServiceKind::ExternalName,
        Some(spec) if spec.cluster_ip.as_deref() == Some("None") => ServiceKind::Headless,
        Some(_) | None => ServiceKind::ClusterIp,
    }
}

/// The addresses that the cluster gave a Service.
fn addresses(object: &ServiceObject) -> Vec<IpAddr> {
    let spec = object.spec.iter();
    let all = spec.flat_map(|spec| match &spec.cluster_ips {
        Some(all) => all.as_slice(),
        None => spec.cluster_ip.as_slice(),
    });
    all.filter_map(|ip| ip.parse().ok()).collect()
}

fn managed(object: &ServiceObject, owned: Owned<'_>) -> ManagedService {
    let ours = ports(object).filter(|port| owns_port(owned, port));
    ManagedService {
        kind: kind(object),
        labels: owned.labels(&object.metadata),
        annotations: owned.annotations(&object.metadata),
        ports: ours.filter_map(port).collect(),
    }
}

/// A port is ours only whole: if somebody changed one field of it, we want it back.
fn owns_port(owned: Owned<'_>, port: &PortObject) -> bool {
    let Some(ports) = owned.at(&["f:spec", "f:ports"]).and_then(Value::as_object) else {
        return false;
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let is_it = |key: &str| {
        let key = key
            .strip_prefix("k:")
            .and_then(|k| serde_json::from_str::<Value>(k).ok());
        key.is_some_and(|key| key["port"] == port.port && key["protocol"] == protocol)
    };
    let Some((_, fields)) = ports.iter().find(|(key, _)| is_it(key)) else {
        return false;
    };
    let has = |field: &str| fields.get(field).is_some();
    has("f:targetPort") && (port.name.is_none() || has("f:name"))
}

fn ports(object: &ServiceObject) -> impl Iterator<Item = &PortObject> {
    object
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
}

fn port(object: &PortObject) -> Option<ServicePort> {
    let port = u16::try_from(object.port).ok()?;
    let target = match &object.target_port {
        Some(IntOrString::Int(number)) => TargetPort::Number(u16::try_from(*number).ok()?),
        Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
        None => TargetPort::Number(port),
    };
    let name = object.name.clone().filter(|name| !name.is_empty());
    Some(ServicePort {
        name,
        protocol: protocol(object.protocol.as_deref()),
        port,
        target,
    })
}

pub(crate) fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) | None => Protocol::Tcp,
    }
}
