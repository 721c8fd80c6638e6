//! Everything a planner sees. The shell's owner task keeps one [`World`] up to date and asks
//! [`plan`](crate::plan::plan) what to do; the world never changes while a plan is made.
//!
//! What must hold before planning: the local watches (Services, EndpointSlices, Namespaces, Links)
//! have synced, since what is missing here is deleted there. Remote clusters are never waited for.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::left;
use crate::link::{Fault, LinkKey, LinkSpec};
use crate::name::{Hostname, Namespace};
use crate::selector::{Exclusions, Selector};
use crate::service::{ManagedService, ManagedSlice, Readiness, Service, ServiceKey, SliceKey};

/// The uid of one object: tells an object from another of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub Arc<str>);

/// What a cluster is known by, whoever links to it under whatever name: the uid of its namespace
/// `kube-system`. It is the failure domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterUid(pub Arc<str>);

impl fmt::Display for ClusterUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Seconds since the Unix epoch, as a creationTimestamp has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreatedAt(pub i64);

/// What the operator of this cluster chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which local Services join their federated service.
    pub federated_selector: Selector,
    /// Labels of local members that are not copied to the federated service.
    pub excluded_labels: Exclusions,
    /// Annotations of local members that are not copied to the federated service.
    pub excluded_annotations: Exclusions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            federated_selector: Selector::federated_member(),
            excluded_labels: Exclusions::default(),
            excluded_annotations: Exclusions::default(),
        }
    }
}

/// A Service of the local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalService {
    /// It carries our label *and* our field manager: we may change and delete it.
    Ours {
        /// Its uid, the precondition of every change.
        uid: Uid,
        /// The addresses that the cluster gave it; none if it is headless.
        addresses: Vec<IpAddr>,
        /// The part of it that is ours.
        managed: ManagedService,
    },
    /// A Linkerd made it and left it behind (see [`is_left`](crate::left::is_left)): to be taken over through the
    /// Link that it came from, and nobody else's.
    Left {
        /// Its uid, the precondition of every change.
        uid: Uid,
        /// The addresses that the cluster gave it; none if it is headless.
        addresses: Vec<IpAddr>,
        /// All of it.
        managed: ManagedService,
    },
    /// Anything else, whatever its labels say.
    Foreign(Service),
}

/// An EndpointSlice of the local cluster under a name that we give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalSlice {
    /// It carries our label *and* our field manager.
    Ours {
        /// Its uid, the precondition of every change.
        uid: Uid,
        /// The part of it that is ours.
        managed: ManagedSlice,
    },
    /// Someone else took the name.
    Foreign,
}

/// The local cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// What this cluster is known by, once read.
    pub uid: Option<ClusterUid>,
    /// Its namespaces, without those that are being deleted.
    pub namespaces: BTreeSet<Namespace>,
    /// All its Services.
    pub services: BTreeMap<ServiceKey, LocalService>,
    /// Its slices under names that we give (see [`SliceKey::parse`]); others are of no interest.
    pub slices: BTreeMap<SliceKey, LocalSlice>,
    /// Services that are deleted already and wait for somebody's finalizer.
    pub going: BTreeSet<ServiceKey>,
    /// Slices that are.
    pub going_slices: BTreeSet<SliceKey>,
    /// Services of ours that a Linkerd made: of their members, those to which no Link ever led are kept.
    pub taken_over: BTreeSet<ServiceKey>,
    /// By Service, slices that Kubernetes made of Endpoints that a Linkerd left.
    pub old_slices: BTreeMap<ServiceKey, BTreeSet<String>>,
}

/// A Service of another cluster that may be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// What its owner says of it.
    pub service: Service,
    /// Its resourceVersion there.
    pub resource_version: String,
    /// Whether it has a ready endpoint there.
    pub readiness: Readiness,
    /// The names of its endpoints, if it is headless.
    pub hosts: Hosts,
}

/// How the endpoints of a headless Service are named, ready or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// It has none, or is not headless.
    #[default]
    None,
    /// None of them has a name.
    Nameless,
    /// Those that have one, sorted by it.
    Named(Vec<Host>),
}

/// One named endpoint of a headless Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Hostname,
    /// Whether it takes traffic.
    pub readiness: Readiness,
    /// The resourceVersion of the slice that names it.
    pub version: String,
}

/// Whether the other cluster's control path answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It does.
    Live,
    /// It did, and does not any more; what it said last holds.
    Silent {
        /// Since when and why, in one stable sentence.
        because: String,
    },
}

/// What is known of the cluster at the other end of a Link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// It has told us nothing yet (since this process started): all that came from it stays as it is.
    Unknown {
        /// What is being waited for, or what failed.
        because: String,
        /// What it was known by, where an earlier process wrote that down.
        uid: Option<ClusterUid>,
    },
    /// It has told us everything at least once.
    Known(Exports),
}

impl Remote {
    /// What the cluster is known by, if that is known.
    #[must_use]
    pub const fn uid(&self) -> Option<&ClusterUid> {
        match self {
            Self::Unknown { uid, .. } => uid.as_ref(),
            Self::Known(exports) => exports.uid.as_ref(),
        }
    }
}

/// What another cluster said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exports {
    /// What it is known by; none where its role does not let us read that.
    pub uid: Option<ClusterUid>,
    /// Whether it still answers.
    pub contact: Contact,
    /// Why it does not let us see its pods, if so: gateway mirrors need none, all else has no endpoints.
    pub blind: Option<String>,
    /// Its Services that carry one of our export labels or match one of the Link's selectors.
    pub services: BTreeMap<ServiceKey, Export>,
}

/// Whether traffic gets through a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GatewayHealth {
    /// Not probed, or not yet judged: taken as up.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Why, in one stable sentence.
        because: String,
    },
}

/// A gateway as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayView {
    /// Its addresses: literal ones and what names resolved to, last known ones where that failed.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether traffic gets through.
    pub health: GatewayHealth,
}

/// Whether a Link's credentials can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// They were parsed.
    #[default]
    Usable,
    /// They were not: what is known of the cluster stays.
    Refused(Vec<Fault>),
}

/// A Link and what is known of the cluster behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Its age decides between Links that want the same.
    pub created: CreatedAt,
    /// Its spec.
    pub spec: LinkSpec,
    /// Its credentials.
    pub credentials: Credentials,
    /// The gateway behind it.
    pub gateway: GatewayView,
    /// The cluster behind it.
    pub remote: Remote,
}

/// Everything a planner sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// What the operator chose.
    pub settings: Settings,
    /// This cluster.
    pub local: Local,
    /// Every Link of this cluster.
    pub links: BTreeMap<LinkKey, LinkView>,
    /// What a Linkerd left of clusters whose Link went while it was there (see [`World::unlink`]): it goes, too.
    pub unlinked: BTreeSet<(ServiceKey, String)>,
    /// What went wrong when the last plan was carried out, by the local Service that it was about.
    pub failures: BTreeMap<ServiceKey, String>,
}

impl World {
    /// A Link to this target is gone, and with it all that came from there.
    pub fn unlink(&mut self, target: &str) {
        let local = &self.local;
        let left = local.services.iter().filter(|(key, service)| {
            let (managed, left) = match service {
                LocalService::Left { managed, .. } => (managed, true),
                LocalService::Ours { managed, .. } => (managed, local.taken_over.contains(key)),
                LocalService::Foreign(_) => return false,
            };
            left && left::names(managed, target)
        });
        let left = left.map(|(key, _)| (key.clone(), target.to_owned()));
        self.unlinked.extend(left);
    }
}
