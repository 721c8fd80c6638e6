//! Lists whose elements are told apart: no two may be the same, and an update finds each again.
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::Path;
use super::schema::{Additional, ListType, Schema};
use crate::crd::number::shown;
use crate::error::Cause;

/// The elements that are there twice.
pub(crate) fn duplicates(schema: &Schema, value: &Value, at: &Path) -> Vec<Cause> {
    let mut causes = Vec::new();
    collect(schema, value, at, &mut causes);
    causes
}

fn collect(schema: &Schema, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(schema) = schema.properties.get(name) {
                    collect(schema, value, &at.child(name), causes);
                } else if let Additional::Of(schema) = &schema.additional {
                    collect(schema, value, &at.key(name), causes);
                }
            }
        }
        Value::Array(list) => {
            match &schema.list_type {
                ListType::Atomic => {}
                ListType::Set => twice(list.iter().cloned(), at, causes),
                ListType::Map(keys) => {
                    let odd = list
                        .iter()
                        .position(|one| !one.is_object() && !one.is_null());
                    if let Some(index) = odd {
                        let why = "must be an object for an array of list-type map";
                        causes.push(Cause::invalid(at.key(index).to_string(), &list[index], why));
                    } else {
                        twice(list.iter().map(|one| key_of(keys, one)), at, causes);
                    }
                }
            }
            let Some(items) = &schema.items else { return };
            for (index, value) in list.iter().enumerate() {
                collect(items, value, &at.key(index), causes);
            }
        }
        _ => {}
    }
}

/// Each value is named once, where it comes for the second time.
fn twice(values: impl Iterator<Item = Value>, at: &Path, causes: &mut Vec<Cause>) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (index, value) in values.enumerate() {
        let count = seen.entry(value.to_string()).or_default();
        *count += 1;
        if *count == 2 {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {}", shown(&value)),
                field: at.key(index).to_string(),
            });
        }
    }
}

/// The fields by which an element is known.
fn key_of(keys: &[String], element: &Value) -> Value {
    let mut key = Map::new();
    for name in keys {
        if let Some(value) = element.get(name) {
            key.insert(name.clone(), value.clone());
        }
    }
    Value::Object(key)
}

/// The elements of a list before an update.
pub(crate) struct Old<'a> {
    keys: &'a [String],
    by_key: BTreeMap<String, &'a Value>,
}

impl<'a> Old<'a> {
    /// Only lists of type map find their elements again.
    pub(crate) fn new(schema: &'a Schema, old: Option<&'a Value>) -> Self {
        let mut by_key = BTreeMap::new();
        let ListType::Map(keys) = &schema.list_type else {
            return Self { keys: &[], by_key };
        };
        for element in old.and_then(Value::as_array).into_iter().flatten() {
            by_key
                .entry(key_of(keys, element).to_string())
                .or_insert(element);
        }
        Self { keys, by_key }
    }

    /// What an element was.
    pub(crate) fn of(&self, element: &Value) -> Option<&'a Value> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key
            .get(&key_of(self.keys, element).to_string())
            .copied()
    }
}
