//! A custom object on its way into the store and out of it.
use std::collections::BTreeSet;

use serde_json::Value;

use super::cel::rule::{self, Change};
use super::path::Path;
use super::schema::{Additional, Schema};
use super::{decode, list_type, meta, number, validate};
use crate::error::{Cause, StatusError};
use crate::patch::strategic::go_type;
use crate::registry::{Resource, ScalePaths};
use crate::store::facts::OBJECT_DEPTH_MAX;
use crate::store::json::is_deeper;
use crate::store::request::{FieldValidation, Subresource, Warnings};

/// Reads an object as its client sent it: what its schema does not know goes, and is told as the client asked.
pub(crate) fn decode(
    res: &Resource,
    object: &mut Value,
    (validation, warnings): (FieldValidation, &Warnings),
) -> Result<(), StatusError> {
    let Some(schema) = &res.of_crd.structural else {
        return Ok(());
    };
    check_depth(object)?;
    let mut unknown = meta::read(object).map_err(|why| {
        StatusError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            res.version,
            kind = res.kind
        ))
    })?;
    unknown.extend(decode::prune(schema, object));
    decode::drop_nulls(schema, object);
    if validation != FieldValidation::Ignore && !unknown.is_empty() {
        let texts: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        if validation == FieldValidation::Strict {
            return Err(StatusError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
                res.version,
                texts.join(", "),
                kind = res.kind,
            )));
        }
        for text in texts {
            warnings.add(text);
        }
    }
    decode::default(schema, object);
    Ok(())
}

/// The same for what a patch has made of an object.
pub(crate) fn decode_patched(
    res: &Resource,
    object: &mut Value,
    (validation, warnings, twice): (FieldValidation, &Warnings, &[String]),
) -> Result<(), StatusError> {
    let sent = (validation == FieldValidation::Strict).then(|| object.to_string());
    let how = if sent.is_some() {
        FieldValidation::Strict
    } else {
        validation
    };
    if validation == FieldValidation::Warn {
        twice.iter().for_each(|fault| warnings.add(fault));
    }
    let decoded = decode(res, object, (how, warnings)).and_then(|()| {
        if sent.is_none() || twice.is_empty() {
            return Ok(());
        }
        // Only what is written twice is wrong.
        Err(StatusError::bad_request("strict decoding error: "))
    });
    decoded.map_err(|error| match sent {
        Some(sent) if error.code == 400 && error.message.contains("strict decoding error") => {
            let (_, why) = error
                .message
                .split_once("strict decoding error: ")
                .unwrap_or_default();
            let unknown = Some(why.to_owned()).filter(|why| !why.is_empty());
            let all: Vec<String> = twice.iter().cloned().chain(unknown).collect();
            let why = format!(": {}", all.join(", "));
            let message = format!(
                "Invalid value: {}: strict decoding error{why}",
                number::quoted(&sent)
            );
            let mut invalid = StatusError::new(
                422,
                "Invalid",
                format!(" \"\" is invalid: patch: {message}"),
            );
            invalid.details = Some(serde_json::json!({
                "causes": [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}],
            }));
            invalid
        }
        _ => error,
    })
}

/// What an apply has made of an object gets its defaults.
pub(crate) fn settle(res: &Resource, object: &mut Value) -> Result<(), StatusError> {
    let Some(schema) = &res.of_crd.structural else {
        return Ok(());
    };
    check_depth(object)?;
    decode::settle(schema, object);
    Ok(())
}

/// What is deeper than the store takes is refused before anything goes through it.
fn check_depth(object: &Value) -> Result<(), StatusError> {
    if is_deeper(object, OBJECT_DEPTH_MAX) {
        let why = format!("the object nests more than {OBJECT_DEPTH_MAX} levels deep");
        return Err(StatusError::bad_request(why));
    }
    Ok(())
}

/// Takes out what the schema of the stored version does not know.
pub(crate) fn prune_for_storage(res: &Resource, object: &mut Value) {
    if res.version != res.storage_version
        && let Some(schema) = &res.of_crd.storage
    {
        decode::settle(schema, object);
    }
}

/// An object as it is read with the schemas of now: what is absent gets the defaults of the version that is stored, and
/// what the version that is asked for does not know goes.
pub(crate) fn reread(res: &Resource, object: &mut Value) {
    let Some(schema) = &res.of_crd.structural else {
        return;
    };
    match &res.of_crd.storage {
        Some(storage) if object["apiVersion"] != *res.api_version() => {
            decode::settle(storage, object);
            decode::prune(schema, object);
        }
        _ => decode::settle(schema, object),
    }
}

/// Everything that is wrong with a new object, or with what an update makes of one.
pub(crate) fn problems(
    res: &Resource,
    (old, object): (Option<&Value>, &Value),
    sub: Subresource,
    warnings: &Warnings,
) -> Vec<Cause> {
    let Some(schema) = &res.of_crd.structural else {
        return Vec::new();
    };
    let root = Path::default();
    let mut causes = Vec::new();
    if sub == Subresource::Status {
        let status = Path::new("status");
        if let (Some(value), Some(schema)) = (object.get("status"), schema.properties.get("status"))
        {
            let old = old.map(|old| old.get("status").unwrap_or(&Value::Null));
            causes.extend(validate::validate(schema, (value, old), &status));
        }
        scale_status(res, object, &mut causes);
    } else {
        causes.extend(validate::validate(schema, (object, old), &root));
        scale_spec(res, object, &mut causes);
        scale_status(res, object, &mut causes);
    }
    embedded(schema, object, &root, &mut causes);
    let had_duplicates =
        old.is_some_and(|old| !list_type::duplicates(schema, old, &root).is_empty());
    if !had_duplicates {
        causes.extend(list_type::duplicates(schema, object, &root));
    }
    if causes.is_empty() {
        finalizers(old, object, warnings);
    }
    if !schema.has_rules {
        return causes;
    }
    if causes.iter().any(is_blocking) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing \
                   errors to complete validation";
        causes.push(Cause::invalid(root.to_string(), &Value::Null, why));
    } else {
        causes.extend(rule::run(
            schema,
            Change { value: object, old },
            &root,
            warnings,
        ));
    }
    causes
}

/// Warns of new finalizers that another program could mean, too.
fn finalizers(old: Option<&Value>, object: &Value, warnings: &Warnings) {
    const OF_KUBERNETES: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let of = |object: &Value| -> BTreeSet<String> {
        let names = object["metadata"]["finalizers"].as_array();
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    };
    let before = old.map(of).unwrap_or_default();
    for name in of(object).difference(&before) {
        if name.contains('/') || OF_KUBERNETES.contains(&name.as_str()) {
            continue;
        }
        let path = if name.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        warnings.add(format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with \
             other finalizer writers"
        ));
    }
}

/// Errors after which rules make no sense.
fn is_blocking(cause: &Cause) -> bool {
    matches!(
        cause.reason,
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}

fn scale(res: &Resource) -> Option<&ScalePaths> {
    res.subresources.scale.as_ref()
}

fn scale_spec(res: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    if let Some(paths) = scale(res) {
        replicas(object, &paths.spec, causes);
    }
}

fn scale_status(res: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    let Some(paths) = scale(res) else { return };
    replicas(object, &paths.status, causes);
    let Some(path) = &paths.selector else { return };
    match nested(object, path) {
        Ok(None | Some(Value::String(_))) => {}
        Ok(Some(other)) => {
            let why = format!("{path} accessor error: {}", mistyped(other, "string"));
            causes.push(Cause::invalid(path, &"".into(), &why));
        }
        Err(why) => causes.push(Cause::invalid(path, &"".into(), &why)),
    }
}

fn replicas(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    let zero = Value::from(0);
    let value = match nested(object, path) {
        Ok(None) => return,
        Ok(Some(value)) => value,
        Err(why) => return causes.push(Cause::invalid(path, &zero, &why)),
    };
    match value.as_i64() {
        None => {
            let why = format!("{path} accessor error: {}", mistyped(value, "int64"));
            causes.push(Cause::invalid(path, &zero, &why));
        }
        Some(number) if number < 0 => {
            causes.push(Cause::invalid(
                path,
                value,
                "should be a non-negative integer",
            ));
        }
        Some(number) if number > i64::from(i32::MAX) => {
            let why = format!("should be less than or equal to {}", i32::MAX);
            causes.push(Cause::invalid(path, value, &why));
        }
        Some(_) => {}
    }
}

/// The value at a path such as `.spec.replicas`; the error says what on the way is no object.
fn nested<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, String> {
    let mut here = object;
    let mut walked = String::new();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        walked = format!("{walked}.{name}");
        match here {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(name) {
                Some(value) => here = value,
                None => return Ok(None),
            },
            other => {
                let why = mistyped(other, "map[string]interface{}");
                return Err(format!("{walked} accessor error: {why}"));
            }
        }
    }
    Ok(Some(here))
}

/// What a value is and what it should be, in Go's names.
fn mistyped(value: &Value, wanted: &str) -> String {
    let found = go_type(value);
    let text = match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        other => number::shown(other),
    };
    format!("{text} is of the type {found}, expected {wanted}")
}

/// Objects within objects must name their type.
fn embedded(schema: &Schema, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                for name in ["apiVersion", "kind"] {
                    let field = at.child(name).to_string();
                    match map.get(name) {
                        None => causes.push(Cause::required(field, "")),
                        Some(Value::String(text)) if text.is_empty() => {
                            causes.push(Cause::invalid(field, &"".into(), "must not be empty"));
                        }
                        Some(Value::String(_)) => {}
                        Some(other) => {
                            causes.push(Cause::invalid(field, other, "must be a string"))
                        }
                    }
                }
            }
            for (name, value) in map {
                if let Some(schema) = schema.properties.get(name) {
                    embedded(schema, value, &at.child(name), causes);
                } else if let Additional::Of(schema) = &schema.additional {
                    embedded(schema, value, &at.key(name), causes);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, value) in list.iter().enumerate() {
                embedded(items, value, &at.key(index), causes);
            }
        }
        _ => {}
    }
}
