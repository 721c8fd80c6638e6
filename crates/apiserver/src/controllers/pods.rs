//! What controllers want to know of Pods.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::registry::StorageKey;
use crate::store::json::{list, text};

/// The collection of Pods.
pub(super) fn pods() -> StorageKey {
    StorageKey::new("", "pods")
}

/// Whether a Pod has come to its end.
pub(super) fn is_finished(pod: &Value) -> bool {
    matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed")
}

/// Whether a Pod counts as a replica.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && pod["metadata"]["deletionTimestamp"].is_null()
}

fn ready_condition(pod: &Value) -> Option<&Value> {
    list(&pod["status"], "conditions")
        .iter()
        .find(|condition| condition["type"] == "Ready")
}

/// Whether a Pod says that it is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    ready_condition(pod).is_some_and(|condition| condition["status"] == "True")
}

/// Since when a Pod has been ready.
pub(super) fn ready_since(pod: &Value) -> Option<Timestamp> {
    let condition = ready_condition(pod).filter(|condition| condition["status"] == "True")?;
    text(condition, "lastTransitionTime").parse().ok()
}

/// Whether a Pod has been ready for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    Available,
    /// It will be then, if it stays ready.
    At(Timestamp),
    Unavailable,
}

pub(super) fn availability(pod: &Value, min_ready: i64, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::Unavailable;
    }
    if min_ready <= 0 {
        return Availability::Available;
    }
    let Some(since) = ready_since(pod) else {
        return Availability::Unavailable;
    };
    match since.checked_add(SignedDuration::from_secs(min_ready)) {
        Ok(at) if at <= now => Availability::Available,
        Ok(at) => Availability::At(at),
        Err(_) => Availability::Unavailable,
    }
}

/// The reference to an owner that controls.
pub(super) fn reference_to(api_version: &str, kind: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// The owner references of what an owner makes.
pub(super) fn controlled_by(api_version: &str, kind: &str, owner: &Value) -> Value {
    Value::Array(vec![reference_to(api_version, kind, owner)])
}

/// When a Pod came to its end, as well as can be told.
pub(super) fn finished_at(pod: &Value) -> Option<Timestamp> {
    let containers = list(&pod["status"], "containerStatuses").iter();
    let ends =
        containers.filter_map(|one| text(&one["state"]["terminated"], "finishedAt").parse().ok());
    let unready = ready_condition(pod)
        .filter(|condition| condition["status"] == "False")
        .and_then(|condition| text(condition, "lastTransitionTime").parse().ok());
    let deleted = text(&pod["metadata"], "deletionTimestamp").parse().ok();
    let created = || text(&pod["metadata"], "creationTimestamp").parse().ok();
    ends.max().or(unready).or(deleted).or_else(created)
}

/// Whether an object's controller has this uid.
pub(super) fn is_controlled_by(object: &Value, uid: &str) -> bool {
    list(&object["metadata"], "ownerReferences")
        .iter()
        .any(|owner| owner["controller"] == true && owner["uid"] == uid)
}

/// The Pod that a template makes, for an owner; the server makes up the end of its name.
pub(super) fn pod_of(owner: &Value, template: &Value, references: Value) -> Value {
    let mut meta = Map::new();
    let name = text(&owner["metadata"], "name");
    meta.insert("generateName".to_owned(), format!("{name}-").into());
    meta.insert(
        "namespace".to_owned(),
        owner["metadata"]["namespace"].clone(),
    );
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            meta.insert(field.to_owned(), value.clone());
        }
    }
    meta.insert("ownerReferences".to_owned(), references);
    json!({ "metadata": meta, "spec": template["spec"] })
}
