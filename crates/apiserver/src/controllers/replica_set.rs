//! ReplicaSet to Pods: as many as wanted, the least useful ones go first.
//!
//! ReplicationControllers, their elders, are looked after in the same way.
use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::action::{Action, Behalf, Condition};
use super::claim::{Owner, claim, selects_own};
use super::events::Note;
use super::pods::{
    Availability, availability, controlled_by, is_active, is_finished, is_ready, pod_of, pods,
    ready_since,
};
use super::{Plan, View, conditions};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{fields, list, set, text};
use crate::store::request::{Propagation, Subresource};

/// Pods deleted in one step.
const BURST: usize = 500;

/// The collection of ReplicaSets.
pub(super) fn replica_sets() -> StorageKey {
    StorageKey::new("apps", "replicasets")
}

/// What differs between ReplicaSets and ReplicationControllers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    group: &'static str,
    plural: &'static str,
    api_version: &'static str,
    name: &'static str,
    component: &'static str,
    short: &'static str,
}

/// ReplicaSets.
pub(super) const SET: Kind = Kind {
    group: "apps",
    plural: "replicasets",
    api_version: "apps/v1",
    name: "ReplicaSet",
    component: "replicaset-controller",
    short: "rs",
};

/// ReplicationControllers.
pub(super) const CONTROLLER: Kind = Kind {
    group: "",
    plural: "replicationcontrollers",
    api_version: "v1",
    name: "ReplicationController",
    component: "replication-controller",
    short: "rc",
};

impl Kind {
    fn collection(self) -> StorageKey {
        StorageKey::new(self.group, self.plural)
    }

    fn selector(self, set: &Value) -> LabelSelector {
        if self.short == "rs" {
            LabelSelector::from_object(&set["spec"]["selector"])
        } else {
            LabelSelector::from_map(&set["spec"]["selector"])
        }
    }
}

/// The Pods of a ReplicaSet.
#[derive(Default)]
struct Members {
    active: Vec<Value>,
    terminating: usize,
}

pub(super) fn plan(view: &View<'_>, kind: Kind, (namespace, name): (&str, &str)) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&kind.collection(), namespace, name) else {
        return plan;
    };
    let set = object.value();
    if !selects_own(&kind.selector(&set), &set["spec"]["template"]) {
        return plan;
    }
    let members = members(view, kind, &set, &mut plan);
    let before = plan.actions.len();
    if !object.is_terminating() {
        manage(view, kind, (&set, &members.active), &mut plan);
    }
    // What may fail comes last: the status is right either way.
    let writes = plan.actions.split_off(before);
    let is_well = writes.is_empty() && plan.again.is_none();
    status(view, kind, (set, &members, is_well), &mut plan);
    plan.actions.extend(writes);
    plan
}

fn manage(view: &View<'_>, kind: Kind, (set, active): (&Value, &[Value]), plan: &mut Plan) {
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let behalf = |action, done: (&'static str, String), failed: (&'static str, &str)| {
        let condition = Condition {
            collection: kind.collection(),
            owner: set.clone(),
            kind: "ReplicaFailure",
            reason: failed.0,
        };
        Action::Behalf(Box::new(Behalf {
            action,
            done: Some(Note::new(kind.component, set, done.0, done.1)),
            failed: Some(Note::new(kind.component, set, failed.0, failed.1)),
            condition: Some(condition),
        }))
    };
    let missing = wanted.saturating_sub(active.len());
    if missing > view.room.pods {
        plan.wait_for_room(view);
    }
    for _ in 0..missing.min(view.room.pods) {
        let owner = controlled_by(kind.api_version, kind.name, set);
        let pod = pod_of(set, &set["spec"]["template"], owner);
        plan.actions.push(behalf(
            Action::Create(pods(), pod),
            ("SuccessfulCreate", "Created pod: {name}".to_owned()),
            ("FailedCreate", "Error creating: {error}"),
        ));
    }
    if active.len() <= wanted {
        return;
    }
    for pod in victims(view, kind, set, active)
        .into_iter()
        .take((active.len() - wanted).min(BURST))
    {
        plan.actions.push(behalf(
            Action::delete(&pods(), pod, Propagation::Background),
            ("SuccessfulDelete", "Deleted pod: {name}".to_owned()),
            ("FailedDelete", "Error deleting: {error}"),
        ));
    }
}

/// The Pods that count as replicas.
fn members(view: &View<'_>, kind: Kind, set: &Value, plan: &mut Plan) -> Members {
    let selector = kind.selector(set);
    let owner = Owner {
        api_version: kind.api_version,
        kind: kind.name,
        object: set,
        selector: &selector,
    };
    let mut members = Members::default();
    for pod in claim(view, &owner, plan) {
        if is_active(&pod) {
            members.active.push(pod);
        } else {
            members.terminating += usize::from(!is_finished(&pod));
        }
    }
    members
}

/// The Pods, the least useful first: without a node, not running, not ready, cheap to lose, on a
/// node with many of their kind, ready only for a short time, often restarted, young.
fn victims<'a>(view: &View<'_>, kind: Kind, set: &Value, active: &'a [Value]) -> Vec<&'a Value> {
    let crowds = crowds(view, kind, set);
    let mut order: Vec<&Value> = active.iter().collect();
    order.sort_by_cached_key(|pod| {
        let node = text(&pod["spec"], "nodeName");
        let phase = match text(&pod["status"], "phase") {
            "Pending" | "" => 0,
            "Running" => 2,
            _ => 1,
        };
        let ready = is_ready(pod);
        let crowd = crowds.get(node).copied().unwrap_or(0);
        let cost = text(
            &pod["metadata"]["annotations"],
            "controller.kubernetes.io/pod-deletion-cost",
        );
        let cost: i64 = cost.parse().unwrap_or(0);
        let restarts = list(&pod["status"], "containerStatuses").iter();
        let restarts = restarts
            .filter_map(|one| one["restartCount"].as_i64())
            .max();
        let since = ready.then(|| ready_since(pod)).flatten();
        let created = text(&pod["metadata"], "creationTimestamp").parse().ok();
        (
            (!node.is_empty(), phase, ready, cost, Reverse(crowd)),
            rank(view.now, since),
            Reverse(restarts.unwrap_or(0)),
            rank(view.now, created),
            text(&pod["metadata"], "uid").to_owned(),
        )
    });
    order
}

/// Ages count by their magnitude only.
fn rank(now: Timestamp, since: Option<Timestamp>) -> u32 {
    let Some(since) = since else { return 0 };
    let age = now.duration_since(since).as_nanos();
    u128::try_from(age)
        .ok()
        .and_then(u128::checked_ilog2)
        .unwrap_or(0)
}

/// How many Pods of the ReplicaSet, and of those beside it that have the same owner, are on each node.
fn crowds(view: &View<'_>, kind: Kind, set: &Value) -> BTreeMap<String, usize> {
    let namespace = text(&set["metadata"], "namespace");
    let owner_of = |object: &Value| {
        let owners = list(&object["metadata"], "ownerReferences");
        let owner = owners.iter().find(|owner| owner["controller"] == true);
        owner.map(|owner| text(owner, "uid").to_owned())
    };
    let mut uids = vec![text(&set["metadata"], "uid").to_owned()];
    if let Some(owner) = owner_of(set) {
        let collection = kind.collection();
        let beside = view.state.within(&collection, Some(namespace));
        let beside = beside.filter(|other| other.owners().any(|uid| uid == owner));
        uids.extend(beside.map(|other| other.uid().to_owned()));
    }
    let mut crowds = BTreeMap::new();
    for pod in view.state.within(&pods(), Some(namespace)) {
        if !pod
            .owners()
            .any(|owner| uids.iter().any(|uid| uid == owner))
        {
            continue;
        }
        let pod = pod.value();
        let node = text(&pod["spec"], "nodeName");
        if is_active(&pod) && !node.is_empty() {
            *crowds.entry(node.to_owned()).or_insert(0) += 1;
        }
    }
    crowds
}

fn status(
    view: &View<'_>,
    kind: Kind,
    (mut set_value, members, is_well): (Value, &Members, bool),
    plan: &mut Plan,
) {
    let active = &members.active;
    let min_ready = set_value["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let labels = &set_value["spec"]["template"]["metadata"]["labels"];
    let labels = LabelSelector::from_map(labels);
    let (mut ready, mut available, mut labeled) = (0, 0, 0);
    for pod in active {
        let own = &pod["metadata"]["labels"];
        labeled += i64::from(labels.matches(|key| own[key].as_str()));
        ready += i64::from(is_ready(pod));
        match availability(pod, min_ready, view.now) {
            Availability::Available => available += 1,
            Availability::At(at) => {
                plan.look_at(at);
            }
            Availability::Unavailable => {}
        }
    }
    let mut status = set_value["status"].clone();
    let map: &mut Map<String, Value> = fields(&mut status);
    let count = i64::try_from(active.len()).unwrap_or(i64::MAX);
    map.insert("replicas".to_owned(), count.into());
    for (name, number) in [
        ("fullyLabeledReplicas", labeled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        set(map, name, (number > 0).then(|| number.into()));
    }
    if kind.short == "rs" {
        map.insert("terminatingReplicas".to_owned(), members.terminating.into());
    }
    if is_well {
        conditions::remove(map, "ReplicaFailure");
    }
    let generation = set_value["metadata"]["generation"].clone();
    map.insert("observedGeneration".to_owned(), generation);
    if status != set_value["status"] {
        set_value["status"] = status;
        plan.actions.push(Action::Update(
            kind.collection(),
            Subresource::Status,
            set_value,
        ));
    }
}
