//! Garbage collection: objects whose owners are gone go too; owners that wait for their
//! dependents, or shall leave them behind, get what they wait for.
use std::sync::Arc;

use serde_json::{Value, json};

use super::action::Action;
use super::{Plan, View};
use crate::object::Object;
use crate::registry::{Registry, StorageKey};
use crate::store::delete::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use crate::store::json::{child, list, text};
use crate::store::request::{Propagation, Subresource};

/// Where the owner that a reference names is, if its kind is served.
pub(super) fn place_of(
    registry: &Registry,
    owner: &Value,
    namespace: &str,
) -> Option<(StorageKey, String, String)> {
    let api_version = text(owner, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let res = registry.find_kind(group, version, text(owner, "kind"))?;
    let namespace = if res.is_namespaced() { namespace } else { "" };
    Some((
        res.storage.clone(),
        namespace.to_owned(),
        text(owner, "name").to_owned(),
    ))
}

pub(super) fn plan(
    view: &View<'_>,
    collection: &StorageKey,
    (namespace, name): (&str, &str),
) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(collection, namespace, name) else {
        return plan;
    };
    if object.is_terminating() {
        let value = object.value();
        let has = |finalizer: &str| {
            list(&value["metadata"], "finalizers")
                .iter()
                .any(|one| one == finalizer)
        };
        if has(FINALIZER_ORPHAN) {
            orphan(view, collection, (object, value), &mut plan);
        } else if has(FINALIZER_FOREGROUND) {
            foreground(view, collection, (object, value), &mut plan);
        }
    } else if object.owners().next().is_some() {
        owned(view, collection, object, &mut plan);
    }
    plan
}

/// The dependents that really have this owner, as they are now.
fn dependents<'a>(
    view: &'a View<'_>,
    uid: &'a str,
) -> impl Iterator<Item = (&'a StorageKey, &'a Arc<Object>)> {
    view.dependents
        .iter()
        .filter_map(|(collection, namespace, name)| {
            Some((collection, view.state.get(collection, namespace, name)?))
        })
        .filter(move |(_, dependent)| dependent.owners().any(|owner| owner == uid))
}

fn without_finalizer(mut value: Value, finalizer: &str) -> Value {
    let kept: Vec<Value> = list(&value["metadata"], "finalizers")
        .iter()
        .filter(|one| *one != finalizer)
        .cloned()
        .collect();
    child(&mut value, "metadata").insert("finalizers".to_owned(), json!(kept));
    value
}

/// Takes the owner out of its dependents, then lets it go.
fn orphan(
    view: &View<'_>,
    collection: &StorageKey,
    (object, value): (&Arc<Object>, Value),
    plan: &mut Plan,
) {
    for (place, dependent) in dependents(view, object.uid()) {
        let mut left = dependent.value();
        let owners: Vec<Value> = list(&left["metadata"], "ownerReferences")
            .iter()
            .filter(|owner| owner["uid"] != object.uid())
            .cloned()
            .collect();
        child(&mut left, "metadata").insert("ownerReferences".to_owned(), json!(owners));
        plan.actions
            .push(Action::Update(place.clone(), Subresource::None, left));
    }
    let value = without_finalizer(value, FINALIZER_ORPHAN);
    plan.actions
        .push(Action::Update(collection.clone(), Subresource::None, value));
}

/// Deletes the dependents; when none blocks any more, lets the owner go.
fn foreground(
    view: &View<'_>,
    collection: &StorageKey,
    (object, value): (&Arc<Object>, Value),
    plan: &mut Plan,
) {
    let mut blocked = false;
    for (place, dependent) in dependents(view, object.uid()) {
        let references = dependent.value();
        blocked |= list(&references["metadata"], "ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == object.uid() && owner["blockOwnerDeletion"] == true);
        let only = dependent.owners().all(|owner| owner == object.uid());
        if only && !dependent.is_terminating() {
            plan.actions
                .push(delete(place, dependent, Propagation::Foreground));
        }
    }
    if !blocked {
        let value = without_finalizer(value, FINALIZER_FOREGROUND);
        plan.actions
            .push(Action::Update(collection.clone(), Subresource::None, value));
    }
}

/// Deletes an object that has lost all owners; of several, drops those that are gone.
fn owned(view: &View<'_>, collection: &StorageKey, object: &Arc<Object>, plan: &mut Plan) {
    let mut value = object.value();
    let references = list(&value["metadata"], "ownerReferences");
    let (present, gone): (Vec<Value>, Vec<Value>) = references
        .iter()
        .cloned()
        .partition(|owner| owner_may_exist(view, owner, object.namespace()));
    if gone.is_empty() {
        return;
    }
    if present.is_empty() {
        plan.actions
            .push(delete(collection, object, Propagation::Background));
        return;
    }
    child(&mut value, "metadata").insert("ownerReferences".to_owned(), json!(present));
    plan.actions
        .push(Action::Update(collection.clone(), Subresource::None, value));
}

/// Whether an owner is there; of a kind that is not served nobody can say.
fn owner_may_exist(view: &View<'_>, owner: &Value, namespace: &str) -> bool {
    let Some((collection, namespace, name)) = place_of(view.registry, owner, namespace) else {
        return true;
    };
    let found = view.state.get(&collection, &namespace, &name);
    found.is_some_and(|found| found.uid() == text(owner, "uid"))
}

fn delete(collection: &StorageKey, object: &Arc<Object>, how: Propagation) -> Action {
    Action::Delete {
        collection: collection.clone(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
        how,
    }
}
