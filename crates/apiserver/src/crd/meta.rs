//! The metadata of custom objects, read as the type that all objects share.
use serde_json::Value;

const TEXTS: [&str; 8] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
];
const NUMBERS: [&str; 2] = ["generation", "deletionGracePeriodSeconds"];
const MAPS: [&str; 2] = ["labels", "annotations"];
const LISTS: [&str; 2] = ["ownerReferences", "managedFields"];

/// Takes out what metadata does not have, and answers the paths of what went; the error is Go's.
pub(super) fn read(object: &mut Value) -> Result<Vec<String>, String> {
    let Some(Value::Object(meta)) = object.get_mut("metadata") else {
        return Ok(Vec::new());
    };
    for (name, value) in meta.iter() {
        check(name, value)?;
    }
    let known = |name: &str| {
        name == "finalizers"
            || [&TEXTS[..], &NUMBERS, &MAPS, &LISTS]
                .iter()
                .any(|some| some.contains(&name))
    };
    let unknown = meta.keys().filter(|name| !known(name));
    let unknown: Vec<String> = unknown.map(|name| format!("metadata.{name}")).collect();
    meta.retain(|name, _| known(name));
    Ok(unknown)
}

fn check(name: &str, value: &Value) -> Result<(), String> {
    let odd = |value: &Value, wanted: &str| {
        let found = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null => "null",
        };
        Err(format!(
            "json: cannot unmarshal {found} into Go struct field ObjectMeta.{name} of type {wanted}"
        ))
    };
    let text = |value: &Value| value.is_string() || value.is_null();
    match (name, value) {
        (_, Value::Null) => Ok(()),
        (name, value) if MAPS.contains(&name) => match value {
            Value::Object(map) => map
                .values()
                .find(|value| !text(value))
                .map_or(Ok(()), |value| odd(value, "string")),
            value => odd(value, "map[string]string"),
        },
        ("finalizers", Value::Array(list)) => list
            .iter()
            .find(|value| !text(value))
            .map_or(Ok(()), |value| odd(value, "string")),
        ("finalizers", value) => odd(value, "[]string"),
        (name, value) if NUMBERS.contains(&name) && !value.is_i64() => odd(value, "int64"),
        ("uid", value) if !value.is_string() => odd(value, "types.UID"),
        (name, value)
            if TEXTS.contains(&name) && !name.ends_with("Timestamp") && !value.is_string() =>
        {
            odd(value, "string")
        }
        ("ownerReferences", value) if !value.is_array() => odd(value, "[]v1.OwnerReference"),
        ("managedFields", value) if !value.is_array() => odd(value, "[]v1.ManagedFieldsEntry"),
        _ => Ok(()),
    }
}
