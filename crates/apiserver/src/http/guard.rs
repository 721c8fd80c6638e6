//! Writes of roles and bindings: nobody may grant what he does not have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access;
use super::call::Call;
use crate::db::Patch;
use crate::error::StatusError;
use crate::rbac::{Attributes, allowed, escalation};
use crate::registry::Resource;

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
    if !is_guarded(res) {
        return Ok(());
    }
    let namespace = call.namespace(res);
    if grants_nothing_new(call, res, value) {
        return Ok(());
    }
    let roles = call.server.roles();
    let binding = matches!(res.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
    let (rules, verb, resource, name) = if binding {
        let reference = &value["roleRef"];
        let resource = if reference["kind"] == "Role" {
            "roles"
        } else {
            "clusterroles"
        };
        let rules = escalation::rules_bound(roles, value, namespace);
        (rules, "bind", resource, &reference["name"])
    } else {
        (
            escalation::rules_of(value),
            "escalate",
            res.plural.as_str(),
            &value["metadata"]["name"],
        )
    };
    let Some(lacking) = escalation::lacking(roles, &call.user, namespace, &rules) else {
        return Ok(());
    };
    let exempt = Attributes {
        verb: verb.to_owned(),
        group: res.group.clone(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.as_str().unwrap_or_default().to_owned(),
        ..Attributes::default()
    };
    if allowed(roles, &call.user, &exempt).is_some() {
        return Ok(());
    }
    let attributes = Attributes {
        name: value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        ..call.route.attributes.clone()
    };
    let user = &call.user;
    Err(access::denied(
        &attributes,
        &format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{lacking}",
            user.name, user.groups
        ),
    ))
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

/// A write that leaves rules, role and subjects alone, such as a label's.
fn grants_nothing_new(call: &Call, res: &Arc<Resource>, value: &Value) -> bool {
    let name = &call.route.attributes.name;
    if name.is_empty() {
        return false;
    }
    let Ok(present) = call.server.db.get(res, call.namespace(res), name) else {
        return false;
    };
    let present = present.value();
    ["rules", "aggregationRule", "roleRef", "subjects"]
        .into_iter()
        .all(|field| present.get(field) == value.get(field))
}
