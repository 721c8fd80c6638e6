//! What a version says besides its schema: columns, subresources, deprecation, fields to select by.
use std::collections::BTreeSet;

use serde_json::Value;

use super::field_path::{Arrays, resolve};
use super::{invalid, required};
use crate::crd::path::Path;
use crate::error::Cause;
use crate::store::json::{list, text};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
const SELECTABLE_MAX: usize = 8;
const WARNING_MAX: usize = 256;

/// The warning of a deprecated version.
pub(super) fn deprecation(version: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let Some(warning) = version["deprecationWarning"].as_str() else {
        return;
    };
    let mut complain = |why: &str| {
        causes.push(invalid(
            &path.child("deprecationWarning"),
            &warning.into(),
            why,
        ))
    };
    if version["deprecated"] != true {
        return complain("can only be set for deprecated versions");
    }
    if warning.len() > WARNING_MAX {
        complain("must be <= 256 characters long");
    }
    if warning.is_empty() {
        complain("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        complain(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// Where the numbers of a scale are.
pub(super) fn subresources(value: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let scale = &value["scale"];
    if !scale.is_object() {
        return;
    }
    for (name, below) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let field = path.child("scale").child(name);
        let found = text(scale, name);
        if found.is_empty() {
            causes.push(required(&field, ""));
        } else if !found.starts_with('.') {
            causes.push(invalid(
                &field,
                &found.into(),
                "must be a simple json path starting with .",
            ));
        } else if !found.starts_with(below) {
            let why = format!(
                "should be a json path under {}",
                below.trim_end_matches('.')
            );
            causes.push(invalid(&field, &found.into(), &why));
        }
    }
    let selector = text(scale, "labelSelectorPath");
    let field = path.child("scale").child("labelSelectorPath");
    if selector.is_empty() {
        return;
    }
    if !selector.starts_with('.') {
        causes.push(invalid(
            &field,
            &selector.into(),
            "must be a simple json path starting with .",
        ));
    } else if !selector.starts_with(".spec.") && !selector.starts_with(".status.") {
        let why = "should be a json path under either .spec or .status";
        causes.push(invalid(&field, &selector.into(), why));
    }
}

/// The columns of tables.
pub(super) fn columns(version: &Value, path: &Path, causes: &mut Vec<Cause>) {
    for (at, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let path = path.key(at);
        if text(column, "name").is_empty() {
            causes.push(required(&path.child("name"), ""));
        }
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(column, "type") {
            "" => causes.push(required(&path.child("type"), &types)),
            kind if COLUMN_TYPES.contains(&kind) => {}
            kind => causes.push(invalid(&path.child("type"), &kind.into(), &types)),
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            causes.push(invalid(&path.child("format"), &format.into(), &why));
        }
        match text(column, "jsonPath") {
            "" => causes.push(required(&path.child("JSONPath"), "")),
            found if found.starts_with('.') => {}
            found => {
                let why = "must be a simple json path starting with .";
                causes.push(invalid(&path.child("JSONPath"), &found.into(), why));
            }
        }
    }
}

/// Fields by which objects may be selected.
pub(super) fn selectable(version: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let fields = list(version, "selectableFields");
    let schema = &version["schema"]["openAPIV3Schema"];
    if fields.is_empty() || !schema.is_object() {
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, field) in fields.iter().enumerate() {
        let path = path.key(at).child("jsonPath");
        let text = text(field, "jsonPath");
        if text.is_empty() {
            causes.push(required(&path, ""));
            continue;
        }
        let found = match resolve(text, schema, Arrays::Refused) {
            Ok(found) => found,
            Err(error) => {
                causes.push(invalid(
                    &path,
                    &text.into(),
                    &format!("is an invalid path: {error}"),
                ));
                continue;
            }
        };
        if found.first == "metadata" {
            causes.push(invalid(
                &path,
                &text.into(),
                "must not point to fields in metadata",
            ));
        }
        if !matches!(
            found.schema["type"].as_str(),
            Some("string" | "boolean" | "integer")
        ) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            causes.push(invalid(&path, &text.into(), why));
        }
        if !seen.insert(found.path.text().to_owned()) {
            causes.push(Cause::duplicate(path.to_string(), &text.into()));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        causes.push(Cause {
            reason: "FieldValueTooMany",
            message: format!(
                "Too many: {}: must have at most {SELECTABLE_MAX} items",
                seen.len()
            ),
            field: path.to_string(),
        });
    }
}
