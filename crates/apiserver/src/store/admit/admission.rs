//! What must hold of admission policies and of what binds them.
use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{At, Causes};
use super::pod::scheduling;
use super::{webhook, words};
use crate::crd::cel::admission::{Gives, Scope};
use crate::crd::cel::decl::RESERVED;
use crate::store::policy::compiled::{How, Scopes};

const CONDITIONS_MAX: usize = 64;
/// Of variables, and of validations.
const EXPRESSIONS_MAX: usize = 256;
const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_BYTES_MAX: usize = 5 * 1024;
/// Operations that can be changed.
const CHANGED: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];

/// Of a ValidatingAdmissionPolicy.
pub(super) fn policy(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let mut scopes = Scopes::new(spec.value);
    begin(&spec, causes);
    conditions(&spec.get("matchConditions"), &scopes.conditions, causes);
    if !spec.get("variables").is_empty() {
        scopes = scopes.with_variables();
    }
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    for many in [&spec.get("variables"), &validations] {
        if many.len() > EXPRESSIONS_MAX {
            return many.too_many(causes, EXPRESSIONS_MAX);
        }
    }
    variables(&spec, &mut scopes, causes);
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        validations.required(causes, why);
        annotations.required(causes, why);
        return;
    }
    for one in validations.items() {
        validation(&one, &scopes, causes);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    audit_annotations((name, &annotations), &scopes.validations, causes);
}

/// Of a MutatingAdmissionPolicy.
pub(super) fn mutating_policy(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let mut scopes = Scopes::new(spec.value).with_variables();
    begin(&spec, causes);
    changed_only(&spec.get("matchConstraints"), causes);
    conditions(&spec.get("matchConditions"), &scopes.conditions, causes);
    let mutations = spec.get("mutations");
    for many in [&spec.get("variables"), &mutations] {
        if many.len() > EXPRESSIONS_MAX {
            return many.too_many(causes, EXPRESSIONS_MAX);
        }
    }
    variables(&spec, &mut scopes, causes);
    if mutations.is_empty() {
        mutations.required(causes, "mutations must contain at least one item");
    }
    for one in mutations.items() {
        mutation(&one, &scopes.mutations, causes);
    }
    let again = spec.get("reinvocationPolicy");
    again.must_be_one_of(causes, &["IfNeeded", "Never"]);
}

/// What policies have in common that comes before their conditions.
fn begin(spec: &At<'_>, causes: &mut Causes) {
    let failure = spec.get("failurePolicy");
    failure.must_be_one_of(causes, &["Fail", "Ignore"]);
    if spec.get("paramKind").is_set() {
        param_kind(&spec.get("paramKind"), causes);
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(&constraints, causes);
        let rules = constraints.get("resourceRules");
        if rules.is_empty() {
            rules.required(causes, "");
        }
    } else {
        constraints.required(causes, "");
    }
}

fn variables(spec: &At<'_>, scopes: &mut Scopes, causes: &mut Causes) {
    for one in spec.each("variables") {
        variable(&one, scopes, causes);
    }
    scopes.declared();
}

/// What is deleted cannot be changed.
fn changed_only(matches: &At<'_>, causes: &mut Causes) {
    let operations = matches.get("resourceRules").get("operations");
    for rule in matches.each("resourceRules") {
        for one in rule.each("operations") {
            let one = one.named(operations.path.clone());
            one.one_of(causes, &CHANGED);
        }
    }
}

fn mutation(one: &At<'_>, scope: &Scope, causes: &mut Causes) {
    let patch_type = one.get("patchType");
    if patch_type.text().is_empty() {
        return patch_type.required(causes, "");
    }
    let Some((_, wanted, gives)) = How::of(patch_type.text()) else {
        return patch_type.one_of(causes, &["ApplyConfiguration", "JSONPatch"]);
    };
    let patch = one.get(wanted);
    if patch.is_set() {
        let expression = patch.get("expression");
        let text = expression.text().trim();
        if text.is_empty() {
            expression.required(causes, "");
        } else if let Err(why) = scope.compile(text, gives) {
            expression.invalid_as(causes, &text.into(), &why);
        }
    } else {
        let why = format!("must be specified when patchType is {}", patch_type.text());
        patch.required(causes, &why);
    }
    for other in ["applyConfiguration", "jsonPatch"] {
        if other != wanted && one.get(other).is_set() {
            let why = format!(
                "must not be specified when patchType is {}",
                patch_type.text()
            );
            let shown = format!("{{{other}}}");
            one.get(other).invalid_as(causes, &shown.into(), &why);
        }
    }
}

fn param_kind(kind: &At<'_>, causes: &mut Causes) {
    let version = kind.get("apiVersion");
    let parts: Vec<&str> = version.text().split('/').collect();
    match parts.as_slice() {
        _ if version.text().is_empty() => version.required(causes, ""),
        [] | [_, _, _, ..] => {
            let why = format!("unexpected GroupVersion string: {}", version.text());
            version.invalid(causes, &why);
        }
        [parts @ .., last] => {
            let group = parts.first().copied().unwrap_or_default();
            if !group.is_empty() {
                let why = words::subdomain(group);
                if !why.is_empty() {
                    version.invalid_as(causes, &group.into(), &why.join(","));
                }
            }
            let why = words::label_1035(last);
            if last.is_empty() {
                version.invalid(causes, "version must be specified");
            } else if !why.is_empty() {
                version.invalid_as(causes, &(*last).into(), &why.join(","));
            }
        }
    }
    let name = kind.get("kind");
    let why = words::label_1035(&name.text().to_lowercase());
    if name.text().is_empty() {
        name.required(causes, "");
    } else if !why.is_empty() {
        let why = format!(
            "may have mixed case, but should otherwise match: {}",
            why.join(",")
        );
        name.invalid(causes, &why);
    }
}

fn match_resources(matches: &At<'_>, causes: &mut Causes) {
    if !matches.is_set() {
        return;
    }
    let policy = matches.get("matchPolicy");
    policy.must_be_one_of(causes, &["Equivalent", "Exact"]);
    scheduling::selector(&matches.get("namespaceSelector"), causes);
    scheduling::selector(&matches.get("objectSelector"), causes);
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in matches.each(list) {
            let mut seen = BTreeSet::new();
            for name in rule.each("resourceNames") {
                name.all_invalid(causes, words::path_segment(name.text()));
                if !seen.insert(name.text()) {
                    name.duplicate(causes);
                }
            }
            webhook::rule(&rule, causes);
        }
    }
}

/// What must hold of the conditions under which a webhook is asked.
pub(super) fn conditions_of_webhook(hook: &At<'_>, causes: &mut Causes) {
    let scopes = Scopes::new(&Value::Null);
    conditions(&hook.get("matchConditions"), &scopes.conditions, causes);
}

fn conditions(list: &At<'_>, scope: &Scope, causes: &mut Causes) {
    if list.len() > CONDITIONS_MAX {
        list.too_many(causes, CONDITIONS_MAX);
    }
    let mut seen = BTreeSet::new();
    for one in list.items() {
        let expression = one.get("expression");
        let text = expression.text().trim();
        if text.is_empty() {
            expression.required(causes, "");
        } else if let Err(why) = scope.compile(text, Gives::Bool) {
            expression.invalid_as(causes, &text.into(), &why);
        }
        let name = one.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
            continue;
        }
        name.all_invalid(causes, words::qualified(name.text()));
        if !seen.insert(name.text()) {
            name.duplicate(causes);
        }
    }
}

fn variable(one: &At<'_>, scopes: &mut Scopes, causes: &mut Causes) {
    let (name, expression) = (one.get("name"), one.get("expression"));
    if name.text().trim().is_empty() {
        name.required(causes, "name is not specified");
    } else if !is_identifier(name.text()) {
        name.invalid(causes, "must be a valid CEL identifier");
    }
    if expression.text().trim().is_empty() {
        expression.required(causes, "expression is not specified");
    } else if let Err(why) = scopes.declare(name.text(), expression.text()) {
        expression.invalid(causes, &why);
    }
}

fn is_identifier(text: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.chars().all(usable) && !RESERVED.contains(&text)
}

fn validation(one: &At<'_>, scopes: &Scopes, causes: &mut Causes) {
    let expression = one.get("expression");
    if expression.text().trim().is_empty() {
        expression.required(causes, "expression is not specified");
    } else if let Err(why) = scopes.validations.compile(expression.text(), Gives::Bool) {
        expression.invalid(causes, &why);
    }
    let said = one.get("messageExpression");
    if !said.text().is_empty() && said.text().trim().is_empty() {
        said.invalid(causes, "must be non-empty if specified");
    } else if !said.text().is_empty()
        && let Err(why) = scopes.messages.compile(said.text(), Gives::Text)
    {
        said.invalid(causes, &why);
    }
    let message = one.get("message");
    let text = message.text().trim();
    if !message.text().is_empty() && text.is_empty() {
        message.invalid(causes, "must be non-empty if specified");
    } else if text.contains(['\n', '\r']) {
        message.invalid(causes, "must not contain line breaks");
    }
    let known = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    one.get("reason").one_of(causes, &known);
}

fn audit_annotations((policy, list): (&str, &At<'_>), scope: &Scope, causes: &mut Causes) {
    if list.len() > ANNOTATIONS_MAX {
        let why = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        list.invalid(causes, &why);
    }
    let mut seen = BTreeSet::new();
    for one in list.items() {
        let (key, expression) = (one.get("key"), one.get("valueExpression"));
        let whole = format!("{policy}/{}", key.text());
        for why in words::qualified(&whole) {
            key.invalid_as(causes, &whole.as_str().into(), &why);
        }
        let text = expression.text().trim();
        if text.is_empty() {
            expression.required(causes, "valueExpression is not specified");
        } else if text.len() > ANNOTATION_BYTES_MAX {
            let why = format!("must not exceed {ANNOTATION_BYTES_MAX} bytes in length");
            expression.required(causes, &why);
        } else if let Err(why) = scope.compile(text, Gives::TextOrNull) {
            expression.invalid(causes, &why);
        }
        if !seen.insert(key.text()) {
            key.duplicate(causes);
        }
    }
}

/// Of a MutatingAdmissionPolicyBinding.
pub(super) fn mutating_binding(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    bound(&spec, causes);
    changed_only(&spec.get("matchResources"), causes);
}

/// What bindings have in common.
fn bound(spec: &At<'_>, causes: &mut Causes) {
    let name = spec.get("policyName");
    if name.text().is_empty() {
        name.required(causes, "");
    } else {
        name.all_invalid(causes, words::subdomain(name.text()));
    }
    param_ref(&spec.get("paramRef"), causes);
    match_resources(&spec.get("matchResources"), causes);
}

/// Of a ValidatingAdmissionPolicyBinding.
pub(super) fn binding(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    bound(&spec, causes);
    let actions = spec.get("validationActions");
    let mut seen = BTreeSet::new();
    for one in actions.items() {
        one.one_of(causes, &["Audit", "Deny", "Warn"]);
        if !seen.insert(one.text()) {
            one.duplicate(causes);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        actions.invalid(causes, why);
    }
    if seen.is_empty() {
        actions.required(causes, "");
    }
}

fn param_ref(params: &At<'_>, causes: &mut Causes) {
    if !params.is_set() {
        return;
    }
    let (name, selector) = (params.get("name"), params.get("selector"));
    let both = "name and selector are mutually exclusive";
    if !name.text().is_empty() {
        name.all_invalid(causes, words::path_segment(name.text()));
        if selector.is_set() {
            name.forbidden(causes, both);
        }
    }
    if selector.is_set() {
        scheduling::selector(&selector, causes);
        if !name.text().is_empty() {
            selector.forbidden(causes, both);
        }
    }
    if name.text().is_empty() && !selector.is_set() {
        params.required(causes, "one of name or selector must be specified");
    }
    let action = params.get("parameterNotFoundAction");
    action.must_be_one_of(causes, &["Deny", "Allow"]);
}
