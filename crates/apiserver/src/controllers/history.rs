//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had.
use serde_json::{Map, Value, json};

use super::action::Action;
use super::deployment::{hash_of, hash_of_data};
use super::pods::{controlled_by, is_controlled_by};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::store::json::{fields, text};
use crate::store::request::{Propagation, Subresource};

/// The label that says to which template a Pod belongs.
pub(super) const HASH: &str = "controller-revision-hash";

fn revisions() -> StorageKey {
    StorageKey::new("apps", "controllerrevisions")
}

/// One template.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) name: String,
    /// As a DaemonSet's Pods carry it; a StatefulSet's carry the name.
    pub(super) hash: String,
    pub(super) template: Value,
}

impl Revision {
    fn of(value: &Value) -> Self {
        Self {
            name: text(&value["metadata"], "name").to_owned(),
            hash: text(&value["metadata"]["labels"], HASH).to_owned(),
            template: without_mark(&value["data"]["spec"]["template"]),
        }
    }
}

fn without_mark(template: &Value) -> Value {
    let mut template = template.clone();
    if template.is_object() {
        fields(&mut template).remove("$patch");
    }
    template
}

/// The revisions of an owner, oldest first.
pub(super) fn all(view: &View<'_>, owner: &Value) -> Vec<Value> {
    let meta = &owner["metadata"];
    let uid = text(meta, "uid");
    let mut found: Vec<Value> = view
        .state
        .within(&revisions(), Some(text(meta, "namespace")))
        .filter(|object| object.owners().any(|owner| owner == uid))
        .map(|object| object.value())
        .filter(|value| is_controlled_by(value, uid))
        .collect();
    found.sort_by_cached_key(|value| {
        let created = text(&value["metadata"], "creationTimestamp").to_owned();
        (value["revision"].as_i64().unwrap_or(0), created)
    });
    found
}

/// The revision by its name.
pub(super) fn named(view: &View<'_>, owner: &Value, name: &str) -> Option<Revision> {
    let namespace = text(&owner["metadata"], "namespace");
    let found = view.state.get(&revisions(), namespace, name)?;
    Some(Revision::of(&found.value()))
}

/// The revision of the present template, which is made or renumbered if need be.
pub(super) fn current(
    view: &View<'_>,
    owner: &Value,
    kind: &'static str,
    plan: &mut Plan,
) -> Option<Revision> {
    let known = all(view, owner);
    let template = &owner["spec"]["template"];
    let next = known
        .last()
        .map_or(0, |last| last["revision"].as_i64().unwrap_or(0))
        + 1;
    let same = known
        .iter()
        .rposition(|value| without_mark(&value["data"]["spec"]["template"]) == *template);
    match same {
        Some(at) if at + 1 == known.len() => return Some(Revision::of(&known[at])),
        Some(at) => {
            let mut value = known[at].clone();
            fields(&mut value).insert("revision".to_owned(), next.into());
            plan.actions.push(Action::Update(
                revisions(),
                Subresource::None,
                value.clone(),
            ));
            return Some(Revision::of(&value));
        }
        None => {}
    }
    let made = create(view, owner, (kind, next))?;
    plan.actions.push(Action::Create(revisions(), made.clone()));
    Some(Revision::of(&made))
}

fn create(view: &View<'_>, owner: &Value, (kind, number): (&'static str, i64)) -> Option<Value> {
    let (meta, template) = (&owner["metadata"], &owner["spec"]["template"]);
    let namespace = text(meta, "namespace");
    let taken = |name: &str| view.state.get(&revisions(), namespace, name).is_some();
    let mut marked = template.clone();
    fields(&mut marked).insert("$patch".to_owned(), "replace".into());
    let data = json!({ "spec": { "template": marked } });
    let (name, hash) = (0..8)
        .map(|collisions| {
            let hash = if kind == "DaemonSet" {
                hash_of(template, (collisions > 0).then_some(collisions))
            } else {
                hash_of_data(&data, collisions)
            };
            (format!("{}-{hash}", text(meta, "name")), hash)
        })
        .find(|(name, _)| !taken(name))?;
    let mut labels: Map<String, Value> = template["metadata"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let label = if kind == "DaemonSet" {
        HASH
    } else {
        "controller.kubernetes.io/hash"
    };
    labels.insert(label.to_owned(), hash.into());
    let mut revision = json!({
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels,
            "ownerReferences": controlled_by("apps/v1", kind, owner),
        },
        "data": data, "revision": number,
    });
    if let Some(annotations) = meta.get("annotations") {
        revision["metadata"]["annotations"] = annotations.clone();
    }
    Some(revision)
}

/// Deletes old revisions that nobody uses, beyond the limit.
pub(super) fn truncate(view: &View<'_>, owner: &Value, used: &[&str], plan: &mut Plan) {
    let limit = owner["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10);
    let known = all(view, owner);
    let unused: Vec<&Value> = known
        .iter()
        .filter(|value| !used.contains(&text(&value["metadata"], "name")))
        .collect();
    let surplus = unused
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for value in unused.into_iter().take(surplus) {
        plan.actions
            .push(Action::delete(&revisions(), value, Propagation::Background));
    }
}
