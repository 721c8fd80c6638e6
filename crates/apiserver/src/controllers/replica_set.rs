//! ReplicaSet to Pods: as many as wanted, the least useful ones go first.
use std::cmp::Reverse;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::action::Action;
use super::pods::{
    Availability, availability, controlled_by, is_active, is_controlled_by, is_ready, pods,
    ready_since,
};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, set, text};
use crate::store::request::{Propagation, Subresource};

/// Pods created or deleted in one step.
const BURST: usize = 100;

/// The collection of ReplicaSets.
pub(super) fn replica_sets() -> StorageKey {
    StorageKey::new("apps", "replicasets")
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&replica_sets(), namespace, name) else {
        return plan;
    };
    if object.is_terminating() {
        return plan;
    }
    let set = object.value();
    let mut active = active_pods(view, &set, &mut plan);
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    for _ in active.len()..wanted.min(active.len() + BURST) {
        plan.actions.push(Action::Create(pods(), pod_of(&set)));
    }
    if active.len() > wanted {
        active.sort_by_cached_key(usefulness);
        for pod in active.iter().take((active.len() - wanted).min(BURST)) {
            plan.actions.push(Action::Delete {
                collection: pods(),
                namespace: namespace.to_owned(),
                name: text(&pod["metadata"], "name").to_owned(),
                uid: text(&pod["metadata"], "uid").to_owned(),
                how: Propagation::Background,
            });
        }
    }
    status(view, set, &active, &mut plan);
    plan
}

/// The Pods that count as replicas. Those that match and have no controller are adopted, those
/// that no longer match are let go.
fn active_pods(view: &View<'_>, set: &Value, plan: &mut Plan) -> Vec<Value> {
    let uid = text(&set["metadata"], "uid");
    let selector = LabelSelector::from_object(&set["spec"]["selector"]);
    let mut active = Vec::new();
    for object in view
        .state
        .within(&pods(), Some(text(&set["metadata"], "namespace")))
    {
        let matches = selector.matches(|key| object.label(key));
        let owned = object.owners().any(|owner| owner == uid);
        if !owned && (!matches || object.owners().next().is_some()) {
            continue;
        }
        let mut pod = object.value();
        if !is_active(&pod) {
            continue;
        }
        if owned && is_controlled_by(&pod, uid) && matches {
            active.push(pod);
            continue;
        }
        let owners = match (owned, matches) {
            (false, true) => controlled_by("apps/v1", "ReplicaSet", set),
            (true, false) => others(&pod, uid),
            _ => continue,
        };
        child(&mut pod, "metadata").insert("ownerReferences".to_owned(), owners);
        plan.actions
            .push(Action::Update(pods(), Subresource::None, pod.clone()));
        if matches {
            active.push(pod);
        }
    }
    active
}

/// The owner references without those to one owner.
fn others(object: &Value, uid: &str) -> Value {
    let owners = list(&object["metadata"], "ownerReferences").iter();
    Value::Array(
        owners
            .filter(|owner| owner["uid"] != uid)
            .cloned()
            .collect(),
    )
}

fn pod_of(set: &Value) -> Value {
    let template = &set["spec"]["template"];
    let mut meta = Map::new();
    let name = text(&set["metadata"], "name");
    meta.insert("generateName".to_owned(), format!("{name}-").into());
    meta.insert("namespace".to_owned(), set["metadata"]["namespace"].clone());
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            meta.insert(field.to_owned(), value.clone());
        }
    }
    meta.insert(
        "ownerReferences".to_owned(),
        controlled_by("apps/v1", "ReplicaSet", set),
    );
    json!({ "metadata": meta, "spec": template["spec"] })
}

/// The smaller, the sooner a Pod goes: without a node, not running, not ready, ready only for a
/// short time, young.
fn usefulness(pod: &Value) -> (bool, u8, bool, Reverse<Option<Timestamp>>, Reverse<String>) {
    let phase = match text(&pod["status"], "phase") {
        "Pending" | "" => 0,
        "Running" => 2,
        _ => 1,
    };
    (
        !text(&pod["spec"], "nodeName").is_empty(),
        phase,
        is_ready(pod),
        Reverse(ready_since(pod)),
        Reverse(text(&pod["metadata"], "creationTimestamp").to_owned()),
    )
}

fn status(view: &View<'_>, mut set_value: Value, active: &[Value], plan: &mut Plan) {
    let min_ready = set_value["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let (mut ready, mut available) = (0, 0);
    for pod in active {
        ready += i64::from(is_ready(pod));
        match availability(pod, min_ready, view.now) {
            Availability::Available => available += 1,
            Availability::At(at) => {
                plan.again = Some(plan.again.map_or(at, |before: Timestamp| before.min(at)));
            }
            Availability::Unavailable => {}
        }
    }
    let mut status = set_value["status"].clone();
    let map = fields(&mut status);
    let count = i64::try_from(active.len()).unwrap_or(i64::MAX);
    map.insert("replicas".to_owned(), count.into());
    for (name, number) in [
        ("fullyLabeledReplicas", count),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        set(map, name, (number > 0).then(|| number.into()));
    }
    let generation = set_value["metadata"]["generation"].clone();
    map.insert("observedGeneration".to_owned(), generation);
    if status != set_value["status"] {
        set_value["status"] = status;
        plan.actions.push(Action::Update(
            replica_sets(),
            Subresource::Status,
            set_value,
        ));
    }
}
