//! The three patches that say what to change: JSON Patch, JSON Merge Patch, strategic merge.
//!
//! Values in, value out; server-side apply, which says what shall be, is in [`crate::apply`].
pub(crate) mod operations;
pub(crate) mod strategic;

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
    DoesNotFit,
    /// It has too many operations.
    TooLarge(usize),
    /// Its lists lack the keys by which they would be merged.
    Unmergeable(String),
    /// The kind does not take this type of patch.
    Unsupported,
}

impl PatchProblem {
    /// What the client is told.
    pub fn into_status(self) -> StatusError {
        match self {
            Self::Malformed(why) => StatusError::bad_request(why),
            Self::DoesNotFit => {
                let text = "the server rejected our request due to an error in our request";
                let mut error = StatusError::new(422, "Invalid", text);
                error.details = Some(json!({}));
                error
            }
            Self::TooLarge(count) => StatusError::too_large(format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
            )),
            Self::Unmergeable(why) => StatusError::new(500, "", why),
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
        Patch::Json(patch) => operations::patched(value, patch),
        Patch::Merge(Value::Null) => Err(PatchProblem::Malformed("Invalid JSON Patch".to_owned())),
        Patch::Merge(patch) => {
            if !patch.is_object() {
                let why = not_a_map(patch);
                return Err(PatchProblem::Malformed(format!(
                    "error decoding patch: {why}"
                )));
            }
            let mut value = value;
            merge(&mut value, patch);
            Ok(value)
        }
        Patch::Strategic(patch) => {
            if res.custom {
                return Err(PatchProblem::Unsupported);
            }
            match patch {
                Value::Null => Ok(value),
                Value::Object(_) => strategic::patched(res, value, patch),
                other => Err(PatchProblem::Malformed(not_a_map(other))),
            }
        }
        Patch::Apply(_) => Err(PatchProblem::Unsupported),
    }
}

/// What the operations that a webhook wants make of an object; else which of them does not apply.
pub(crate) fn by_webhook(value: Value, patch: &[Value]) -> Result<Value, String> {
    operations::applied(value, patch).map_err(|why| why.to_string())
}

fn not_a_map(patch: &Value) -> String {
    let found = match patch {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        _ => "bool",
    };
    format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
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
