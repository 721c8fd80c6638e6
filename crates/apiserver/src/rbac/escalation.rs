//! Nobody gives away what he does not have: a role's rules must be covered by its writer's own, unless he may
//! `escalate` (roles) or `bind` (bindings). Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Attributes, Found, Roles, list, together, visit_rules};
use crate::auth::User;

/// A role whose rules multiply out to more than this is refused to whoever is not an administrator.
const ATOMS_MAX: usize = 20_000;

/// The rules of somebody who may do everything, which a role that aggregates can come to have.
pub fn everything() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ]
}

/// Whether the user has all of `rules` himself, in the namespace or cluster-wide.
///
/// # Errors
/// When he lacks some: with the text of the refusal.
pub fn confirm(
    roles: &dyn Roles,
    user: &User,
    namespace: Option<&str>,
    rules: &[Value],
) -> Result<(), String> {
    let groups: Vec<String> = user
        .groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    let refusal = |lacking: &str| {
        format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{lacking}",
            user.name,
            groups.join(" ")
        )
    };
    if rules.iter().map(size).fold(0, usize::saturating_add) > ATOMS_MAX {
        return Err(refusal(&format!("more than {ATOMS_MAX} single rights")));
    }
    let (mut own, mut lost) = (Vec::new(), Vec::new());
    visit_rules(roles, user, namespace, &mut |found| match found {
        Found::Rule(rule, _) => own.push(rule.clone()),
        Found::Lost(role) => lost.push(role),
    });
    let lacking: Vec<Attributes> = rules
        .iter()
        .flat_map(atoms)
        .filter(|atom| !own.iter().any(|rule| covers(rule, atom)))
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let mut text = refusal(&described(&lacking));
    if let Some(lost) = together(lost) {
        text.push_str(&format!("; resolution errors: [{lost}]"));
    }
    Err(text)
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
    let verbs = texts("verbs");
    let names = texts("resourceNames");
    let names = if names.is_empty() {
        vec![String::new()]
    } else {
        names
    };
    let mut atoms = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let named = |verb| names.iter().map(move |name| (verb, name));
            atoms.extend(verbs.iter().flat_map(named).map(|(verb, name)| Attributes {
                verb: verb.clone(),
                group: group.clone(),
                resource: resource.clone(),
                name: name.clone(),
                ..Attributes::default()
            }));
        }
    }
    for path in texts("nonResourceURLs") {
        atoms.extend(verbs.iter().map(|verb| Attributes {
            verb: verb.clone(),
            path: path.clone(),
            ..Attributes::default()
        }));
    }
    atoms
}

/// Single rights in Kubernetes' notation: one line for the verbs of one resource, the lines sorted.
fn described(atoms: &[Attributes]) -> String {
    let mut verbs: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for atom in atoms {
        let verb = format!("{:?}", atom.verb);
        if atom.resource.is_empty() {
            lines.insert(format!(
                "{{NonResourceURLs:[{:?}], Verbs:[{verb}]}}",
                atom.path
            ));
        } else {
            let key = (
                atom.group.as_str(),
                atom.resource.as_str(),
                atom.name.as_str(),
            );
            verbs.entry(key).or_default().push(verb);
        }
    }
    for ((group, resource, name), verbs) in verbs {
        let name = if name.is_empty() {
            String::new()
        } else {
            format!(", ResourceNames:[{name:?}]")
        };
        lines.insert(format!(
            "{{APIGroups:[{group:?}], Resources:[{resource:?}]{name}, Verbs:[{}]}}",
            verbs.join(" ")
        ));
    }
    Vec::from_iter(lines).join("\n")
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
