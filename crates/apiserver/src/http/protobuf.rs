//! Request bodies in Kubernetes' protobuf, as kubectl's `create` sends them: turned into the same object as JSON.
//!
//! Decided by a table of field numbers for the built-in kinds; unknown fields are passed over, as protobuf wants it.
//! Answers are never protobuf. Pure; every byte comes from outside. Start at [`decode`].

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::wire::{Part, Payload, parts};

mod wire;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
/// Deeper messages than any kind has are an attack.
const DEPTH_MAX: usize = 24;

/// The object in a body.
///
/// # Errors
/// When it is no such body, or of a kind that is not in the table.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let envelope = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin as Kubernetes' protobuf")?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(envelope) {
        match part? {
            Part {
                number: 1,
                payload: Payload::Bytes(types),
            } => {
                for part in parts(types) {
                    match part? {
                        Part {
                            number: 1,
                            payload: Payload::Bytes(text),
                        } => version = utf8(text)?,
                        Part {
                            number: 2,
                            payload: Payload::Bytes(text),
                        } => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            Part {
                number: 2,
                payload: Payload::Bytes(bytes),
            } => raw = bytes,
            _ => {}
        }
    }
    let message = message_name(&version, &kind);
    if !table().contains_key(message.as_str()) {
        return Err(format!("{kind} of {version} is taken as JSON or YAML only"));
    }
    let mut object = object(&message, raw, 0)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// `apps/v1` and `Deployment` are `apps.Deployment`.
fn message_name(version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.DeleteOptions".to_owned();
    }
    let group = match version.split_once('/') {
        None if version == "v1" => "core",
        Some((group, "v1")) => group.split('.').next().unwrap_or_default(),
        _ => "",
    };
    format!("{group}.{kind}")
}

/// How many values a field has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    List,
    Map,
}

/// When a field that has its zero value is there nevertheless.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    /// Never.
    Absent,
    /// It is always there.
    Kept,
    /// If it was said.
    Said,
}

struct Field {
    name: &'static str,
    many: Many,
    zero: Zero,
    kind: &'static str,
}

type Table = BTreeMap<&'static str, BTreeMap<u64, Field>>;

/// Read at the first body that needs it: most processes never see one.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::new();
        let mut message = "";
        for line in include_str!("protobuf/kinds.txt").lines() {
            if line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            if !line.starts_with(' ') {
                message = line;
                table.insert(message, BTreeMap::new());
            } else if let (Some(number), Some(name), Some(kind)) =
                (words.next(), words.next(), words.next())
                && let Ok(number) = number.parse()
                && let Some(fields) = table.get_mut(message)
            {
                fields.insert(number, field(name, kind));
            }
        }
        table
    })
}

fn field(name: &'static str, kind: &'static str) -> Field {
    let (zero, kind) = match (kind.strip_prefix('!'), kind.strip_prefix('*')) {
        (Some(rest), _) => (Zero::Kept, rest.strip_prefix('*').unwrap_or(rest)),
        (None, Some(rest)) => (Zero::Said, rest),
        (None, None) => (Zero::Absent, kind),
    };
    let (many, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (Some(rest), _) => (Many::List, rest),
        (None, Some(rest)) => (Many::Map, rest),
        (None, None) => (Many::One, kind),
    };
    Field {
        name,
        many,
        zero,
        kind,
    }
}

fn object(message: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > DEPTH_MAX {
        return Err("it is nested too deeply".to_owned());
    }
    let fields = table()
        .get(message)
        .ok_or_else(|| format!("no message {message}"))?;
    let mut object = Map::new();
    for part in parts(bytes) {
        let Part { number, payload } = part?;
        let Some(field) = fields.get(&number) else {
            continue;
        };
        match field.many {
            Many::List => {
                let value = value(field.kind, payload, depth)?;
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(value);
                }
            }
            Many::Map => {
                let (key, value) = entry(field.kind, payload, depth)?;
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key, value);
                }
            }
            Many::One => {
                let value = value(field.kind, payload, depth)?;
                match value {
                    // Written inline: its fields are ours.
                    Value::Object(inner) if field.name == "-" => object.extend(inner),
                    value if is_zero(&value) && !kept(field, &value) => {}
                    value => {
                        object.insert(field.name.to_owned(), value);
                    }
                }
            }
        }
    }
    Ok(object)
}

fn kept(field: &Field, value: &Value) -> bool {
    match field.zero {
        Zero::Absent => false,
        Zero::Said => !value.is_null(),
        // An empty part says nothing, even where Go always writes it.
        Zero::Kept => !value.is_object() && !value.is_null(),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn entry(kind: &str, payload: Payload<'_>, depth: usize) -> Result<(String, Value), String> {
    let Payload::Bytes(bytes) = payload else {
        return Err("a map's entry is no message".to_owned());
    };
    let (mut key, mut found) = (String::new(), None);
    for part in parts(bytes) {
        match part? {
            Part {
                number: 1,
                payload: Payload::Bytes(text),
            } => key = utf8(text)?,
            Part { number: 2, payload } => found = Some(value(kind, payload, depth)?),
            _ => {}
        }
    }
    let empty = || {
        if kind == "string" {
            json!("")
        } else {
            Value::Null
        }
    };
    Ok((key, found.unwrap_or_else(empty)))
}

fn value(kind: &str, payload: Payload<'_>, depth: usize) -> Result<Value, String> {
    match (kind, payload) {
        ("bool", Payload::Number(number)) => Ok((number != 0).into()),
        // Two's complement, also for the 32-bit ones.
        ("int", Payload::Number(number)) => Ok(number.cast_signed().into()),
        ("string", Payload::Bytes(bytes)) => Ok(utf8(bytes)?.into()),
        ("bytes", Payload::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
        ("time", Payload::Bytes(bytes)) => time(bytes),
        ("quantity", Payload::Bytes(bytes)) => {
            Ok(texts(bytes, 1)?.pop().unwrap_or_default().into())
        }
        ("extra", Payload::Bytes(bytes)) => Ok(texts(bytes, 1)?.into()),
        ("intstr", Payload::Bytes(bytes)) => int_or_string(bytes),
        ("raw", Payload::Bytes(bytes)) => raw(bytes),
        (message, Payload::Bytes(bytes)) if message.contains('.') => {
            Ok(Value::Object(object(message, bytes, depth + 1)?))
        }
        _ => Err(format!("a field of type {kind} is encoded as another type")),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
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
fn time(bytes: &[u8]) -> Result<Value, String> {
    let [_, seconds, nanos] = numbers(bytes)?;
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_error| "a time is out of range".to_owned())?;
    let time =
        Timestamp::new(seconds, nanos).map_err(|_error| "a time is out of range".to_owned())?;
    Ok(time.to_string().into())
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
    Ok(json!({}))
}

#[cfg(test)]
mod tests;
