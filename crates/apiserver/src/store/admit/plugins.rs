//! The admission plugins that Kubernetes has on by default.
mod pods;
pub(in crate::store) mod quota;
mod security;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{certificates, limits};
use crate::error::StatusError;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::registry::{Resource, StorageKey};
use crate::store::json::{child, list, text};
use crate::store::request::WriteOptions;
use crate::store::{Moment, Store};

/// What plugins add to a new object, or refuse before it is looked at.
pub(super) fn change(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Resource,
    object: &mut Value,
) -> Result<(), StatusError> {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => {
            let namespace = text(&object["metadata"], "namespace");
            limits::complete(&within(store, "limitranges", namespace), object);
            place(store, object);
            pods::change(store, moment, res, object)
        }
        ("", "Node") => {
            not_ready(object);
            Ok(())
        }
        ("", "PersistentVolumeClaim") => {
            finalizer(object, "kubernetes.io/pvc-protection");
            default_class(store, object);
            Ok(())
        }
        ("", "PersistentVolume") => {
            finalizer(object, "kubernetes.io/pv-protection");
            Ok(())
        }
        ("networking.k8s.io", "Ingress") => {
            default_ingress(store, object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A Pod that has its node is labelled with where that is.
fn place(store: &Store, pod: &mut Value) {
    let node = text(&pod["spec"], "nodeName");
    let labels = where_is(store, node);
    if !labels.is_empty() {
        let own = child(pod, "metadata")
            .entry("labels")
            .or_insert(Value::Null);
        crate::store::json::fields(own).extend(labels);
    }
}

/// The labels of a node that say where it is.
pub(in crate::store) fn where_is(store: &Store, node: &str) -> serde_json::Map<String, Value> {
    let nodes = StorageKey::new("", "nodes");
    let Some(node) = store.head.get(&nodes, "", node) else {
        return serde_json::Map::new();
    };
    let labels = [
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ];
    let told = labels.iter().filter_map(|name| {
        let value = node.label(name)?;
        Some(((*name).to_owned(), Value::from(value)))
    });
    told.collect()
}

/// What plugins add to a changed object.
pub(super) fn change_again(res: &Resource, before: &Value, object: &mut Value) {
    if res.group.is_empty() && res.kind == "Pod" {
        pods::change_again(before, child(object, "spec"));
    }
}

/// What plugins refuse of an object that is right by itself.
pub(super) fn refuse(
    store: &Store,
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    options: &WriteOptions,
) -> Result<(), StatusError> {
    let name = text(&object["metadata"], "name");
    let namespace = text(&object["metadata"], "namespace");
    let limited = match res.kind.as_str() {
        "Pod" => before.is_none(),
        "PersistentVolumeClaim" => true,
        _ => false,
    };
    if limited && res.group.is_empty() {
        for range in within(store, "limitranges", namespace) {
            let why = limits::refusals(&range, &res.kind, object);
            match why.as_slice() {
                [] => {}
                [one] => return Err(StatusError::forbidden(res, name, one)),
                many => {
                    let all = format!("[{}]", many.join(", "));
                    return Err(StatusError::forbidden(res, name, &all));
                }
            }
        }
    }
    security::refuse(store, res, (before, object), options)?;
    if let Some(before) =
        before.filter(|_| res.group.is_empty() && res.kind == "PersistentVolumeClaim")
        && let Some(why) = growth(store, before, object)
    {
        return Err(StatusError::forbidden(res, name, why));
    }
    if before.is_none() {
        if res.group == "certificates.k8s.io" && res.kind == "CertificateSigningRequest" {
            certificates::refuse(res, object)?;
        }
        quota::refuse(store, res, object)?;
    }
    Ok(())
}

/// Why a claim cannot have more than it has.
fn growth(store: &Store, before: &Value, object: &Value) -> Option<&'static str> {
    let size = |claim: &Value| Quantity::of(&claim["spec"]["resources"]["requests"]["storage"]);
    if size(object) <= size(before) {
        return None;
    }
    if before["status"]["phase"] != "Bound" {
        return Some("Only bound persistent volume claims can be expanded");
    }
    let class = text(&object["spec"], "storageClassName");
    let classes = StorageKey::new("storage.k8s.io", "storageclasses");
    let found = store.head.get(&classes, "", class);
    let grows = found.is_some_and(|class| class.value()["allowVolumeExpansion"] == true);
    (!grows).then_some(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize",
    )
}

/// The objects of a core kind in a namespace.
fn within(store: &Store, plural: &str, namespace: &str) -> Vec<Value> {
    let key = StorageKey::new("", plural);
    let objects = store.head.within(&key, Some(namespace));
    objects.map(|object: &Arc<Object>| object.value()).collect()
}

/// All objects of a kind of the cluster.
fn everywhere(store: &Store, group: &str, plural: &str) -> Vec<Value> {
    let key = StorageKey::new(group, plural);
    let objects = store.head.within(&key, None);
    objects.map(|object: &Arc<Object>| object.value()).collect()
}

fn finalizer(object: &mut Value, name: &str) {
    let mut all = list(&object["metadata"], "finalizers").to_vec();
    if !all.iter().any(|one| one == name) {
        all.push(json!(name));
        child(object, "metadata").insert("finalizers".to_owned(), all.into());
    }
}

/// Nothing runs on a new node before it has said that it is ready.
fn not_ready(object: &mut Value) {
    let key = "node.kubernetes.io/not-ready";
    let mut taints = list(&object["spec"], "taints").to_vec();
    if !taints
        .iter()
        .any(|one| one["key"] == key && one["effect"] == "NoSchedule")
    {
        taints.push(json!({ "key": key, "effect": "NoSchedule" }));
        child(object, "spec").insert("taints".to_owned(), taints.into());
    }
}

/// The newest of the objects that an annotation makes the default.
fn newest_default(all: Vec<Value>, annotation: &str) -> Option<Value> {
    let marked = all
        .into_iter()
        .filter(|one| one["metadata"]["annotations"][annotation] == "true");
    marked.max_by_key(|one| {
        let meta = &one["metadata"];
        let name = text(meta, "name").to_owned();
        (
            text(meta, "creationTimestamp").to_owned(),
            std::cmp::Reverse(name),
        )
    })
}

fn default_class(store: &Store, object: &mut Value) {
    let beta = "volume.beta.kubernetes.io/storage-class";
    if !object["spec"]["storageClassName"].is_null()
        || !object["metadata"]["annotations"][beta].is_null()
    {
        return;
    }
    let classes = everywhere(store, "storage.k8s.io", "storageclasses");
    let annotation = "storageclass.kubernetes.io/is-default-class";
    if let Some(class) = newest_default(classes, annotation) {
        let name = class["metadata"]["name"].clone();
        child(object, "spec").insert("storageClassName".to_owned(), name);
    }
}

fn default_ingress(store: &Store, object: &mut Value) {
    let old = "kubernetes.io/ingress.class";
    if !object["spec"]["ingressClassName"].is_null()
        || !object["metadata"]["annotations"][old].is_null()
    {
        return;
    }
    let annotation = "ingressclass.kubernetes.io/is-default-class";
    let classes = everywhere(store, "networking.k8s.io", "ingressclasses");
    if let Some(class) = newest_default(classes, annotation) {
        let name = class["metadata"]["name"].clone();
        child(object, "spec").insert("ingressClassName".to_owned(), name);
    }
}
