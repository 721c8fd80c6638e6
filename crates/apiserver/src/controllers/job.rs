//! Job to Pods: so many that succeed, so many at a time, until too many have failed.
//!
//! Every Pod keeps a finalizer until it is counted, so none is forgotten or counted twice.
mod index;
mod left;
mod wait;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::action::{Action, Behalf};
use super::claim::{Owner, claim, selects_own};
use super::events::Note;
use super::pods::{controlled_by, is_active, is_finished, is_ready, pod_of, pods};
use super::{Plan, View, conditions};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::{Propagation, Subresource};
use index::Indexes;

const COMPONENT: &str = "job-controller";
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Pods deleted in one step.
const BURST: i64 = 500;
/// The collection of Jobs.
pub(super) fn jobs() -> StorageKey {
    StorageKey::new("batch", "jobs")
}

/// `Complete` or `Failed`, of a Job that is at its end.
pub(super) fn finished(job: &Value) -> Option<&'static str> {
    ["Complete", "Failed"]
        .into_iter()
        .find(|kind| conditions::holds(&job["status"], kind))
}

/// How the Job shall end.
#[derive(Debug, Clone, PartialEq)]
struct End {
    /// `Complete` or `Failed`.
    kind: &'static str,
    reason: String,
    message: String,
}

impl End {
    fn failed(reason: &str, message: &str) -> Self {
        Self {
            kind: "Failed",
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// One look at a Job.
struct Sync<'a> {
    view: &'a View<'a>,
    job: Value,
    pods: Vec<Value>,
    active: i64,
    ready: i64,
    terminating: i64,
    succeeded: i64,
    failed: i64,
    indexes: Option<Indexes>,
    writes: Vec<Action>,
    notes: Vec<Note>,
    plan: Plan,
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let found = view.state.get(&jobs(), namespace, name);
    left::release(view, namespace, found.is_some(), &mut plan);
    let Some(object) = found else {
        return plan;
    };
    let job = object.value();
    let managed = job["spec"]["managedBy"].as_str();
    if managed.is_some_and(|by| by != "kubernetes.io/job-controller") {
        return plan;
    }
    let selector = LabelSelector::from_object(&job["spec"]["selector"]);
    if !selects_own(&selector, &job["spec"]["template"]) {
        return plan;
    }
    let owner = Owner {
        api_version: "batch/v1",
        kind: "Job",
        object: &job,
        selector: &selector,
    };
    let pods = claim(view, &owner, &mut plan);
    let mut sync = Sync {
        view,
        job,
        pods,
        active: 0,
        ready: 0,
        terminating: 0,
        succeeded: 0,
        failed: 0,
        indexes: None,
        writes: Vec::new(),
        notes: Vec::new(),
        plan,
    };
    if finished(&sync.job).is_some() {
        sync.after_the_end();
        return sync.plan;
    }
    sync.run()
}

fn has_finalizer(pod: &Value) -> bool {
    let mut finalizers = list(&pod["metadata"], "finalizers").iter();
    finalizers.any(|one| one == FINALIZER)
}

fn without_finalizer(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let kept: Vec<Value> = list(&pod["metadata"], "finalizers")
        .iter()
        .filter(|one| *one != FINALIZER)
        .cloned()
        .collect();
    let kept = (!kept.is_empty()).then_some(Value::Array(kept));
    set(child(&mut pod, "metadata"), "finalizers", kept);
    pod
}

impl Sync<'_> {
    fn spec(&self) -> &Value {
        &self.job["spec"]
    }

    fn is_suspended(&self) -> bool {
        self.spec()["suspend"] == true
    }

    /// Whether only Pods that have ended in failure count as failed, not those that are ending.
    fn waits_for_the_end(&self) -> bool {
        self.spec()["podReplacementPolicy"] == "Failed"
    }

    fn has_failed(&self, pod: &Value) -> bool {
        let phase = text(&pod["status"], "phase");
        let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
        phase == "Failed" || (!self.waits_for_the_end() && terminating && phase != "Succeeded")
    }

    fn run(mut self) -> Plan {
        let before = self.job["status"].clone();
        let status = child(&mut self.job, "status");
        status
            .entry("uncountedTerminatedPods")
            .or_insert_with(|| json!({}));
        self.count();
        let end = self.end_by_now();
        let end = match end {
            Some(end) => {
                self.stop_active();
                Some(end)
            }
            None => self.carry_on(),
        };
        self.count_and_release(end.as_ref());
        self.write_status(&before, end);
        self.plan
    }

    /// What the Pods say.
    fn count(&mut self) {
        let status = &self.job["status"];
        let number = |name: &str| status[name].as_i64().unwrap_or(0);
        let (mut succeeded, mut failed) = (number("succeeded"), number("failed"));
        for pod in &self.pods {
            let active = is_active(pod);
            self.active += i64::from(active);
            self.ready += i64::from(active && is_ready(pod));
            let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
            self.terminating += i64::from(terminating && !is_finished(pod));
            if has_finalizer(pod) {
                succeeded += i64::from(pod["status"]["phase"] == "Succeeded");
                failed += i64::from(self.has_failed(pod));
            }
        }
        (self.succeeded, self.failed) = (succeeded, failed);
        if self.spec()["completionMode"] == "Indexed" {
            let indexes = Indexes::of(&self.job, &self.pods);
            self.succeeded = indexes.succeeded();
            self.indexes = Some(indexes);
        }
        if self.job["status"]["startTime"].is_null() && !self.is_suspended() {
            let now = stamp(self.view.now);
            child(&mut self.job, "status").insert("startTime".to_owned(), now.into());
        }
    }

    /// Whether the Job must end, or was about to.
    fn end_by_now(&mut self) -> Option<End> {
        let status = &self.job["status"];
        for (known, kind) in [
            ("SuccessCriteriaMet", "Complete"),
            ("FailureTarget", "Failed"),
        ] {
            if let Some(condition) = conditions::find(status, known) {
                return Some(End {
                    kind,
                    reason: text(condition, "reason").to_owned(),
                    message: text(condition, "message").to_owned(),
                });
            }
        }
        let limit = self.spec()["backoffLimit"].as_i64().unwrap_or(6);
        if self.failed > limit || self.restarted_too_often(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(End::failed("BackoffLimitExceeded", message));
        }
        let deadline = self.spec()["activeDeadlineSeconds"].as_i64();
        let since = text(&self.job["status"], "startTime").parse::<Timestamp>();
        if let (Some(seconds), Ok(since), false) = (deadline, since, self.is_suspended()) {
            let ends = since.checked_add(SignedDuration::from_secs(seconds)).ok()?;
            if ends <= self.view.now {
                let message = "Job was active longer than specified deadline";
                return Some(End::failed("DeadlineExceeded", message));
            }
            self.plan.look_at(ends);
        }
        None
    }

    fn restarted_too_often(&self, limit: i64) -> bool {
        if self.spec()["template"]["spec"]["restartPolicy"] != "OnFailure" {
            return false;
        }
        let running = self
            .pods
            .iter()
            .filter(|pod| matches!(text(&pod["status"], "phase"), "Running" | "Pending"));
        let restarts: i64 = running
            .flat_map(|pod| {
                ["initContainerStatuses", "containerStatuses"]
                    .map(|name| list(&pod["status"], name))
                    .concat()
            })
            .filter_map(|container| container["restartCount"].as_i64())
            .sum();
        if limit == 0 {
            restarts > 0
        } else {
            restarts >= limit
        }
    }

    fn behalf(
        &self,
        action: Action,
        done: (&'static str, &str),
        failed: (&'static str, &str),
    ) -> Action {
        Action::Behalf(Box::new(Behalf {
            action,
            done: Some(Note::new(COMPONENT, &self.job, done.0, done.1)),
            failed: Some(Note::new(COMPONENT, &self.job, failed.0, failed.1)),
            condition: None,
        }))
    }

    fn delete(&mut self, pod: &Value) {
        let action = Action::delete(&pods(), pod, Propagation::Background);
        let action = self.behalf(
            action,
            ("SuccessfulDelete", "Deleted pod: {name}"),
            ("FailedDelete", "Error deleting: {error}"),
        );
        self.writes.push(action);
        self.active -= 1;
        self.ready -= i64::from(is_ready(pod));
        self.terminating += 1;
    }

    /// The Job ends: nothing of it runs on.
    fn stop_active(&mut self) {
        let active: Vec<Value> = self
            .pods
            .iter()
            .filter(|pod| is_active(pod))
            .cloned()
            .collect();
        for pod in &active {
            self.delete(pod);
        }
    }

    /// Makes or deletes Pods; answers whether that was all.
    fn carry_on(&mut self) -> Option<End> {
        let may_manage = self.job["metadata"]["deletionTimestamp"].is_null();
        if may_manage {
            self.manage();
        }
        let done = match self.spec()["completions"].as_i64() {
            None => self.succeeded > 0,
            Some(wanted) => self.succeeded >= wanted,
        };
        if done && self.active == 0 {
            return Some(End {
                kind: "Complete",
                reason: "CompletionsReached".to_owned(),
                message: "Reached expected number of succeeded pods".to_owned(),
            });
        }
        if may_manage {
            self.note_suspension();
        }
        None
    }

    fn note_suspension(&mut self) {
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

    fn manage(&mut self) {
        if self.is_suspended() {
            let active = self.for_removal(self.active);
            self.release_and_delete(&active);
            return;
        }
        let parallelism = self.spec()["parallelism"].as_i64().unwrap_or(1);
        let wanted = match self.spec()["completions"].as_i64() {
            None if self.succeeded > 0 => self.active,
            None => parallelism,
            Some(completions) => (completions - self.succeeded).clamp(0, parallelism.max(0)),
        };
        let surplus = self.for_removal((self.active - wanted).clamp(0, BURST));
        if !surplus.is_empty() {
            self.release_and_delete(&surplus);
            return;
        }
        let ending = if self.waits_for_the_end() {
            self.terminating
        } else {
            0
        };
        let missing = wanted - ending - self.active;
        if missing <= 0 || self.backs_off() {
            return;
        }
        let room = i64::try_from(self.view.room.pods).unwrap_or(i64::MAX);
        if missing > room {
            self.plan.wait_for_room(self.view);
        }
        self.make(missing.min(room));
    }

    fn make(&mut self, missing: i64) {
        let pending = match &self.indexes {
            Some(indexes) => indexes
                .pending(&self.pods, missing)
                .into_iter()
                .map(Some)
                .collect(),
            None => vec![None; usize::try_from(missing).unwrap_or(0)],
        };
        for index in pending {
            let mut template = self.spec()["template"].clone();
            let meta = child(&mut template, "metadata");
            let finalizers = meta.entry("finalizers").or_insert_with(|| json!([]));
            if let Value::Array(finalizers) = finalizers
                && !finalizers.iter().any(|one| one == FINALIZER)
            {
                finalizers.push(FINALIZER.into());
            }
            let owner = controlled_by("batch/v1", "Job", &self.job);
            let mut pod = pod_of(&self.job, &template, owner);
            if let Some(index) = index {
                index::mark(&mut pod, &self.job, index);
            }
            let action = self.behalf(
                Action::Create(pods(), pod),
                ("SuccessfulCreate", "Created pod: {name}"),
                ("FailedCreate", "Error creating: {error}"),
            );
            self.writes.push(action);
            self.active += 1;
        }
    }

    /// The Pods that are spared most easily.
    fn for_removal(&self, number: i64) -> Vec<Value> {
        let mut active: Vec<&Value> = self.pods.iter().filter(|pod| is_active(pod)).collect();
        active.sort_by_cached_key(|pod| {
            let running = text(&pod["status"], "phase") == "Running";
            let created = text(&pod["metadata"], "creationTimestamp").to_owned();
            let on_node = !text(&pod["spec"], "nodeName").is_empty();
            (on_node, running, is_ready(pod), std::cmp::Reverse(created))
        });
        let number = usize::try_from(number).unwrap_or(0);
        active.into_iter().take(number).cloned().collect()
    }

    /// Pods that are not needed are not counted: they lose their finalizer first.
    fn release_and_delete(&mut self, surplus: &[Value]) {
        for pod in surplus {
            if has_finalizer(pod) {
                let freed = without_finalizer(pod);
                self.writes
                    .push(Action::Update(pods(), Subresource::None, freed));
            }
            self.delete(pod);
            let uid = &pod["metadata"]["uid"];
            self.pods.retain(|other| other["metadata"]["uid"] != *uid);
        }
    }

    /// Counts Pods that have ended, and takes their finalizers.
    fn count_and_release(&mut self, end: Option<&End>) {
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

    fn write_status(&mut self, before: &Value, end: Option<End>) {
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
