//! Tables of what changes the number of pods, or guards it.

use serde_json::Value;

use super::text::{field, list, number as int};
use super::{Layout, Row, layout};

pub(super) const LAYOUTS: &[Layout] = &[
    layout("autoscaling", "horizontalpodautoscalers", autoscaler),
    layout("policy", "poddisruptionbudgets", budget),
];

/// Metrics that are named; of more only the number is said.
const METRICS_SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

fn autoscaler(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let target = &spec["scaleTargetRef"];
    let least = spec["minReplicas"]
        .as_i64()
        .map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
    vec![
        row.name(),
        format!("{}/{}", field(target, "kind"), field(target, "name")).into(),
        metrics(spec, status).into(),
        least.into(),
        int(spec, "maxReplicas").into(),
        int(status, "currentReplicas").into(),
        row.age(),
    ]
}

fn metrics(spec: &Value, status: &Value) -> String {
    // The first version of the kind knows one metric only.
    if let Some(target) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let current = &status["currentCPUUtilizationPercentage"];
        return format!("cpu: {}/{target}%", percent(current, UNKNOWN));
    }
    let wanted = list(spec, "metrics");
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let current = list(status, "currentMetrics");
    let shown: Vec<String> = wanted
        .iter()
        .enumerate()
        .take(METRICS_SHOWN)
        .map(|(at, metric)| one_metric(metric, current.get(at).unwrap_or(&Value::Null)))
        .collect();
    let shown = shown.join(", ");
    match wanted.len().saturating_sub(METRICS_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn one_metric(wanted: &Value, current: &Value) -> String {
    let (name, resource) = match field(wanted, "type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let target = &wanted[name]["target"];
    let now = &current[name]["current"];
    let text = |value: &Value| value.as_str().unwrap_or(UNKNOWN).to_owned();
    let label = if resource {
        format!("{}: ", field(&wanted[name], "name"))
    } else {
        String::new()
    };
    match (target["averageValue"].as_str(), resource) {
        (Some(target), false) if name != "pods" => {
            format!("{}/{target} (avg)", text(&now["averageValue"]))
        }
        (Some(target), _) => format!("{label}{}/{target}", text(&now["averageValue"])),
        (None, false) => format!("{}/{}", text(&now["value"]), text(&target["value"])),
        (None, true) => format!(
            "{label}{}/{}",
            percent(&now["averageUtilization"], UNKNOWN),
            percent(&target["averageUtilization"], "<auto>")
        ),
    }
}

fn percent(value: &Value, without: &str) -> String {
    value
        .as_i64()
        .map_or_else(|| without.to_owned(), |number| format!("{number}%"))
}

fn budget(row: &Row<'_>) -> Vec<Value> {
    let limit = |name: &str| match &row.object["spec"][name] {
        Value::Null => Value::from("N/A"),
        Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    };
    vec![
        row.name(),
        limit("minAvailable"),
        limit("maxUnavailable"),
        int(&row.object["status"], "disruptionsAllowed").into(),
        row.age(),
    ]
}
