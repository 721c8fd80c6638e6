//! Nodes: taints that say what their conditions say, and what else the cluster notes on them.
//!
//! Pods are never evicted: who stops serving a node is not known well enough here.
use serde_json::{Value, json};

use super::action::Action;
use super::events::Note;
use super::{Plan, View, conditions};
use crate::registry::StorageKey;
use crate::store::json::{child, fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;

const TTL: &str = "node.alpha.kubernetes.io/ttl";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Of a condition: its type, the status that is told, and the taint that tells it.
const TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
/// Up to how many nodes what they read may be kept for so many seconds.
const TTLS: &[(usize, &str)] = &[(100, "0"), (500, "15"), (1000, "30"), (2000, "60")];
/// Labels whose older names are kept, too.
const OLD_LABELS: &[(&str, &str)] = &[
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
];

fn nodes() -> StorageKey {
    StorageKey::new("", "nodes")
}

pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&nodes(), "", name) else {
        return plan;
    };
    let before = object.value();
    let mut node = before.clone();
    let is_new = before["metadata"]["annotations"][TTL].is_null();
    annotate(view, &mut node);
    taint(view, &mut node);
    if node != before {
        plan.actions
            .push(Action::Update(nodes(), Subresource::None, node));
    }
    if is_new {
        let message = format!("Node {name} event: Registered Node {name} in Controller");
        let note = Note::new("node-controller", &before, "RegisteredNode", message);
        plan.actions.push(Action::Tell(note));
    }
    plan
}

fn annotate(view: &View<'_>, node: &mut Value) {
    let count = view.state.within(&nodes(), None).take(2001).count();
    let ttl = TTLS.iter().find(|(most, _)| count <= *most);
    let ttl = ttl.map_or("300", |(_, ttl)| ttl);
    let mut labels = node["metadata"]["labels"].clone();
    for (label, old) in OLD_LABELS {
        if let Some(value) = node["metadata"]["labels"].get(label) {
            labels[old] = value.clone();
        }
    }
    let meta = child(node, "metadata");
    set(meta, "labels", Some(labels).filter(Value::is_object));
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    fields(annotations).insert(TTL.to_owned(), ttl.into());
}

fn taint(view: &View<'_>, node: &mut Value) {
    let mut wanted = Vec::new();
    for (kind, status, key) in TAINTS {
        let condition = conditions::find(&node["status"], kind);
        if condition.is_some_and(|condition| condition["status"] == *status) {
            wanted.push((*key, "NoSchedule"));
        }
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ready = conditions::find(&node["status"], "Ready");
    match ready.map(|ready| text(ready, "status")) {
        Some("False") => wanted.push((NOT_READY, "NoExecute")),
        Some("Unknown") => wanted.push((UNREACHABLE, "NoExecute")),
        _ => {}
    }
    let is = |taint: &Value, (key, effect): (&str, &str)| {
        taint["key"] == key && taint["effect"] == effect
    };
    let mut taints = list(&node["spec"], "taints").to_vec();
    taints.retain(|taint| {
        let looked_after = is_looked_after(taint, ready.is_some());
        !looked_after || wanted.iter().any(|one| is(taint, *one))
    });
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, (key, effect))) {
            let now = stamp(view.now);
            taints.push(json!({ "key": key, "effect": effect, "timeAdded": now }));
        }
    }
    let taints = (!taints.is_empty()).then_some(Value::Array(taints));
    set(child(node, "spec"), "taints", taints);
}

/// Whether a taint is one that is put on and taken off here.
fn is_looked_after(taint: &Value, is_ready_known: bool) -> bool {
    let key = text(taint, "key");
    match text(taint, "effect") {
        "NoSchedule" => key == UNSCHEDULABLE || TAINTS.iter().any(|(_, _, one)| *one == key),
        "NoExecute" => is_ready_known && matches!(key, NOT_READY | UNREACHABLE),
        _ => false,
    }
}
