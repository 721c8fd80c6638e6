//! What is to be done, and what cannot be: wanted minus present, restricted to what is ours.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::conditions::{self, UseOfGateway};
use crate::draft::Draft;
use crate::link::LinkKey;
use crate::service::{ManagedService, ManagedSlice, ServiceKey, SliceKey};
use crate::status::{Condition, ConditionType, LinkStatus, Reason, Truth};
use crate::world::{Uid, World};
use crate::{federate, mirror, recall};

mod diff;

/// What must be true of an object, or nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is none of that name: written without force, so that a conflict is a conflict.
    Absent,
    /// It is this one, which is ours: written with force, so that our fields are ours again.
    Uid(Uid),
    /// It is this one, which a Linkerd left: made ours as a whole, then written as before.
    Left(Uid),
}

/// One write to the local cluster. Nothing is ever written to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Server-side apply of a Service.
    ApplyService {
        /// Which.
        key: ServiceKey,
        /// What must be true of it.
        precondition: Precondition,
        /// All that we want of it.
        service: ManagedService,
    },
    /// Server-side apply of an EndpointSlice.
    ApplySlice {
        /// Which.
        key: SliceKey,
        /// What must be true of it.
        precondition: Precondition,
        /// All that we want of it.
        slice: ManagedSlice,
    },
    /// Deletion of a Service of ours, or of one that a Linkerd left.
    DeleteService {
        /// Which.
        key: ServiceKey,
        /// It must be this one.
        uid: Uid,
    },
    /// Deletion of the Endpoints that a Linkerd left beside a Service of ours, and of what Kubernetes made of them.
    DeleteOldEndpoints {
        /// The Service; its Endpoints have its name.
        key: ServiceKey,
        /// The names of the slices.
        slices: BTreeSet<String>,
    },
    /// Deletion of an EndpointSlice of ours.
    DeleteSlice {
        /// Which.
        key: SliceKey,
        /// It must be this one.
        uid: Uid,
    },
}

impl Action {
    /// The local Service that it is about: its group.
    #[must_use]
    pub const fn service(&self) -> &ServiceKey {
        match self {
            Self::ApplyService { key, .. }
            | Self::DeleteService { key, .. }
            | Self::DeleteOldEndpoints { key, .. } => key,
            Self::ApplySlice { key, .. } | Self::DeleteSlice { key, .. } => &key.service,
        }
    }
}

/// What a problem is about, hence where its Event goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A Link.
    Link(LinkKey),
    /// A Service of the local cluster.
    Service(ServiceKey),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(key) => write!(f, "Link {key}"),
            Self::Service(key) => write!(f, "Service {key}"),
        }
    }
}

/// Something that keeps a wish from being fulfilled: an Event when it appears, once. It stays in
/// every plan as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What the Event is attached to.
    pub about: About,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence that names the object.
    pub message: String,
}

/// What is to be done and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sorted by [`Action::service`]. Actions of one Service are adjacent, in order, and end with
    /// the first that fails; those of different Services are independent.
    pub actions: Vec<Action>,
    /// Sorted, without repetition.
    pub problems: Vec<Problem>,
    /// What the status of each Link says once `actions` are carried out; to be written after them,
    /// and only where it differs from what is written.
    pub statuses: BTreeMap<LinkKey, LinkStatus>,
}

/// Plans over the whole world. Planning again after the plan was carried out yields no action.
#[must_use]
pub fn plan(world: &World) -> Plan {
    let recalled = recall::gateways(world);
    let mut draft = Draft::of(world, &recalled);
    // Federated names come first: several clusters share them, a mirror belongs to one.
    federate::want(&mut draft);
    mirror::want(&mut draft);
    let actions = diff::actions(&draft);
    let gateways: Vec<_> = (0..draft.roster.entries.len())
        .map(|rank| draft.gateway(rank))
        .collect();
    let Draft {
        roster,
        mut statuses,
        mut problems,
        through_gateway,
        ..
    } = draft;
    for (entry, gateway) in roster.entries.iter().zip(gateways) {
        let use_of_gateway = if through_gateway.contains(entry.key) {
            UseOfGateway::Some
        } else {
            UseOfGateway::None
        };
        if let Some(status) = statuses.get_mut(entry.key) {
            problems.extend(conditions::conclude(
                entry,
                (use_of_gateway, gateway),
                status,
            ));
        }
    }
    let mut statuses: BTreeMap<_, _> = statuses
        .into_iter()
        .map(|(key, status)| (key.clone(), status))
        .collect();
    report_failures(world, &actions, &mut statuses);
    Plan {
        actions,
        problems: problems.into_iter().collect(),
        statuses,
    }
}

/// What failed the last time and is still to be done is not done.
fn report_failures(
    world: &World,
    actions: &[Action],
    statuses: &mut BTreeMap<LinkKey, LinkStatus>,
) {
    let due = actions.iter().map(Action::service);
    let failures: BTreeMap<_, _> = due
        .filter_map(|key| world.failures.get_key_value(key))
        .collect();
    if failures.is_empty() {
        return;
    }
    let lists = statuses
        .values_mut()
        .flat_map(|status| [&mut status.mirrors, &mut status.federated]);
    for status in lists.flatten() {
        let Some(why) = status.local.as_ref().and_then(|local| failures.get(local)) else {
            continue;
        };
        let (kind, truth, reason) = (ConditionType::Mirrored, Truth::False, Reason::Error);
        status.conditions = vec![Condition {
            kind,
            truth,
            reason,
            message: (*why).clone(),
        }];
        status.local = None;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod text;
#[cfg(test)]
pub(crate) mod tests_only {
    pub(crate) use super::text::parts::{pairs as labels_of, service_key};
}
