//! What must hold of affinities, tolerations, spread constraints and gates.
use std::collections::BTreeSet;

use serde_json::json;

use crate::store::admit::at::{At, Causes};
use crate::store::admit::words;

const NO_OPERATOR: &str = "not a valid selector operator";

/// The affinity of a pod.
pub(super) fn affinity(at: &At<'_>, causes: &mut Causes) {
    let node = at.get("nodeAffinity");
    let required = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, causes);
    }
    for term in node.each("preferredDuringSchedulingIgnoredDuringExecution") {
        weight(&term, causes);
        node_term(&term.get("preference"), false, causes);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.get(kind);
        for term in pods.each("requiredDuringSchedulingIgnoredDuringExecution") {
            pod_term(&term, causes);
        }
        for term in pods.each("preferredDuringSchedulingIgnoredDuringExecution") {
            weight(&term, causes);
            pod_term(&term.get("podAffinityTerm"), causes);
        }
    }
}

fn weight(term: &At<'_>, causes: &mut Causes) {
    let weight = term.get("weight");
    if !(1..=100).contains(&weight.int()) {
        weight.invalid_as(causes, &weight.int().into(), "must be in the range 1-100");
    }
}

/// Terms of which a node must meet one.
pub(in crate::store::admit) fn node_selector(at: &At<'_>, causes: &mut Causes) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        terms.required(causes, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_term(&term, true, causes);
    }
}

fn node_term(term: &At<'_>, strict: bool, causes: &mut Causes) {
    for one in term.each("matchExpressions") {
        let (operator, values) = (one.get("operator"), one.get("values"));
        match operator.text() {
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                    values.required(causes, why);
                }
            }
            _ => selector_operator(&one, causes),
        }
        let key = one.get("key");
        key.all_invalid(causes, words::qualified(key.text()));
        for value in values.items().filter(|_| strict) {
            value.all_invalid(causes, words::label_value(value.text()));
        }
    }
    for one in term.each("matchFields") {
        let (operator, values, key) = (one.get("operator"), one.get("values"), one.get("key"));
        if !["In", "NotIn"].contains(&operator.text()) {
            operator.invalid_as(causes, &json!(operator.text()), NO_OPERATOR);
        } else if values.len() != 1 {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            values.required(causes, why);
        }
        if key.text() != "metadata.name" {
            key.invalid_as(causes, &json!(key.text()), "not a valid field selector key");
        }
    }
}

/// The values must fit the operator.
fn selector_operator(one: &At<'_>, causes: &mut Causes) {
    let (operator, values) = (one.get("operator"), one.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            values.required(causes, why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            values.forbidden(causes, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => operator.invalid_as(causes, &json!(operator.text()), NO_OPERATOR),
    }
}

/// A label selector.
pub(in crate::store::admit) fn selector(at: &At<'_>, causes: &mut Causes) {
    labels(&at.get("matchLabels"), causes);
    for one in at.each("matchExpressions") {
        selector_operator(&one, causes);
        let key = one.get("key");
        key.all_invalid(causes, words::qualified(key.text()));
        for value in one.each("values") {
            value.all_invalid(causes, words::label_value(value.text()));
        }
    }
}

/// A map of labels.
pub(in crate::store::admit) fn labels(at: &At<'_>, causes: &mut Causes) {
    for (key, value) in at.entries() {
        let shown = json!(key);
        At::new(at.path.clone(), &shown).all_invalid(causes, words::qualified(key));
        let value = value.named(at.path.clone());
        value.all_invalid(causes, words::label_value(value.text()));
    }
}

fn pod_term(term: &At<'_>, causes: &mut Causes) {
    selector(&term.get("labelSelector"), causes);
    selector(&term.get("namespaceSelector"), causes);
    for name in term.each("namespaces") {
        let name = name.named(term.get("namespace").path);
        name.all_invalid(causes, words::label(name.text()));
    }
    label_keys(term, causes);
    let key = term.get("topologyKey");
    if key.text().is_empty() {
        key.required(causes, "can not be empty");
    }
    key.all_invalid(causes, words::qualified(key.text()));
}

fn label_keys(term: &At<'_>, causes: &mut Causes) {
    for list in ["matchLabelKeys", "mismatchLabelKeys"] {
        let list = term.get(list);
        if !list.is_empty() && !term.get("labelSelector").is_set() {
            list.forbidden(
                causes,
                "must not be specified when labelSelector is not set",
            );
        }
        for key in list.items() {
            key.all_invalid(causes, words::qualified(key.text()));
        }
    }
}

/// The taints that a pod tolerates.
pub(in crate::store::admit) fn tolerations(list: &At<'_>, causes: &mut Causes) {
    for one in list.items() {
        let (key, operator, value) = (one.get("key"), one.get("operator"), one.get("value"));
        let effect = one.get("effect");
        if !key.is_empty() {
            key.all_invalid(causes, words::qualified(key.text()));
        }
        if key.is_empty() && operator.text() != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all \
                       values and all keys\"";
            operator.invalid_as(causes, &json!(operator.text()), why);
        }
        if one.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            effect.invalid_as(causes, &json!(effect.text()), why);
        }
        match operator.text() {
            "Equal" | "" => {
                let why = words::label_value(value.text());
                if !why.is_empty() {
                    operator.invalid_as(causes, value.value, &why.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                operator.invalid_as(causes, value.value, why);
            }
            "Exists" => {}
            "Lt" | "Gt" => {
                operator.unsupported(causes, &["Equal", "Exists", "Lt", "Gt"]);
            }
            _ => operator.unsupported(causes, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            effect.one_of(causes, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}

/// How pods are spread.
pub(super) fn spread(list: &At<'_>, causes: &mut Causes) {
    let all: Vec<At<'_>> = list.items().collect();
    for (index, one) in all.iter().enumerate() {
        one.get("maxSkew").positive(causes);
        let (key, action) = (one.get("topologyKey"), one.get("whenUnsatisfiable"));
        if key.text().is_empty() {
            key.required(causes, "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action.text()) {
            action.unsupported(causes, &actions);
        }
        let same = |other: &At<'_>| {
            other.get("topologyKey").value == key.value
                && other.get("whenUnsatisfiable").value == action.value
        };
        if all[index + 1..].iter().any(same) {
            let shown = json!(format!("{{{}, {}}}", key.text(), action.text()));
            let path = one.get("{topologyKey, whenUnsatisfiable}").path;
            At::new(path, &shown).duplicate(causes);
        }
        let domains = one.get("minDomains");
        if domains.is_set() {
            domains.positive(causes);
            if action.text() != "DoNotSchedule" {
                let why = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    action.text()
                );
                domains.invalid(causes, &why);
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one.get(name).one_of(causes, &["Honor", "Ignore"]);
        }
        label_keys(one, causes);
        selector(&one.get("labelSelector"), causes);
    }
}

/// The gates that keep a pod from being scheduled.
pub(super) fn gates(list: &At<'_>, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    for gate in list.items() {
        let name = gate.get("name").named(gate.path);
        name.all_invalid(causes, words::qualified(name.text()));
        if !seen.insert(name.text()) {
            name.duplicate(causes);
        }
    }
}
