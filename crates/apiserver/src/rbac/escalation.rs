//! Nobody gives away what he does not have: a role's rules must be covered by its writer's own, unless he may
//! `escalate` (roles) or `bind` (bindings). Pure.

use serde_json::{Value, json};

use super::{Attributes, Roles, list, text, visit_role, visit_rules};
use crate::auth::{MASTERS, User};

/// A role whose rules multiply out to more than this is refused to whoever is not an administrator.
const ATOMS_MAX: usize = 20_000;

/// The rules of a role that somebody writes. One that aggregates can come to have any.
pub fn rules_of(role: &Value) -> Vec<Value> {
    let mut rules = list(role, "rules").to_vec();
    if role
        .get("aggregationRule")
        .is_some_and(|rule| !rule.is_null())
    {
        rules.extend(everything());
    }
    rules
}

fn everything() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ]
}

/// The rules that a binding that somebody writes would give.
pub fn rules_bound(roles: &dyn Roles, binding: &Value, namespace: Option<&str>) -> Vec<Value> {
    let reference = &binding["roleRef"];
    let home = if text(reference, "kind") == "Role" {
        namespace
    } else {
        None
    };
    let name = text(reference, "name");
    let mut exists = false;
    roles.role(home, name, &mut |_| exists = true);
    if !exists {
        // Nobody knows what it will hold.
        return everything();
    }
    let mut rules = Vec::new();
    visit_role(roles, home, name, &mut |rule| rules.push(rule.clone()));
    rules
}

/// The first right among `rules` that the user lacks, in Kubernetes' notation.
pub fn lacking(
    roles: &dyn Roles,
    user: &User,
    namespace: Option<&str>,
    rules: &[Value],
) -> Option<String> {
    if user.is_in(MASTERS) {
        return None;
    }
    if rules.iter().map(size).fold(0, usize::saturating_add) > ATOMS_MAX {
        return Some(format!("more than {ATOMS_MAX} single rights"));
    }
    let mut own = Vec::new();
    visit_rules(roles, user, namespace, &mut |rule, _| {
        own.push(rule.clone())
    });
    rules
        .iter()
        .flat_map(atoms)
        .find(|atom| !own.iter().any(|rule| covers(rule, atom)))
        .map(|atom| {
            if atom.resource.is_empty() {
                format!(
                    "{{NonResourceURLs:[{:?}], Verbs:[{:?}]}}",
                    atom.path, atom.verb
                )
            } else {
                format!(
                    "{{APIGroups:[{:?}], Resources:[{:?}], Verbs:[{:?}]}}",
                    atom.group, atom.resource, atom.verb
                )
            }
        })
}

/// How many single rights a rule multiplies out to.
fn size(rule: &Value) -> usize {
    let count = |field: &str| list(rule, field).len();
    let resources = count("apiGroups")
        .saturating_mul(count("resources"))
        .saturating_mul(count("resourceNames").max(1));
    count("verbs").saturating_mul(resources.saturating_add(count("nonResourceURLs")))
}

/// A rule as the single rights that it multiplies out to. `resource` keeps its subresource, `*` stays what it is.
fn atoms(rule: &Value) -> Vec<Attributes> {
    let texts = |field: &str| -> Vec<String> {
        list(rule, field)
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let names = texts("resourceNames");
    let names = if names.is_empty() {
        vec![String::new()]
    } else {
        names
    };
    let mut atoms = Vec::new();
    for verb in texts("verbs") {
        for path in texts("nonResourceURLs") {
            atoms.push(Attributes {
                verb: verb.clone(),
                path,
                ..Attributes::default()
            });
        }
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                atoms.extend(names.iter().map(|name| Attributes {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    ..Attributes::default()
                }));
            }
        }
    }
    atoms
}

fn covers(rule: &Value, atom: &Attributes) -> bool {
    let has = |field: &str, wanted: &str| {
        list(rule, field)
            .iter()
            .filter_map(Value::as_str)
            .any(|own| own == "*" || own == wanted)
    };
    if !has("verbs", &atom.verb) {
        return false;
    }
    if atom.resource.is_empty() {
        return list(rule, "nonResourceURLs")
            .iter()
            .filter_map(Value::as_str)
            .any(|own| {
                own == atom.path
                    || own
                        .strip_suffix('*')
                        .is_some_and(|start| atom.path.starts_with(start))
            });
    }
    let names = list(rule, "resourceNames");
    let named = names.is_empty() || names.iter().any(|name| name.as_str() == Some(&atom.name));
    let any_parent = atom
        .resource
        .split_once('/')
        .map(|(_, sub)| format!("*/{sub}"));
    let resource =
        has("resources", &atom.resource) || any_parent.is_some_and(|any| has("resources", &any));
    named && resource && has("apiGroups", &atom.group)
}
