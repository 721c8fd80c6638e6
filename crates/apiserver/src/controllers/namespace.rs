//! Namespaces: what each must have, and emptying those that are going away.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::action::Action;
use super::{Plan, View, conditions};
use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::json::{child, list, set_at};
use crate::store::meta::stamp;
use crate::store::namespaces;
use crate::store::request::{Propagation, Subresource};

const ROOT_CA: &str = "kube-root-ca.crt";
const ROOT_CA_NOTE: &str = "Contains a CA bundle that can be used to verify the kube-apiserver \
when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other \
usage is guaranteed across distributions of Kubernetes clusters.";

pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&namespaces(), "", name) else {
        return plan;
    };
    if object.is_terminating() {
        empty(view, name, &mut plan);
        return plan;
    }
    let accounts = StorageKey::new("", "serviceaccounts");
    if view.state.get(&accounts, name, "default").is_none() {
        let account = json!({ "metadata": { "name": "default", "namespace": name } });
        plan.actions.push(Action::Create(accounts, account));
    }
    let Some(pem) = view.root_ca else { return plan };
    let maps = StorageKey::new("", "configmaps");
    let data = json!({ "ca.crt": pem });
    match view.state.get(&maps, name, ROOT_CA) {
        None => {
            let map = json!({
                "metadata": { "name": ROOT_CA, "namespace": name,
                    "annotations": { "kubernetes.io/description": ROOT_CA_NOTE } },
                "data": data,
            });
            plan.actions.push(Action::Create(maps, map));
        }
        Some(map) => {
            let mut value = map.value();
            if value["data"] != data {
                value["data"] = data;
                plan.actions
                    .push(Action::Update(maps, Subresource::None, value));
            }
        }
    }
    plan
}

/// What keeps a namespace from going: how many objects of which resources, and with which finalizers.
#[derive(Default)]
struct Remains {
    resources: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

impl Remains {
    fn add(&mut self, collection: &StorageKey, object: &Object) {
        let value = object.value();
        let finalizers = list(&value["metadata"], "finalizers");
        if !object.is_terminating() && finalizers.is_empty() {
            return;
        }
        let resource = format!("{}.{}", collection.plural, collection.group);
        *self.resources.entry(resource).or_insert(0) += 1;
        for finalizer in finalizers.iter().filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_insert(0) += 1;
        }
    }

    fn to_text(counts: &BTreeMap<String, usize>, verb: &str) -> String {
        let texts = counts
            .iter()
            .map(|(name, count)| format!("{name} {verb} {count} resource instances"));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Deletes everything in the namespace, Pods first; when nothing is left, lets it go.
fn empty(view: &View<'_>, name: &str, plan: &mut Plan) {
    let pods = StorageKey::new("", "pods");
    let has_pods = view.state.within(&pods, Some(name)).next().is_some();
    let (mut left, mut remains) = (0, Remains::default());
    for (collection, shelf) in view.state.collections() {
        if has_pods && *collection != pods {
            left += shelf.within(Some(name)).count();
            continue;
        }
        for object in shelf.within(Some(name)) {
            left += 1;
            if !has_pods {
                remains.add(collection, object);
            }
            if !object.is_terminating() {
                let how = Propagation::Background;
                let delete = Action::delete(collection, &object.value(), how);
                plan.actions.push(delete);
            }
        }
    }
    let Some(namespace) = view.state.get(&namespaces(), "", name) else {
        return;
    };
    let mut value = namespace.value();
    if left > 0 {
        tell(view, &remains, &mut value);
        if value["status"] != namespace.value()["status"] {
            // Before the objects go, so that it is never written into what is gone.
            plan.actions
                .insert(0, Action::Update(namespaces(), Subresource::Status, value));
        }
        return;
    }
    let kept: Vec<_> = list(&value["spec"], "finalizers")
        .iter()
        .filter(|one| *one != "kubernetes")
        .cloned()
        .collect();
    if kept.len() == list(&value["spec"], "finalizers").len() {
        return;
    }
    set_at(&mut value, "spec.finalizers", kept.into());
    plan.actions
        .push(Action::Update(namespaces(), Subresource::Finalize, value));
}

/// Says in the conditions what keeps the namespace.
fn tell(view: &View<'_>, remains: &Remains, namespace: &mut Value) {
    let resources = Remains::to_text(&remains.resources, "has");
    let finalizers = Remains::to_text(&remains.finalizers, "in");
    let good = |reason, message: &str| ("False", reason, message.to_owned());
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            good(
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            good(
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
        ),
        (
            "NamespaceDeletionContentFailure",
            good(
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            if resources.is_empty() {
                good("ContentRemoved", "All content successfully removed")
            } else {
                let message = format!("Some resources are remaining: {resources}");
                ("True", "SomeResourcesRemain", message)
            },
        ),
        (
            "NamespaceFinalizersRemaining",
            if finalizers.is_empty() {
                good(
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished",
                )
            } else {
                let message =
                    format!("Some content in the namespace has finalizers remaining: {finalizers}");
                ("True", "SomeFinalizersRemain", message)
            },
        ),
    ];
    let conditions = conditions::of(child(namespace, "status"));
    for (kind, (status, reason, message)) in rows {
        let mut condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": stamp(view.now),
        });
        match conditions.iter_mut().find(|one| one["type"] == kind) {
            Some(known) => {
                if known["status"] == status {
                    condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
                }
                *known = condition;
            }
            None => conditions.push(condition),
        }
    }
}
