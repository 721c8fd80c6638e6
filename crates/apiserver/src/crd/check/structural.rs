//! Whether a schema is structural: every field has one type, said in one place.
use serde_json::{Value, json};

use super::{forbidden, invalid, required};
use crate::crd::path::Path;
use crate::crd::pattern;
use crate::error::Cause;
use crate::store::json::{list, text};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Keywords without which a schema could not be made at all; the error is the first of them.
pub(super) fn unsupported(schema: &Value) -> Option<String> {
    let said = |name: &str| Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    for (name, shown) in [("id", "id"), ("$schema", "schema"), ("$ref", "$ref")] {
        if schema[name].as_str().is_some_and(|text| !text.is_empty()) {
            return said(shown);
        }
    }
    for name in ["patternProperties", "dependencies"] {
        if schema[name].as_object().is_some_and(|map| !map.is_empty()) {
            return said(name);
        }
    }
    if !schema["additionalItems"].is_null() {
        return said("additionalItems");
    }
    if schema["definitions"]
        .as_object()
        .is_some_and(|map| !map.is_empty())
    {
        return said("definitions");
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        return Some(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
                .to_owned(),
        );
    }
    if schema["items"].is_array() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    super::internal::below(schema)
        .into_iter()
        .filter(|below| below.is_object())
        .find_map(unsupported)
}

/// Everything that keeps a schema from being structural, sorted.
pub(super) fn check(schema: &Value, path: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    invariants(schema, Level::Root, path, &mut causes);
    complete_values(schema, Some(schema), (path, path), &mut causes);
    causes.sort_by_key(|cause| format!("{}: {}", cause.field, cause.message));
    causes
}

fn each_property(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn invariants(schema: &Value, level: Level, path: &Path, causes: &mut Vec<Cause>) {
    let kind = text(schema, "type");
    if kind == "array" && !schema["items"].is_object() {
        causes.push(required(&path.child("items"), "must be specified"));
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], Level::Item, &path.child("items"), causes);
    }
    for (name, below) in each_property(schema) {
        invariants(
            below,
            Level::Field,
            &path.child("properties").key(name),
            causes,
        );
    }
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            causes.push(forbidden(&path, "must not be used at the root"));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &path, causes);
        }
    }
    extensions(schema, path, causes);
    values(
        schema,
        (int_or_string(schema), int_or_string_first(schema)),
        path,
        causes,
    );
    types(schema, level, path, causes);
    metadata(schema, level, path, causes);
}

fn extensions(schema: &Value, path: &Path, causes: &mut Vec<Cause>) {
    if schema["x-kubernetes-int-or-string"] != true {
        return;
    }
    let why = "must be false if x-kubernetes-int-or-string is true";
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if schema[name] == true {
            causes.push(invalid(&path.child(name), &json!(true), why));
        }
    }
}

fn types(schema: &Value, level: Level, path: &Path, causes: &mut Vec<Cause>) {
    let kind = text(schema, "type");
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let field = path.child("type");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        causes.push(if kind.is_empty() {
            required(&field, why)
        } else {
            invalid(&field, &kind.into(), why)
        });
    } else if kind.is_empty() && schema["x-kubernetes-int-or-string"] != true && !preserve {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        causes.push(required(&field, why));
    }
    if embedded && !schema["additionalProperties"].is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(forbidden(&path.child("additionalProperties"), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        causes.push(invalid(&field, &kind.into(), "must be object at the root"));
    }
    if embedded && !preserve && each_property(schema).next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        causes.push(required(&path.child("properties"), why));
    }
}

fn metadata(schema: &Value, level: Level, path: &Path, causes: &mut Vec<Cause>) {
    let whole = level == Level::Root || schema["x-kubernetes-embedded-resource"] == true;
    let properties = &schema["properties"];
    for name in ["kind", "apiVersion"] {
        let found = &properties[name];
        if whole && found.is_object() && text(found, "type") != "string" {
            let field = path.child("properties").key(name).child("type");
            causes.push(invalid(
                &field,
                &text(found, "type").into(),
                "must be string",
            ));
        }
    }
    let Some(meta) = properties["metadata"].as_object() else {
        return;
    };
    let path = path.child("properties").key("metadata");
    let kind = text(&properties["metadata"], "type");
    if whole && kind != "object" {
        causes.push(invalid(&path.child("type"), &kind.into(), "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let names_only = meta
        .get("properties")
        .and_then(Value::as_object)
        .is_none_or(|map| {
            !map.is_empty()
                && map
                    .keys()
                    .all(|name| name == "name" || name == "generateName")
        });
    let rest = meta.iter().any(|(name, value)| {
        !matches!(name.as_str(), "type" | "properties" | "default")
            && !value.is_null()
            && *value != false
            && *value != ""
    });
    if !names_only || rest {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        causes.push(forbidden(&path, why));
    }
}

fn is_int_or_string(list: &[Value]) -> bool {
    list == [json!({"type": "integer"}), json!({"type": "string"})]
}

fn int_or_string(schema: &Value) -> bool {
    is_int_or_string(list(schema, "anyOf"))
}

fn int_or_string_first(schema: &Value) -> bool {
    list(schema, "allOf").first().is_some_and(int_or_string)
}

/// What is asked of values, here and in the alternatives.
fn values(
    schema: &Value,
    (skip_any, skip_first): (bool, bool),
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    if !skip_any {
        for (at, below) in list(schema, "anyOf").iter().enumerate() {
            nested(below, false, &path.child("anyOf").key(at), causes);
        }
    }
    for (at, below) in list(schema, "allOf").iter().enumerate() {
        nested(
            below,
            skip_first && at == 0,
            &path.child("allOf").key(at),
            causes,
        );
    }
    for (at, below) in list(schema, "oneOf").iter().enumerate() {
        nested(below, false, &path.child("oneOf").key(at), causes);
    }
    if schema["not"].is_object() {
        nested(&schema["not"], false, &path.child("not"), causes);
    }
    let expression = text(schema, "pattern");
    if let Err(error) = pattern::size(expression) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        causes.push(invalid(&path.child("pattern"), &expression.into(), &why));
    }
}

/// An alternative says nothing of types, only of values.
fn nested(schema: &Value, skip_any: bool, path: &Path, causes: &mut Vec<Cause>) {
    values(schema, (skip_any, false), path, causes);
    if schema["items"].is_object() {
        nested(&schema["items"], false, &path.child("items"), causes);
    }
    for (name, below) in each_property(schema) {
        nested(below, false, &path.child("properties").key(name), causes);
    }
    let mut no = |name: &str, set: bool, how: &str| {
        if set {
            causes.push(forbidden(
                &path.child(name),
                &format!("must be {how} to be structural"),
            ));
        }
    };
    let said = |name: &str| !text(schema, name).is_empty();
    let flag = |name: &str| schema[name] == true;
    let some = |name: &str| !schema[name].is_null();
    let full = |name: &str| !list(schema, name).is_empty();
    no("type", said("type"), "empty");
    let additional = some("additionalProperties") && schema["additionalProperties"] != false;
    no("additionalProperties", additional, "undefined");
    no("default", some("default"), "undefined");
    no("title", said("title"), "empty");
    no("description", said("description"), "empty");
    no("nullable", flag("nullable"), "false");
    for name in [
        "preserve-unknown-fields",
        "embedded-resource",
        "int-or-string",
    ] {
        let name = format!("x-kubernetes-{name}");
        no(&name, flag(&name), "false");
    }
    no(
        "x-kubernetes-list-map-keys",
        full("x-kubernetes-list-map-keys"),
        "empty",
    );
    no(
        "x-kubernetes-list-type",
        some("x-kubernetes-list-type"),
        "undefined",
    );
    no(
        "x-kubernetes-map-type",
        some("x-kubernetes-map-type"),
        "undefined",
    );
    no(
        "x-kubernetes-validations",
        full("x-kubernetes-validations"),
        "empty",
    );
    if schema["properties"]["metadata"].is_object() {
        let path = path.child("properties").key("metadata");
        causes.push(forbidden(
            &path,
            "must not be specified in a nested context",
        ));
    }
}

/// Where a value is asked for, and where it must therefore have a type.
type Places<'a> = (&'a Path, &'a Path);

fn missing(places: Places<'_>, causes: &mut Vec<Cause>) {
    causes.push(required(
        places.0,
        &format!("because it is defined in {}", places.1),
    ));
}

fn complete_values(
    asked: &Value,
    schema: Option<&Value>,
    places: Places<'_>,
    causes: &mut Vec<Cause>,
) {
    let (here, there) = places;
    if asked["not"].is_object() {
        complete(&asked["not"], schema, (here, &there.child("not")), causes);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (at, below) in list(asked, name).iter().enumerate() {
            complete(below, schema, (here, &there.child(name).key(at)), causes);
        }
    }
}

fn complete(asked: &Value, schema: Option<&Value>, places: Places<'_>, causes: &mut Vec<Cause>) {
    let Some(schema) = schema.filter(|schema| schema.is_object()) else {
        return missing(places, causes);
    };
    let (here, there) = places;
    complete_values(asked, Some(schema), places, causes);
    if asked["items"].is_object() {
        let below = (&here.child("items"), &there.child("items"));
        complete(&asked["items"], schema.get("items"), below, causes);
    }
    for (name, below) in each_property(asked) {
        let places = (
            &here.child("properties").key(name),
            &there.child("properties").key(name),
        );
        match schema["properties"].get(name) {
            Some(schema) => complete(below, Some(schema), places, causes),
            None => missing(places, causes),
        }
    }
}
