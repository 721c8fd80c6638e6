//! Tables of devices and their claims, and of small kinds that only machinery uses.

use serde_json::Value;

use super::text::{age, field, list};
use super::{Layout, Row, layout};

const DEVICES: &str = "resource.k8s.io";

pub(super) const LAYOUTS: &[Layout] = &[
    layout(DEVICES, "deviceclasses", named),
    layout(DEVICES, "resourceclaimtemplates", named),
    layout(DEVICES, "resourceclaims", |row| {
        vec![row.name(), claim_state(row).into(), row.age()]
    }),
    layout(DEVICES, "resourceslices", |row| {
        let spec = &row.object["spec"];
        vec![
            row.name(),
            field(spec, "nodeName").into(),
            field(spec, "driver").into(),
            field(&spec["pool"], "name").into(),
            row.age(),
        ]
    }),
    layout(DEVICES, "devicetaintrules", taint),
    layout(
        "storagemigration.k8s.io",
        "storageversionmigrations",
        migration,
    ),
];

fn named(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.age()]
}

fn claim_state(row: &Row<'_>) -> String {
    let status = &row.object["status"];
    let mut states = Vec::new();
    if row.is_terminating() {
        states.push("deleted");
    }
    if !status["allocation"].is_null() {
        states.push("allocated");
        if !list(status, "reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !row.is_terminating() {
        states.push("pending");
    }
    states.join(",")
}

fn taint(row: &Row<'_>) -> Vec<Value> {
    let taint = &row.object["spec"]["taint"];
    let added = match &taint["timeAdded"] {
        Value::Null => String::new(),
        time => age(time, row.now),
    };
    vec![
        row.name(),
        field(taint, "key").into(),
        field(taint, "value").into(),
        field(taint, "effect").into(),
        added.into(),
        row.age(),
    ]
}

fn migration(row: &Row<'_>) -> Vec<Value> {
    let resource = &row.object["spec"]["resource"];
    let resource = match (field(resource, "resource"), field(resource, "group")) {
        (name, "") => name.to_owned(),
        (name, group) => format!("{name}.{group}"),
    };
    let state = list(&row.object["status"], "conditions")
        .iter()
        .filter(|condition| condition["status"] == "True")
        .map(|condition| field(condition, "type"))
        .rfind(|kind| matches!(*kind, "Running" | "Failed" | "Succeeded"));
    vec![
        row.name(),
        resource.into(),
        state.unwrap_or("Unknown").into(),
    ]
}
