//! Deletes: preconditions, grace, finalizers, and what becomes of dependents.
use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{child, list, set, text};
use super::request::{DeleteOptions, Deleted, DryRun, List, Propagation, Target};
use super::{Moment, Store, convert, meta};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::selector::Selectors;

/// The garbage collector removes it after having taken the owner reference from dependents.
pub const FINALIZER_ORPHAN: &str = "orphan";
/// The garbage collector removes it when the dependents are gone.
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// The controllers remove it from a CRD when its objects are gone.
pub const FINALIZER_CRD: &str = "customresourcecleanup.apiextensions.k8s.io";

const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

impl Store {
    /// Deletes an object, or begins to.
    pub fn delete(
        &mut self,
        moment: &mut Moment<'_>,
        target: Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        self.delete_as(moment, (target, target.name), options)
    }

    /// Deletes an object that the request has selected, without its name.
    pub fn delete_selected(
        &mut self,
        moment: &Moment<'_>,
        target: Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        self.delete_as(moment, (target, ""), options)
    }

    /// Deletes an object that the request has named so, or not at all.
    fn delete_as(
        &mut self,
        moment: &Moment<'_>,
        (target, named): (Target<'_>, &str),
        options: &DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        let res = target.res;
        let namespace = target
            .namespace
            .filter(|_| res.is_namespaced())
            .unwrap_or("");
        let found = self.head.get(&res.storage, namespace, target.name);
        let old = Arc::clone(found.ok_or_else(|| StatusError::not_found(res, target.name))?);
        check_preconditions(res, &old, options)?;
        if res.kind == "Namespace" && PROTECTED_NAMESPACES.contains(&target.name) {
            let why = "this namespace may not be deleted";
            return Err(StatusError::forbidden(res, target.name, why));
        }
        let before = old.value();
        self.ask_policies_of_delete((target, named), &before, options)?;
        let mut after = before.clone();
        choose_finalizers(
            res,
            &mut after,
            options.propagation.or_else(|| default_propagation(res)),
        );
        let grace = grace_seconds(res, &before, options);
        let stays = !list(&after["metadata"], "finalizers").is_empty()
            || grace > 0
            || (res.kind == "Namespace" && !list(&before["spec"], "finalizers").is_empty());
        if stays {
            mark(moment, &mut after, grace);
        }
        if options.dry_run == DryRun::All {
            let shown = Arc::new(Object::new(&after)?);
            let shown = convert::shown(res, shown)?;
            return Ok(if stays {
                Deleted::Terminating(shown)
            } else {
                Deleted::Gone(shown)
            });
        }
        if !stays {
            let mut old = old;
            if res.kind == "Pod" && !res.custom {
                // A Pod is always seen to terminate, even if that takes no time.
                mark(moment, &mut after, 0);
                if after != before {
                    old = self.put(&res.storage, Some(old), &mut after)?;
                }
            }
            let gone = self.take(&res.storage, old, &mut after)?;
            return Ok(Deleted::Gone(convert::shown(res, gone)?));
        }
        let left = if after == before {
            old
        } else {
            self.put(&res.storage, Some(old), &mut after)?
        };
        Ok(Deleted::Terminating(convert::shown(res, left)?))
    }

    /// Deletes every selected object; what is already gone is no error.
    pub fn delete_collection(
        &mut self,
        moment: &mut Moment<'_>,
        (res, namespace): (&Arc<Resource>, Option<&str>),
        selectors: &Selectors,
        options: &DeleteOptions,
    ) -> Result<List, StatusError> {
        let selected: Vec<Arc<Object>> = self
            .head
            .within(&res.storage, namespace)
            .filter(|object| selectors.matches(object))
            .cloned()
            .collect();
        let mut items = Vec::with_capacity(selected.len());
        for object in selected {
            let inside = res.is_namespaced().then(|| object.namespace());
            let target = Target::new(res, inside, object.name());
            match self.delete_selected(moment, target, options) {
                Ok(deleted) => items.push(Arc::clone(deleted.object())),
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(List {
            items,
            resource_version: self.head.version,
        })
    }
}

/// Of which kinds the deleted object is the answer, and not the mere word that it is gone.
pub(crate) fn is_answered_whole(res: &Resource) -> bool {
    if res.custom {
        return false;
    }
    match (res.group.as_str(), res.kind.as_str()) {
        (
            "",
            "Pod"
            | "Service"
            | "ServiceAccount"
            | "PersistentVolume"
            | "PersistentVolumeClaim"
            | "PodTemplate"
            | "ResourceQuota"
            | "Namespace",
        )
        | ("resource.k8s.io", _) => true,
        ("storage.k8s.io", kind) => kind != "CSIStorageCapacity",
        _ => false,
    }
}

fn check_preconditions(
    res: &Resource,
    old: &Object,
    options: &DeleteOptions,
) -> Result<(), StatusError> {
    let refuse = |why: String| {
        let kind = Resource {
            plural: res.kind.clone(),
            ..res.clone()
        };
        Err(StatusError::conflict(&kind, old.name(), &why))
    };
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != old.uid()) {
        return refuse(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object \
             might have been deleted and then recreated",
            old.uid()
        ));
    }
    let version = old.resource_version().to_string();
    if let Some(wanted) = options
        .resource_version
        .as_deref()
        .filter(|wanted| *wanted != version)
    {
        return refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion \
             in record ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

/// Old kinds leave their dependents alone unless they are told otherwise.
fn default_propagation(res: &Resource) -> Option<Propagation> {
    let orphans = !res.custom
        && matches!(
            (res.group.as_str(), res.kind.as_str()),
            ("batch", "Job") | ("", "ReplicationController")
        );
    orphans.then_some(Propagation::Orphan)
}

/// Sets or removes the garbage collector's finalizers as the propagation wants them.
fn choose_finalizers(res: &Resource, after: &mut Value, propagation: Option<Propagation>) {
    let mut finalizers: Vec<Value> = list(&after["metadata"], "finalizers").to_vec();
    if let Some(propagation) = propagation {
        let wanted = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FINALIZER_FOREGROUND),
            Propagation::Orphan => Some(FINALIZER_ORPHAN),
        };
        finalizers.retain(|one| {
            let collector = one == FINALIZER_FOREGROUND || one == FINALIZER_ORPHAN;
            !collector || wanted.is_some_and(|wanted| one == wanted)
        });
        if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|one| one == wanted)) {
            finalizers.push(json!(wanted));
        }
    }
    let is_crd = res.kind == "CustomResourceDefinition" && !res.custom;
    let terminating = !after["metadata"]["deletionTimestamp"].is_null();
    if is_crd && !terminating && !finalizers.iter().any(|one| one == FINALIZER_CRD) {
        finalizers.push(json!(FINALIZER_CRD));
    }
    let finalizers = (!finalizers.is_empty()).then_some(Value::Array(finalizers));
    set(child(after, "metadata"), "finalizers", finalizers);
}

/// Only a Pod that is on a node, and has not ended, gets time.
fn grace_seconds(res: &Resource, before: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(text(&before["status"], "phase"), "Succeeded" | "Failed");
    let on_node = !text(&before["spec"], "nodeName").is_empty();
    if res.kind != "Pod" || res.custom || ended || !on_node {
        return 0;
    }
    let asked = options
        .grace_seconds
        .map(|grace| if grace < 0 { 1 } else { grace });
    let running = (!before["metadata"]["deletionTimestamp"].is_null()).then(|| {
        before["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
    });
    match (running, asked) {
        (Some(running), Some(asked)) => running.min(asked),
        (Some(running), None) => running,
        (None, Some(asked)) => asked,
        (None, None) => before["spec"]["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30),
    }
}

/// Writes into the object that it is going, and until when.
fn mark(moment: &Moment<'_>, after: &mut Value, grace: i64) {
    let terminating = !after["metadata"]["deletionTimestamp"].is_null();
    let running = after["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if terminating && (running == Some(grace) || is_crd(after)) {
        return;
    }
    let meta = child(after, "metadata");
    let until = moment
        .now
        .checked_add(jiff::SignedDuration::from_secs(
            grace.clamp(0, 10 * 365 * 86_400),
        ))
        .unwrap_or(moment.now);
    meta.insert("deletionTimestamp".to_owned(), meta::stamp(until).into());
    meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if is_crd(after) {
        child(after, "metadata").remove("deletionGracePeriodSeconds");
        return mark_crd(after, until);
    }
    let meta = child(after, "metadata");
    let generation = meta.get("generation").and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|_| !terminating) {
        meta.insert("generation".to_owned(), (generation + 1).into());
    }
    if after["kind"] == "Namespace" && after["apiVersion"] == "v1" {
        child(after, "status").insert("phase".to_owned(), "Terminating".into());
        child(after, "metadata").remove("deletionGracePeriodSeconds");
    }
}

fn is_crd(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
        && text(object, "apiVersion").starts_with("apiextensions.k8s.io/")
}

/// Says in the status that the instances go next.
fn mark_crd(after: &mut Value, at: jiff::Timestamp) {
    let conditions = child(after, "status")
        .entry("conditions")
        .or_insert(Value::Null);
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let condition = json!({
        "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
        "lastTransitionTime": meta::stamp(at),
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    });
    if let Some(list) = conditions.as_array_mut()
        && !list.iter().any(|one| one["type"] == "Terminating")
    {
        list.push(condition);
    }
}
