//! What the table of types says of merging is what Kubernetes' OpenAPI says.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::*;
use crate::openapi::document;
use crate::registry::{Registry, builtin};

/// Every place that does not merge plainly, and how it merges.
fn places(shape: &Shape, path: &str, found: &mut BTreeMap<String, String>) {
    let how = (&shape.listing, shape.mapping, &shape.strategy);
    if how != (&Listing::Atomic, Mapping::Granular, &Strategy::Usual) {
        found.insert(path.to_owned(), format!("{how:?}"));
    }
    for (name, field) in &shape.fields {
        places(field, &format!("{path}.{name}"), found);
    }
    if let Some(inner) = &shape.inner {
        places(inner, &format!("{path}[]"), found);
    }
}

/// A schema with what it refers to in its place, as far as it does not hold itself.
fn resolved(schemas: &Value, schema: &Value, within: &mut Vec<String>) -> Value {
    let mut whole = schema.as_object().cloned().unwrap_or_default();
    let target = [&schema["$ref"], &schema["allOf"][0]["$ref"]]
        .into_iter()
        .find_map(Value::as_str)
        .map(|target| target.rsplit('/').next().unwrap_or(target).to_owned());
    if let Some(target) = target {
        if within.contains(&target) {
            return Value::Object(Map::new());
        }
        within.push(target.clone());
        let found = resolved(schemas, &schemas[&target], within);
        within.pop();
        for (name, value) in found.as_object().into_iter().flatten() {
            whole.entry(name).or_insert_with(|| value.clone());
        }
        return Value::Object(whole);
    }
    for (_, field) in whole
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        *field = resolved(schemas, field, within);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = whole.get_mut(name).filter(|inner| inner.is_object()) {
            *inner = resolved(schemas, inner, within);
        }
    }
    Value::Object(whole)
}

/// The schema of a kind, by the name of its type.
fn schema_of(schemas: &Value, res: &Resource) -> Option<Value> {
    let wanted = serde_json::json!({"group": res.group, "kind": res.kind, "version": res.version});
    let is_it = |schema: &Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.len() == 1 && kinds.contains(&wanted))
    };
    let (name, schema) = schemas
        .as_object()?
        .iter()
        .find(|(_, schema)| is_it(schema))?;
    Some(resolved(schemas, schema, &mut vec![name.clone()]))
}

/// Adds to a shape what a schema says of strategic patches.
fn with_strategies(shape: &mut Shape, schema: &Value) {
    let text = |name: &str| schema[name].as_str();
    shape.strategy = table::strategy(
        text("x-kubernetes-patch-strategy"),
        text("x-kubernetes-patch-merge-key"),
    );
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        with_strategies(shape.fields.entry(name.clone()).or_default(), field);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(name).filter(|schema| schema.is_object()) {
            with_strategies(shape.inner.get_or_insert_default(), schema);
        }
    }
}

#[test]
fn built_in_kinds_merge_as_openapi_says() {
    let registry = Registry::default();
    let versions: BTreeSet<String> = builtin().iter().map(|res| res.api_version()).collect();
    let mut different = Vec::new();
    let mut compared = 0;
    for version in versions {
        let path = match version.contains('/') {
            true => format!("apis/{version}"),
            false => format!("api/{version}"),
        };
        let bytes = document(&registry, &path).unwrap().bytes;
        let mut whole: Value = serde_json::from_slice(&bytes).unwrap();
        let schemas = whole["components"]["schemas"].take();
        for res in builtin().iter().filter(|res| res.api_version() == version) {
            let Some(schema) = schema_of(&schemas, res) else {
                continue;
            };
            let mut wanted = Shape::of_schema(&schema);
            with_strategies(&mut wanted, &schema);
            let (mut want, mut got) = (BTreeMap::new(), BTreeMap::new());
            places(&wanted, "", &mut want);
            places(&Shape::of(res), "", &mut got);
            compared += got.len();
            let all: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
            for path in all
                .into_iter()
                .filter(|path| want.get(*path) != got.get(*path))
            {
                let (want, got) = (want.get(path), got.get(path));
                different.push(format!(
                    "{} {}{path}: {want:?}, not {got:?}",
                    version, res.kind
                ));
            }
        }
    }
    assert!(compared > 1000, "{compared}");
    assert!(different.is_empty(), "{}", different.join("\n"));
}
