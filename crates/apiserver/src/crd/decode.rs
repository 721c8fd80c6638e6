//! What reading an object does to it: unknown fields go, nulls go, defaults come.
use serde_json::Value;

use super::schema::{Additional, Schema};

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes out what the schema does not know, and answers the paths of what went, sorted.
pub(crate) fn prune(schema: &Schema, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Value::Object(map) = object {
        map.retain(|name, value| {
            if META.contains(&name.as_str()) {
                return true;
            }
            let known = keep_field(schema, (name, value), name, &mut unknown);
            if !known && !schema.preserve {
                unknown.push(name.clone());
            }
            known || schema.preserve
        });
    }
    unknown.sort();
    unknown
}

/// Whether a field is known; what is in it is pruned.
fn keep_field(
    schema: &Schema,
    (name, value): (&str, &mut Value),
    at: &str,
    unknown: &mut Vec<String>,
) -> bool {
    if let Some(schema) = schema.properties.get(name) {
        walk(Some(schema), value, at, unknown);
        return true;
    }
    match &schema.additional {
        Additional::Of(schema) => walk(Some(schema), value, at, unknown),
        Additional::Any | Additional::Never => walk(None, value, at, unknown),
        Additional::Unsaid => return false,
    }
    true
}

fn walk(schema: Option<&Schema>, value: &mut Value, at: &str, unknown: &mut Vec<String>) {
    let preserve = schema.is_some_and(|schema| schema.preserve);
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let below = format!("{at}.{name}");
            if schema.is_some_and(|schema| schema.embedded) && META.contains(&name.as_str()) {
                return true;
            }
            let known =
                schema.is_some_and(|schema| keep_field(schema, (name, value), &below, unknown));
            if !known && !preserve {
                unknown.push(below);
            }
            known || preserve
        }),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            if preserve && items.is_none() {
                return;
            }
            for (index, value) in list.iter_mut().enumerate() {
                walk(items, value, &format!("{at}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// The same for a part of an object.
pub(crate) fn prune_part(schema: &Schema, value: &mut Value) {
    walk(Some(schema), value, "", &mut Vec::new());
}

/// Takes out nulls where they may not be and no default replaces them.
pub(crate) fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let Some(schema) = schema.field(name) else {
                return true;
            };
            if value.is_null() {
                return schema.nullable || schema.default.is_some();
            }
            drop_nulls(schema, value);
            true
        }),
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|value| drop_nulls(items, value));
            }
        }
        _ => {}
    }
}

/// Adds defaults.
pub(crate) fn default(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, schema) in &schema.properties {
                let Some(default) = &schema.default else {
                    continue;
                };
                let missing = map
                    .get(name)
                    .is_none_or(|value| value.is_null() && !schema.nullable);
                if missing {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(schema) = schema.field(name) {
                    default_here(schema, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|value| default_here(items, value));
            }
        }
        _ => {}
    }
}

fn default_here(schema: &Schema, value: &mut Value) {
    if value.is_null()
        && !schema.nullable
        && let Some(found) = &schema.default
    {
        value.clone_from(found);
    }
    default(schema, value);
}

/// Everything that a read does but for saying what was unknown.
pub(crate) fn settle(schema: &Schema, object: &mut Value) {
    prune(schema, object);
    drop_nulls(schema, object);
    default(schema, object);
}
