//! What the store adds to objects of the kinds that it knows, and what it refuses of them.
//!
//! Each kind has its module: defaults (as Kubernetes' own, as far as clients and controllers
//! look at them) and checks. Custom resources pass as they are.
pub(super) mod addresses;
mod core;
pub(super) mod crd;
mod endpoints;
pub(super) mod pod;
mod rbac;
mod service;
mod workload;

use std::sync::Arc;

use serde_json::Value;

use super::json::{fields, text};
use super::{Moment, Store};
use crate::error::{Cause, StatusError};
use crate::registry::Resource;

/// Completes and checks a new object.
pub(super) fn create(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Arc<Resource>,
    object: &mut Value,
) -> Result<(), StatusError> {
    if res.subresources.status && (res.custom || res.kind != "Node") {
        fields(object).remove("status");
    }
    if res.custom {
        return Ok(());
    }
    let mut causes = Vec::new();
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Service") => service::create(store, moment, object, &mut causes),
        ("", "Namespace") => core::namespace(object),
        _ => kind(store, res, (None, object), &mut causes),
    }
    refuse(res, object, &causes)
}

/// Completes and checks the new state of an object.
pub(super) fn update(
    store: &Store,
    moment: &mut Moment<'_>,
    (res, before): (&Arc<Resource>, &Value),
    object: &mut Value,
) -> Result<(), StatusError> {
    if res.custom {
        return Ok(());
    }
    let mut causes = Vec::new();
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Service") => service::update(store, moment, (before, object), &mut causes),
        ("", "Namespace") => core::namespace(object),
        _ => kind(store, res, (Some(before), object), &mut causes),
    }
    refuse(res, object, &causes)
}

/// The kinds for which a create and an update are much the same.
fn kind(
    store: &Store,
    res: &Resource,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Vec<Cause>,
) {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => pod::pod(before, object, causes),
        ("", "Secret") => core::secret(before, object, causes),
        ("", "ConfigMap") => core::config_map(before, object, causes),
        ("", "Node") => core::node(before, object),
        ("", "Event") => core::event(object),
        ("", "Endpoints") => endpoints::endpoints(store.facts, object, causes),
        ("discovery.k8s.io", "EndpointSlice") => {
            endpoints::slice(store.facts, (before, object), causes);
        }
        ("apps" | "batch", _) => workload::workload(res, (before, object), causes),
        ("rbac.authorization.k8s.io", _) => rbac::rbac(res, (before, object), causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::crd((before, object), causes),
        _ => {}
    }
}

fn refuse(res: &Resource, object: &Value, causes: &[Cause]) -> Result<(), StatusError> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(
        res,
        text(&object["metadata"], "name"),
        causes,
    ))
}
