//! Kubernetes objects, trimmed on arrival to what discovery keeps of them.
//!
//! Pure. Decides what a malformed field means: as if it were absent, never a panic.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod as KubePod, Service as KubeService};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use tombolo_core::keys;

use crate::discovery::exports::Export;
use crate::discovery::model::{
    ADMIN_PORT, Backend, Gateway, Key, Mesh, Pod, Port, PortSet, Reach, Resolution, Role, Service,
    Slice,
};
use crate::discovery::place;
use crate::discovery::servers::PolicyServer;

const CONTROL_NAMESPACE: &str = "linkerd.io/control-plane-ns";
const SKIP_INBOUND_PORTS: &str = "config.linkerd.io/skip-inbound-ports";
const INBOUND_POLICY: &str = "config.linkerd.io/default-inbound-policy";
const ENABLE_GATEWAY: &str = "config.linkerd.io/enable-gateway";
const ZONE: &str = "topology.kubernetes.io/zone";
const PROXY_CONTAINER: &str = "linkerd-proxy";

/// Namespace and name of an object; `None` if it has no name, which nothing served has.
pub(crate) fn key(meta: &ObjectMeta) -> Option<Key> {
    let name = meta.name.as_deref()?;
    Some(Key::new(meta.namespace.as_deref().unwrap_or(""), name))
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn opaque_ports(meta: &ObjectMeta) -> Option<PortSet> {
    annotation(meta, keys::OPAQUE_PORTS).map(PortSet::parse)
}

fn shared(text: Option<&str>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty()).map(Arc::from)
}

/// A Service.
pub(crate) fn service(object: &KubeService) -> Option<Service> {
    let meta = &object.metadata;
    let key = key(meta)?;
    let spec = object.spec.as_ref();
    let headless = |ip: Option<&str>| ip.is_some_and(|ip| ip == "None");
    let reach = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("ExternalName") => Reach::ExternalName,
        _ if headless(spec.and_then(|spec| spec.cluster_ip.as_deref())) => Reach::Headless,
        _ => Reach::ClusterIp,
    };
    let mut ips: Vec<IpAddr> = spec
        .into_iter()
        .flat_map(|spec| {
            spec.cluster_ip
                .iter()
                .chain(spec.cluster_ips.iter().flatten())
        })
        .filter_map(|ip| ip.parse().ok())
        .collect();
    ips.sort_unstable();
    ips.dedup();
    let ports = spec
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let tcp = ports.iter().filter(|port| {
        port.protocol
            .as_deref()
            .is_none_or(|protocol| protocol == "TCP")
    });
    let ports = tcp.filter_map(|port| {
        let number = u16::try_from(port.port).ok().filter(|number| *number > 0)?;
        let declared = Port {
            name: port.name.clone().unwrap_or_default(),
            app_protocol: port.app_protocol.clone(),
        };
        Some((number, declared))
    });
    Some(Service {
        reach,
        ips,
        ports: ports.collect(),
        resolution: resolution(meta),
        opaque_ports: opaque_ports(meta),
        traffic: match spec.and_then(|spec| spec.internal_traffic_policy.as_deref()) {
            Some("Local") => place::Reach::Node,
            Some(_) | None => place::Reach::Cluster,
        },
        export: meta.labels.as_ref().map_or(Export::Kept, Export::of),
        key,
    })
}

/// Federated before flat before local.
fn resolution(meta: &ObjectMeta) -> Resolution {
    let local = annotation(meta, keys::LOCAL_DISCOVERY);
    let remote = annotation(meta, keys::REMOTE_DISCOVERY);
    if local.is_some() || remote.is_some() {
        let entry = |entry: &str| {
            let (service, cluster) = entry.trim().split_once('@')?;
            let whole = !service.is_empty() && !cluster.is_empty() && !cluster.contains('@');
            whole.then(|| (Arc::from(cluster), Arc::from(service)))
        };
        let mut members: Vec<_> = remote
            .unwrap_or_default()
            .split(',')
            .filter_map(entry)
            .collect();
        members.sort_unstable();
        members.dedup();
        return Resolution::Federated {
            local: shared(local),
            remote: members,
        };
    }
    match shared(label(meta, keys::REMOTE_DISCOVERY)) {
        Some(cluster) => Resolution::Remote {
            cluster,
            service: shared(label(meta, keys::REMOTE_SERVICE)),
        },
        None => Resolution::Local,
    }
}

/// An EndpointSlice; `None` if it belongs to no Service.
pub(crate) fn slice(object: &EndpointSlice) -> Option<Slice> {
    let meta = &object.metadata;
    let key = key(meta)?;
    let owner = || {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        owners
            .iter()
            .find(|owner| owner.kind == "Service")
            .map(|owner| owner.name.as_str())
    };
    let service = label(meta, keys::SLICE_SERVICE).or_else(owner)?;
    let gateway = Gateway {
        cluster: shared(label(meta, keys::CLUSTER_NAME)),
        fq_name: shared(annotation(meta, keys::REMOTE_FQ_NAME)),
        identity: shared(annotation(meta, keys::GATEWAY_IDENTITY)),
    };
    let ports = object.ports.as_deref().unwrap_or_default();
    let tcp = ports.iter().filter(|port| {
        port.protocol
            .as_deref()
            .is_none_or(|protocol| protocol == "TCP")
    });
    let ports: BTreeMap<String, u16> = tcp
        .filter_map(|port| {
            let number = u16::try_from(port.port?)
                .ok()
                .filter(|number| *number > 0)?;
            Some((port.name.clone().unwrap_or_default(), number))
        })
        .collect();
    let is_ready = |endpoint: &&Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|c| c.ready).unwrap_or(true)
    };
    let all = || object.endpoints.iter().flatten();
    let unready = all().filter(|endpoint| !is_ready(endpoint));
    let unready = unready.map(|endpoint| shared(endpoint.hostname.as_deref()));
    let named = all().any(|endpoint| endpoint.hostname.is_some());
    let ready = all().filter(is_ready);
    let endpoints = ready.filter_map(|endpoint| {
        let pod = endpoint
            .target_ref
            .as_ref()
            .filter(|target| target.kind.as_deref() == Some("Pod") && target.name.is_some());
        Some(Backend {
            // All addresses of an entry are the same backend; Kubernetes itself uses the first.
            ip: endpoint.addresses.first()?.parse().ok()?,
            hostname: shared(endpoint.hostname.as_deref()),
            zone: shared(endpoint.zone.as_deref()),
            node: shared(endpoint.node_name.as_deref()),
            for_zones: for_zones(endpoint),
            pod: pod.map(|target| {
                let namespace = target.namespace.as_deref().unwrap_or(&key.namespace);
                Key::new(namespace, target.name.as_deref().unwrap_or_default())
            }),
        })
    });
    Some(Slice {
        endpoints: endpoints.collect(),
        unready: unready.collect(),
        version: shared(meta.resource_version.as_deref().filter(|_| named)),
        service: service.into(),
        gateway: (gateway != Gateway::default()).then_some(gateway),
        ports,
        key,
    })
}

fn for_zones(endpoint: &Endpoint) -> Vec<Arc<str>> {
    let hints = endpoint.hints.as_ref();
    let zones = hints.and_then(|hints| hints.for_zones.as_deref());
    let names = zones
        .unwrap_or_default()
        .iter()
        .map(|zone| zone.name.as_str());
    names.map(Arc::from).collect()
}

/// The zone of a node, by its name.
pub(crate) fn node(meta: &ObjectMeta) -> Option<(Key, Option<Arc<str>>)> {
    Some((key(meta)?, shared(label(meta, ZONE))))
}

/// A Pod.
pub(crate) fn pod(object: &KubePod) -> Option<Pod> {
    let meta = &object.metadata;
    let key = key(meta)?;
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let on_host = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let over = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    let mut ips: Vec<IpAddr> = status
        .filter(|_| !on_host && !over)
        .into_iter()
        .flat_map(|status| {
            let more = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
            status.pod_ip.iter().chain(more)
        })
        .filter_map(|ip| ip.parse().ok())
        .collect();
    ips.sort_unstable();
    ips.dedup();
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    Some(Pod {
        ips,
        node: shared(spec.and_then(|spec| spec.node_name.as_deref())),
        service_account: account.into(),
        owner: owner(meta),
        labels: meta.labels.clone().unwrap_or_default(),
        ports: named_ports(object),
        template_hash: label(meta, "pod-template-hash").map(str::to_owned),
        mesh: mesh(object),
        inbound_policy: annotation(meta, INBOUND_POLICY).map(str::to_owned),
        opaque_ports: opaque_ports(meta),
        key,
    })
}

fn named_ports(object: &KubePod) -> BTreeMap<String, u16> {
    let containers = object.spec.iter().flat_map(|spec| {
        let init = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(init)
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?)))
        .collect()
}

/// A Server of Linkerd's policy; `None` if it selects nothing.
pub(crate) fn server(object: &DynamicObject) -> Option<PolicyServer> {
    PolicyServer::read(key(&object.metadata)?, &object.data["spec"])
}

/// What owns a pod, as metrics name it: a ReplicaSet stands for its Deployment.
fn owner(meta: &ObjectMeta) -> Option<(String, String)> {
    let owners = meta.owner_references.as_deref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let hash = label(meta, "pod-template-hash");
    let deployment = hash
        .filter(|_| owner.kind == "ReplicaSet")
        .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
    Some(match deployment {
        Some(name) => ("deployment".into(), name.into()),
        None => (owner.kind.to_lowercase(), owner.name.clone()),
    })
}

fn mesh(object: &KubePod) -> Option<Mesh> {
    let meta = &object.metadata;
    let control_namespace = label(meta, CONTROL_NAMESPACE).filter(|ns| !ns.is_empty())?;
    let spec = object.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| {
        let init = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(init)
    });
    let proxy = { containers }.find(|container| container.name == PROXY_CONTAINER);
    let env = |name: &str| {
        let vars = proxy.and_then(|proxy| proxy.env.as_deref())?;
        let value = vars.iter().find(|var| var.name == name)?.value.as_deref()?;
        value.rsplit_once(':')?.1.parse::<u16>().ok()
    };
    let gateway = annotation(meta, ENABLE_GATEWAY) == Some("true");
    Some(Mesh {
        control_namespace: control_namespace.to_owned(),
        inbound_port: env("LINKERD2_PROXY_INBOUND_LISTEN_ADDR").filter(|port| *port > 0),
        admin_port: env("LINKERD2_PROXY_ADMIN_LISTEN_ADDR").unwrap_or(ADMIN_PORT),
        skipped_ports: annotation(meta, SKIP_INBOUND_PORTS)
            .map(PortSet::parse)
            .unwrap_or_default(),
        role: if gateway {
            Role::Gateway
        } else {
            Role::Sidecar
        },
    })
}

#[cfg(test)]
mod tests;
