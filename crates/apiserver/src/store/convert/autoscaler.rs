//! HorizontalPodAutoscalers: the first version knows one metric only, and keeps the rest of what
//! the second says in annotations.
use serde_json::{Map, Value, json};

use crate::store::json::{child, fields, set, set_at, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// Annotations that were once used so.
const OLD: &[&str] = &[
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];
const TARGET: &str = "targetCPUUtilizationPercentage";
const CURRENT_CPU: &str = "currentCPUUtilizationPercentage";

/// Where one of a metric's fields is in the first version and in the second.
type Paths = &'static [(&'static str, &'static [&'static str])];

/// A sort of metric: its field, its fields in what is wanted, and in what is measured.
struct Sort {
    field: &'static str,
    wanted: Paths,
    measured: Paths,
}

const RESOURCE: Paths = &[
    ("name", &["name"]),
    (
        "targetAverageUtilization",
        &["target", "averageUtilization"],
    ),
    ("targetAverageValue", &["target", "averageValue"]),
    ("container", &["container"]),
];
const RESOURCE_NOW: Paths = &[
    ("name", &["name"]),
    (
        "currentAverageUtilization",
        &["current", "averageUtilization"],
    ),
    ("currentAverageValue", &["current", "averageValue"]),
    ("container", &["container"]),
];
const SORTS: &[Sort] = &[
    Sort {
        field: "resource",
        wanted: RESOURCE,
        measured: RESOURCE_NOW,
    },
    Sort {
        field: "containerResource",
        wanted: RESOURCE,
        measured: RESOURCE_NOW,
    },
    Sort {
        field: "pods",
        wanted: &[
            ("metricName", &["metric", "name"]),
            ("targetAverageValue", &["target", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
        measured: &[
            ("metricName", &["metric", "name"]),
            ("currentAverageValue", &["current", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    },
    Sort {
        field: "object",
        wanted: &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("targetValue", &["target", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["target", "averageValue"]),
        ],
        measured: &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("currentValue", &["current", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    },
    Sort {
        field: "external",
        wanted: &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        measured: &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    },
];

fn cpu(percent: &Value) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": percent });
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_i64()
}

/// From the first version to the second.
pub(super) fn to_second(object: &mut Value) {
    let mut noted = take_notes(object);
    let mut note = |name: &str| noted.remove(name).filter(Value::is_array);
    let metrics = note(METRICS);
    let (current, conditions) = (note(CURRENT), note(CONDITIONS));
    let behavior = noted.remove(BEHAVIOR).filter(Value::is_object);
    let spec = child(object, "spec");
    let mut all: Vec<Value> = metrics
        .iter()
        .filter_map(Value::as_array)
        .flatten()
        .map(|metric| metric_to_second(metric, |sort| sort.wanted))
        .collect();
    let target = spec.remove(TARGET).filter(|target| !target.is_null());
    match target {
        Some(percent) => all.push(cpu(&percent)),
        None if all.is_empty() => all.push(cpu(&json!(80))),
        None => {}
    }
    spec.insert("metrics".to_owned(), all.into());
    if behavior.is_some() {
        set(spec, "behavior", behavior);
    }
    if !object["status"].is_object() {
        return;
    }
    let status = child(object, "status");
    let percent = status.remove(CURRENT_CPU).filter(|one| !one.is_null());
    let from_percent = percent.map(|percent| {
        let current = json!({ "averageUtilization": percent });
        json!([{ "type": "Resource", "resource": { "name": "cpu", "current": current } }])
    });
    let current = current.map(|current| {
        let metrics = current.as_array().into_iter().flatten();
        Value::Array(
            metrics
                .map(|metric| metric_to_second(metric, |sort| sort.measured))
                .collect(),
        )
    });
    let current = current.or(from_percent).unwrap_or(Value::Null);
    status.insert("currentMetrics".to_owned(), current);
    if conditions.is_some() {
        set(status, "conditions", conditions);
    }
}

/// From the second version to the first.
pub(super) fn to_first(object: &mut Value) {
    take_notes(object);
    let mut notes = Vec::new();
    let spec = child(object, "spec");
    let metrics = spec.remove("metrics").unwrap_or(Value::Null);
    let metrics = metrics.as_array().map_or(&[][..], Vec::as_slice);
    let percent = metrics.iter().find(|metric| is_cpu(metric));
    let percent = percent.map(|one| one["resource"]["target"]["averageUtilization"].clone());
    set(spec, TARGET, percent);
    let others: Vec<Value> = metrics
        .iter()
        .filter(|metric| !is_cpu(metric))
        .map(|metric| metric_to_first(metric, |sort| sort.wanted))
        .collect();
    if !others.is_empty() {
        notes.push((METRICS, Value::Array(others)));
    }
    if let Some(behavior) = spec.remove("behavior").filter(|one| !one.is_null()) {
        notes.push((BEHAVIOR, behavior));
    }
    if object["status"].is_object() {
        let status = child(object, "status");
        let current = status.remove("currentMetrics").unwrap_or(Value::Null);
        let current = current.as_array().map_or(&[][..], Vec::as_slice);
        let is_cpu = |one: &&Value| one["type"] == "Resource" && one["resource"]["name"] == "cpu";
        let cpu = current.iter().filter(is_cpu);
        let mut percent = cpu.map(|one| one["resource"]["current"]["averageUtilization"].clone());
        set(status, CURRENT_CPU, percent.rfind(Value::is_i64));
        if !current.is_empty() {
            let first = |metric| metric_to_first(metric, |sort: &Sort| sort.measured);
            notes.push((CURRENT, Value::Array(current.iter().map(first).collect())));
        }
        status.entry("currentReplicas").or_insert_with(|| json!(0));
        if let Some(conditions) = status.remove("conditions")
            && conditions.as_array().is_some_and(|list| !list.is_empty())
        {
            notes.push((CONDITIONS, conditions));
        }
    }
    if notes.is_empty() {
        return;
    }
    let annotations = child(object, "metadata")
        .entry("annotations")
        .or_insert_with(|| json!({}));
    for (name, value) in notes {
        let note = text_of(name, &value);
        fields(annotations).insert(name.to_owned(), note.into());
    }
}

/// The text of an annotation, its fields in the order in which Kubernetes writes them.
fn text_of(name: &str, value: &Value) -> String {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<String> = match name {
        CONDITIONS => {
            let order = ["type", "status", "lastTransitionTime", "reason", "message"];
            all.iter().map(|one| in_order(one, order)).collect()
        }
        METRICS => all
            .iter()
            .map(|one| metric_text(one, |sort| sort.wanted))
            .collect(),
        CURRENT => all
            .iter()
            .map(|one| metric_text(one, |sort| sort.measured))
            .collect(),
        _ => return value.to_string(),
    };
    format!("[{}]", texts.join(","))
}

fn in_order(value: &Value, order: impl IntoIterator<Item = &'static str>) -> String {
    let present = order.into_iter().filter(|name| !value[*name].is_null());
    let parts = present.map(|name| {
        let part = if name == "target" {
            in_order(&value[name], ["kind", "name", "apiVersion"])
        } else {
            value[name].to_string()
        };
        format!("{name:?}:{part}")
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

fn metric_text(metric: &Value, paths: fn(&Sort) -> Paths) -> String {
    let mut text = format!("{{\"type\":{}", metric["type"]);
    for sort in SORTS.iter().filter(|sort| !metric[sort.field].is_null()) {
        let names = paths(sort).iter().map(|(first, _)| *first);
        let part = in_order(&metric[sort.field], names);
        text = format!("{text},{:?}:{part}", sort.field);
    }
    text.push('}');
    text
}

/// Takes what the annotations say that stand for fields.
fn take_notes(object: &mut Value) -> Map<String, Value> {
    let mut noted = Map::new();
    let Some(annotations) = object["metadata"].get_mut("annotations") else {
        return noted;
    };
    let Some(annotations) = annotations.as_object_mut() else {
        return noted;
    };
    for name in [METRICS, CURRENT, CONDITIONS, BEHAVIOR].iter().chain(OLD) {
        let parsed = annotations
            .remove(*name)
            .and_then(|note| serde_json::from_str(note.as_str().unwrap_or_default()).ok());
        if let Some(parsed) = parsed {
            noted.insert((*name).to_owned(), parsed);
        }
    }
    if annotations.is_empty() {
        child(object, "metadata").remove("annotations");
    }
    noted
}

fn metric_to_second(metric: &Value, paths: fn(&Sort) -> Paths) -> Value {
    let mut made = json!({ "type": text(metric, "type") });
    for sort in SORTS {
        let old = &metric[sort.field];
        if !old.is_object() {
            continue;
        }
        let mut new = json!({});
        for (first, second) in paths(sort) {
            if let Some(value) = old.get(first).filter(|value| !value.is_null()) {
                set_at(&mut new, &second.join("."), value.clone());
            }
        }
        let target = &new["target"];
        if target.is_object() {
            let kind = if !target["averageUtilization"].is_null() {
                "Utilization"
            } else if !target["averageValue"].is_null() {
                "AverageValue"
            } else {
                "Value"
            };
            child(&mut new, "target").insert("type".to_owned(), kind.into());
        }
        fields(&mut made).insert(sort.field.to_owned(), new);
    }
    made
}

fn metric_to_first(metric: &Value, paths: fn(&Sort) -> Paths) -> Value {
    let mut made = json!({ "type": text(metric, "type") });
    for sort in SORTS {
        let old = &metric[sort.field];
        if !old.is_object() {
            continue;
        }
        let mut new = Map::new();
        for (first, second) in paths(sort) {
            let value = second.iter().fold(old, |at, name| &at[name]);
            if !value.is_null() {
                new.insert((*first).to_owned(), value.clone());
            }
        }
        fields(&mut made).insert(sort.field.to_owned(), new.into());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_version_cannot_say_survives_it() {
        let metrics = json!([
            {"type": "Pods", "pods": {"metric": {"name": "hits"},
                "target": {"type": "AverageValue", "averageValue": "3"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"},
                "metric": {"name": "m"}, "target": {"type": "Value", "value": "5"}}},
            {"type": "Resource", "resource": {"name": "memory",
                "target": {"type": "Utilization", "averageUtilization": 70}}},
            {"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}},
        ]);
        let second = json!({
            "metadata": {"name": "a", "annotations": {"mine": "1"}},
            "spec": {"maxReplicas": 3, "metrics": metrics,
                "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
            "status": {"currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": null,
                "conditions": [{"type": "AbleToScale", "status": "True"}]},
        });
        let mut object = second.clone();
        to_first(&mut object);
        assert_eq!(object["spec"][TARGET], 60);
        let spec = object["spec"].as_object().map(Map::len);
        assert_eq!(spec, Some(2), "{object}");
        let notes = object["metadata"]["annotations"].as_object().map(Map::len);
        assert_eq!(notes, Some(4), "{object}");
        to_second(&mut object);
        assert_eq!(object, second);
    }

    #[test]
    fn without_a_metric_it_is_the_processor() {
        let mut object = json!({"spec": {"maxReplicas": 3}});
        to_second(&mut object);
        assert_eq!(object["spec"]["metrics"], json!([cpu(&json!(80))]));
        to_first(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 3, TARGET: 80}));
    }
}
