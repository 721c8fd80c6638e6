//! Writes of roles and bindings: nobody may grant what he does not have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use crate::auth::MASTERS;
use crate::db::Patch;
use crate::error::StatusError;
use crate::rbac::{Attributes, decide, escalation, visit_role};
use crate::registry::Resource;
use crate::store::json::{child, set};

/// Does writing this resource grant rights?
pub(super) fn is_guarded(res: &Resource) -> bool {
    res.group == "rbac.authorization.k8s.io"
}

/// Refuses a role or binding that would give more than its writer has.
pub(super) fn may_grant(
    call: &Call,
    res: &Arc<Resource>,
    value: &Value,
) -> Result<(), StatusError> {
    if !is_guarded(res) || call.user.is_in(MASTERS) {
        return Ok(());
    }
    let present = present(call, res);
    if present
        .as_ref()
        .is_some_and(|present| only_collects(present, value))
    {
        return Ok(());
    }
    let refused = if matches!(res.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
        may_bind(call, res, value)?
    } else {
        may_escalate(call, res, (present.as_ref(), value))
    };
    let Err(why) = refused else {
        return Ok(());
    };
    let name = value["metadata"]["name"].as_str();
    Err(StatusError::forbidden(res, name.unwrap_or_default(), &why))
}

fn may_escalate(
    call: &Call,
    res: &Resource,
    (present, value): (Option<&Value>, &Value),
) -> Result<(), String> {
    let namespace = call.namespace(res);
    let (roles, user) = (call.server.roles(), &call.user);
    let exempt = Attributes {
        verb: "escalate".to_owned(),
        group: res.group.clone(),
        resource: res.plural.clone(),
        namespace: namespace.map(str::to_owned),
        name: call.route.attributes.name.clone(),
        ..Attributes::default()
    };
    if decide(roles, user, &exempt).allowed {
        return Ok(());
    }
    let rules = value["rules"].as_array();
    escalation::confirm(roles, user, namespace, rules.map_or(&[], Vec::as_slice))?;
    let aggregates = |role: &Value| {
        let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
        selectors.is_some_and(|selectors| !selectors.is_empty())
    };
    if aggregates(value) || present.is_some_and(aggregates) {
        escalation::confirm(roles, user, namespace, &escalation::everything()).map_err(
            |_lacks| "must have cluster-admin privileges to use the aggregationRule".to_owned(),
        )?;
    }
    Ok(())
}

/// The outer error is that of a role that nobody can look into.
fn may_bind(call: &Call, res: &Resource, value: &Value) -> Result<Result<(), String>, StatusError> {
    let namespace = call.namespace(res);
    let (roles, user) = (call.server.roles(), &call.user);
    let reference = &value["roleRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
    let exempt = Attributes {
        verb: "bind".to_owned(),
        group: Some(text("apiGroup"))
            .filter(|group| !group.is_empty())
            .unwrap_or_else(|| res.group.clone()),
        resource: format!("{}s", text("kind").to_lowercase()),
        namespace: namespace.map(str::to_owned),
        name: text("name"),
        ..Attributes::default()
    };
    if decide(roles, user, &exempt).allowed {
        return Ok(Ok(()));
    }
    let mut rules = Vec::new();
    visit_role(roles, reference, namespace, &mut |rule| {
        rules.push(rule.clone());
    })
    .map_err(|_lost| StatusError::not_found(res, &exempt.name))?;
    Ok(escalation::confirm(roles, user, namespace, &rules))
}

/// A request for a certificate says who has asked, whatever he says himself.
pub(super) fn note_requestor(call: &Call, res: &Resource, value: &mut Value) {
    if res.group != "certificates.k8s.io" || res.kind != "CertificateSigningRequest" {
        return;
    }
    let mut user = call.user.to_value();
    let spec = child(value, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        set(spec, field, user.get_mut(field).map(Value::take));
    }
}

/// The patch, so that it changes this version of the object or none: what is judged is what is written, although a
/// patch may copy what another write puts into the object in between.
pub(super) fn pinned(patch: Patch, version: u64) -> Result<Patch, StatusError> {
    let version = version.to_string();
    let merge = |mut value: Value| {
        let metadata = value
            .as_object_mut()
            .map(|object| object.entry("metadata").or_insert_with(|| json!({})));
        let Some(metadata) = metadata.and_then(Value::as_object_mut) else {
            return Err(StatusError::bad_request(
                "the patch and its metadata must be objects",
            ));
        };
        metadata.insert("resourceVersion".to_owned(), version.clone().into());
        Ok(value)
    };
    Ok(match patch {
        Patch::Merge(value) => Patch::Merge(merge(value)?),
        Patch::Strategic(value) => Patch::Strategic(merge(value)?),
        Patch::Apply(value) => Patch::Apply(merge(value)?),
        Patch::Json(mut value) => {
            let Some(steps) = value.as_array_mut() else {
                return Err(StatusError::bad_request("the patch must be a list"));
            };
            steps.push(json!({"op": "add", "path": "/metadata/resourceVersion", "value": version}));
            Patch::Json(value)
        }
    })
}

/// The object as it is, where the path names one.
fn present(call: &Call, res: &Arc<Resource>) -> Option<Value> {
    let name = &call.route.attributes.name;
    if name.is_empty() {
        return None;
    }
    let object = call.server.db.get(res, call.namespace(res), name).ok()?;
    Some(object.value())
}

/// A write that changes nothing but what the garbage collector writes.
fn only_collects(present: &Value, value: &Value) -> bool {
    let rest = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(field);
            }
        }
        value
    };
    rest(present) == rest(value)
}
