//! Small kinds: PodDisruptionBudgets, PriorityClasses, RuntimeClasses, Leases.
use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::{defaults, resources, scheduling};
use super::{words, workload};
use crate::error::Cause;
use crate::registry::Resource;
use crate::store::json::{default, fields, text};

const USER_PRIORITY_MAX: i64 = 1_000_000_000;

/// The defaults of an object of these kinds.
pub(super) fn complete(res: &Resource, object: &mut Value) {
    match (res.group.as_str(), res.kind.as_str()) {
        ("scheduling.k8s.io", "PriorityClass") => {
            default(fields(object), "preemptionPolicy", "PreemptLowerPriority");
            default(fields(object), "value", 0);
        }
        ("node.k8s.io", "RuntimeClass") => {
            if let Some(overhead) = object["overhead"].get_mut("podFixed") {
                defaults::resource_list(overhead);
            }
        }
        _ => {}
    }
}

/// What must hold of an object of these kinds.
pub(super) fn check(
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    causes: &mut Causes,
) {
    match (res.group.as_str(), res.kind.as_str()) {
        ("policy", "PodDisruptionBudget") => budget(object, causes),
        ("scheduling.k8s.io", "PriorityClass") => priority(before, object, causes),
        ("node.k8s.io", "RuntimeClass") => runtime(before, object, causes),
        ("coordination.k8s.io", "Lease") => lease(object, causes),
        _ => {}
    }
}

fn budget(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if least.is_set() && most.is_set() {
        // Shown as Kubernetes keeps it, in its order.
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!(
                "Invalid value: {{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\
                 \"UnhealthyPodEvictionPolicy\":{}}}: minAvailable and maxUnavailable cannot be \
                 both set",
                least.value,
                spec.get("selector").value,
                most.value,
                spec.get("unhealthyPodEvictionPolicy").value
            ),
            field: "spec".to_owned(),
        });
    }
    for one in [least, most].iter().filter(|one| one.is_set()) {
        workload::number_or_percent(one, causes);
        workload::at_most_all(one, causes);
    }
    scheduling::selector(&spec.get("selector"), causes);
    spec.get("unhealthyPodEvictionPolicy")
        .one_of(causes, &["AlwaysAllow", "IfHealthyBudget"]);
}

fn priority(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let (value, policy) = (
        At::new("value", &object["value"]),
        At::new("preemptionPolicy", &object["preemptionPolicy"]),
    );
    if let Some(before) = before {
        if *value.value != before["value"] {
            value.forbidden(causes, "may not be changed in an update.");
        }
        policy.immutable(causes, &At::new("", &before["preemptionPolicy"]));
        return;
    }
    let name = text(&object["metadata"], "name");
    let known = [
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ];
    if name.starts_with("system-") {
        let why = match known.iter().find(|(known, _)| *known == name) {
            None => format!("{name} is not a known system priority class"),
            Some((_, wanted)) if value.int() != *wanted => {
                format!("value of {name} PriorityClass must be {wanted}")
            }
            Some(_) if object["globalDefault"] == true => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => String::new(),
        };
        if !why.is_empty() {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. \
                 error: {why}"
            );
            causes.push(Cause::forbidden("metadata.name", &why));
        }
    } else if value.int() > USER_PRIORITY_MAX {
        let why =
            format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        value.forbidden(causes, &why);
    }
    policy.one_of(causes, &["PreemptLowerPriority", "Never"]);
}

fn runtime(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let handler = At::new("handler", &object["handler"]);
    if let Some(before) = before {
        handler.fixed(causes, &At::new("", &before["handler"]));
        return;
    }
    for (key, one) in At::new("overhead.podFixed", &object["overhead"]["podFixed"]).entries() {
        resources::amount(&one, key, causes);
    }
    let wanted = At::new("scheduling", &object["scheduling"]);
    scheduling::labels(&wanted.get("nodeSelector"), causes);
    scheduling::tolerations(&wanted.get("tolerations"), causes);
    if handler.text().is_empty() {
        handler.required(causes, "");
    } else {
        handler.all_invalid(causes, words::label(handler.text()));
    }
}

fn lease(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let duration = spec.get("leaseDurationSeconds");
    if duration.is_set() && duration.int() <= 0 {
        duration.invalid(causes, "must be greater than 0");
    }
    spec.get("leaseTransitions").non_negative(causes);
    let (strategy, holder) = (spec.get("strategy"), spec.get("preferredHolder"));
    if !holder.is_empty() && strategy.is_empty() {
        holder.forbidden(causes, "may only be specified if `strategy` is defined");
    }
    if strategy.is_set() && strategy.text() != "OldestEmulationVersion" {
        let shown = json!(strategy.text());
        strategy.invalid_as(causes, &shown, "must be one of [OldestEmulationVersion]");
    }
}
