//! Lists that merge by their elements: sets, and lists with keys.
use serde_json::{Value, json};

use crate::crd::check::{forbidden, invalid, required};
use crate::crd::path::Path;
use crate::error::Cause;
use crate::store::json::{list, text};

/// What a set may hold.
pub(super) fn set_items(items: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = &items["x-kubernetes-list-type"];
    let path = path.child("items");
    match text(items, "type") {
        "array" if list_type.as_str().is_some_and(|found| found != "atomic") => {
            causes.push(invalid(
                &path.child("x-kubernetes-list-type"),
                list_type,
                why,
            ));
        }
        "object" if items["x-kubernetes-map-type"] != "atomic" => {
            causes.push(invalid(
                &path.child("x-kubernetes-map-type"),
                list_type,
                why,
            ));
        }
        _ => {}
    }
}

/// Lists whose elements have keys.
pub(super) fn lists(schema: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let list_type = schema["x-kubernetes-list-type"].as_str();
    let (type_path, keys_path) = (
        path.child("x-kubernetes-list-type"),
        path.child("x-kubernetes-list-map-keys"),
    );
    let items = &schema["items"];
    let items_path = path.child("items");
    if !keys.is_empty() && list_type != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(match list_type {
            None => required(&type_path, why),
            Some(found) => invalid(&type_path, &found.into(), why),
        });
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            causes.push(required(
                &keys_path,
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        if items.is_null() {
            causes.push(required(
                &items_path,
                "must have a schema if x-kubernetes-list-type is map",
            ));
        } else if items.is_object() && text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            causes.push(invalid(
                &items_path.child("type"),
                &text(items, "type").into(),
                why,
            ));
        }
        for (at, key) in keys
            .iter()
            .enumerate()
            .filter(|_| text(items, "type") == "object")
        {
            let name = key.as_str().unwrap_or_default();
            match items["properties"].get(name) {
                None => causes.push(invalid(
                    &keys_path,
                    &json!(keys),
                    "entries must all be names of item properties",
                )),
                Some(property) if matches!(text(property, "type"), "array" | "object") => {
                    let field = items_path.child("properties").key(name).child("type");
                    let why =
                        "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    causes.push(invalid(&field, &text(items, "type").into(), why));
                }
                Some(_) => {}
            }
            if keys[..at].contains(key) {
                causes.push(invalid(
                    &keys_path,
                    &json!(keys),
                    "must not contain duplicate entries",
                ));
            }
        }
    }
    if let Some(found) =
        list_type.filter(|found| matches!(*found, "set" | "map") && items.is_object())
    {
        key_values(items, (found, keys), &items_path, causes);
    }
}

/// Keys are always there.
fn key_values(
    items: &Value,
    (list_type, keys): (&str, &[Value]),
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    if items["nullable"] == true {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        causes.push(forbidden(&path.child("nullable"), &why));
    }
    for key in keys.iter().filter(|_| list_type == "map") {
        let name = key.as_str().unwrap_or_default();
        let Some(property) = items["properties"].get(name) else {
            continue;
        };
        let path = path.child("properties").key(name);
        if !list(items, "required").contains(key) && property["default"].is_null() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                       property";
            causes.push(required(&path.child("default"), why));
        }
        if property["nullable"] == true {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            causes.push(forbidden(&path.child("nullable"), why));
        }
    }
}
