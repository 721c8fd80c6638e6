//! Garbage collection: objects whose owners are gone go too; owners that wait for their
//! dependents, or shall leave them behind, get what they wait for.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::action::Action;
use super::{Plan, View};
use crate::object::Object;
use crate::registry::{Registry, StorageKey};
use crate::store::delete::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use crate::store::json::{child, list, text};
use crate::store::request::{Propagation, Subresource};

/// Owners, and their owners, among which a circle is looked for.
const OWNERS_MAX: usize = 256;

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
        let mut left = dependent.value();
        let references = list(&left["metadata"], "ownerReferences");
        blocked |= references
            .iter()
            .any(|owner| owner["uid"] == object.uid() && owner["blockOwnerDeletion"] == true);
        if dependent.is_terminating() {
            continue;
        }
        let stays = |owner: &&Value| {
            let namespace = dependent.namespace();
            owner_may_exist(view, owner, namespace) && waiting(view, owner, namespace).is_none()
        };
        let staying: Vec<Value> = references.iter().filter(stays).cloned().collect();
        plan.actions.push(if staying.is_empty() {
            delete(place, dependent, Propagation::Foreground)
        } else {
            // It has another owner, and no longer waits for this one, nor this one for it.
            child(&mut left, "metadata").insert("ownerReferences".to_owned(), json!(staying));
            Action::Update(place.clone(), Subresource::None, left)
        });
    }
    if !blocked {
        let value = without_finalizer(value, FINALIZER_FOREGROUND);
        plan.actions
            .push(Action::Update(collection.clone(), Subresource::None, value));
    } else if waits_for_itself(view, object, &value) {
        let value = without_blocking(value);
        plan.actions
            .push(Action::Update(collection.clone(), Subresource::None, value));
    }
}

/// The owner that a reference names, if it waits for its dependents.
fn waiting(view: &View<'_>, owner: &Value, namespace: &str) -> Option<Value> {
    let (collection, namespace, name) = place_of(view.registry, owner, namespace)?;
    let found = view.state.get(&collection, &namespace, &name)?;
    if !found.is_terminating() || found.uid() != text(owner, "uid") {
        return None;
    }
    let value = found.value();
    let mut finalizers = list(&value["metadata"], "finalizers").iter();
    let waits = finalizers.any(|one| one == FINALIZER_FOREGROUND);
    waits.then_some(value)
}

/// Whether an object blocks an owner that blocks an owner, and so on, that it is itself.
fn waits_for_itself(view: &View<'_>, object: &Object, value: &Value) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![value.clone()];
    while let Some(one) = next.pop() {
        let namespace = text(&one["metadata"], "namespace");
        let owners = list(&one["metadata"], "ownerReferences").iter();
        for owner in owners.filter(|owner| owner["blockOwnerDeletion"] == true) {
            let uid = text(owner, "uid");
            if uid == object.uid() {
                return true;
            }
            if seen.len() < OWNERS_MAX && seen.insert(uid.to_owned()) {
                next.extend(waiting(view, owner, namespace));
            }
        }
    }
    false
}

/// As it is, but none of its owners has to wait for it.
fn without_blocking(mut value: Value) -> Value {
    let references = child(&mut value, "metadata").get_mut("ownerReferences");
    for owner in references
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if owner["blockOwnerDeletion"] == true {
            owner["blockOwnerDeletion"] = false.into();
        }
    }
    value
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
