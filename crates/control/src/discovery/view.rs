//! A Service as those who ask for it see it: the endpoints of each port, made once per change.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::endpoints::Endpoints;
use super::model::{Key, Service};

/// The answer about one Service. It never changes; a change makes another one.
#[derive(Debug)]
pub(crate) struct View {
    /// The Service as it is here.
    pub(crate) service: Arc<Service>,
    /// Why it cannot be resolved at all.
    pub(crate) refusal: Option<Refusal>,
    /// Whether every cluster that it draws on has told us all at least once.
    pub(crate) completeness: Completeness,
    /// Endpoints of the ports that it declares.
    pub(crate) ports: BTreeMap<u16, Arc<EndpointSet>>,
    /// What it was made from.
    pub(crate) sources: BTreeSet<Source>,
}

/// Whether an answer may grow only because we have not heard from everyone yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// All were heard.
    Complete,
    /// Some were never heard since this process started.
    Partial,
}

/// A Service of some cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    /// The cluster, as its Link calls it; `None` is the local one.
    pub(crate) cluster: Option<Arc<str>>,
    /// The Service there.
    pub(crate) service: Key,
}

impl Source {
    /// The Service of another cluster that is meant; none where only the cluster is, or it is this one.
    pub(crate) fn asks_for(&self) -> Option<&Key> {
        let elsewhere = self.cluster.is_some() && !self.service.name.is_empty();
        elsewhere.then_some(&self.service)
    }
}

/// Endpoints of one Service and port.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EndpointSet {
    /// The endpoints.
    pub(crate) endpoints: Endpoints,
    /// Labels that hold for all of them.
    pub(crate) labels: BTreeMap<String, String>,
}

/// Why a Service cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is only a DNS name.
    #[error("service {0} is an ExternalName")]
    ExternalName(Key),
    /// A flat mirror without the label that says of what.
    #[error("service {0} has no label multicluster.linkerd.io/remote-service")]
    NoRemoteService(Key),
    /// A flat mirror of a cluster to which no Link leads.
    #[error("service {service} is in cluster {cluster}, to which no link leads")]
    UnknownCluster {
        /// The mirror.
        service: Key,
        /// The cluster that it names.
        cluster: Arc<str>,
    },
}

impl View {
    /// The endpoints of `port`, if the Service declares it.
    pub(crate) fn port(&self, port: u16) -> Option<&Arc<EndpointSet>> {
        self.ports.get(&port)
    }

    /// Whether `other` says the same to whoever asks.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.service == other.service
            && self.refusal == other.refusal
            && self.completeness == other.completeness
            && self.ports.len() == other.ports.len()
            && self
                .ports
                .iter()
                .zip(&other.ports)
                .all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
    }
}
