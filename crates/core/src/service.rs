//! Services as planners see them: what an owner exports, and the part of a Service or EndpointSlice
//! that we manage. Nothing here decides; nothing knows how they are written in Kubernetes.
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::name::{Hostname, Namespace, ServiceName};

/// Labels, or annotations, of one object.
pub type Labels = BTreeMap<String, String>;

/// A Service of one cluster: the same namespace in every cluster (namespace sameness).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ServiceName,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Where a Service's port leads in its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of a container port.
    Name(String),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; absent only where it is the Service's only port.
    pub name: Option<String>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The number that clients use.
    pub port: u16,
    /// Where it leads.
    pub target: TargetPort,
}

/// What kind of address a Service has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// One virtual address (also NodePort and LoadBalancer).
    #[default]
    ClusterIp,
    /// `clusterIP: None`: the pods' own addresses.
    Headless,
    /// A name elsewhere; it has no endpoints.
    ExternalName,
}

/// A Service that some user made, here or in another cluster, trimmed to what planners need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// What kind of address it has.
    pub kind: ServiceKind,
    /// All its labels.
    pub labels: Labels,
    /// All its annotations.
    pub annotations: Labels,
    /// Its ports, in its owner's order.
    pub ports: Vec<ServicePort>,
}

/// What we write into a Service (mirror or federated), or the part of a present one that our field
/// manager owns: what others added to it is not in here, and is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedService {
    /// What kind of address it has: set once, when it is created.
    pub kind: ServiceKind,
    /// The labels that are ours.
    pub labels: Labels,
    /// The annotations that are ours.
    pub annotations: Labels,
    /// The ports that are ours.
    pub ports: Vec<ServicePort>,
}

/// The address family of an EndpointSlice; each slice has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// `IPv4` or `IPv6`, as `addressType` says it.
    #[must_use]
    pub const fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A slice of ours: there is at most one per mirror and family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceKey {
    /// The mirror whose endpoints it holds.
    pub service: ServiceKey,
    /// The family of its addresses.
    pub family: Family,
}

impl SliceKey {
    /// The name of the object: `<mirror>.ipv4` or `<mirror>.ipv6`. The dot keeps it apart from every
    /// Service name, and so from the slices of every other mirror.
    #[must_use]
    pub fn name(&self) -> String {
        let suffix = match self.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        format!("{}.{suffix}", self.service.name)
    }

    /// The slice of that name, if it is a name that we give.
    #[must_use]
    pub fn parse(namespace: &Namespace, name: &str) -> Option<Self> {
        let (service, family) = match name.rsplit_once('.')? {
            (service, "ipv4") => (service, Family::V4),
            (service, "ipv6") => (service, Family::V6),
            _ => return None,
        };
        let name = ServiceName::parse(service).ok()?;
        let service = ServiceKey {
            namespace: namespace.clone(),
            name,
        };
        Some(Self { service, family })
    }
}

impl fmt::Display for SliceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service.namespace, self.name())
    }
}

/// Whether an endpoint takes traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not.
    NotReady,
}

/// One address of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Where.
    pub address: IpAddr,
    /// Its name within a headless Service.
    pub hostname: Option<Hostname>,
    /// Whether it takes traffic.
    pub readiness: Readiness,
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the Service's port; absent where that has none.
    pub name: Option<String>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The number on the endpoint.
    pub port: u16,
}

/// What we write into an EndpointSlice, or the part of a present one that our field manager owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedSlice {
    /// The labels that are ours.
    pub labels: Labels,
    /// The annotations that are ours.
    pub annotations: Labels,
    /// One per port of the Service, in its order.
    pub ports: Vec<SlicePort>,
    /// Sorted by address; those of a headless mirror by host name.
    pub endpoints: Vec<SliceEndpoint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_name_is_parsed_back_and_no_other_name_is() {
        let namespace = Namespace::parse("ns1").unwrap();
        for name in ["web-east.ipv4", "web-east.ipv6"] {
            assert_eq!(SliceKey::parse(&namespace, name).unwrap().name(), name);
        }
        for name in [
            "web-east",
            "web-east.ipv5",
            ".ipv4",
            "a.b.ipv4",
            "web-east-x7k2p",
        ] {
            assert_eq!(SliceKey::parse(&namespace, name), None, "{name}");
        }
    }
}
