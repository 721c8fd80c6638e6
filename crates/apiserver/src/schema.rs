//! The types of the built-in kinds: what a body may contain, and how Kubernetes would write it back.
//!
//! [`table`] holds the types, as Kubernetes' sources have them; [`decode`] makes a value typed by them, in place:
//! what is unknown goes, what is of another type is refused in the words of Go's decoder, what Go leaves out goes and
//! what Go always writes is put in. Pure. Custom kinds have their own schemas, in [`crate::crd`].

mod decode;
pub(crate) mod document;
pub(crate) mod intent;
pub(crate) mod order;
pub(crate) mod patched;
pub(crate) mod syntax;
pub(crate) mod table;
mod time;
mod zero;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::request::{FieldValidation, Warnings};

pub(crate) use decode::kind_of;
pub(crate) use patched::patched;
pub(crate) use time::{nanos, written as duration};

/// The type of a group, version and kind; nothing for custom kinds.
pub(crate) fn type_of(group: &str, version: &str, kind: &str) -> Option<usize> {
    let package = match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    table::get().find(&format!("{package}/{version}.{kind}"))
}

/// What a value is to be read as, and how strictly.
#[derive(Clone, Debug)]
pub(crate) struct Reading<'a> {
    /// The resource that is written.
    pub(crate) res: &'a Resource,
    /// What becomes of unknown fields.
    pub(crate) validation: FieldValidation,
    /// Where warnings go.
    pub(crate) warnings: &'a Warnings,
    /// What there is to say of lines of a body that is no JSON.
    pub(crate) lines: Vec<String>,
}

/// Makes a body typed; `text` is what it was read from.
///
/// # Errors
/// When a value has another type than its field, or when fields that are unknown or there twice are to be refused.
pub(crate) fn read(
    reading: Reading<'_>,
    value: &mut Value,
    text: &[u8],
) -> Result<(), StatusError> {
    let res = reading.res;
    // What is no JSON cannot be asked for its duplicates.
    let duplicates = document::duplicates(text).unwrap_or_default();
    let mut unknown = BTreeSet::new();
    let of = type_of(&res.group, &res.version, &res.kind).filter(|_| !res.custom);
    if let Some(of) = of {
        let problems = decode::decode(of, value);
        if let Some(why) = problems.mismatch {
            return Err(cannot_be_handled(res, &why));
        }
        unknown.extend(problems.unknown);
    }
    strict(reading, document::in_order(text, &unknown, &duplicates))
}

/// Takes out of a value what says nothing, and what does not fit its type.
pub(crate) fn tidy(of: usize, value: &mut Value) {
    decode::decode(of, value);
}

/// The same of what somebody else has made of an object; else what is of another type, in the words of Go's decoder.
pub(crate) fn checked(of: usize, value: &mut Value) -> Result<(), String> {
    decode::decode(of, value).mismatch.map_or(Ok(()), Err)
}

/// Writes a complete object as Kubernetes would: what says nothing goes, what is always there comes.
///
/// # Errors
/// When a value has another type than its field: it came to the store otherwise than by [`read`].
pub(crate) fn complete(res: &Resource, value: &mut Value) -> Result<(), StatusError> {
    if res.custom {
        return Ok(());
    }
    let Resource {
        storage,
        storage_version,
        kind,
        ..
    } = res;
    if let Some(of) = type_of(&storage.group, storage_version, kind) {
        let problems = decode::decode(of, value);
        if let Some(why) = problems.mismatch {
            return Err(cannot_be_handled(res, &why));
        }
    }
    Ok(())
}

/// Makes a value of a built-in kind typed; the error is what Kubernetes' decoder says of it.
pub(crate) fn typed(
    res: &Resource,
    value: &mut Value,
    validation: FieldValidation,
) -> Result<(), String> {
    let of = type_of(&res.group, &res.version, &res.kind).filter(|_| !res.custom);
    let Some(of) = of else { return Ok(()) };
    let problems = decode::decode(of, value);
    if let Some(why) = problems.mismatch {
        return Err(why);
    }
    let mut unknown = problems.unknown;
    if validation != FieldValidation::Strict || unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    let all: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    Err(format!("strict decoding error: {}", all.join(", ")))
}

fn strict(reading: Reading<'_>, mut faults: Vec<String>) -> Result<(), StatusError> {
    let Reading { lines, .. } = &reading;
    if faults.is_empty() && lines.is_empty() {
        return Ok(());
    }
    match reading.validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            for fault in lines.iter().chain(&faults) {
                reading.warnings.add(fault);
            }
            Ok(())
        }
        FieldValidation::Strict => {
            if !lines.is_empty() {
                let lines = format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "));
                faults.insert(0, lines);
            }
            let why = format!("strict decoding error: {}", faults.join(", "));
            Err(cannot_be_handled(reading.res, &why))
        }
    }
}

fn cannot_be_handled(res: &Resource, why: &str) -> StatusError {
    StatusError::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        res.kind, res.version, res.kind
    ))
}

#[cfg(test)]
mod tests;
