//! Links: what a cluster imports from another, parsed once. A value of type [`Link`] is well formed;
//! what was refused is a [`Fault`] that names the object and the field. Where the texts come from is
//! not known here.
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{ClusterName, Namespace};
use crate::selector::{Exclusions, Selector};

/// A Link object of the local cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name: a DNS subdomain, usually the same as its target.
    pub name: Arc<str>,
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One address of a gateway, as the Link gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GatewayHost {
    /// A literal address.
    Address(IpAddr),
    /// A name, which the shell resolves.
    Name(String),
}

/// The gateway of the target cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its addresses, at least one.
    pub hosts: Vec<GatewayHost>,
    /// Its port.
    pub port: u16,
    /// Its TLS identity; without one its endpoints are unmeshed.
    pub identity: Option<String>,
}

/// How the gateway is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The path that must answer 200.
    pub path: String,
    /// The port to ask.
    pub port: u16,
    /// How often.
    pub period: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// How many must fail in a row before the gateway counts as down.
    pub failure_threshold: u32,
}

/// One of the things that a Link does; what is wrong with one of them is no matter of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Mirrors through the gateway.
    Gateway,
    /// Flat mirrors.
    Flat,
    /// Memberships of federated services.
    Federation,
}

/// The spec of a Link that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The cluster that it points at: suffix of mirrors, `@cluster` of members.
    pub target: ClusterName,
    /// The DNS domain of that cluster.
    pub domain: String,
    /// The Secret with its credentials, in the Link's namespace.
    pub credentials_secret: String,
    /// Its gateway, if it has one.
    pub gateway: Option<Gateway>,
    /// How to probe that gateway; none: it is not probed.
    pub probe: Option<Probe>,
    /// Why it is not probed, though the Link says how: traffic needs no probes, so nothing else is refused for it.
    pub probe_faults: Vec<Fault>,
    /// What is mirrored through the gateway.
    pub gateway_selector: Selector,
    /// What is mirrored flat; wins over the gateway where both match.
    pub flat_selector: Selector,
    /// What joins a federated service.
    pub federated_selector: Selector,
    /// What is wrong with parts of it: those keep what they have and get nothing new, while the others go on. Their
    /// selectors match nothing.
    pub broken: BTreeMap<Part, Vec<Fault>>,
    /// What is passed over, though nothing is refused for it.
    pub remarks: Vec<Fault>,
    /// Labels that are not copied.
    pub excluded_labels: Exclusions,
    /// Annotations that are not copied.
    pub excluded_annotations: Exclusions,
}

impl Link {
    /// A Link to `target` with the default selectors and no gateway.
    #[must_use]
    pub fn to(target: ClusterName) -> Self {
        Self {
            credentials_secret: format!("cluster-credentials-{target}"),
            target,
            domain: "cluster.local".to_owned(),
            gateway: None,
            probe: None,
            probe_faults: Vec::new(),
            gateway_selector: Selector::exported(),
            flat_selector: Selector::remote_discovery(),
            federated_selector: Selector::federated_member(),
            broken: BTreeMap::new(),
            remarks: Vec::new(),
            excluded_labels: Exclusions::default(),
            excluded_annotations: Exclusions::default(),
        }
    }
}

/// Why an object was refused: which object, which field, what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Kind, namespace and name of the object, as in `Link tombolo/east`.
    pub object: String,
    /// The path of the field, as in `spec.gatewayPort`; empty where it is the object as a whole.
    pub field: String,
    /// What is wrong, as in `"http" is no port number`.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, why } = self;
        if field.is_empty() {
            write!(f, "{object}: {why}")
        } else {
            write!(f, "{object}: {field}: {why}")
        }
    }
}

impl std::error::Error for Fault {}

/// The spec of a Link: accepted whole, or refused whole.
#[expect(
    clippy::large_enum_variant,
    reason = "there are few Links, nearly all accepted"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSpec {
    /// It is well formed.
    Accepted(Link),
    /// It is not: what it mirrored before stays as it is.
    Refused {
        /// Its target, where that much could be read.
        target: Option<ClusterName>,
        /// What is wrong; at least one.
        faults: Vec<Fault>,
    },
}

impl LinkSpec {
    /// Its target, where that much could be read.
    #[must_use]
    pub const fn target(&self) -> Option<&ClusterName> {
        match self {
            Self::Accepted(link) => Some(&link.target),
            Self::Refused { target, .. } => target.as_ref(),
        }
    }
}
