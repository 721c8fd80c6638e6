//! CustomResourceDefinitions that are going away take their objects along.
use serde_json::json;

use super::action::Action;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::store::delete::FINALIZER_CRD;
use crate::store::json::{child, list, text};
use crate::store::request::{Propagation, Subresource};

pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let crds = StorageKey::new("apiextensions.k8s.io", "customresourcedefinitions");
    let Some(object) = view.state.get(&crds, "", name) else {
        return plan;
    };
    if !object.is_terminating() {
        return plan;
    }
    let mut crd = object.value();
    if !list(&crd["metadata"], "finalizers")
        .iter()
        .any(|one| one == FINALIZER_CRD)
    {
        return plan;
    }
    let spec = &crd["spec"];
    let collection = StorageKey::new(text(spec, "group"), text(&spec["names"], "plural"));
    let mut left = 0;
    for instance in view.state.within(&collection, None) {
        left += 1;
        if !instance.is_terminating() {
            plan.actions.push(Action::Delete {
                collection: collection.clone(),
                namespace: instance.namespace().to_owned(),
                name: instance.name().to_owned(),
                uid: instance.uid().to_owned(),
                how: Propagation::Background,
            });
        }
    }
    if left > 0 {
        return plan;
    }
    let finalizers: Vec<_> = list(&crd["metadata"], "finalizers")
        .iter()
        .filter(|one| *one != FINALIZER_CRD)
        .cloned()
        .collect();
    child(&mut crd, "metadata").insert("finalizers".to_owned(), json!(finalizers));
    plan.actions
        .push(Action::Update(crds, Subresource::None, crd));
    plan
}
