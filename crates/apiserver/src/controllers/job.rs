//! Job to Pods: so many that succeed, so many at a time, until too many have failed.
//!
//! Every Pod keeps a finalizer until it is counted, so none is forgotten or counted twice.
mod end;
mod index;
mod left;
mod status;
mod wait;

use serde_json::{Value, json};

use super::action::{Action, Behalf};
use super::claim::{Owner, claim, selects_own};
use super::events::Note;
use super::pods::{controlled_by, is_active, is_finished, is_ready, pod_of, pods};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::{Propagation, Subresource};
use end::End;
use index::Indexes;

pub(super) use end::finished;

const COMPONENT: &str = "job-controller";
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Pods deleted in one step.
const BURST: i64 = 500;
/// The collection of Jobs.
pub(super) fn jobs() -> StorageKey {
    StorageKey::new("batch", "jobs")
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
}
