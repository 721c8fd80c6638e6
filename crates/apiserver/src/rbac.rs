//! Role-based access control: may this user do this?
//!
//! Decides from the roles and bindings as they are now; there is no cache that could be late. The objects come through
//! [`Roles`], so that this module knows neither store nor HTTP. Nothing denies: what no rule allows is refused.
//! Start at [`allowed`].

use serde_json::Value;

use crate::auth::{MASTERS, User, split_account};

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
    /// Calls `visit` with a Role of the namespace, or a ClusterRole, if it exists.
    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value));
    /// Calls `visit` with every ClusterRole, for aggregation.
    fn cluster_roles(&self, visit: &mut dyn FnMut(&Value));
}

/// A rule that gives a right, and by which binding: the reason of a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As `reason` of an access review has it.
    pub because: String,
}

/// The grant that allows it; nothing if none does.
pub fn allowed(roles: &dyn Roles, user: &User, attributes: &Attributes) -> Option<Grant> {
    if user.is_in(MASTERS) {
        return Some(Grant {
            because: String::new(),
        });
    }
    let mut grant = None;
    visit_rules(
        roles,
        user,
        attributes.namespace.as_deref(),
        &mut |rule, source| {
            if grant.is_none() && rule_allows(rule, attributes) {
                grant = Some(Grant {
                    because: format!("RBAC: allowed by {}", source.describe(user)),
                });
            }
        },
    );
    grant
}

/// The binding through which a rule reaches a user.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    namespace: Option<&'a str>,
    binding: &'a str,
    role_kind: &'a str,
    role: &'a str,
}

impl Source<'_> {
    fn describe(&self, user: &User) -> String {
        let Source {
            namespace,
            binding,
            role_kind,
            role,
        } = self;
        let binding = match namespace {
            Some(namespace) => format!("RoleBinding \"{binding}/{namespace}\""),
            None => format!("ClusterRoleBinding \"{binding}\""),
        };
        let subject = match split_account(&user.name) {
            Some((namespace, name)) => format!("ServiceAccount \"{name}/{namespace}\""),
            None => format!("User \"{}\"", user.name),
        };
        format!("{binding} of {role_kind} \"{role}\" to {subject}")
    }
}

/// Calls `visit` with every rule that reaches the user in the namespace (or only cluster-wide ones).
pub fn visit_rules(
    roles: &dyn Roles,
    user: &User,
    namespace: Option<&str>,
    visit: &mut dyn FnMut(&Value, Source<'_>),
) {
    let scopes = std::iter::once(None).chain(namespace.map(Some));
    for scope in scopes {
        roles.bindings(scope, &mut |binding| {
            if !reaches(binding, user, scope) {
                return;
            }
            let reference = &binding["roleRef"];
            let (kind, role) = (text(reference, "kind"), text(reference, "name"));
            let source = Source {
                namespace: scope,
                binding: text(&binding["metadata"], "name"),
                role_kind: kind,
                role,
            };
            let home = if kind == "Role" { scope } else { None };
            if kind == "Role" && home.is_none() {
                return;
            }
            visit_role(roles, home, role, &mut |rule| visit(rule, source));
        });
    }
}

/// Roles that aggregate roles that aggregate roles are followed this far: view, edit, admin, and one more.
const AGGREGATION_DEPTH: usize = 4;

/// Calls `visit` with every rule of a role, those it aggregates included.
pub fn visit_role(
    roles: &dyn Roles,
    namespace: Option<&str>,
    name: &str,
    visit: &mut dyn FnMut(&Value),
) {
    roles.role(namespace, name, &mut |role| {
        visit_whole(roles, role, AGGREGATION_DEPTH, visit)
    });
}

fn visit_whole(roles: &dyn Roles, role: &Value, depth: usize, visit: &mut dyn FnMut(&Value)) {
    for rule in list(role, "rules") {
        visit(rule);
    }
    let selectors = list(&role["aggregationRule"], "clusterRoleSelectors");
    if selectors.is_empty() || depth == 0 {
        return;
    }
    roles.cluster_roles(&mut |other| {
        if selectors.iter().any(|selector| selects(selector, other)) {
            visit_whole(roles, other, depth - 1, visit);
        }
    });
}

fn reaches(binding: &Value, user: &User, namespace: Option<&str>) -> bool {
    list(binding, "subjects").iter().any(|subject| {
        let name = text(subject, "name");
        match text(subject, "kind") {
            "User" => name == user.name,
            "Group" => user.is_in(name),
            "ServiceAccount" => {
                let home = subject["namespace"]
                    .as_str()
                    .or(namespace)
                    .unwrap_or_default();
                split_account(&user.name) == Some((home, name))
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

/// A label selector as aggregation uses it.
fn selects(selector: &Value, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let exact = selector["matchLabels"].as_object();
    let exact_holds = exact.is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    });
    let expressions_hold = list(selector, "matchExpressions").iter().all(|expression| {
        let value = labels.get(text(expression, "key"));
        let listed = value.is_some_and(|value| list(expression, "values").contains(value));
        match text(expression, "operator") {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    exact_holds && expressions_hold
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
