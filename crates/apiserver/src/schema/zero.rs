//! What Go writes of values that say nothing: which it leaves out, and as what it writes the others. Pure.

use serde_json::{Map, Value, json};

use super::table::{Field, Named, Table, Type};

/// The value of a field as it is written; nothing if it is left out. Null is a field that was not said.
pub(super) fn written(table: &Table, field: &Field, value: Value) -> Option<Value> {
    if field.pointer {
        return match value {
            Value::Null if field.omit_empty => None,
            value => Some(value),
        };
    }
    if value.is_null() {
        let left_out = field.omit_zero || (field.omit_empty && can_be_empty(&field.of.what));
        return (!left_out).then(|| of(table, &field.of));
    }
    let empty = match &value {
        Value::String(text) => text.is_empty(),
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null => true,
    };
    let left_out = empty && field.omit_empty && can_be_empty(&field.of.what);
    (!left_out).then_some(value)
}

/// Whether Go's `omitempty` means anything for a type: of structs it leaves nothing out.
fn can_be_empty(what: &Type) -> bool {
    matches!(
        what,
        Type::Text
            | Type::Bool
            | Type::Int32
            | Type::Int64
            | Type::Float
            | Type::Bytes
            | Type::List(_)
            | Type::Map(_)
    )
}

/// A value that was never set, as Go writes it.
pub(super) fn of(table: &Table, named: &Named) -> Value {
    match &named.what {
        Type::Text => "".into(),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Duration => "0s".into(),
        Type::Struct(number) => {
            let mut map = Map::new();
            fill(table, *number, &mut map);
            Value::Object(map)
        }
        Type::Bytes
        | Type::Time
        | Type::MicroTime
        | Type::Raw
        | Type::Any
        | Type::SchemaOr(_)
        | Type::List(_)
        | Type::Map(_) => json!(null),
    }
}

fn fill(table: &Table, number: usize, map: &mut Map<String, Value>) {
    for field in &table.of(number).fields {
        if field.name.is_empty() {
            if let Type::Struct(inner) = field.of.what {
                fill(table, inner, map);
            }
        } else if let Some(value) = written(table, field, Value::Null) {
            map.insert(field.name.to_owned(), value);
        }
    }
}
