//! HorizontalPodAutoscalers.
use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::defaults::canonical;
use super::words;
use crate::quantity::Quantity;
use crate::store::json::{child, default};

const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const KINDS: &[&str] = &[
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];
const PERIOD_MAX: i64 = 1800;
const WINDOW_MAX: i64 = 3600;

/// The defaults.
pub(super) fn complete(object: &mut Value) {
    let spec = child(object, "spec");
    default(spec, "minReplicas", 1);
    if spec.contains_key("targetCPUUtilizationPercentage") {
        return;
    }
    let none = spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if none {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    let metrics = spec.get_mut("metrics").and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten() {
        for (_, source) in SOURCES {
            for name in ["value", "averageValue"] {
                let target = metric.get_mut(source).and_then(|one| one.get_mut("target"));
                if let Some(value) = target.and_then(|target| target.get_mut(name)) {
                    canonical(value);
                }
            }
        }
    }
    if let Some(behavior) = spec.get_mut("behavior").filter(|one| one.is_object()) {
        let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
        let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
        let up = child(behavior, "scaleUp");
        default(up, "stabilizationWindowSeconds", 0);
        default(up, "selectPolicy", "Max");
        default(up, "policies", json!([pods, percent]));
        let down = child(behavior, "scaleDown");
        default(down, "selectPolicy", "Max");
        default(down, "policies", json!([percent]));
    }
}

/// What must hold.
pub(super) fn check((before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let mut late = Causes::new();
    if least.is_set() && least.int() < 1 {
        least.invalid(&mut late, "must be greater than or equal to 1");
    }
    if most.int() == 0 {
        most.required(&mut late, "");
    } else if most.int() < 0 {
        most.invalid(&mut late, "must be greater than or equal to 1");
    }
    if least.is_set() && most.int() < least.int() {
        let shown = json!(most.int());
        most.invalid_as(
            causes,
            &shown,
            "must be greater than or equal to `minReplicas`",
        );
    }
    let target = spec.get("scaleTargetRef");
    for name in ["kind", "name"] {
        let field = target.get(name);
        if field.text().is_empty() {
            field.required(causes, "");
        } else {
            field.all_invalid(causes, words::path_segment(field.text()));
        }
    }
    let version = target.get("apiVersion");
    if version.text().split('/').count() > 2 {
        let why = format!("unexpected GroupVersion string: {}", version.text());
        version.invalid(causes, &why);
    } else if before.is_none()
        && !version.text().contains('/')
        && target.get("kind").text() != "ReplicationController"
    {
        version.invalid_as(
            causes,
            &json!(version.text()),
            "apiVersion must specify API group",
        );
    }
    for metric in spec.each("metrics") {
        self::metric(&metric, causes);
    }
    for name in ["scaleUp", "scaleDown"] {
        let rules = spec.get("behavior").get(name);
        if rules.is_set() {
            self::rules(&rules, causes);
        }
    }
    causes.extend(late);
}

fn rules(at: &At<'_>, causes: &mut Causes) {
    let window = at.get("stabilizationWindowSeconds");
    if window.int() < 0 {
        window.invalid(causes, "must be greater than or equal to zero");
    }
    if window.int() > WINDOW_MAX {
        window.invalid(
            causes,
            &format!("must be less than or equal to {WINDOW_MAX}"),
        );
    }
    at.get("selectPolicy")
        .one_of(causes, &["Disabled", "Max", "Min"]);
    let policies = at.get("policies");
    if policies.is_empty() {
        policies.required(causes, "must specify at least one Policy");
    }
    for policy in policies.items() {
        policy.get("type").one_of(causes, &["Percent", "Pods"]);
        policy.get("value").positive(causes);
        let period = policy.get("periodSeconds");
        period.positive(causes);
        if period.int() > PERIOD_MAX {
            period.invalid(
                causes,
                &format!("must be less than or equal to {PERIOD_MAX}"),
            );
        }
    }
}

fn metric(at: &At<'_>, causes: &mut Causes) {
    let kind = at.get("type");
    if kind.text().is_empty() {
        kind.required(causes, "must specify a metric source type");
    }
    if !KINDS.contains(&kind.text()) {
        kind.unsupported(causes, KINDS);
    }
    let mut present = Vec::new();
    for (name, field) in SOURCES {
        let source = at.get(field);
        if source.is_set() {
            present.push(*field);
            if present.len() == 1 {
                self::source(name, &source, causes);
            }
        }
    }
    let wanted = SOURCES.iter().find(|(name, _)| *name == kind.text());
    let Some((_, wanted)) = wanted else { return };
    if !present.contains(wanted) {
        let why = "must populate information for the given metric source";
        at.get(wanted).required(causes, why);
    }
    if present.len() != 1 {
        for field in present.iter().filter(|field| *field != wanted) {
            let why = "must populate the given metric source only";
            at.get(field).forbidden(causes, why);
        }
    }
}

fn source(kind: &str, at: &At<'_>, causes: &mut Causes) {
    let target = at.get("target");
    if matches!(kind, "Resource" | "ContainerResource") && at.get("name").text().is_empty() {
        at.get("name")
            .required(causes, "must specify a resource name");
    }
    let kinds = ["Utilization", "Value", "AverageValue"];
    if !kinds.contains(&target.get("type").text()) {
        let field = target.get("type");
        if field.text().is_empty() {
            field.required(causes, "must specify a metric target type");
        }
        let shown = json!(field.text());
        let why = "must be either Utilization, Value, or AverageValue";
        field.invalid_as(causes, &shown, why);
    }
    let (value, average, part) = (
        target.get("value"),
        target.get("averageValue"),
        target.get("averageUtilization"),
    );
    for one in [&value, &average] {
        if Quantity::of(one.value).is_some_and(|amount| amount <= Quantity::ZERO) {
            one.invalid(causes, "must be positive");
        }
    }
    if part.is_set() && part.int() < 1 {
        part.invalid(causes, "must be greater than 0");
    }
    if matches!(kind, "Resource" | "ContainerResource") && !part.is_set() && !average.is_set() {
        let why = "must set either a target raw value or a target utilization";
        part.required(causes, why);
    }
}
