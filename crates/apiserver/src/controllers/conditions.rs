//! Conditions in the status of objects.
use serde_json::{Map, Value};

use crate::store::json::list;

/// The condition of a type in a status.
pub(super) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = list(status, "conditions").iter();
    conditions.find(|condition| condition["type"] == kind)
}

/// Whether a condition is true.
pub(super) fn holds(status: &Value, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| condition["status"] == "True")
}

/// The list of conditions of a status, to change.
pub(super) fn of(status: &mut Map<String, Value>) -> &mut Vec<Value> {
    let conditions = status.entry("conditions").or_insert(Value::Null);
    if !conditions.is_array() {
        *conditions = Value::Array(Vec::new());
    }
    match conditions {
        Value::Array(conditions) => conditions,
        _ => unreachable!("it was made a list above"),
    }
}

/// Takes a condition away; a list that is empty then goes, too.
pub(super) fn remove(status: &mut Map<String, Value>, kind: &str) {
    if status.contains_key("conditions") {
        let conditions = of(status);
        conditions.retain(|condition| condition["type"] != kind);
        if conditions.is_empty() {
            status.remove("conditions");
        }
    }
}
