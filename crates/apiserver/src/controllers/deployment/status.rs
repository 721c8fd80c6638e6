//! The status of a Deployment: how many there are, and whether it gets on.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::rollout::{Limits, wanted};
use super::{NUMBER_MAX, Sync, replicas};
use crate::controllers::conditions;
use crate::store::json::{fields, set, text};
use crate::store::meta::stamp;

/// Status, reason and message of a condition.
pub(super) type Verdict = (&'static str, &'static str, String);

/// The seconds in which a rollout must get on; none if it need not.
pub(super) fn deadline(deployment: &Value) -> Option<i64> {
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_i64();
    seconds.filter(|seconds| *seconds < NUMBER_MAX)
}

fn number(status: &Value, name: &str) -> i64 {
    status[name].as_i64().unwrap_or(0)
}

/// Whether every Pod is of the present template, and serves.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = wanted(deployment);
    let all = ["updatedReplicas", "replicas", "availableReplicas"];
    let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(0);
    all.iter().all(|name| number(status, name) == wanted)
        && number(status, "observedGeneration") >= generation
}

impl Sync<'_> {
    /// Numbers, and whether enough Pods serve.
    pub(super) fn simple_status(&mut self) {
        let status = self.counted();
        fields(&mut self.deployment).insert("status".to_owned(), status);
    }

    fn counted(&self) -> Value {
        let sum = |name: &str| -> i64 {
            let all = self.sets.all();
            all.map(|set| number(&set["status"], name)).sum()
        };
        let wanted_by_sets: i64 = self.sets.all().map(replicas).sum();
        let available = sum("availableReplicas");
        let updated = self.sets.new.as_ref();
        let updated = updated.map_or(0, |new| number(&new["status"], "replicas"));
        let mut status = self.deployment["status"].clone();
        let map = fields(&mut status);
        for (name, number) in [
            ("replicas", sum("replicas")),
            ("updatedReplicas", updated),
            ("readyReplicas", sum("readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (wanted_by_sets - available).max(0)),
        ] {
            set(map, name, (number > 0).then(|| number.into()));
        }
        let generation = self.deployment["metadata"]["generation"].clone();
        map.insert("observedGeneration".to_owned(), generation);
        set(map, "terminatingReplicas", self.terminating());
        let enough =
            available >= wanted(&self.deployment) - Limits::of(&self.deployment).unavailable;
        let verdict = if enough {
            ("True", "MinimumReplicasAvailable", "has")
        } else {
            ("False", "MinimumReplicasUnavailable", "does not have")
        };
        let message = format!("Deployment {} minimum availability.", verdict.2);
        put(
            map,
            self.view.now,
            "Available",
            (verdict.0, verdict.1, message),
        );
        status
    }

    /// Pods that are on their way out; none if a ReplicaSet does not say.
    fn terminating(&self) -> Option<Value> {
        let mut total = 0;
        for set in self.sets.all() {
            let status = &set["status"];
            match status["terminatingReplicas"].as_i64() {
                Some(number) => total += number,
                None if number(status, "observedGeneration") == 0 => {}
                None => return None,
            }
        }
        Some(total.into())
    }

    /// The status during a rollout, which has a deadline.
    pub(super) fn rollout_status(&mut self) {
        let mut status = self.counted();
        let before = &self.deployment["status"];
        let progress = conditions::find(before, "Progressing").cloned();
        let reason = progress.as_ref().map_or("", |known| text(known, "reason"));
        let was_done = number(&status, "replicas") == number(&status, "updatedReplicas")
            && reason == "NewReplicaSetAvailable";
        match deadline(&self.deployment) {
            None => conditions::remove(fields(&mut status), "Progressing"),
            Some(seconds) if !was_done => self.judge(&mut status, progress.as_ref(), seconds),
            Some(_) => {}
        }
        self.take_over_failure(&mut status);
        if status == self.deployment["status"] {
            self.look_again(&status);
        }
        fields(&mut self.deployment).insert("status".to_owned(), status);
    }

    fn judge(&self, status: &mut Value, progress: Option<&Value>, seconds: i64) {
        let subject = match &self.sets.new {
            Some(new) => format!("ReplicaSet {:?}", text(&new["metadata"], "name")),
            None => format!(
                "Deployment {:?}",
                text(&self.deployment["metadata"], "name")
            ),
        };
        let now = self.view.now;
        if is_complete(&self.deployment, status) {
            let message = format!("{subject} has successfully progressed.");
            let verdict = ("True", "NewReplicaSetAvailable", message);
            put(fields(status), now, "Progressing", verdict);
        } else if gets_on(&self.deployment["status"], status) {
            conditions::remove(fields(status), "Progressing");
            let message = format!("{subject} is progressing.");
            let verdict = ("True", "ReplicaSetUpdated", message);
            put(fields(status), now, "Progressing", verdict);
            let since = progress.filter(|known| known["status"] == "True");
            let list = conditions::of(fields(status));
            if let (Some(since), Some(last)) = (since, list.last_mut()) {
                last["lastTransitionTime"] = since["lastTransitionTime"].clone();
            }
        } else if is_late(progress, seconds, now) {
            let message = format!("{subject} has timed out progressing.");
            let verdict = ("False", "ProgressDeadlineExceeded", message);
            put(fields(status), now, "Progressing", verdict);
        }
    }

    /// That a ReplicaSet cannot make its Pods is said of the Deployment, too.
    fn take_over_failure(&self, status: &mut Value) {
        let new = self.sets.new.iter();
        let failure = new
            .chain(&self.sets.old)
            .find_map(|set| conditions::find(&set["status"], "ReplicaFailure"));
        let Some(failure) = failure else {
            conditions::remove(fields(status), "ReplicaFailure");
            return;
        };
        let known = conditions::find(status, "ReplicaFailure");
        let same = known.is_some_and(|known| {
            known["status"] == failure["status"] && known["reason"] == failure["reason"]
        });
        if !same {
            let map = fields(status);
            conditions::remove(map, "ReplicaFailure");
            let mut failure = failure.clone();
            failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
            conditions::of(map).push(failure);
        }
    }

    /// Nothing has changed: a deadline that still runs is looked at when it ends.
    fn look_again(&mut self, status: &Value) {
        let Some(progress) = conditions::find(status, "Progressing") else {
            return;
        };
        if is_complete(&self.deployment, status) || progress["reason"] == "ProgressDeadlineExceeded"
        {
            return;
        }
        let ends = deadline(&self.deployment)
            .zip(text(progress, "lastUpdateTime").parse::<Timestamp>().ok())
            .and_then(|(seconds, since)| {
                since
                    .checked_add(SignedDuration::from_secs(seconds + 1))
                    .ok()
            });
        self.plan.again = ends.filter(|ends| *ends > self.view.now);
    }
}

/// Whether more Pods are new or serve, or fewer are old, than before.
fn gets_on(before: &Value, now: &Value) -> bool {
    let old = |status: &Value| number(status, "replicas") - number(status, "updatedReplicas");
    let more = |name: &str| number(now, name) > number(before, name);
    more("updatedReplicas")
        || old(now) < old(before)
        || more("readyReplicas")
        || more("availableReplicas")
}

fn is_late(progress: Option<&Value>, seconds: i64, now: Timestamp) -> bool {
    let Some(progress) = progress else {
        return false;
    };
    match text(progress, "reason") {
        "NewReplicaSetAvailable" => return false,
        "ProgressDeadlineExceeded" => return true,
        _ => {}
    }
    let since = text(progress, "lastUpdateTime").parse::<Timestamp>().ok();
    since
        .and_then(|since| since.checked_add(SignedDuration::from_secs(seconds)).ok())
        .is_some_and(|ends| ends < now)
}

/// Sets a condition at the end of the list, unless status and reason are as they were.
pub(super) fn put(
    status: &mut Map<String, Value>,
    now: Timestamp,
    kind: &str,
    (state, reason, message): Verdict,
) {
    let conditions = conditions::of(status);
    let mut since = json!(stamp(now));
    if let Some(at) = conditions.iter().position(|one| one["type"] == kind) {
        let before = &conditions[at];
        if before["status"] == state && before["reason"] == reason {
            return;
        }
        if before["status"] == state {
            since = before["lastTransitionTime"].clone();
        }
        conditions.remove(at);
    }
    conditions.push(json!({
        "type": kind, "status": state, "reason": reason, "message": message,
        "lastUpdateTime": stamp(now), "lastTransitionTime": since,
    }));
}
