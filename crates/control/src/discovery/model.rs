//! What discovery keeps of Kubernetes objects: the fields that an answer depends on, no more.
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::exports::Export;
use super::place;

/// Namespace and name of a namespaced object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// The namespace.
    pub(crate) namespace: Arc<str>,
    /// The name.
    pub(crate) name: Arc<str>,
}

impl Key {
    /// The key of the object `name` in `namespace`.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The object of that name in the same namespace.
    pub(crate) fn sibling(&self, name: &Arc<str>) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(name),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By a cluster address.
    ClusterIp,
    /// By the addresses of its pods.
    Headless,
    /// By a DNS name elsewhere: not by us.
    ExternalName,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its namespace and name.
    pub(crate) key: Key,
    /// How it is reached.
    pub(crate) reach: Reach,
    /// Its cluster addresses.
    pub(crate) ips: Vec<IpAddr>,
    /// Its TCP ports: number and name (empty if it has none).
    pub(crate) ports: BTreeMap<u16, Port>,
    /// Where it is resolved.
    pub(crate) resolution: Resolution,
    /// Ports that are not looked into; `None` leaves the default list in force.
    pub(crate) opaque_ports: Option<PortSet>,
    /// How far traffic within its own cluster may go.
    pub(crate) traffic: place::Reach,
    /// Whether it is there for other clusters.
    pub(crate) export: Export,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its name, by which slices refer to it; empty if it has none.
    pub(crate) name: String,
    /// The protocol that its owner declared.
    pub(crate) app_protocol: Option<String>,
}

/// Where the endpoints of a Service come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Its own EndpointSlices.
    Local,
    /// A Service of another cluster, in the namespace of the same name.
    Remote {
        /// The cluster, as its Link calls it.
        cluster: Arc<str>,
        /// The Service there; `None` if the label is missing.
        service: Option<Arc<str>>,
    },
    /// A union of Services of the same namespace name, here and elsewhere.
    Federated {
        /// The local member.
        local: Option<Arc<str>>,
        /// Remote members: cluster and Service, sorted.
        remote: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Its namespace and name.
    pub(crate) key: Key,
    /// The Service it belongs to.
    pub(crate) service: Arc<str>,
    /// What a gateway mirror's slice says about the far side.
    pub(crate) gateway: Option<Gateway>,
    /// Its ports by name; a port without number is left out.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Its ready endpoints.
    pub(crate) endpoints: Vec<Backend>,
    /// The host names of the others, where they have one.
    pub(crate) unready: Vec<Option<Arc<str>>>,
    /// Its resourceVersion, if any endpoint has a host name; else it is of no interest.
    pub(crate) version: Option<Arc<str>>,
}

/// What the slice of a gateway mirror says about the far side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// The cluster behind the gateway, as its Link calls it.
    pub(crate) cluster: Option<Arc<str>>,
    /// The name of the Service in that cluster, without port.
    pub(crate) fq_name: Option<Arc<str>>,
    /// The identity of the gateway.
    pub(crate) identity: Option<Arc<str>>,
}

/// One ready endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its host name within the Service.
    pub(crate) hostname: Option<Arc<str>>,
    /// Its zone.
    pub(crate) zone: Option<Arc<str>>,
    /// Its node.
    pub(crate) node: Option<Arc<str>>,
    /// The zones that it is meant for; none: nobody said.
    pub(crate) for_zones: Vec<Arc<str>>,
    /// The pod that it is.
    pub(crate) pod: Option<Key>,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its namespace and name.
    pub(crate) key: Key,
    /// Its addresses, unless it uses its node's.
    pub(crate) ips: Vec<IpAddr>,
    /// The node that it is on.
    pub(crate) node: Option<Arc<str>>,
    /// Its service account.
    pub(crate) service_account: Arc<str>,
    /// Kind (lower case) and name of what owns it.
    pub(crate) owner: Option<(String, String)>,
    /// Its labels, by which Servers select it.
    pub(crate) labels: BTreeMap<String, String>,
    /// The ports of its containers that have a name.
    pub(crate) ports: BTreeMap<String, u16>,
    /// The label `pod-template-hash`.
    pub(crate) template_hash: Option<String>,
    /// Its proxy, if it has one.
    pub(crate) mesh: Option<Mesh>,
    /// The annotation `config.linkerd.io/default-inbound-policy`.
    pub(crate) inbound_policy: Option<String>,
    /// Ports that are not looked into; `None` leaves the default list in force.
    pub(crate) opaque_ports: Option<PortSet>,
}

/// What a pod's proxy is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mesh {
    /// The namespace of the control plane that it belongs to.
    pub(crate) control_namespace: String,
    /// The port of its inbound listener; `None` if its environment cannot be read.
    pub(crate) inbound_port: Option<u16>,
    /// The port of its admin listener.
    pub(crate) admin_port: u16,
    /// Ports that its proxy does not see.
    pub(crate) skipped_ports: PortSet,
    /// Whether it is a gateway.
    pub(crate) role: Role,
}

/// What a proxy is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves the pod that it is in.
    Sidecar,
    /// It forwards for other clusters.
    Gateway,
}

/// A set of ports, written as `80,443,8000-8010`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// Reads a list; entries that are no port and no range are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let range = |entry: &str| {
            let (from, to) = entry.split_once('-').unwrap_or((entry, entry));
            let from: u16 = from.trim().parse().ok()?;
            let to: u16 = to.trim().parse().ok()?;
            (from <= to && from > 0).then_some((from, to))
        };
        Self(text.split(',').filter_map(range).collect())
    }

    /// Whether `port` is in the set.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&port))
    }
}

/// Whether `port` is opaque, given what was declared: the default list stands where nothing was.
pub(crate) fn is_opaque(declared: Option<&PortSet>, port: u16) -> bool {
    match declared {
        Some(set) => set.contains(port),
        None => OPAQUE_BY_DEFAULT.contains(&port),
    }
}

/// The admin port of a proxy, unless its environment says another.
pub(crate) const ADMIN_PORT: u16 = 4191;

/// Ports on which the server speaks first: SMTP, MySQL, Galera, PostgreSQL, Redis, Elasticsearch, memcached.
const OPAQUE_BY_DEFAULT: [u16; 8] = [25, 587, 3306, 4444, 5432, 6379, 9300, 11211];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_sets_hold_numbers_and_ranges_and_pass_over_nonsense() {
        let set = PortSet::parse("80, 8000-8002,x,9-3,70000,");
        for (port, want) in [
            (80, true),
            (8000, true),
            (8002, true),
            (8003, false),
            (9, false),
        ] {
            assert_eq!(set.contains(port), want, "{port}");
        }
    }

    #[test]
    fn a_declared_list_replaces_the_default_one() {
        assert!(is_opaque(None, 3306));
        assert!(!is_opaque(Some(&PortSet::parse("")), 3306));
        assert!(is_opaque(Some(&PortSet::parse("8080")), 8080));
    }
}
