//! The status of a Deployment: how many there are, and whether it gets on.
use serde_json::{Value, json};

use super::rollout::{Limits, wanted};
use super::{Sets, deployments};
use crate::controllers::action::Action;
use crate::controllers::{Plan, View};
use crate::store::json::{fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;

pub(super) fn plan(view: &View<'_>, mut deployment: Value, sets: &Sets, plan: &mut Plan) {
    let sum = |name: &str| -> i64 {
        sets.all()
            .map(|set| set["status"][name].as_i64().unwrap_or(0))
            .sum()
    };
    let updated = sets
        .new
        .as_ref()
        .map_or(0, |new| new["status"]["replicas"].as_i64().unwrap_or(0));
    let (replicas, ready, available) = (
        sum("replicas"),
        sum("readyReplicas"),
        sum("availableReplicas"),
    );
    let mut status = deployment["status"].clone();
    let map = fields(&mut status);
    map.insert(
        "observedGeneration".to_owned(),
        deployment["metadata"]["generation"].clone(),
    );
    for (name, number) in [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        (
            "unavailableReplicas",
            (wanted(&deployment).max(replicas) - available).max(0),
        ),
    ] {
        set(map, name, (number > 0).then(|| number.into()));
    }
    let mut conditions = list(&deployment["status"], "conditions").to_vec();
    let enough = available >= wanted(&deployment) - Limits::of(&deployment).unavailable;
    let verdict = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".to_owned(),
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".to_owned(),
        )
    };
    put(view, &mut conditions, "Available", verdict);
    if let Some(verdict) = progress(&deployment, sets, (updated, replicas, available)) {
        put(view, &mut conditions, "Progressing", verdict);
    }
    map.insert("conditions".to_owned(), Value::Array(conditions));
    if status != deployment["status"] {
        deployment["status"] = status;
        plan.actions.push(Action::Update(
            deployments(),
            Subresource::Status,
            deployment,
        ));
    }
}

type Verdict = (&'static str, &'static str, String);

fn progress(
    deployment: &Value,
    sets: &Sets,
    (updated, replicas, available): (i64, i64, i64),
) -> Option<Verdict> {
    if deployment["spec"]["paused"] == true {
        return Some((
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused".to_owned(),
        ));
    }
    let new = sets.new.as_ref()?;
    let name = text(&new["metadata"], "name");
    let wanted = wanted(deployment);
    if updated == wanted && replicas == wanted && available == wanted {
        let text = format!("ReplicaSet {name:?} has successfully progressed.");
        return Some(("True", "NewReplicaSetAvailable", text));
    }
    let conditions = list(&deployment["status"], "conditions");
    let before = conditions
        .iter()
        .find(|condition| condition["type"] == "Progressing");
    let finished = before.is_some_and(|condition| {
        condition["reason"] == "NewReplicaSetAvailable" && text(condition, "message").contains(name)
    });
    if finished {
        // It had got there: a Pod that fails later is no new rollout.
        return None;
    }
    if new.get("status").is_none() {
        let text = format!("Created new replica set {name:?}");
        return Some(("True", "NewReplicaSetCreated", text));
    }
    Some((
        "True",
        "ReplicaSetUpdated",
        format!("ReplicaSet {name:?} is progressing."),
    ))
}

/// Sets a condition; its times move only when it changes.
fn put(view: &View<'_>, conditions: &mut Vec<Value>, kind: &str, verdict: Verdict) {
    let (status, reason, message) = verdict;
    let now = stamp(view.now);
    let before = conditions
        .iter()
        .position(|condition| condition["type"] == kind);
    let mut since = json!(now);
    if let Some(at) = before {
        let before = &conditions[at];
        if before["status"] == status && before["reason"] == reason && before["message"] == message
        {
            return;
        }
        if before["status"] == status {
            since = before["lastTransitionTime"].clone();
        }
        conditions.remove(at);
    }
    conditions.push(json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": since,
    }));
}
