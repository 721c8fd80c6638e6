//! An applied intent against its schema: server-side apply takes nothing that it cannot own by field.
use std::collections::BTreeSet;

use serde_json::Value;

use super::number::shown;
use super::schema::{Additional, ListType, Schema, Type};
use super::validate::type_of;
use crate::apply;
use crate::error::StatusError;
use crate::registry::Resource;

/// Problems beyond these are not told.
const PROBLEMS_MAX: usize = 100;

/// Refuses an intent that sets unknown fields, fields of other types, or an element twice.
pub(crate) fn check(res: &Resource, config: &Value) -> Result<(), StatusError> {
    apply::refuse_intent(res, config, problems(res, config))
}

/// What is wrong with an intent of a custom kind.
pub(crate) fn problems(res: &Resource, config: &Value) -> Vec<String> {
    let Some(schema) = &res.of_crd.structural else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        field(schema, (name, value), "", &mut problems);
    }
    problems
}

fn field(schema: &Schema, (name, value): (&str, &Value), at: &str, problems: &mut Vec<String>) {
    let path = format!("{at}.{name}");
    match (schema.properties.get(name), &schema.additional) {
        (Some(schema), _) => node(schema, value, &path, problems),
        (None, Additional::Of(schema)) => node(schema, value, &path, problems),
        (None, Additional::Any) => {}
        _ if schema.preserve => {}
        _ => problem(problems, format!("{path}: field not declared in schema")),
    }
}

fn problem(problems: &mut Vec<String>, text: String) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(text);
    }
}

fn node(schema: &Schema, value: &Value, at: &str, problems: &mut Vec<String>) {
    if value.is_null() || schema.int_or_string {
        return;
    }
    let wanted = match (schema.kind, value) {
        (Some(Type::Text), Value::String(_))
        | (Some(Type::Boolean), Value::Bool(_))
        | (Some(Type::Integer | Type::Number), Value::Number(_))
        | (Some(Type::Object), Value::Object(_))
        | (Some(Type::Array), Value::Array(_))
        | (None, _) => "",
        (Some(Type::Text), _) => "string",
        (Some(Type::Boolean), _) => "boolean",
        (Some(Type::Integer | Type::Number), _) => "numeric (int or float)",
        (Some(Type::Object), _) => "map",
        (Some(Type::Array), _) => "list",
    };
    if !wanted.is_empty() {
        let found = match type_of(value) {
            "array" => "list",
            "object" => "map",
            "integer" => "int",
            "number" => "float",
            other => other,
        };
        let found = match (wanted, value) {
            ("map" | "list", Value::String(text)) => format!("&{{{text}}}"),
            ("map" | "list", other) => format!("&{{{}}}", shown(other)),
            _ => found.to_owned(),
        };
        return problem(problems, format!("{at}: expected {wanted}, got {found}"));
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                field(schema, (name, value), at, problems);
            }
        }
        Value::Array(list) => elements(schema, list, at, problems),
        _ => {}
    }
}

fn elements(schema: &Schema, list: &[Value], at: &str, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, value) in list.iter().enumerate() {
        let step = match &schema.list_type {
            ListType::Atomic => format!("[{index}]"),
            ListType::Set => format!("[={}]", shown(value)),
            ListType::Map(keys) => {
                let missing = keys.iter().find(|key| {
                    let items = schema.items.as_ref();
                    let default = items
                        .and_then(|items| items.properties.get(*key))
                        .and_then(|key| key.default.as_ref());
                    value.get(key.as_str()).is_none() && default.is_none()
                });
                if let Some(key) = missing {
                    let why = format!(
                        "{at}: element {index}: associative list with keys has an element that omits key field \
                         {key:?} (and doesn't have default value)"
                    );
                    problem(problems, why);
                    continue;
                }
                let parts: Vec<String> = keys
                    .iter()
                    .filter_map(|key| Some(format!("{key}={}", shown(value.get(key.as_str())?))))
                    .collect();
                format!("[{}]", parts.join(","))
            }
        };
        if schema.list_type != ListType::Atomic && !seen.insert(step.clone()) {
            problem(problems, format!("{at}: duplicate entries for key {step}"));
        }
        if let Some(items) = &schema.items {
            node(items, value, &format!("{at}{step}"), problems);
        }
    }
}
