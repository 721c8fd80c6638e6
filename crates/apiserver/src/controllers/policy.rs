//! The status of admission policies: what their expressions say of fields that the objects do not have.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::action::Action;
use super::{Plan, View};
use crate::crd::cel::admission::{Gives, Named, Scope};
use crate::crd::cel::object_type::ObjectType;
use crate::registry::{Registry, Resource, StorageKey};
use crate::store::json::{child, list, text};
use crate::store::request::Subresource;

/// Kinds against which a policy is checked.
const TYPES_MAX: usize = 10;
/// The most that is said in a status, in bytes.
const SAID_MAX: usize = 64 * 1024;

pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let policies = StorageKey::new(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    );
    let Some(object) = view.state.get(&policies, "", name) else {
        return plan;
    };
    let mut policy = object.value();
    let generation = policy["metadata"]["generation"].clone();
    let status = &policy["status"];
    if status["observedGeneration"] == generation && status["typeChecking"].is_object() {
        return plan;
    }
    let warnings = warnings(view.registry, &policy["spec"]);
    let status = child(&mut policy, "status");
    status.insert("observedGeneration".to_owned(), generation);
    let mut checked = json!({});
    if !warnings.is_empty() {
        checked["expressionWarnings"] = warnings.into();
    }
    status.insert("typeChecking".to_owned(), checked);
    plan.actions
        .push(Action::Update(policies, Subresource::Status, policy));
    plan
}

/// What is wrong with each expression, by the types of the objects that the policy names.
fn warnings(registry: &Registry, spec: &Value) -> Vec<Value> {
    let scopes: Vec<(String, Scope)> = kinds(registry, spec)
        .into_iter()
        .filter_map(|res| {
            let of = ObjectType::of(&res)?;
            let name = format!("{}/{}, Kind={}", res.group, res.version, res.kind);
            Some((name, scope(spec, &of)))
        })
        .collect();
    let (mut warnings, mut said) = (Vec::new(), 0);
    for (index, validation) in list(spec, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = text(validation, field);
            let mut all: Vec<String> = Vec::new();
            for (name, scope) in scopes.iter().filter(|_| !expression.is_empty()) {
                if let Err(why) = scope.compile(expression, Gives::Any) {
                    let why = why.strip_prefix("compilation failed: ").unwrap_or(&why);
                    all.push(format!("{name}: {why}\n"));
                }
            }
            said += all.iter().map(String::len).sum::<usize>();
            if !all.is_empty() && said <= SAID_MAX {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{index}].{field}"),
                    "warning": all.join("\n"),
                }));
            }
        }
    }
    warnings
}

fn scope(spec: &Value, of: &ObjectType) -> Scope {
    let params = if spec["paramKind"].is_object() {
        Named::Yes
    } else {
        Named::No
    };
    let scope = Scope::new(params).about(of).with_authorizer();
    let mut scope = scope.with_variables();
    for variable in list(spec, "variables") {
        let compiled = scope.compile(text(variable, "expression"), Gives::Any);
        scope.declare(text(variable, "name"), compiled.as_ref().ok());
    }
    scope
}

/// The kinds that the rules name one by one, in order.
fn kinds(registry: &Registry, spec: &Value) -> Vec<Arc<Resource>> {
    let (mut found, all) = (BTreeMap::new(), registry.all());
    for rule in list(&spec["matchConstraints"], "resourceRules") {
        let texts = |field: &str| -> BTreeSet<&str> {
            let texts: BTreeSet<&str> =
                list(rule, field).iter().filter_map(Value::as_str).collect();
            if texts.iter().any(|text| text.contains(['*', '/'])) {
                return BTreeSet::new();
            }
            texts
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        let plurals = texts("resources");
        let named = all.iter().filter(|res| {
            groups.contains(&*res.group)
                && versions.contains(&*res.version)
                && plurals.contains(&*res.plural)
        });
        found.extend(named.map(|res| {
            let key = (&res.group, &res.version, &res.kind);
            (key, Arc::clone(res))
        }));
    }
    found.into_values().take(TYPES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_the_objects_do_not_have_are_told() {
        let spec = json!({
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps", ""], "apiVersions": ["v1"], "resources": ["deployments", "pods"]},
                {"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["services"]}]},
            "variables": [{"name": "size", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "object.metadata.name == 'a'"},
                {"expression": "variables.size == 'b'", "messageExpression": "object.spec.what"}]});
        let told = warnings(&Registry::with_builtin(), &spec);
        let wanted = json!([
            {"fieldRef": "spec.validations[1].expression", "warning":
                "apps/v1, Kind=Deployment: ERROR: <input>:1:16: found no matching overload for '_==_' applied to \
                 '(int, string)'\n | variables.size == 'b'\n | ...............^\n"},
            {"fieldRef": "spec.validations[1].messageExpression", "warning":
                "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'what'\n | object.spec.what\n | ...........^\n\n\
                 apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'what'\n | object.spec.what\n | ...........^\n"},
        ]);
        assert_eq!(Value::from(told), wanted);
    }

    #[test]
    fn a_rule_that_names_very_much_is_looked_at_once() {
        let names = |what: &str| -> Vec<String> {
            let made = (0..5000).map(|at| format!("n{at}"));
            made.chain([what.to_owned()]).collect()
        };
        let rule = json!({"apiGroups": names("apps"), "apiVersions": names("v1"), "resources": names("deployments")});
        let spec = json!({"matchConstraints": {"resourceRules": [rule]}});
        let began = std::time::Instant::now();
        let found = kinds(&Registry::with_builtin(), &spec);
        let found: Vec<&str> = found.iter().map(|res| res.kind.as_str()).collect();
        assert_eq!(found, ["Deployment"]);
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }
}
