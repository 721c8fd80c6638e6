//! Role-based access control: may this user do this?
//!
//! Decides from the roles and bindings as they are now; there is no cache that could be late. The objects come through
//! [`Roles`], so that this module knows neither store nor HTTP. Nothing denies: what no rule allows is refused.
//! Start at [`decide`].

use std::fmt;

use serde_json::Value;

use crate::auth::{MASTERS, NODES, User, split_account};
use crate::pki::AGENT_USER;

pub mod bootstrap;
pub mod escalation;

/// What somebody wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `create`, ...
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Version, which rules do not look at.
    pub version: String,
    /// Plural resource; empty if `path` is asked for.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace; nothing at the cluster scope.
    pub namespace: Option<String>,
    /// Object's name, or empty.
    pub name: String,
    /// Path of a request that names no resource, or empty.
    pub path: String,
}

impl Attributes {
    /// The refusal in Kubernetes' words, without the object's name before it.
    pub fn denial(&self, user: &User) -> String {
        let Self {
            verb,
            group,
            resource,
            subresource,
            namespace,
            path,
            ..
        } = self;
        if resource.is_empty() {
            return format!("User {:?} cannot {verb} path {path:?}", user.name);
        }
        let slash = if subresource.is_empty() { "" } else { "/" };
        let place = match namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        format!(
            "User {:?} cannot {verb} resource \"{resource}{slash}{subresource}\" in API group {group:?} {place}",
            user.name
        )
    }
}

/// Where roles and bindings come from.
pub trait Roles {
    /// Calls `visit` with each RoleBinding of the namespace, or each ClusterRoleBinding.
    fn bindings(&self, namespace: Option<&str>, visit: &mut dyn FnMut(&Value));
    /// Calls `visit` with a Role of the namespace, or a ClusterRole, and says whether it exists.
    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value)) -> bool;
}

/// Whether something may be done, and why, as `reason` of an access review has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes, or no opinion, which is no.
    pub allowed: bool,
    /// The binding that allows it, or what may have hindered one; often nothing.
    pub reason: String,
}

/// May this user do this?
pub fn decide(roles: &dyn Roles, user: &User, attributes: &Attributes) -> Decision {
    if user.is_in(MASTERS) {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let namespace = attributes.namespace.as_deref();
    let mut reason = None;
    let mut lost = Vec::new();
    visit_rules(roles, user, namespace, &mut |found| match found {
        Found::Rule(rule, source) => {
            if reason.is_none() && rule_allows(rule, attributes) {
                reason = Some(format!("RBAC: allowed by {source}"));
            }
        }
        Found::Lost(role) => lost.push(role),
    });
    Decision {
        allowed: reason.is_some(),
        reason: reason
            .or_else(|| Some(format!("rbac: RBAC: {}", together(lost)?)))
            .unwrap_or_default(),
    }
}

/// Several errors as one text, as Kubernetes joins them; nothing of none.
pub fn together(errors: Vec<String>) -> Option<String> {
    let mut known: Vec<String> = Vec::new();
    for error in errors {
        if !known.contains(&error) {
            known.push(error);
        }
    }
    match known.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

/// What a binding that reaches a user leads to.
#[derive(Debug)]
pub enum Found<'a> {
    /// A rule.
    Rule(&'a Value, Source<'a>),
    /// A role that does not exist, as an error says it.
    Lost(String),
}

/// The binding, and the subject in it, through which a rule reaches a user.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// An object.
    Binding {
        /// The RoleBinding's namespace; nothing for a ClusterRoleBinding.
        namespace: Option<&'a str>,
        /// The binding.
        binding: &'a Value,
        /// The subject.
        subject: &'a Value,
    },
    /// The node agent's rights have none.
    Agent,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Binding {
            namespace,
            binding,
            subject,
        } = self
        else {
            return f.write_str("the rules for the node agent");
        };
        let name = text(&binding["metadata"], "name");
        match namespace {
            Some(namespace) => write!(f, "RoleBinding \"{name}/{namespace}\"")?,
            None => write!(f, "ClusterRoleBinding {name:?}")?,
        }
        let reference = &binding["roleRef"];
        let (kind, role) = (text(reference, "kind"), text(reference, "name"));
        write!(f, " of {kind} {role:?} to ")?;
        let (kind, name) = (text(subject, "kind"), text(subject, "name"));
        if kind != "ServiceAccount" {
            return write!(f, "{kind} {name:?}");
        }
        let home = Some(text(subject, "namespace")).filter(|home| !home.is_empty());
        let home = home.or(*namespace).unwrap_or_default();
        write!(f, "{kind} \"{name}/{home}\"")
    }
}

/// Calls `visit` with everything to which bindings lead that reach the user in the namespace (or cluster-wide ones only).
pub fn visit_rules(
    roles: &dyn Roles,
    user: &User,
    namespace: Option<&str>,
    visit: &mut dyn FnMut(Found<'_>),
) {
    if user.name == AGENT_USER && user.is_in(NODES) {
        for rule in bootstrap::AGENT_RULES.iter() {
            visit(Found::Rule(rule, Source::Agent));
        }
    }
    let scopes = std::iter::once(None).chain(namespace.map(Some));
    for scope in scopes {
        roles.bindings(scope, &mut |binding| {
            let Some(subject) = reached(binding, user, scope) else {
                return;
            };
            let source = Source::Binding {
                namespace: scope,
                binding,
                subject,
            };
            let there = visit_role(roles, &binding["roleRef"], scope, &mut |rule| {
                visit(Found::Rule(rule, source));
            });
            if let Err(lost) = there {
                visit(Found::Lost(lost));
            }
        });
    }
}

/// Calls `visit` with every rule of the role that a binding in `namespace` refers to.
///
/// # Errors
/// When there is no such role.
pub fn visit_role(
    roles: &dyn Roles,
    reference: &Value,
    namespace: Option<&str>,
    visit: &mut dyn FnMut(&Value),
) -> Result<(), String> {
    let (kind, name) = (text(reference, "kind"), text(reference, "name"));
    let home = if kind == "Role" { namespace } else { None };
    let there = (kind == "ClusterRole" || home.is_some())
        && roles.role(home, name, &mut |role| {
            list(role, "rules").iter().for_each(&mut *visit);
        });
    if there {
        Ok(())
    } else {
        let kind = kind.to_lowercase();
        Err(format!(
            "{kind}.rbac.authorization.k8s.io {name:?} not found"
        ))
    }
}

/// The first subject of a binding that is the user.
fn reached<'a>(binding: &'a Value, user: &User, namespace: Option<&str>) -> Option<&'a Value> {
    list(binding, "subjects").iter().find(|subject| {
        let name = text(subject, "name");
        match text(subject, "kind") {
            "User" => name == user.name,
            "Group" => user.is_in(name),
            "ServiceAccount" => {
                let home = Some(text(subject, "namespace")).filter(|home| !home.is_empty());
                let home = home.or(namespace);
                home.is_some_and(|home| split_account(&user.name) == Some((home, name)))
            }
            _ => false,
        }
    })
}

/// Does this one rule allow it?
pub fn rule_allows(rule: &Value, attributes: &Attributes) -> bool {
    if !has(rule, "verbs", &attributes.verb) {
        return false;
    }
    if attributes.resource.is_empty() {
        return list(rule, "nonResourceURLs")
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => attributes.path.starts_with(prefix),
                None => attributes.path == pattern,
            });
    }
    has(rule, "apiGroups", &attributes.group)
        && list(rule, "resources")
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| resource_matches(pattern, attributes))
        && name_matches(list(rule, "resourceNames"), &attributes.name)
}

fn resource_matches(pattern: &str, attributes: &Attributes) -> bool {
    let Attributes {
        resource,
        subresource,
        ..
    } = attributes;
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((left, right)) => right == subresource && (left == "*" || left == resource),
    }
}

fn name_matches(names: &[Value], name: &str) -> bool {
    names.is_empty() || names.iter().any(|allowed| allowed.as_str() == Some(name))
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    list(rule, field)
        .iter()
        .filter_map(Value::as_str)
        .any(|own| own == "*" || own == wanted)
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
