//! What the store adds to objects of the kinds that it knows, and what it refuses of them.
//!
//! In the order of Kubernetes: defaults, plugins that change objects, what a new object begins
//! with, checks, plugins that only refuse. Each kind has its module. Of custom resources only the
//! metadata is looked at here.
pub(super) mod addresses;
mod admission;
mod at;
mod autoscaling;
mod batch;
mod certificates;
mod core;
pub(super) mod crd;
mod diff;
mod endpoints;
mod events;
mod limits;
mod network;
mod plugins;
pub(super) mod pod;
mod policy;
mod rbac;
mod service;
mod storage;
mod warn;
mod webhook;
pub(super) mod words;
mod workload;

pub(super) use plugins::quota::stale as stale_quotas;

pub(crate) use batch::schedule;
use std::sync::Arc;

use serde_json::Value;

use super::json::{fields, text};
use super::request::{Subresource, WriteOptions};
use super::{Moment, Store, meta};
use crate::error::StatusError;
use crate::registry::Resource;
use at::Causes;

/// Gives a new object its defaults and what plugins add; answers what of it is the client's own: all but what plugins
/// add.
pub(super) fn prepare(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Resource,
    object: &mut Value,
) -> Result<Value, StatusError> {
    if res.custom {
        return Ok(object.clone());
    }
    complete(store, res, None, object);
    let mut owned = object.clone();
    if res.subresources.status {
        fields(&mut owned).remove("status");
    }
    plugins::change(store, moment, res, object)?;
    Ok(owned)
}

/// Lets a new object begin as its kind does, and checks it.
pub(super) fn create(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Arc<Resource>,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<(), StatusError> {
    if res.custom {
        if res.subresources.status {
            fields(object).remove("status");
        }
        return Ok(());
    }
    begin(moment, res, object);
    allocate(store, moment, res, (None, object))?;
    let mut causes = meta::problems(res, object);
    check(store, moment, res, (None, object), &mut causes);
    refuse(res, object, &causes)?;
    for told in warn::on_create(res, object) {
        options.warnings.add(told);
    }
    plugins::refuse(store, res, (None, object), options)
}

/// Gives the new state of an object its defaults and what plugins add.
pub(super) fn prepare_again(store: &Store, res: &Resource, before: &Value, object: &mut Value) {
    if res.custom {
        return;
    }
    if res.group.is_empty() && res.kind == "Service" {
        service::keep(before, object);
    }
    complete(store, res, Some(before), object);
    plugins::change_again(res, before, object);
}

/// Completes and checks the new state of an object.
pub(super) fn update(
    store: &Store,
    moment: &mut Moment<'_>,
    (res, before): (&Arc<Resource>, &Value),
    object: &mut Value,
    options: &WriteOptions,
) -> Result<(), StatusError> {
    if res.custom {
        return Ok(());
    }
    prepare_again(store, res, before, object);
    allocate(store, moment, res, (Some(before), object))?;
    let mut causes = meta::problems(res, object);
    check(store, moment, res, (Some(before), object), &mut causes);
    refuse(res, object, &causes)?;
    for told in warn::on_update(res, before, object) {
        options.warnings.add(told);
    }
    plugins::refuse(store, res, (Some(before), object), options)
}

/// A Binding says where its node is.
pub(super) fn place(store: &Store, binding: &mut Value) {
    let labels = plugins::where_is(store, text(&binding["target"], "name"));
    let is_node = text(&binding["target"], "kind") == "Node";
    if is_node && !labels.is_empty() {
        let own = super::json::child(binding, "metadata")
            .entry("labels")
            .or_insert(Value::Null);
        fields(own).extend(labels);
    }
}

/// Completes and checks a write of a part of a Pod.
pub(super) fn update_part(
    sub: Subresource,
    (res, before): (&Resource, &Value),
    object: &mut Value,
) -> Result<(), StatusError> {
    let mut causes = meta::problems(res, object);
    pod::partly(sub, (before, object), &mut causes);
    refuse(res, object, &causes)
}

/// Completes and checks a write of the status.
pub(super) fn update_status(
    moment: &Moment<'_>,
    sub: Subresource,
    (res, before): (&Arc<Resource>, &Value),
    object: &mut Value,
) -> Result<(), StatusError> {
    if res.custom {
        return Ok(());
    }
    if res.group.is_empty() {
        match res.kind.as_str() {
            "Pod" => pod::status(before, object),
            "Node" => core::complete_node(Some(before), object),
            _ => {}
        }
    }
    let mut causes = meta::problems(res, object);
    if res.group.is_empty() && res.kind == "Service" {
        service::check_status(object, &mut causes);
    }
    if res.group == "certificates.k8s.io" && res.kind == "CertificateSigningRequest" {
        certificates::date(before, object, moment.now);
        certificates::partly(sub, (before, object), &mut causes);
    }
    if res.kind == "Namespace" {
        if before["spec"] == object["spec"] {
            core::check_namespace_status(object, &mut causes);
        } else {
            core::finalizers(object, &mut causes);
        }
    }
    refuse(res, object, &causes)
}

/// A Service has its addresses before it is looked at.
fn allocate(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Resource,
    (before, object): (Option<&Value>, &mut Value),
) -> Result<(), StatusError> {
    let mut causes = Causes::new();
    if res.group.is_empty() && res.kind == "Service" {
        service::assign(store, moment, (before, object), &mut causes);
    }
    refuse(res, object, &causes)
}

/// The defaults of a kind, for what has become of an object on its way.
pub(super) fn defaults(store: &Store, res: &Resource, before: Option<&Value>, object: &mut Value) {
    if !res.custom {
        complete(store, res, before, object);
    }
}

/// The defaults of a kind.
fn complete(store: &Store, res: &Resource, before: Option<&Value>, object: &mut Value) {
    let kind = res.kind.as_str();
    match (res.group.as_str(), kind) {
        ("", "Pod") => pod::complete(object),
        ("", "Service") => service::complete(store, object),
        ("", "Namespace") => core::namespace(object),
        ("", "Secret") => core::complete_secret(object),
        ("", "Node") => core::complete_node(before, object),
        ("", "Event") => core::event(object),
        ("", "LimitRange") => core::complete_limits(object),
        ("", "ResourceQuota") => core::complete_quota(object),
        ("", "Endpoints") => endpoints::complete(object),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::complete_slice(object),
        ("", "ReplicationController" | "PodTemplate") | ("apps", _) => {
            workload::complete(kind, object);
            if kind == "DaemonSet" {
                workload::count_templates(before, object);
            }
        }
        ("batch", _) => batch::complete(kind, object),
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => {
            storage::complete(kind, object);
        }
        ("rbac.authorization.k8s.io", _) => rbac::complete(res, object),
        ("scheduling.k8s.io" | "node.k8s.io", _) => policy::complete(res, object),
        ("networking.k8s.io", _) => network::complete(kind, object),
        ("autoscaling", _) => autoscaling::complete(object),
        ("admissionregistration.k8s.io", _) => webhook::complete(kind, object),
        ("flowcontrol.apiserver.k8s.io", _) => webhook::complete_flow(kind, object),
        _ => {}
    }
}

/// What a new object begins with, whatever the client says.
fn begin(moment: &Moment<'_>, res: &Resource, object: &mut Value) {
    let kind = res.kind.as_str();
    match (res.group.as_str(), kind) {
        ("", "Namespace") => core::new_namespace(object),
        ("", "Pod" | "Node") => {}
        ("", "Service") | ("networking.k8s.io", "Ingress") => {
            fields(object).insert(
                "status".to_owned(),
                serde_json::json!({ "loadBalancer": {} }),
            );
        }
        ("", "PersistentVolumeClaim") => {
            fields(object).insert(
                "status".to_owned(),
                serde_json::json!({ "phase": "Pending" }),
            );
        }
        ("", "PersistentVolume") => {
            let now = meta::stamp(moment.now);
            let status = serde_json::json!({ "phase": "Pending", "lastPhaseTransitionTime": now });
            fields(object).insert("status".to_owned(), status);
        }
        ("apiregistration.k8s.io", "APIService") if object["spec"]["service"].is_null() => {
            let condition = serde_json::json!({
                "type": "Available", "status": "True", "lastTransitionTime": meta::stamp(moment.now),
                "reason": "Local", "message": "Local APIServices are always available",
            });
            let status = serde_json::json!({ "conditions": [condition] });
            fields(object).insert("status".to_owned(), status);
        }
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet")
        | ("batch", "Job" | "CronJob")
        | ("policy", "PodDisruptionBudget")
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("flowcontrol.apiserver.k8s.io", _)
        | ("", "ReplicationController" | "ResourceQuota")
        | ("certificates.k8s.io", "CertificateSigningRequest") => {
            if kind == "Job" {
                batch::begin(object);
            }
            fields(object).insert("status".to_owned(), first_status(kind));
        }
        _ if res.subresources.status => {
            fields(object).remove("status");
        }
        _ => {}
    }
}

/// Counts that are always shown, also when they are 0.
fn first_status(kind: &str) -> Value {
    match kind {
        "ReplicaSet" | "ReplicationController" => serde_json::json!({ "replicas": 0 }),
        "PodDisruptionBudget" => serde_json::json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }),
        "HorizontalPodAutoscaler" => {
            serde_json::json!({ "currentMetrics": null, "desiredReplicas": 0 })
        }
        "StatefulSet" => serde_json::json!({ "replicas": 0, "availableReplicas": 0 }),
        "DaemonSet" => serde_json::json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0,
            "numberReady": 0,
        }),
        _ => serde_json::json!({}),
    }
}

/// What must hold of a kind.
fn check(
    store: &Store,
    moment: &Moment<'_>,
    res: &Resource,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Causes,
) {
    let kind = res.kind.as_str();
    match (res.group.as_str(), kind) {
        ("", "Pod") => pod::pod((before, object), (store.facts, moment.now), causes),
        ("", "Service") => service::check(store, (before, object), causes),
        ("", "Secret") => core::secret((before, object), causes),
        ("", "ConfigMap") => core::config_map((before, object), causes),
        ("", "Node") => core::node((before, object), causes),
        ("" | "events.k8s.io", "Event") => events::check(res, (before, object), causes),
        ("", "LimitRange") => limits::check(object, causes),
        ("", "ResourceQuota") => core::quota((before, object), causes),
        ("", "Endpoints") => endpoints::endpoints(store.facts, (before, object), causes),
        ("discovery.k8s.io", "EndpointSlice") => {
            endpoints::slice(store.facts, (before, object), causes);
        }
        ("", "ReplicationController" | "PodTemplate") | ("apps", _) => {
            workload::check(kind, (before, object), causes);
        }
        ("batch", _) => batch::check(kind, (before, object), causes),
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => {
            storage::check(kind, (before, object), causes);
        }
        ("rbac.authorization.k8s.io", _) => rbac::check(res, (before, object), causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::crd((before, object), causes),
        ("networking.k8s.io", _) => network::check(kind, (before, object), causes),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::check(object, causes),
        ("autoscaling", _) => autoscaling::check((before, object), causes),
        ("admissionregistration.k8s.io", _) => webhook::check(kind, object, causes),
        ("flowcontrol.apiserver.k8s.io", _) => webhook::check_flow(kind, object, causes),
        _ => policy::check(res, (before, object), causes),
    }
}

fn refuse(res: &Resource, object: &Value, causes: &Causes) -> Result<(), StatusError> {
    if causes.is_empty() {
        return Ok(());
    }
    let name = text(&object["metadata"], "name");
    if res.kind == "Event" {
        // Kept in the core form, and named by it.
        return Err(StatusError::invalid_kind("", "Event", name, causes));
    }
    Err(StatusError::invalid(res, name, causes))
}
