//! Roles and bindings.
use serde_json::Value;

use super::at::{At, Causes};
use super::pod::defaults::absent_is_default;
use super::pod::scheduling;
use super::words;
use crate::error::Cause;
use crate::registry::Resource;
use crate::store::json::{child, fields, list_mut, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The defaults of an object of `rbac.authorization.k8s.io`.
pub(super) fn complete(res: &Resource, object: &mut Value) {
    if !res.kind.ends_with("Binding") {
        fields(object).entry("rules").or_insert(Value::Null);
        return;
    }
    absent_is_default(child(object, "roleRef"), "apiGroup", GROUP);
    for subject in list_mut(fields(object), "subjects") {
        if ["User", "Group"].contains(&text(subject, "kind")) {
            absent_is_default(fields(subject), "apiGroup", GROUP);
        }
    }
}

/// What must hold of an object of `rbac.authorization.k8s.io`.
pub(super) fn check(
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    causes: &mut Causes,
) {
    let at = At::new("", object);
    if res.kind.ends_with("Binding") {
        binding(res, &at, causes);
        let role = at.get("roleRef");
        if before.is_some_and(|before| before["roleRef"] != *role.value) {
            let shown = |field| format!("{:?}", text(role.value, field));
            causes.push(Cause {
                reason: "FieldValueInvalid",
                message: format!(
                    "Invalid value: {{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}: field is immutable",
                    shown("apiGroup"),
                    shown("kind"),
                    shown("name")
                ),
                field: role.path,
            });
        }
        return;
    }
    let mut late = Causes::new();
    for rule in at.each("rules") {
        policy_rule(res, &rule, causes, &mut late);
    }
    let aggregation = at.get("aggregationRule");
    if aggregation.is_set() {
        let selectors = aggregation.get("clusterRoleSelectors");
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            selectors.required(causes, why);
        }
        for selector in selectors.items() {
            let known = causes.len();
            scheduling::selector(&selector, causes);
            if causes.len() > known {
                selector.invalid_as(causes, &Value::Null, "invalid label selector.");
            }
        }
    }
    causes.extend(late);
}

fn policy_rule(res: &Resource, rule: &At<'_>, causes: &mut Causes, late: &mut Causes) {
    let verbs = rule.get("verbs");
    if verbs.is_empty() {
        verbs.required(late, "");
    }
    let (urls, groups, resources) = (
        rule.get("nonResourceURLs"),
        rule.get("apiGroups"),
        rule.get("resources"),
    );
    if !urls.is_empty() {
        if res.is_namespaced() {
            urls.invalid(causes, "namespaced rules cannot apply to non-resource URLs");
        }
        if groups.len() + resources.len() + rule.get("resourceNames").len() > 0 {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            urls.invalid(causes, why);
        }
        return;
    }
    if groups.is_empty() {
        groups.required(causes, "resource rules must supply at least one api group");
    }
    if resources.is_empty() {
        resources.required(causes, "resource rules must supply at least one resource");
    }
}

fn binding(res: &Resource, at: &At<'_>, causes: &mut Causes) {
    let role = at.get("roleRef");
    role.get("apiGroup").one_of(causes, &[GROUP]);
    let kinds: &[&str] = if res.kind == "ClusterRoleBinding" {
        &["ClusterRole"]
    } else {
        &["Role", "ClusterRole"]
    };
    let (kind, name) = (role.get("kind"), role.get("name"));
    if !kinds.contains(&kind.text()) {
        kind.unsupported(causes, kinds);
    }
    let (mut late, mut last) = (Causes::new(), Causes::new());
    if name.text().is_empty() {
        name.required(&mut last, "");
    } else {
        name.all_invalid(causes, words::path_segment(name.text()));
    }
    for subject in at.each("subjects") {
        let (kind, name, group) = (
            subject.get("kind"),
            subject.get("name"),
            subject.get("apiGroup"),
        );
        if name.text().is_empty() {
            name.required(&mut late, "");
        }
        match kind.text() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    name.all_invalid(causes, words::subdomain(name.text()));
                }
                if !group.is_empty() {
                    group.unsupported(causes, &[""]);
                }
                let namespace = subject.get("namespace");
                if !res.is_namespaced() && namespace.text().is_empty() {
                    namespace.required(causes, "");
                }
            }
            "User" | "Group" => {
                if group.text() != GROUP {
                    group.unsupported(causes, &[GROUP]);
                }
            }
            _ => kind.unsupported(causes, &["ServiceAccount", "User", "Group"]),
        }
    }
    causes.extend(late);
    causes.extend(last);
}
