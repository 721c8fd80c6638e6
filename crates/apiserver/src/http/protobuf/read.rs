//! Messages into values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Fields;
use super::wire::{Part, Payload, parts};
use crate::schema::table::{self, Field, Named, SchemaOr, Type};

/// Deeper messages than any kind has are an attack.
const DEPTH_MAX: usize = 24;

/// The fields of a message of a type.
pub(super) fn message(of: usize, bytes: &[u8], depth: usize) -> Result<Fields, String> {
    if depth > DEPTH_MAX {
        return Err("it is nested too deeply".to_owned());
    }
    let fields = &table::get().of(of).fields;
    let mut object = Fields::new();
    for part in parts(bytes) {
        let Part { number, payload } = part?;
        let known = |field: &&Field| field.number != 0 && u64::from(field.number) == number;
        if let Some(field) = fields.iter().find(known) {
            read_field(field, payload, &mut object, depth)?;
        }
    }
    Ok(object)
}

fn read_field(
    field: &Field,
    payload: Payload<'_>,
    object: &mut Fields,
    depth: usize,
) -> Result<(), String> {
    match &field.of.what {
        Type::List(element) if !is_boxed(&field.of) => {
            let value = value(element, payload, depth)?;
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value);
            }
        }
        Type::Map(element) => {
            let (key, value) = entry(element, payload, depth)?;
            let map = object.entry(field.name).or_insert_with(|| json!({}));
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
        }
        _ => match value(&field.of, payload, depth)? {
            // Written inline: its fields are ours.
            Value::Object(inner) if field.name.is_empty() => object.extend(inner),
            value => {
                object.insert(field.name.to_owned(), value);
            }
        },
    }
    Ok(())
}

/// A list with a name of its own is a message, if its elements are texts.
pub(super) fn is_boxed(named: &Named) -> bool {
    named.boxed && matches!(&named.what, Type::List(element) if element.what == Type::Text)
}

fn entry(named: &Named, payload: Payload<'_>, depth: usize) -> Result<(String, Value), String> {
    let Payload::Bytes(bytes) = payload else {
        return Err("a map's entry is no message".to_owned());
    };
    let (mut key, mut found) = (String::new(), Value::Null);
    for part in parts(bytes) {
        match part? {
            Part {
                number: 1,
                payload: Payload::Bytes(text),
            } => key = utf8(text)?,
            Part { number: 2, payload } => found = value(named, payload, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(named: &Named, payload: Payload<'_>, depth: usize) -> Result<Value, String> {
    match (&named.what, payload) {
        (Type::Bool, Payload::Number(number)) => Ok((number != 0).into()),
        // Two's complement, also for the 32-bit ones.
        (Type::Int32 | Type::Int64, Payload::Number(number)) => Ok(number.cast_signed().into()),
        (Type::Float, Payload::Number(bits)) => Ok(f64::from_bits(bits).into()),
        (Type::Text, Payload::Bytes(bytes)) => Ok(utf8(bytes)?.into()),
        (Type::Bytes, Payload::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
        (Type::Time, Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ"),
        (Type::MicroTime, Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ"),
        (Type::Duration, Payload::Bytes(bytes)) => {
            let [_, nanos, _] = numbers(bytes)?;
            Ok(crate::schema::duration(nanos).into())
        }
        (Type::Quantity, Payload::Bytes(bytes)) => {
            Ok(texts(bytes, 1)?.pop().unwrap_or_default().into())
        }
        (Type::IntOrString, Payload::Bytes(bytes)) => int_or_string(bytes),
        (Type::Raw | Type::Any, Payload::Bytes(bytes)) => raw(bytes),
        (Type::SchemaOr(or), Payload::Bytes(bytes)) => schema_or(*or, bytes, depth),
        (Type::List(_), Payload::Bytes(bytes)) => Ok(texts(bytes, 1)?.into()),
        (Type::Struct(of), Payload::Bytes(bytes)) => {
            Ok(Value::Object(message(*of, bytes, depth + 1)?))
        }
        _ => Err(format!(
            "a field of type {} is encoded as another type",
            named.go
        )),
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_error| "a text is not UTF-8".to_owned())
}

fn texts(bytes: &[u8], wanted: u64) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for part in parts(bytes) {
        match part? {
            Part {
                number,
                payload: Payload::Bytes(text),
            } if number == wanted => {
                texts.push(utf8(text)?);
            }
            _ => {}
        }
    }
    Ok(texts)
}

fn numbers(bytes: &[u8]) -> Result<[i64; 3], String> {
    let mut numbers = [0; 3];
    for part in parts(bytes) {
        if let Part {
            number: number @ 1..=2,
            payload: Payload::Number(value),
        } = part?
            && let Some(slot) = usize::try_from(number)
                .ok()
                .and_then(|at| numbers.get_mut(at))
        {
            *slot = value.cast_signed();
        }
    }
    Ok(numbers)
}

/// Seconds and nanoseconds; the zero time is no time.
fn time(bytes: &[u8], format: &str) -> Result<Value, String> {
    let [_, seconds, nanos] = numbers(bytes)?;
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_error| "a time is out of range".to_owned())?;
    let time =
        Timestamp::new(seconds, nanos).map_err(|_error| "a time is out of range".to_owned())?;
    Ok(time.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let [_, is_text, number] = numbers(bytes)?;
    if is_text == 1 {
        return Ok(texts(bytes, 3)?.pop().unwrap_or_default().into());
    }
    Ok(number.into())
}

/// JSON inside protobuf.
fn raw(bytes: &[u8]) -> Result<Value, String> {
    for part in parts(bytes) {
        if let Part {
            number: 1,
            payload: Payload::Bytes(json),
        } = part?
        {
            return serde_json::from_slice(json)
                .map_err(|error| format!("JSON inside protobuf: {error}"));
        }
    }
    Ok(Value::Null)
}

fn schema_or(or: SchemaOr, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let of = table::get()
        .find("apiextensions/v1.JSONSchemaProps")
        .ok_or("there are no schemas")?;
    let mut found = Value::Null;
    let mut many = Vec::new();
    for part in parts(bytes) {
        match (or, part?) {
            (
                SchemaOr::Bool,
                Part {
                    number: 1,
                    payload: Payload::Number(allows),
                },
            ) if found.is_null() => {
                found = (allows != 0).into();
            }
            (
                SchemaOr::Bool,
                Part {
                    number: 2,
                    payload: Payload::Bytes(bytes),
                },
            )
            | (
                SchemaOr::Array | SchemaOr::Texts,
                Part {
                    number: 1,
                    payload: Payload::Bytes(bytes),
                },
            ) => {
                found = Value::Object(message(of, bytes, depth + 1)?);
            }
            (
                SchemaOr::Array,
                Part {
                    number: 2,
                    payload: Payload::Bytes(bytes),
                },
            ) => {
                many.push(Value::Object(message(of, bytes, depth + 1)?));
            }
            (
                SchemaOr::Texts,
                Part {
                    number: 2,
                    payload: Payload::Bytes(text),
                },
            ) => {
                many.push(utf8(text)?.into());
            }
            _ => {}
        }
    }
    Ok(if many.is_empty() { found } else { many.into() })
}
