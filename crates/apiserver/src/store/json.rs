//! Small steps on JSON objects that never panic, whatever the client sent.
use serde_json::{Map, Value};

/// The fields of an object; anything else becomes an empty object first.
pub(crate) fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// The object in a field, which is made if need be.
pub(crate) fn child<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    fields(fields(value).entry(name).or_insert(Value::Null))
}

/// Sets a field only if it is absent or null.
pub(crate) fn default(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.to_owned(), value.into());
    }
}

/// Sets a field, or removes it when there is no value.
pub(crate) fn set(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(name.to_owned(), value);
        }
        None => {
            map.remove(name);
        }
    }
}

/// A field's text, empty if it is absent.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A field's list, empty if it is absent.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A field's list to change, if it is one.
pub(crate) fn list_mut<'a>(map: &'a mut Map<String, Value>, name: &str) -> &'a mut [Value] {
    match map.get_mut(name) {
        Some(Value::Array(list)) => list.as_mut_slice(),
        _ => &mut [],
    }
}

/// Looks up a path of field names such as `.spec.replicas`.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|name| !name.is_empty())
        .fold(value, |at, name| &at[name])
}

/// Sets the value at a path of field names, making the objects on the way.
pub(crate) fn set_at(value: &mut Value, path: &str, new: Value) {
    let mut here = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        here = fields(here).entry(name).or_insert(Value::Null);
    }
    *here = new;
}

/// Whether a value nests more than so many levels.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Object(map) => map.values().any(|value| is_deeper(value, left)),
        Value::Array(list) => list.iter().any(|value| is_deeper(value, left)),
        _ => false,
    }
}
