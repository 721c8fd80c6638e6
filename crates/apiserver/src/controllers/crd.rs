//! CustomResourceDefinitions have APIServices, and take their objects along when they go away.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::action::Action;
use super::{Plan, View};
use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::delete::FINALIZER_CRD;
use crate::store::json::{child, list, text};
use crate::store::request::{Propagation, Subresource};

const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let crds = StorageKey::new("apiextensions.k8s.io", "customresourcedefinitions");
    if let Some((_, group)) = name.split_once('.') {
        services(view, group, &mut plan);
    }
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

/// Each version of a group that is served by CRDs has an APIService, which says that it is served here.
fn services(view: &View<'_>, group: &str, plan: &mut Plan) {
    let collection = StorageKey::new("apiregistration.k8s.io", "apiservices");
    let suffix = format!(".{group}");
    let of_group = |object: &&Arc<Object>| object.name().ends_with(&suffix);
    let served = view.registry.all().into_iter();
    let mut wanted: BTreeSet<String> = served
        .filter(|res| res.custom && res.group == group)
        .map(|res| res.version.clone())
        .collect();
    for service in view.state.within(&collection, None).filter(of_group) {
        let version = service.name().strip_suffix(&suffix).unwrap_or_default();
        let stays = wanted.remove(version) || service.label(AUTOMANAGED) != Some("true");
        if !stays && !version.contains('.') {
            let service = service.value();
            let how = Propagation::Background;
            plan.actions
                .push(Action::delete(&collection, &service, how));
        }
    }
    for version in wanted {
        let service = json!({
            "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: "true"}},
            "spec": {"group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 100},
        });
        plan.actions
            .push(Action::Create(collection.clone(), service));
    }
}
