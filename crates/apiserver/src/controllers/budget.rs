//! PodDisruptionBudgets: how many of the Pods that they select may be missing now.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::action::Action;
use super::events::Note;
use super::pods::{is_active, is_ready, pods};
use super::{Plan, View, conditions};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, list, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;

fn budgets() -> StorageKey {
    StorageKey::new("policy", "poddisruptionbudgets")
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&budgets(), namespace, name) else {
        return plan;
    };
    let mut budget = object.value();
    let selector = LabelSelector::from_object(&budget["spec"]["selector"]);
    let mut selected: Vec<Value> = Vec::new();
    for pod in view.state.within(&pods(), Some(namespace)) {
        if selector.matches(|key| pod.label(key)) {
            selected.push(pod.value());
        }
    }
    selected.retain(is_active);
    let healthy = selected.iter().filter(|pod| is_ready(pod)).count();
    let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
    let (expected, desired) = expectation(view, &budget["spec"], &selected);
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let before = budget["status"].clone();
    let generation = budget["metadata"]["generation"].clone();
    let status = child(&mut budget, "status");
    for (field, number) in [
        ("currentHealthy", healthy),
        ("desiredHealthy", desired),
        ("disruptionsAllowed", allowed),
        ("expectedPods", expected),
    ] {
        status.insert(field.to_owned(), number.into());
    }
    status.insert("observedGeneration".to_owned(), generation.clone());
    let (state, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": state, "reason": reason, "message": "",
        "observedGeneration": generation, "lastTransitionTime": stamp(view.now),
    });
    if let Some(known) = conditions::find(&before, "DisruptionAllowed")
        && known["status"] == state
    {
        condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
    }
    let all = conditions::of(status);
    all.retain(|one| one["type"] != "DisruptionAllowed");
    all.push(condition);
    if selected.is_empty() {
        let message = "No matching pods found";
        let note = Note::new("controllermanager", &budget, "NoPods", message);
        plan.actions.push(Action::Tell(note));
    }
    if budget["status"] == before {
        return plan;
    }
    plan.actions
        .push(Action::Update(budgets(), Subresource::Status, budget));
    plan
}

/// How many Pods there shall be, and how many of them must be healthy.
fn expectation(view: &View<'_>, spec: &Value, selected: &[Value]) -> (i64, i64) {
    let number = i64::try_from(selected.len()).unwrap_or(i64::MAX);
    match (&spec["maxUnavailable"], &spec["minAvailable"]) {
        (Value::Null, Value::Number(least)) => (number, least.as_i64().unwrap_or(0)),
        (Value::Null, Value::Null) => (number, 0),
        (Value::Null, least) => {
            let expected = scale_of(view, selected);
            (expected, share(least, expected))
        }
        (most, _) => {
            let expected = scale_of(view, selected);
            (expected, (expected - share(most, expected)).max(0))
        }
    }
}

fn share(value: &Value, of: i64) -> i64 {
    match value {
        Value::Number(number) => number.as_i64().unwrap_or(0),
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            percent.clamp(0, 100).saturating_mul(of).saturating_add(99) / 100
        }
        _ => 0,
    }
}

/// How many Pods the owners of these want.
fn scale_of(view: &View<'_>, selected: &[Value]) -> i64 {
    let mut scales: BTreeMap<String, i64> = BTreeMap::new();
    for pod in selected {
        let mut object = pod.clone();
        // A ReplicaSet's owner, if it has one, has the say.
        while let Some(owner) = owner_of(view, &object) {
            object = owner;
        }
        if object["metadata"]["uid"] != pod["metadata"]["uid"] {
            let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
            let uid = text(&object["metadata"], "uid").to_owned();
            scales.insert(uid, replicas);
        }
    }
    scales.values().sum()
}

fn owner_of(view: &View<'_>, object: &Value) -> Option<Value> {
    let meta = &object["metadata"];
    let owners = list(meta, "ownerReferences");
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let plural = match text(owner, "kind") {
        "ReplicaSet" => "replicasets",
        "StatefulSet" => "statefulsets",
        // Only a ReplicaSet is owned by one.
        "Deployment" if object["kind"] == "ReplicaSet" => "deployments",
        _ => return None,
    };
    let collection = StorageKey::new("apps", plural);
    let (namespace, name) = (text(meta, "namespace"), text(owner, "name"));
    Some(view.state.get(&collection, namespace, name)?.value())
}
