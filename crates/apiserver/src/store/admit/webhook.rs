//! What configures admission and the sharing of the API server: defaults, and what must hold.
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::at::{At, Causes};
use super::pod::scheduling;
use super::{admission, words};
use crate::store::json::{child, default, fields, list_mut};

/// The defaults of an object of `admissionregistration.k8s.io`.
pub(super) fn complete(kind: &str, object: &mut Value) {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            for hook in list_mut(fields(object), "webhooks") {
                let hook = fields(hook);
                default(hook, "failurePolicy", "Fail");
                default(hook, "matchPolicy", "Equivalent");
                default(hook, "namespaceSelector", json!({}));
                default(hook, "objectSelector", json!({}));
                default(hook, "timeoutSeconds", 10);
                if kind.starts_with("Mutating") {
                    default(hook, "reinvocationPolicy", "Never");
                }
                scopes(hook, "rules");
                let service = hook
                    .get_mut("clientConfig")
                    .and_then(|one| one.get_mut("service"));
                if let Some(service) = service.filter(|one| one.is_object()) {
                    default(fields(service), "port", 443);
                }
            }
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            let spec = child(object, "spec");
            default(spec, "failurePolicy", "Fail");
            match_resources(spec, "matchConstraints");
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            match_resources(child(object, "spec"), "matchResources");
        }
        _ => {}
    }
}

fn scopes(holder: &mut Map<String, Value>, rules: &str) {
    for rule in list_mut(holder, rules) {
        default(fields(rule), "scope", "*");
    }
}

fn match_resources(spec: &mut Map<String, Value>, name: &str) {
    if let Some(found) = spec.get_mut(name).filter(|one| one.is_object()) {
        let found = fields(found);
        default(found, "matchPolicy", "Equivalent");
        default(found, "namespaceSelector", json!({}));
        default(found, "objectSelector", json!({}));
        scopes(found, "resourceRules");
        scopes(found, "excludeResourceRules");
    }
}

/// The defaults of an object of `flowcontrol.apiserver.k8s.io`.
pub(super) fn complete_flow(kind: &str, object: &mut Value) {
    let spec = child(object, "spec");
    let zero = |map: &Map<String, Value>, name: &str| {
        map.get(name)
            .is_none_or(|value| value.is_null() || *value == 0)
    };
    if kind == "FlowSchema" {
        if zero(spec, "matchingPrecedence") {
            spec.insert("matchingPrecedence".to_owned(), 1000.into());
        }
        return;
    }
    if let Some(exempt) = spec.get_mut("exempt").filter(|one| one.is_object()) {
        default(fields(exempt), "nominalConcurrencyShares", 0);
        default(fields(exempt), "lendablePercent", 0);
    }
    let Some(limited) = spec.get_mut("limited").filter(|one| one.is_object()) else {
        return;
    };
    default(fields(limited), "nominalConcurrencyShares", 30);
    default(fields(limited), "lendablePercent", 0);
    let queuing = limited
        .get_mut("limitResponse")
        .and_then(|one| one.get_mut("queuing"));
    if let Some(queuing) = queuing.filter(|one| one.is_object()) {
        let queuing = fields(queuing);
        for (name, value) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
            if zero(queuing, name) {
                queuing.insert(name.to_owned(), value.into());
            }
        }
    }
}

/// What must hold of webhooks.
pub(super) fn check(kind: &str, object: &Value, causes: &mut Causes) {
    check_kind(kind, object, causes);
    let name = At::new("metadata", &object["metadata"]).get("name");
    if name.text().ends_with(RESERVED) {
        let why = format!(
            "names ending with {RESERVED:?} are reserved for static manifest-based configurations and cannot be managed \
             via the API"
        );
        name.invalid(causes, &why);
    }
}

/// How names of configurations end that are not in the store.
const RESERVED: &str = ".static.k8s.io";

fn check_kind(kind: &str, object: &Value, causes: &mut Causes) {
    match kind {
        "ValidatingAdmissionPolicy" => return admission::policy(object, causes),
        "ValidatingAdmissionPolicyBinding" => return admission::binding(object, causes),
        "MutatingAdmissionPolicy" => return admission::mutating_policy(object, causes),
        "MutatingAdmissionPolicyBinding" => return admission::mutating_binding(object, causes),
        _ if kind.ends_with("WebhookConfiguration") => {}
        _ => return,
    }
    let mut names = BTreeSet::new();
    for hook in At::new("", object).each("webhooks") {
        let name = hook.get("name");
        if !names.insert(name.text()) {
            name.named(name.path.clone()).duplicate(causes);
        }
        qualified_name(&name, causes);
        for rule in hook.each("rules") {
            self::rule(&rule, causes);
        }
        hook.get("failurePolicy")
            .one_of(causes, &["Fail", "Ignore"]);
        hook.get("matchPolicy")
            .one_of(causes, &["Equivalent", "Exact"]);
        side_effects(&hook, causes);
        let seconds = hook.get("timeoutSeconds");
        if seconds.is_set() && !(1..=30).contains(&seconds.int()) {
            let why = "the timeout value must be between 1 and 30 seconds";
            seconds.invalid(causes, why);
        }
        scheduling::selector(&hook.get("namespaceSelector"), causes);
        scheduling::selector(&hook.get("objectSelector"), causes);
        client(&hook.get("clientConfig"), causes);
        admission::conditions_of_webhook(&hook, causes);
        review_versions(&hook, causes);
    }
}

fn side_effects(hook: &At<'_>, causes: &mut Causes) {
    let effects = hook.get("sideEffects");
    if effects.is_set() {
        effects.one_of(causes, &["None", "NoneOnDryRun"]);
    } else {
        let why = "must specify one of None, NoneOnDryRun";
        effects.required(causes, why);
    }
}

fn review_versions(hook: &At<'_>, causes: &mut Causes) {
    let versions = hook.get("admissionReviewVersions");
    let known = ["v1", "v1beta1"];
    if versions.is_empty() {
        versions.required(causes, "must specify one of v1, v1beta1");
    } else if !versions.items().any(|one| known.contains(&one.text())) {
        let why = "must include at least one of v1, v1beta1";
        versions.invalid(causes, why);
    }
}

/// A DNS name of three parts or more.
fn qualified_name(name: &At<'_>, causes: &mut Causes) {
    let why = words::subdomain(name.text());
    if name.text().is_empty() {
        name.required(causes, "");
    } else if !why.is_empty() {
        name.invalid(causes, &why.join(","));
    } else if name.text().split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        name.invalid(causes, why);
    }
}

/// What must hold of a rule that says which requests are meant.
pub(super) fn rule(rule: &At<'_>, causes: &mut Causes) {
    let operations = rule.get("operations");
    if operations.is_empty() {
        operations.required(causes, "");
    }
    if operations.len() > 1 && operations.items().any(|one| one.text() == "*") {
        let why = "if '*' is present, must not specify other operations";
        operations.invalid(causes, why);
    }
    for one in operations.items() {
        one.one_of(causes, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    for (name, words) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = rule.get(name);
        if list.is_empty() {
            list.required(causes, "");
        }
        if list.len() > 1 && list.items().any(|one| one.text() == "*") {
            let why = format!("if '*' is present, must not specify other {words}");
            list.invalid(causes, &why);
        }
    }
    resources(&rule.get("resources"), causes);
    rule.get("scope")
        .one_of(causes, &["*", "Cluster", "Namespaced"]);
}

fn resources(list: &At<'_>, causes: &mut Causes) {
    if list.is_empty() {
        list.required(causes, "");
    }
    let mut plain = false;
    for one in list.items() {
        match one.text() {
            "" => one.required(causes, ""),
            text if !text.contains('/') => plain = text != "*",
            _ => {}
        }
    }
    let has = |word: &str| list.items().any(|one| one.text() == word);
    if list.len() > 1 && has("*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        list.invalid(causes, why);
    }
    if has("*") && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        list.invalid(causes, why);
    }
}

fn client(config: &At<'_>, causes: &mut Causes) {
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_set() == service.is_set() {
        config.required(causes, "exactly one of url or service is required");
        return;
    }
    if service.is_set() {
        for name in ["name", "namespace"] {
            if service.get(name).text().is_empty() {
                service.get(name).required(causes, "");
            }
        }
        service.get("port").within(causes, (1, 65535));
    } else if !url.text().starts_with("https://") {
        let scheme = url
            .text()
            .split("://")
            .next()
            .filter(|_| url.text().contains("://"));
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        url.invalid_as(causes, &json!(scheme.unwrap_or_default()), why);
    }
}

/// What must hold of FlowSchemas and PriorityLevelConfigurations.
pub(super) fn check_flow(kind: &str, object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    if kind == "FlowSchema" {
        let precedence = spec.get("matchingPrecedence");
        if precedence.int() <= 0 {
            precedence.invalid(causes, "must be a positive value");
        }
        if precedence.int() > 10_000 {
            precedence.invalid(causes, "must not be greater than 10000");
        }
        if spec.get("distinguisherMethod").is_set() {
            let method = spec.get("distinguisherMethod").get("type");
            if !["ByNamespace", "ByUser"].contains(&method.text()) {
                let field = method.named("spec.distinguisherMethod");
                field.unsupported(causes, &["ByNamespace", "ByUser"]);
            }
        }
        let level = spec.get("priorityLevelConfiguration").get("name");
        if level.text().is_empty() {
            level.required(causes, "must reference a priority level");
        }
        return;
    }
    let (kind, limited) = (spec.get("type"), spec.get("limited"));
    match kind.text() {
        "Exempt" if limited.is_set() => {
            limited.forbidden(causes, "must be nil if the type is not Limited");
        }
        "Limited" if !limited.is_set() => {
            limited.required(causes, "must not be empty when type is Limited");
        }
        "Exempt" | "Limited" => {}
        _ => kind.unsupported(causes, &["Exempt", "Limited"]),
    }
}
