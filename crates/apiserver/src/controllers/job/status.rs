//! What a Job's status says: what was counted, its conditions, its end.
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::end::End;
use super::{COMPONENT, Sync, has_finalizer, jobs, without_finalizer};
use crate::controllers::action::Action;
use crate::controllers::conditions;
use crate::controllers::events::Note;
use crate::controllers::pods::pods;
use crate::store::json::{child, set, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;

impl Sync<'_> {
    pub(super) fn note_suspension(&mut self) {
        let (state, reason, message, event) = if self.is_suspended() {
            ("True", "JobSuspended", "Job suspended", "Suspended")
        } else {
            ("False", "JobResumed", "Job resumed", "Resumed")
        };
        let known = conditions::find(&self.job["status"], "Suspended");
        let changes = match known {
            Some(known) => known["status"] != state,
            None => state == "True",
        };
        if !changes {
            return;
        }
        let now = self.view.now;
        let status = child(&mut self.job, "status");
        put(status, now, "Suspended", (state, reason, message));
        let started = (state == "False").then(|| stamp(now).into());
        set(status, "startTime", started);
        let note = Note::new(COMPONENT, &self.job, event, message);
        self.notes.push(note);
    }

    /// Counts Pods that have ended, and takes their finalizers.
    pub(super) fn count_and_release(&mut self, end: Option<&End>) {
        let terminating = !self.job["metadata"]["deletionTimestamp"].is_null();
        let mut counted = (0, 0);
        let mut freed = Vec::new();
        for pod in self.pods.iter().filter(|pod| has_finalizer(pod)) {
            let succeeded = pod["status"]["phase"] == "Succeeded";
            let failed = self.has_failed(pod);
            if !(succeeded || failed || terminating || end.is_some()) {
                continue;
            }
            if succeeded {
                counted.0 += 1;
            } else if failed || end.is_some_and(|end| end.kind == "Failed") {
                counted.1 += 1;
            }
            freed.push(without_finalizer(pod));
        }
        let deleted = self.deleted_uids();
        for pod in freed {
            // A Pod that is deleted in this step goes once it has lost its finalizer.
            let update = Action::Update(pods(), Subresource::None, pod.clone());
            if deleted.contains(text(&pod["metadata"], "uid")) {
                self.writes.insert(0, update);
            } else {
                self.writes.push(update);
            }
        }
        let indexes = self.indexes.as_ref();
        let completed = indexes.map(|indexes| (indexes.succeeded(), indexes.to_text()));
        let status = child(&mut self.job, "status");
        let mut add = |name: &str, more: i64| {
            let before = status.get(name).and_then(Value::as_i64).unwrap_or(0);
            let number = before + more;
            set(status, name, (number > 0).then(|| number.into()));
        };
        add("failed", counted.1);
        match completed {
            None => add("succeeded", counted.0),
            Some((number, text)) => {
                set(status, "succeeded", (number > 0).then(|| number.into()));
                let text = (!text.is_empty()).then(|| text.into());
                set(status, "completedIndexes", text);
            }
        }
    }

    fn deleted_uids(&self) -> BTreeSet<String> {
        let deletes = self.writes.iter().filter_map(|action| match action {
            Action::Behalf(behalf) => match &behalf.action {
                Action::Delete { uid, .. } => Some(uid.clone()),
                _ => None,
            },
            _ => None,
        });
        deletes.collect()
    }

    pub(super) fn write_status(&mut self, before: &Value, end: Option<End>) {
        let now = self.view.now;
        let (active, ready, terminating) = (self.active, self.ready, self.terminating);
        let by_index = !self.job["spec"]["backoffLimitPerIndex"].is_null();
        let status = child(&mut self.job, "status");
        if by_index && status.get("failedIndexes").is_none() {
            status.insert("failedIndexes".to_owned(), "".into());
        }
        set(status, "active", (active > 0).then(|| active.into()));
        status.insert("ready".to_owned(), ready.into());
        status.insert("terminating".to_owned(), terminating.into());
        if let Some(end) = end {
            let first = if end.kind == "Failed" {
                "FailureTarget"
            } else {
                "SuccessCriteriaMet"
            };
            let verdict = ("True", end.reason.as_str(), end.message.as_str());
            put(status, now, first, verdict);
            if terminating == 0 {
                put(status, now, end.kind, verdict);
                if end.kind == "Complete" {
                    status.insert("completionTime".to_owned(), stamp(now).into());
                }
                self.tell_end(&end);
            }
        }
        self.plan.actions.append(&mut self.writes);
        if self.job["status"] != *before {
            let job = self.job.clone();
            // Before the Pods, so that none is lost when they cannot be made.
            let update = Action::Update(jobs(), Subresource::Status, job);
            self.plan.actions.insert(0, update);
        }
        let notes = std::mem::take(&mut self.notes);
        self.plan
            .actions
            .extend(notes.into_iter().map(Action::Tell));
    }

    fn tell_end(&mut self, end: &End) {
        let note = if end.kind == "Complete" {
            Note::new(COMPONENT, &self.job, "Completed", "Job completed")
        } else {
            let reason = match end.reason.as_str() {
                "DeadlineExceeded" => "DeadlineExceeded",
                "PodFailurePolicy" => "PodFailurePolicy",
                _ => "BackoffLimitExceeded",
            };
            Note::new(COMPONENT, &self.job, reason, end.message.clone()).warning()
        };
        self.notes.push(note);
    }
}

/// Sets a condition, unless it is as it shall be.
fn put(
    status: &mut Map<String, Value>,
    now: Timestamp,
    kind: &str,
    (state, reason, message): (&str, &str, &str),
) {
    let conditions = conditions::of(status);
    let condition = json!({
        "type": kind, "status": state, "reason": reason, "message": message,
        "lastProbeTime": stamp(now), "lastTransitionTime": stamp(now),
    });
    match conditions.iter_mut().find(|one| one["type"] == kind) {
        Some(known) if known["status"] == state && known["reason"] == reason => {}
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}
