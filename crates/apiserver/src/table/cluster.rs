//! Tables of everything else: namespaces, nodes, configuration, events, roles, definitions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{age, field, list, or_none};
use super::{Layout, Row, layout};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) const LAYOUTS: &[Layout] = &[
    layout("", "namespaces", |row| {
        let phase = field(&row.object["status"], "phase").into();
        vec![row.name(), phase, row.age()]
    }),
    layout("", "secrets", |row| {
        vec![
            row.name(),
            field(row.object, "type").into(),
            size(&row.object["data"]).into(),
            row.age(),
        ]
    }),
    layout("", "configmaps", |row| {
        let count = size(&row.object["data"]) + size(&row.object["binaryData"]);
        vec![row.name(), count.into(), row.age()]
    }),
    layout("", "serviceaccounts", |row| vec![row.name(), row.age()]),
    layout("", "nodes", node),
    layout("", "componentstatuses", component),
    layout("", "events", event),
    layout("events.k8s.io", "events", event),
    layout(RBAC, "rolebindings", binding),
    layout(RBAC, "clusterrolebindings", binding),
    layout(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        definition,
    ),
    layout("apiregistration.k8s.io", "apiservices", api_service),
    layout("coordination.k8s.io", "leases", |row| {
        let holder = field(&row.object["spec"], "holderIdentity").into();
        vec![row.name(), holder, row.age()]
    }),
    layout("node.k8s.io", "runtimeclasses", |row| {
        vec![row.name(), field(row.object, "handler").into(), row.age()]
    }),
];

fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn component(row: &Row<'_>) -> Vec<Value> {
    let healthy = list(row.object, "conditions")
        .iter()
        .find(|condition| condition["type"] == "Healthy");
    let Some(healthy) = healthy else {
        return vec![row.name(), "Unknown".into(), "".into(), "".into()];
    };
    let state = if healthy["status"] == "True" {
        "Healthy"
    } else {
        "Unhealthy"
    };
    vec![
        row.name(),
        state.into(),
        field(healthy, "message").into(),
        field(healthy, "error").into(),
    ]
}

fn definition(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let names = &spec["names"];
    let mut versions: Vec<String> = list(spec, "versions")
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let mark = if version["storage"] == true {
                "(storage)"
            } else {
                ""
            };
            format!("{}{mark}", field(version, "name"))
        })
        .collect();
    versions.sort_unstable();
    let short = list(names, "shortNames").iter();
    let short: Vec<&str> = short.filter_map(Value::as_str).collect();
    let established = list(&row.object["status"], "conditions")
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    vec![
        row.name(),
        field(spec, "scope").into(),
        versions.join(",").into(),
        row.created(),
        field(spec, "group").into(),
        field(names, "kind").into(),
        short.join(",").into(),
        established.into(),
    ]
}

fn api_service(row: &Row<'_>) -> Vec<Value> {
    let service = &row.object["spec"]["service"];
    let service = if service.is_null() {
        "Local".to_owned()
    } else {
        format!("{}/{}", field(service, "namespace"), field(service, "name"))
    };
    let available = list(&row.object["status"], "conditions")
        .iter()
        .find(|condition| condition["type"] == "Available");
    let state = available.map_or_else(
        || "Unknown".to_owned(),
        |condition| match (field(condition, "status"), field(condition, "reason")) {
            ("True", _) => "True".to_owned(),
            (status, "") => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    vec![row.name(), service.into(), state.into(), row.age()]
}

fn node(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let info = &status["nodeInfo"];
    let ready = list(status, "conditions")
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut state = match ready.map(|condition| field(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let roles: BTreeSet<&str> = row.object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    let address = |kind: &str| {
        let found = list(status, "addresses")
            .iter()
            .find(|address| address["type"] == kind);
        Value::from(or_none(
            found
                .map(|a| field(a, "address").to_owned())
                .unwrap_or_default(),
        ))
    };
    let known = |name: &str| match field(info, name) {
        "" => "<unknown>",
        text => text,
    };
    let mut kernel = known("kernelVersion").to_owned();
    let architecture = field(info, "architecture");
    if !architecture.is_empty() {
        kernel = format!("{kernel} ({architecture})");
    }
    vec![
        row.name(),
        state.into(),
        or_none(roles.join(",")).into(),
        row.age(),
        field(info, "kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        known("osImage").into(),
        kernel.into(),
        known("containerRuntimeVersion").into(),
    ]
}

/// Events of both groups: each has names of its own for the same things.
fn event(row: &Row<'_>) -> Vec<Value> {
    let event = row.object;
    let either = |a: &str, b: &str| {
        let first = &event[a];
        if first.is_null() { &event[b] } else { first }
    };
    let about = either("involvedObject", "regarding");
    let first = [
        &event["firstTimestamp"],
        &event["deprecatedFirstTimestamp"],
        &event["eventTime"],
    ];
    let last = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["deprecatedLastTimestamp"],
    ];
    let last = [&last[..], &first[..]].concat();
    let seen = |times: &[&Value]| {
        let time = times.iter().find(|time| time.is_string());
        time.map_or_else(|| "<unknown>".to_owned(), |time| age(time, row.now))
    };
    let object = match (field(about, "kind"), field(about, "name")) {
        (kind, "") => kind.to_lowercase(),
        (kind, name) => format!("{}/{name}", kind.to_lowercase()),
    };
    let source = either("source", "deprecatedSource");
    let known = |own: &str, other: &Value| match field(source, own) {
        "" => other.as_str().unwrap_or_default().to_owned(),
        known => known.to_owned(),
    };
    let component = known(
        "component",
        either("reportingComponent", "reportingController"),
    );
    let instance = known("host", &event["reportingInstance"]);
    let source = if instance.is_empty() {
        component
    } else {
        format!("{component}, {instance}")
    };
    let count = [
        &event["series"]["count"],
        either("count", "deprecatedCount"),
    ];
    let count = count.iter().find_map(|count| count.as_i64());
    vec![
        seen(&last).into(),
        event["type"].clone(),
        event["reason"].clone(),
        object.into(),
        field(about, "fieldPath").into(),
        source.into(),
        either("message", "note")
            .as_str()
            .unwrap_or_default()
            .trim()
            .into(),
        seen(&first).into(),
        count.unwrap_or(1).max(1).into(),
        row.name(),
    ]
}

fn binding(row: &Row<'_>) -> Vec<Value> {
    let reference = &row.object["roleRef"];
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = list(row.object, "subjects")
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match (kind, field(subject, "namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", field(subject, "name")),
                _ => field(subject, "name").to_owned(),
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        row.name(),
        format!("{}/{}", field(reference, "kind"), field(reference, "name")).into(),
        row.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
