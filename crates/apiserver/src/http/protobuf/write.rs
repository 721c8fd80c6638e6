//! Values into messages. What is not of its type is left out: values come from the store, where they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::Fields;
use super::read::is_boxed;
use crate::schema::table::{self, Field, Named, SchemaOr, Type};

/// The fields of a message.
pub(super) fn message(of: usize, object: &Fields, out: &mut Vec<u8>) {
    for field in table::get()
        .of(of)
        .fields
        .iter()
        .filter(|field| field.number != 0)
    {
        let number = u64::from(field.number);
        if field.name.is_empty() {
            if let Type::Struct(inner) = field.of.what {
                let mut bytes_of = Vec::new();
                message(inner, object, &mut bytes_of);
                bytes(number, &bytes_of, out);
            }
        } else if let Some(found) = object.get(field.name) {
            write_field(field, number, found, out);
        }
    }
}

fn write_field(field: &Field, number: u64, found: &Value, out: &mut Vec<u8>) {
    match (&field.of.what, found) {
        (Type::List(element), Value::Array(list)) if !is_boxed(&field.of) => {
            for one in list {
                value(element, number, one, out);
            }
        }
        (Type::Map(element), Value::Object(map)) => {
            for (key, one) in map {
                let mut entry = Vec::new();
                bytes(1, key.as_bytes(), &mut entry);
                value(element, 2, one, &mut entry);
                bytes(number, &entry, out);
            }
        }
        _ => value(&field.of, number, found, out),
    }
}

fn value(named: &Named, number: u64, value: &Value, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    match (&named.what, value) {
        (Type::Bool, Value::Bool(truth)) => return varint_field(number, u64::from(*truth), out),
        (Type::Int32 | Type::Int64, Value::Number(found)) => {
            let bits = found
                .as_i64()
                .map(i64::cast_unsigned)
                .or_else(|| found.as_u64());
            return varint_field(number, bits.unwrap_or_default(), out);
        }
        (Type::Float, Value::Number(found)) => {
            varint(number << 3 | 1, out);
            out.extend_from_slice(&found.as_f64().unwrap_or_default().to_le_bytes());
            return;
        }
        (Type::Text, Value::String(text)) => inner.extend_from_slice(text.as_bytes()),
        (Type::Bytes, Value::String(text)) => {
            inner.extend(STANDARD.decode(text).unwrap_or_default());
        }
        (Type::Time | Type::MicroTime, Value::String(text)) => time(text, &mut inner),
        (Type::Duration, Value::String(text)) => {
            let nanos = crate::schema::nanos(text).unwrap_or_default();
            varint_field(1, nanos.cast_unsigned(), &mut inner);
        }
        (Type::Quantity, Value::String(text)) => bytes(1, text.as_bytes(), &mut inner),
        (Type::IntOrString, Value::String(text)) => {
            varint_field(1, 1, &mut inner);
            bytes(3, text.as_bytes(), &mut inner);
        }
        (Type::IntOrString, Value::Number(found)) => {
            varint_field(
                2,
                found.as_i64().unwrap_or_default().cast_unsigned(),
                &mut inner,
            );
        }
        (Type::Raw | Type::Any, found) if !found.is_null() => {
            bytes(1, found.to_string().as_bytes(), &mut inner);
        }
        (Type::SchemaOr(or), found) if !found.is_null() => schema_or(*or, found, &mut inner),
        (Type::List(_), Value::Array(list)) => {
            for text in list.iter().filter_map(Value::as_str) {
                bytes(1, text.as_bytes(), &mut inner);
            }
        }
        (Type::Struct(of), Value::Object(map)) => message(*of, map, &mut inner),
        _ => return,
    }
    bytes(number, &inner, out);
}

fn time(text: &str, out: &mut Vec<u8>) {
    if let Ok(at) = text.parse::<Timestamp>() {
        varint_field(1, at.as_second().cast_unsigned(), out);
        varint_field(2, i64::from(at.subsec_nanosecond()).cast_unsigned(), out);
    }
}

fn schema_or(or: SchemaOr, value: &Value, out: &mut Vec<u8>) {
    let Some(of) = table::get().find("apiextensions/v1.JSONSchemaProps") else {
        return;
    };
    let schema = |map: &Fields| {
        let mut inner = Vec::new();
        message(of, map, &mut inner);
        inner
    };
    match (or, value) {
        (SchemaOr::Bool, Value::Bool(allows)) => varint_field(1, u64::from(*allows), out),
        (SchemaOr::Bool, Value::Object(map)) => {
            varint_field(1, 1, out);
            bytes(2, &schema(map), out);
        }
        (_, Value::Object(map)) => bytes(1, &schema(map), out),
        (_, Value::Array(list)) => {
            for one in list {
                match one {
                    Value::Object(map) => bytes(2, &schema(map), out),
                    Value::String(text) => bytes(2, text.as_bytes(), out),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// A field of bytes.
pub(super) fn bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint_field(number: u64, value: u64, out: &mut Vec<u8>) {
    varint(number << 3, out);
    varint(value, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lowest seven bits are what is wanted"
        )]
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 128")]
    out.push(value as u8);
}
