//! The three patches that say what to change: JSON Patch, JSON Merge Patch, strategic merge.
//!
//! Values in, value out; server-side apply, which says what shall be, is in [`crate::apply`].
mod strategic;

use json_patch::PatchOperation;
use serde_json::{Map, Value, json};

use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::request::Patch;

/// More operations than this in one JSON Patch are refused.
const OPERATIONS_MAX: usize = 10_000;
/// All copies of one JSON Patch together may add this much.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Why a patch cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchProblem {
    /// It is not a patch.
    Malformed(String),
    /// It does not fit the object.
    DoesNotFit(String),
    /// It has too many operations.
    TooLarge(usize),
    /// Its copies would make the object too large.
    CopiesTooMuch(usize),
    /// The kind does not take this type of patch.
    Unsupported,
}

impl PatchProblem {
    /// What the client is told.
    pub fn into_status(self, res: &Resource, name: &str) -> StatusError {
        match self {
            Self::Malformed(why) => StatusError::bad_request(why),
            Self::DoesNotFit(why) => {
                let text = "the server rejected our request due to an error in our request";
                let mut error = StatusError::new(422, "Invalid", text);
                error.details = Some(json!({
                    "name": name, "group": res.group, "kind": res.plural,
                    "causes": [{ "reason": "UnexpectedServerResponse", "message": why }],
                }));
                error
            }
            Self::TooLarge(count) => StatusError::too_large(format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
            )),
            Self::CopiesTooMuch(size) => StatusError::too_large(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {size}, \
                 exceeding the limit {COPIED_BYTES_MAX}"
            )),
            Self::Unsupported => StatusError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/apply-patch+yaml",
            ),
        }
    }
}

/// The value that a patch makes of another.
pub fn patched(res: &Resource, value: Value, patch: &Patch) -> Result<Value, PatchProblem> {
    match patch {
        Patch::Json(patch) => json_patched(value, patch),
        Patch::Merge(patch) => {
            if !patch.is_object() {
                return Err(malformed("cannot unmarshal the patch into a map", patch));
            }
            let mut value = value;
            merge(&mut value, patch);
            Ok(value)
        }
        Patch::Strategic(patch) => {
            if res.custom {
                return Err(PatchProblem::Unsupported);
            }
            if !patch.is_object() {
                return Err(malformed("cannot unmarshal the patch into a map", patch));
            }
            strategic::patched(res, value, patch)
        }
        Patch::Apply(_) => Err(PatchProblem::Unsupported),
    }
}

fn malformed(why: &str, patch: &Value) -> PatchProblem {
    let shown: String = patch.to_string().chars().take(80).collect();
    PatchProblem::Malformed(format!("error decoding patch: {why}: {shown}"))
}

fn json_patched(mut value: Value, patch: &Value) -> Result<Value, PatchProblem> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > OPERATIONS_MAX {
        return Err(PatchProblem::TooLarge(count));
    }
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchProblem::Malformed(format!("error decoding patch: {error}")))?;
    let mut copied = 0;
    for operation in &operations.0 {
        if let PatchOperation::Copy(copy) = operation {
            // Copies of copies double: what all of them add is bounded.
            copied += copy
                .from
                .resolve(&value)
                .map_or(0, |from| from.to_string().len());
            if copied > COPIED_BYTES_MAX {
                return Err(PatchProblem::CopiesTooMuch(copied));
            }
        }
        json_patch::patch(&mut value, std::slice::from_ref(operation))
            .map_err(|error| PatchProblem::DoesNotFit(error.to_string()))?;
    }
    Ok(value)
}

/// RFC 7386: null removes, objects merge, everything else replaces.
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { return };
    for (name, change) in changes {
        if change.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests;
