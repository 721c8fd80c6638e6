//! Writes of roles and bindings: nobody may grant what he does not have.

use std::sync::Arc;

use serde_json::Value;

use super::access;
use super::call::Call;
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
