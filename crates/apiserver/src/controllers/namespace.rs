//! Namespaces: what each must have, and emptying those that are going away.
use serde_json::json;

use super::action::Action;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::store::json::{list, set_at};
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

/// Deletes everything in the namespace; when nothing is left, lets it go.
fn empty(view: &View<'_>, name: &str, plan: &mut Plan) {
    let mut left = 0;
    for (collection, shelf) in view.state.collections() {
        for object in shelf.within(Some(name)) {
            left += 1;
            if object.is_terminating() {
                continue;
            }
            plan.actions.push(Action::Delete {
                collection: collection.clone(),
                namespace: name.to_owned(),
                name: object.name().to_owned(),
                uid: object.uid().to_owned(),
                how: Propagation::Background,
            });
        }
    }
    let Some(namespace) = view
        .state
        .get(&namespaces(), "", name)
        .filter(|_| left == 0)
    else {
        return;
    };
    let mut value = namespace.value();
    let kept: Vec<_> = list(&value["spec"], "finalizers")
        .iter()
        .filter(|one| *one != "kubernetes")
        .cloned()
        .collect();
    set_at(&mut value, "spec.finalizers", kept.into());
    plan.actions
        .push(Action::Update(namespaces(), Subresource::Finalize, value));
}
