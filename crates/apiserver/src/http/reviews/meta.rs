//! The metadata of questions: who asked what, as `managedFields` says it. They are never stored, so nobody else owns any.

use serde_json::{Map, Value, json};

use crate::error::StatusError;
use crate::http::call::Call;
use crate::store::json::{child, fields};
use crate::store::meta::stamp;

/// Structs that exist even when they are empty.
const STRUCTS: [&str; 3] = ["metadata", "spec", "boundObjectRef"];
/// What nobody owns.
const UNOWNED: [&str; 7] = [
    "apiVersion",
    "kind",
    "status",
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
];
/// The metadata that clients may send, in the order in which Kubernetes prints it.
const ORDER: [&str; 7] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "labels",
    "annotations",
    "managedFields",
];

/// Notes who owns the question's fields.
pub(in crate::http) fn own(
    call: &Call,
    value: &mut Value,
    subresource: &str,
) -> Result<(), StatusError> {
    let mut owned = Map::new();
    for (name, part) in value.as_object().into_iter().flatten() {
        if UNOWNED.contains(&name.as_str()) {
            continue;
        }
        let set = if name == "metadata" {
            metadata_set(part)
        } else {
            set_of(name, part)
        };
        if set.as_object().is_some_and(|set| !set.is_empty()) {
            owned.insert(format!("f:{name}"), set);
        }
    }
    let api_version = value["apiVersion"].clone();
    let metadata = child(value, "metadata");
    metadata.retain(|_, part| !part.is_null());
    metadata.remove("managedFields");
    if owned.is_empty() {
        return Ok(());
    }
    let manager = call.write_options()?.field_manager;
    let mut entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": api_version, "time": stamp(call.time()),
        "fieldsType": "FieldsV1", "fieldsV1": owned,
    });
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    metadata.insert("managedFields".to_owned(), json!([entry]));
    Ok(())
}

fn metadata_set(metadata: &Value) -> Value {
    let mut set = set_of("metadata", metadata);
    let kept = [
        "f:labels",
        "f:annotations",
        "f:finalizers",
        "f:ownerReferences",
    ];
    fields(&mut set).retain(|name, _| kept.contains(&name.as_str()));
    set
}

fn set_of(name: &str, value: &Value) -> Value {
    let Some(map) = value.as_object() else {
        return json!({});
    };
    let mut set = Map::new();
    for (name, part) in map {
        if !part.is_null() {
            set.insert(format!("f:{name}"), set_of(name, part));
        }
    }
    if !set.is_empty() && !STRUCTS.contains(&name) {
        set.insert(".".to_owned(), json!({}));
    }
    set.into()
}

/// Metadata as error texts of Kubernetes show it.
pub(super) fn shown(metadata: &Value) -> String {
    let entry = &metadata["managedFields"][0];
    let ordered = |value: &Value, names: &[&str]| {
        let parts: Vec<String> = names
            .iter()
            .filter(|name| !value[**name].is_null())
            .map(|name| format!("{name:?}:{}", value[*name]))
            .collect();
        format!("{{{}}}", parts.join(","))
    };
    let names = [
        "manager",
        "operation",
        "apiVersion",
        "time",
        "fieldsType",
        "fieldsV1",
    ];
    let managed = ordered(entry, &names);
    let text = ordered(metadata, &ORDER);
    match text.split_once("\"managedFields\":") {
        Some((before, _)) => format!("{before}\"managedFields\":[{managed}]}}"),
        None => text,
    }
}
