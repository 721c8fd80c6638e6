//! The status of a Deployment: how many there are, and whether it gets on.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::rollout::{Limits, wanted};
use super::{Sets, deployments};
use crate::controllers::action::Action;
use crate::controllers::{Plan, View};
use crate::store::json::{fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;

/// The numbers that a Deployment's status shows.
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn of(sets: &Sets) -> Self {
        let sum = |name: &str| -> i64 {
            sets.all()
                .map(|set| set["status"][name].as_i64().unwrap_or(0))
                .sum()
        };
        let new = sets.new.as_ref();
        Self {
            replicas: sum("replicas"),
            updated: new.map_or(0, |new| new["status"]["replicas"].as_i64().unwrap_or(0)),
            ready: sum("readyReplicas"),
            available: sum("availableReplicas"),
        }
    }
}

/// Whether the numbers have changed since the last status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

pub(super) fn plan(view: &View<'_>, mut deployment: Value, sets: &Sets, plan: &mut Plan) {
    let counts = Counts::of(sets);
    let missing = (wanted(&deployment).max(counts.replicas) - counts.available).max(0);
    let mut status = deployment["status"].clone();
    let map = fields(&mut status);
    let mut moved = Moved::No;
    for (name, number) in [
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", missing),
    ] {
        if deployment["status"][name].as_i64().unwrap_or(0) != number {
            moved = Moved::Yes;
        }
        set(map, name, (number > 0).then(|| number.into()));
    }
    let generation = deployment["metadata"]["generation"].clone();
    map.insert("observedGeneration".to_owned(), generation);
    let conditions = conditions(view, &deployment, (sets, &counts, moved), plan);
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

fn conditions(
    view: &View<'_>,
    deployment: &Value,
    (sets, counts, moved): (&Sets, &Counts, Moved),
    plan: &mut Plan,
) -> Vec<Value> {
    let mut conditions = list(&deployment["status"], "conditions").to_vec();
    let enough = counts.available >= wanted(deployment) - Limits::of(deployment).unavailable;
    let (status, reason, verb) = if enough {
        ("True", "MinimumReplicasAvailable", "has")
    } else {
        ("False", "MinimumReplicasUnavailable", "does not have")
    };
    let text = format!("Deployment {verb} minimum availability.");
    put(view, &mut conditions, "Available", (status, reason, text));
    let Some(verdict) = progress(deployment, sets, counts) else {
        return conditions;
    };
    let verdict = timed(view, deployment, (verdict, moved), plan);
    let moves = verdict.1 == "ReplicaSetUpdated" && moved == Moved::Yes;
    put(view, &mut conditions, "Progressing", verdict);
    let progressing = conditions
        .iter_mut()
        .find(|condition| condition["type"] == "Progressing");
    if let Some(condition) = progressing.filter(|_| moves) {
        fields(condition).insert("lastUpdateTime".to_owned(), stamp(view.now).into());
    }
    conditions
}

type Verdict = (&'static str, &'static str, String);

fn progress(deployment: &Value, sets: &Sets, counts: &Counts) -> Option<Verdict> {
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
    if [counts.updated, counts.replicas, counts.available] == [wanted; 3] {
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

/// A rollout that has not moved for its deadline has failed; one that may yet, is looked at then.
fn timed(
    view: &View<'_>,
    deployment: &Value,
    (verdict, moved): (Verdict, Moved),
    plan: &mut Plan,
) -> Verdict {
    let before = list(&deployment["status"], "conditions");
    let before = before
        .iter()
        .find(|condition| condition["type"] == "Progressing");
    let (Some(before), "ReplicaSetUpdated" | "NewReplicaSetCreated") = (before, verdict.1) else {
        return verdict;
    };
    let Ok(since) = text(before, "lastUpdateTime").parse::<Timestamp>() else {
        return verdict;
    };
    let seconds = deployment["spec"]["progressDeadlineSeconds"]
        .as_i64()
        .unwrap_or(600);
    let failed = before["reason"] == "ProgressDeadlineExceeded";
    match since.checked_add(SignedDuration::from_secs(seconds)) {
        _ if moved == Moved::Yes || before["reason"] == "NewReplicaSetAvailable" => verdict,
        Ok(deadline) if deadline > view.now && !failed => {
            plan.again = Some(deadline);
            verdict
        }
        Ok(_) => {
            let name = verdict.2.split('"').nth(1).unwrap_or_default();
            let text = format!("ReplicaSet {name:?} has timed out progressing.");
            ("False", "ProgressDeadlineExceeded", text)
        }
        Err(_) => verdict,
    }
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
