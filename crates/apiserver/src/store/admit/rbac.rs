//! Roles and bindings.
use serde_json::{Value, json};

use crate::error::Cause;
use crate::registry::Resource;
use crate::store::json::{child, default, fields, list, list_mut, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Completes and checks an object of `rbac.authorization.k8s.io`.
pub(super) fn rbac(
    res: &Resource,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Vec<Cause>,
) {
    if !res.kind.ends_with("Binding") {
        fields(object).entry("rules").or_insert(Value::Null);
        for (index, rule) in list(object, "rules").iter().enumerate() {
            if list(rule, "verbs").is_empty() {
                let why = "verbs must contain at least one value";
                causes.push(Cause::required(format!("rules[{index}].verbs"), why));
            }
        }
        return;
    }
    default(child(object, "roleRef"), "apiGroup", GROUP);
    for subject in list_mut(fields(object), "subjects") {
        let group = if subject["kind"] == "ServiceAccount" {
            ""
        } else {
            GROUP
        };
        if !group.is_empty() {
            default(fields(subject), "apiGroup", group);
        }
    }
    let role = &object["roleRef"];
    if text(role, "name").is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    let kinds: &[&str] = if res.kind == "ClusterRoleBinding" {
        &["ClusterRole"]
    } else {
        &["Role", "ClusterRole"]
    };
    if !kinds.contains(&text(role, "kind")) {
        causes.push(Cause::unsupported("roleRef.kind", &role["kind"], kinds));
    }
    for (index, subject) in list(object, "subjects").iter().enumerate() {
        let field = |name: &str| format!("subjects[{index}].{name}");
        if text(subject, "name").is_empty() {
            causes.push(Cause::required(field("name"), ""));
        }
        let kinds = ["ServiceAccount", "User", "Group"];
        if !kinds.contains(&text(subject, "kind")) {
            causes.push(Cause::unsupported(field("kind"), &subject["kind"], &kinds));
        }
        if subject["kind"] == "ServiceAccount" && text(subject, "namespace").is_empty() {
            causes.push(Cause::required(field("namespace"), ""));
        }
    }
    if before.is_some_and(|before| before["roleRef"] != *role) {
        let shown = json!(role);
        causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
    }
}
