//! Objects in Kubernetes' protobuf: read into the same values as JSON, and written from them.
//!
//! Decided by the types of the built-in kinds ([`crate::schema`]); unknown fields are passed over, as protobuf wants it.
//! Pure; every byte comes from outside. Start at [`decode`] and [`encode`].

use serde_json::{Map, Value};

use self::wire::{Part, Payload, parts};
use crate::schema;

mod read;
mod wire;
mod write;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// The object in a body.
///
/// # Errors
/// When it is no such body, or of a kind that is not built in.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    )?;
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
                        } => version = read::utf8(text)?,
                        Part {
                            number: 2,
                            payload: Payload::Bytes(text),
                        } => kind = read::utf8(text)?,
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
    let of = find(&version, &kind)
        .ok_or_else(|| format!("{kind} of {version} is taken as JSON or YAML only"))?;
    let mut value = Value::Object(read::message(of, raw, 0)?);
    // Protobuf says zeros that JSON leaves out.
    schema::tidy(of, &mut value);
    value["apiVersion"] = version.into();
    value["kind"] = kind.into();
    Ok(value)
}

/// An object as such a body; nothing if it is of a kind that is not built in.
pub(super) fn encode(value: &Value) -> Option<Vec<u8>> {
    let text = |name: &str| value[name].as_str();
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let of = find(version, kind)?;
    let mut raw = Vec::new();
    write::message(of, value.as_object()?, &mut raw);
    let mut types = Vec::new();
    write::bytes(1, version.as_bytes(), &mut types);
    write::bytes(2, kind.as_bytes(), &mut types);
    let mut out = MAGIC.to_vec();
    write::bytes(1, &types, &mut out);
    write::bytes(2, &raw, &mut out);
    // Neither another encoding nor another content type.
    write::bytes(3, b"", &mut out);
    write::bytes(4, b"", &mut out);
    Some(out)
}

/// The type of a version and kind; those of the machinery belong to every version.
fn find(version: &str, kind: &str) -> Option<usize> {
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    schema::type_of(group, number, kind)
        .or_else(|| schema::table::get().find(&format!("meta/v1.{kind}")))
}

type Fields = Map<String, Value>;

#[cfg(test)]
mod tests;
