//! Deployment to ReplicaSets: one for each template, replaced step by step.
mod rollout;
mod status;

use serde_json::{Value, json};

use super::action::Action;
use super::pods::{controlled_by, is_controlled_by};
use super::replica_set::replica_sets;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, text};
use crate::store::request::{Propagation, Subresource};

const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Other names that are tried when a ReplicaSet's name is taken by something else.
const COLLISIONS_MAX: u32 = 8;

/// The collection of Deployments.
fn deployments() -> StorageKey {
    StorageKey::new("apps", "deployments")
}

/// A Deployment's ReplicaSets.
pub(super) struct Sets {
    /// The one with the present template.
    pub(super) new: Option<Value>,
    /// The others, oldest first.
    pub(super) old: Vec<Value>,
}

impl Sets {
    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.old.iter().chain(self.new.iter())
    }
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&deployments(), namespace, name) else {
        return plan;
    };
    if object.is_terminating() {
        return plan;
    }
    let mut deployment = object.value();
    let mut sets = sets_of(view, &deployment, &mut plan);
    let revision = next_revision(&sets);
    let paused = deployment["spec"]["paused"] == true;
    if sets.new.is_none() && !paused {
        let room = rollout::room_for_new(&deployment, &sets);
        if let Some(created) = new_set(view, &deployment, (room, revision)) {
            plan.actions
                .push(Action::Create(replica_sets(), created.clone()));
            sets.new = Some(created);
        }
    } else {
        for (set, replicas) in rollout::scaled(&deployment, &sets, paused) {
            let mut set = set.clone();
            child(&mut set, "spec").insert("replicas".to_owned(), replicas.into());
            annotate_sizes(&deployment, &mut set);
            plan.actions
                .push(Action::Update(replica_sets(), Subresource::None, set));
        }
        let steady = plan.actions.is_empty();
        if let Some(set) = sets.new.as_ref().filter(|_| steady) {
            bump_revision(&sets, set, revision, &mut plan);
        }
    }
    forget_old(&deployment, &sets, &mut plan);
    annotate_revision(&mut deployment, &sets, &mut plan);
    status::plan(view, deployment, &sets, &mut plan);
    plan
}

/// A Deployment's ReplicaSets. Those that match and have no controller are adopted.
fn sets_of(view: &View<'_>, deployment: &Value, plan: &mut Plan) -> Sets {
    let uid = text(&deployment["metadata"], "uid");
    let selector = LabelSelector::from_object(&deployment["spec"]["selector"]);
    let mut owned = Vec::new();
    for object in view.state.within(
        &replica_sets(),
        Some(text(&deployment["metadata"], "namespace")),
    ) {
        let mine = object.owners().any(|owner| owner == uid);
        let orphan = object.owners().next().is_none() && selector.matches(|key| object.label(key));
        if object.is_terminating() || !(mine || orphan) {
            continue;
        }
        let mut set = object.value();
        if orphan {
            let owner = controlled_by("apps/v1", "Deployment", deployment);
            child(&mut set, "metadata").insert("ownerReferences".to_owned(), owner);
            plan.actions.push(Action::Update(
                replica_sets(),
                Subresource::None,
                set.clone(),
            ));
            // What else is to be done with it is planned when this is done.
            child(&mut set, "metadata").remove("resourceVersion");
        } else if !is_controlled_by(&set, uid) {
            continue;
        }
        owned.push(set);
    }
    owned.sort_by_cached_key(|set| {
        let meta = &set["metadata"];
        (
            text(meta, "creationTimestamp").to_owned(),
            text(meta, "name").to_owned(),
        )
    });
    let at = owned.iter().position(|set| has_template(set, deployment));
    let new = at.map(|at| owned.remove(at));
    Sets { new, old: owned }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = child(&mut template, "metadata").get_mut("labels") {
        fields(labels).remove(HASH_LABEL);
    }
    template
}

fn has_template(set: &Value, deployment: &Value) -> bool {
    without_hash(&set["spec"]["template"]) == without_hash(&deployment["spec"]["template"])
}

/// A short name for a template: the same for the same template.
fn hash(template: &Value, collisions: u32) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let text = template.to_string();
    let salt = collisions.to_le_bytes();
    let salt: &[u8] = if collisions == 0 { &[] } else { &salt };
    for byte in text.as_bytes().iter().chain(salt) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string();
    digits
        .bytes()
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .collect()
}

fn new_set(view: &View<'_>, deployment: &Value, (replicas, revision): (i64, u64)) -> Option<Value> {
    let (meta, spec) = (&deployment["metadata"], &deployment["spec"]);
    let namespace = text(meta, "namespace");
    let (name, hash) = (0..COLLISIONS_MAX)
        .map(|collisions| {
            let hash = hash(&without_hash(&spec["template"]), collisions);
            (format!("{}-{hash}", text(meta, "name")), hash)
        })
        .find(|(name, _)| view.state.get(&replica_sets(), namespace, name).is_none())?;
    let mut template = spec["template"].clone();
    let labels = child(&mut template, "metadata")
        .entry("labels")
        .or_insert_with(|| json!({}));
    fields(labels).insert(HASH_LABEL.to_owned(), hash.clone().into());
    let labels = labels.clone();
    let mut selector = spec["selector"].clone();
    child(&mut selector, "matchLabels").insert(HASH_LABEL.to_owned(), hash.into());
    let mut annotations = json!({ REVISION: revision.to_string() });
    for (name, value) in meta["annotations"].as_object().into_iter().flatten() {
        if name != "kubectl.kubernetes.io/last-applied-configuration" && name != REVISION {
            fields(&mut annotations).insert(name.clone(), value.clone());
        }
    }
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": controlled_by("apps/v1", "Deployment", deployment),
        },
        "spec": { "replicas": replicas, "selector": selector, "template": template },
    });
    if let Some(seconds) = spec.get("minReadySeconds") {
        set["spec"]["minReadySeconds"] = seconds.clone();
    }
    annotate_sizes(deployment, &mut set);
    Some(set)
}

fn annotate_sizes(deployment: &Value, set: &mut Value) {
    let wanted = rollout::wanted(deployment);
    let max = wanted + rollout::Limits::of(deployment).surge;
    let meta = child(set, "metadata");
    let annotations = fields(meta.entry("annotations").or_insert_with(|| json!({})));
    annotations.insert(DESIRED.to_owned(), wanted.to_string().into());
    annotations.insert(MAX.to_owned(), max.to_string().into());
}

fn revision_of(set: &Value) -> u64 {
    text(&set["metadata"]["annotations"], REVISION)
        .parse()
        .unwrap_or(0)
}

fn next_revision(sets: &Sets) -> u64 {
    sets.old.iter().map(revision_of).max().unwrap_or(0) + 1
}

/// A template that was there before and is back gets a new revision.
fn bump_revision(sets: &Sets, set: &Value, revision: u64, plan: &mut Plan) {
    if sets.old.is_empty() || revision_of(set) >= revision {
        return;
    }
    let mut set = set.clone();
    let annotations = child(&mut set, "metadata")
        .entry("annotations")
        .or_insert_with(|| json!({}));
    fields(annotations).insert(REVISION.to_owned(), revision.to_string().into());
    plan.actions
        .push(Action::Update(replica_sets(), Subresource::None, set));
}

/// The Deployment carries the revision of its present template.
fn annotate_revision(deployment: &mut Value, sets: &Sets, plan: &mut Plan) {
    let Some(new) = &sets.new else { return };
    let revision = revision_of(new).max(if sets.old.is_empty() {
        1
    } else {
        next_revision(sets)
    });
    let revision = revision.to_string();
    if text(&deployment["metadata"]["annotations"], REVISION) == revision {
        return;
    }
    let meta = child(deployment, "metadata");
    meta.remove("resourceVersion");
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    fields(annotations).insert(REVISION.to_owned(), revision.into());
    plan.actions.push(Action::Update(
        deployments(),
        Subresource::None,
        deployment.clone(),
    ));
}

/// Old ReplicaSets beyond the history limit go, if they have no Pods.
fn forget_old(deployment: &Value, sets: &Sets, plan: &mut Plan) {
    let keep = deployment["spec"]["revisionHistoryLimit"]
        .as_i64()
        .unwrap_or(10);
    let empty: Vec<&Value> = sets
        .old
        .iter()
        .filter(|set| set["spec"]["replicas"] == 0 && set["status"]["replicas"] == 0)
        .collect();
    let surplus = empty
        .len()
        .saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    for set in empty.iter().take(surplus) {
        let meta = &set["metadata"];
        plan.actions.push(Action::Delete {
            collection: replica_sets(),
            namespace: text(meta, "namespace").to_owned(),
            name: text(meta, "name").to_owned(),
            uid: text(meta, "uid").to_owned(),
            how: Propagation::Background,
        });
    }
}
