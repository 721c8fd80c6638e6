//! Deployment to ReplicaSets: one for each template, replaced step by step.
//!
//! One plan is one round of kube-controller-manager's: find the ReplicaSets, bring revisions up to
//! date, scale or roll on by one step, say in the status how far it is. What it writes changes
//! what the next round sees.
mod revision;
mod rollout;
mod status;
mod template;

pub(super) use template::{hash as hash_of, hash_of_data};

use std::collections::BTreeSet;

use serde_json::Value;

use super::action::Action;
use super::conditions;
use super::events::Note;
use super::pods::{controlled_by, is_controlled_by, is_finished, pods};
use super::replica_set::replica_sets;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, text};
use crate::store::request::{Propagation, Subresource};

pub(super) const HASH_LABEL: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";
/// The largest number that Kubernetes can say; as a limit it means that there is none.
const NUMBER_MAX: i64 = i32::MAX as i64;

/// The collection of Deployments.
fn deployments() -> StorageKey {
    StorageKey::new("apps", "deployments")
}

/// A Deployment's ReplicaSets.
#[derive(Default)]
struct Sets {
    /// The one with the present template.
    new: Option<Value>,
    /// The others, oldest first.
    old: Vec<Value>,
}

impl Sets {
    fn all(&self) -> impl Iterator<Item = &Value> {
        self.old.iter().chain(self.new.iter())
    }

    fn active(&self) -> impl Iterator<Item = &Value> {
        self.all().filter(|set| replicas(set) > 0)
    }

    fn named_mut(&mut self, name: &str) -> Option<&mut Value> {
        let mut all = self.old.iter_mut().chain(self.new.iter_mut());
        all.find(|set| text(&set["metadata"], "name") == name)
    }
}

/// One round.
struct Sync<'a> {
    view: &'a View<'a>,
    deployment: Value,
    sets: Sets,
    /// ReplicaSets that have changed.
    dirty: BTreeSet<String>,
    created: Option<String>,
    notes: Vec<Note>,
    deletions: Vec<Action>,
    plan: Plan,
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let Some(object) = view.state.get(&deployments(), namespace, name) else {
        return Plan::default();
    };
    let deployment = object.value();
    let stored = deployment.clone();
    let mut sync = Sync {
        view,
        deployment,
        sets: Sets::default(),
        dirty: BTreeSet::new(),
        created: None,
        notes: Vec::new(),
        deletions: Vec::new(),
        plan: Plan::default(),
    };
    sync.find_sets();
    if object.is_terminating() {
        sync.sync_revision();
        sync.simple_status();
    } else {
        sync.pause_or_resume();
        sync.step();
    }
    sync.finish(&stored)
}

impl Sync<'_> {
    /// A Deployment's ReplicaSets. Those that match and have no controller are adopted.
    fn find_sets(&mut self) {
        let deployment = &self.deployment;
        let uid = text(&deployment["metadata"], "uid");
        let namespace = text(&deployment["metadata"], "namespace");
        let may_adopt = deployment["metadata"]["deletionTimestamp"].is_null();
        let selector = LabelSelector::from_object(&deployment["spec"]["selector"]);
        let mut owned = Vec::new();
        for object in self.view.state.within(&replica_sets(), Some(namespace)) {
            let matches = selector.matches(|key| object.label(key));
            let mine = object.owners().any(|owner| owner == uid);
            let orphan = object.owners().next().is_none();
            if !matches || !(mine || (orphan && may_adopt && !object.is_terminating())) {
                continue;
            }
            let mut set = object.value();
            if orphan {
                let owner = controlled_by("apps/v1", "Deployment", deployment);
                child(&mut set, "metadata").insert("ownerReferences".to_owned(), owner);
                self.dirty.insert(object.name().to_owned());
            } else if !is_controlled_by(&set, uid) {
                continue;
            }
            owned.push(set);
        }
        owned.sort_by_cached_key(age_key);
        let at = owned
            .iter()
            .position(|set| revision::has_template(set, deployment));
        let new = at.map(|at| owned.remove(at));
        self.sets = Sets { new, old: owned };
    }

    /// One step, as the Deployment's state asks for it.
    fn step(&mut self) {
        self.sync_revision();
        if self.deployment["spec"]["paused"] == true || self.is_being_scaled() {
            self.scale();
            if self.deployment["spec"]["paused"] == true {
                self.forget_old();
            }
            self.simple_status();
        } else if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            self.recreate();
            self.rollout_status();
        } else {
            self.roll();
            self.rollout_status();
        }
    }

    /// Whether somebody has changed the wanted number since the ReplicaSets were last sized.
    fn is_being_scaled(&self) -> bool {
        let wanted = rollout::wanted(&self.deployment);
        self.sets.active().any(|set| {
            let known = text(&set["metadata"]["annotations"], revision::DESIRED);
            known.parse::<i64>().is_ok_and(|known| known != wanted)
        })
    }

    /// While it is paused, no deadline runs.
    fn pause_or_resume(&mut self) {
        if status::deadline(&self.deployment).is_none() {
            return;
        }
        let before = conditions::find(&self.deployment["status"], "Progressing");
        let reason = before.map_or("", |condition| text(condition, "reason"));
        if reason == "ProgressDeadlineExceeded" {
            return;
        }
        let paused = self.deployment["spec"]["paused"] == true;
        let news = match (paused, reason == "DeploymentPaused") {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let status = child(&mut self.deployment, "status");
        let (reason, message) = news;
        status::put(
            status,
            self.view.now,
            "Progressing",
            ("Unknown", reason, message.to_owned()),
        );
    }

    /// Stops all old Pods before any new one starts.
    fn recreate(&mut self) {
        let running: Vec<String> = self
            .sets
            .old
            .iter()
            .filter(|set| replicas(set) > 0)
            .map(name_of)
            .collect();
        let begun = !running.is_empty();
        for name in running {
            self.resize(&name, 0, Annotate::Changed);
        }
        if begun || self.old_pods_run() {
            return;
        }
        self.ensure_new_set();
        let wanted = rollout::wanted(&self.deployment);
        if let Some(name) = self.sets.new.as_ref().map(name_of) {
            self.resize(&name, wanted, Annotate::Changed);
        }
        if status::is_complete(&self.deployment, &self.deployment["status"]) {
            self.forget_old();
        }
    }

    fn old_pods_run(&self) -> bool {
        let thinks_so = |set: &Value| set["status"]["replicas"].as_i64().unwrap_or(0) > 0;
        if self.sets.old.iter().any(thinks_so) {
            return true;
        }
        let uids: BTreeSet<&str> = self
            .sets
            .old
            .iter()
            .map(|set| text(&set["metadata"], "uid"))
            .collect();
        let namespace = text(&self.deployment["metadata"], "namespace");
        let pods = pods();
        let mut all = self.view.state.within(&pods, Some(namespace));
        all.any(|pod| pod.owners().any(|uid| uids.contains(uid)) && !is_finished(&pod.value()))
    }

    /// Some new Pods more, or some old ones less.
    fn roll(&mut self) {
        self.ensure_new_set();
        let Some(new) = &self.sets.new else { return };
        let (name, wanted) = (name_of(new), rollout::wanted(&self.deployment));
        let have = replicas(new);
        let next = match have.cmp(&wanted) {
            std::cmp::Ordering::Equal => have,
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => rollout::new_replicas(&self.deployment, &self.sets, have),
        };
        if next != have {
            self.resize(&name, next, Annotate::Changed);
            return;
        }
        let steps = rollout::shrunk(&self.deployment, &self.sets);
        let shrinks = !steps.is_empty();
        for (name, replicas) in steps {
            self.resize(&name, replicas, Annotate::Changed);
        }
        if !shrinks && status::is_complete(&self.deployment, &self.deployment["status"]) {
            self.forget_old();
        }
    }

    /// Outside of rollouts the ReplicaSets keep their shares.
    fn scale(&mut self) {
        for (name, replicas, annotate) in rollout::scaled(&self.deployment, &self.sets) {
            self.resize(&name, replicas, annotate);
        }
    }

    /// Gives a ReplicaSet another size, and tells so.
    fn resize(&mut self, name: &str, size: i64, annotate: Annotate) {
        let deployment = self.deployment.clone();
        let Some(set) = self.sets.named_mut(name) else {
            return;
        };
        let before = replicas(set);
        if before == size && annotate == Annotate::Changed {
            return;
        }
        let mut after = set.clone();
        child(&mut after, "spec").insert("replicas".to_owned(), size.into());
        revision::annotate_sizes(&deployment, &mut after);
        if after == *set {
            return;
        }
        *set = after;
        self.dirty.insert(name.to_owned());
        if before != size {
            let way = if before < size { "up" } else { "down" };
            self.note(
                "ScalingReplicaSet",
                format!("Scaled {way} replica set {name} from {before} to {size}"),
            );
        }
    }

    fn note(&mut self, reason: &'static str, message: String) {
        self.notes
            .push(Note::new(COMPONENT, &self.deployment, reason, message));
    }

    /// Old ReplicaSets beyond the history limit go, if they have no Pods.
    fn forget_old(&mut self) {
        let limit = &self.deployment["spec"]["revisionHistoryLimit"];
        let limit = limit.as_i64().unwrap_or(10);
        if limit >= NUMBER_MAX {
            return;
        }
        let mut old: Vec<&Value> = self
            .sets
            .old
            .iter()
            .filter(|set| set["metadata"]["deletionTimestamp"].is_null())
            .collect();
        let surplus = old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|set| revision::of(set));
        for set in old.into_iter().take(surplus) {
            let status = &set["status"];
            let seen =
                status["observedGeneration"].as_i64() >= set["metadata"]["generation"].as_i64();
            let pods = status["replicas"].as_i64().unwrap_or(0);
            if replicas(set) == 0 && pods == 0 && seen {
                let how = Propagation::Background;
                self.deletions
                    .push(Action::delete(&replica_sets(), set, how));
            }
        }
    }

    /// The writes of this round.
    fn finish(mut self, stored: &Value) -> Plan {
        for set in self.sets.all() {
            let name = name_of(set);
            if self.created.as_ref() == Some(&name) {
                let action = Action::Create(replica_sets(), set.clone());
                self.plan.actions.push(action);
            } else if self.dirty.contains(&name) {
                let action = Action::Update(replica_sets(), Subresource::None, set.clone());
                self.plan.actions.push(action);
            }
        }
        self.plan
            .actions
            .extend(self.notes.into_iter().map(Action::Tell));
        self.plan.actions.extend(self.deletions);
        let annotations = |of: &Value| of["metadata"]["annotations"].clone();
        if self.deployment["status"] != stored["status"]
            || annotations(&self.deployment) != annotations(stored)
        {
            self.plan.actions.push(Action::Update(
                deployments(),
                Subresource::Status,
                self.deployment,
            ));
        }
        self.plan
    }
}

/// When the annotations of a ReplicaSet's size are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Annotate {
    /// When the size has changed.
    Changed,
    /// When they are not what they shall be.
    Always,
}

fn age_key(set: &Value) -> (String, String) {
    let meta = &set["metadata"];
    let created = text(meta, "creationTimestamp").to_owned();
    (created, text(meta, "name").to_owned())
}

fn name_of(set: &Value) -> String {
    text(&set["metadata"], "name").to_owned()
}

fn replicas(set: &Value) -> i64 {
    set["spec"]["replicas"].as_i64().unwrap_or(0)
}

fn annotations_mut(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    let annotations = child(object, "metadata")
        .entry("annotations")
        .or_insert(Value::Null);
    fields(annotations)
}
