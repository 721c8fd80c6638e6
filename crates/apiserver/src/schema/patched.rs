//! What a patch has made of an object, made typed again; and the words in which that is refused.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{decode, document, order, type_of};
use crate::crd::{number, object as crd};
use crate::error::StatusError;
use crate::patch::strategic::as_go;
use crate::registry::Resource;
use crate::store::request::{FieldValidation, Patch, Warnings};

/// Makes a patched object typed; of a custom kind by its own schema.
///
/// # Errors
/// When a value has another type than its field, or when unknown fields are to be refused.
pub(crate) fn patched(
    res: &Resource,
    object: &mut Value,
    patch: &Patch,
    (validation, warnings, twice): (FieldValidation, &Warnings, &[String]),
) -> Result<(), StatusError> {
    if res.custom {
        return crd::decode_patched(res, object, (validation, warnings, twice));
    }
    let Some(of) = type_of(&res.group, &res.version, &res.kind) else {
        return Ok(());
    };
    let mut typed = object.clone();
    let problems = decode::decode(of, &mut typed);
    if let Some(why) = problems.mismatch {
        let why = match (patch, problems.expected) {
            // A strategic patch is never JSON again: what reads it speaks otherwise.
            (Patch::Strategic(_), Some(mapped)) => mapped,
            _ => why,
        };
        return Err(refuse(of, object, patch, &why));
    }
    let unknown: BTreeSet<String> = problems.unknown.into_iter().collect();
    let mut faults = twice.to_vec();
    if !unknown.is_empty() {
        let shown = shown_object(of, object, patch);
        faults.extend(document::in_order(shown.as_bytes(), &unknown, &[]));
    }
    match validation {
        FieldValidation::Strict if !faults.is_empty() => {
            let why = format!("strict decoding error: {}", faults.join(", "));
            return Err(refuse(of, object, patch, &why));
        }
        FieldValidation::Warn => faults.iter().for_each(|fault| warnings.add(fault)),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    *object = typed;
    Ok(())
}

/// Which type a patch has made of a built-in object: another one than it was is refused, but by strategic patches,
/// which never ask.
///
/// # Errors
/// When it is another one.
pub(crate) fn same_type(
    res: &Resource,
    object: &mut Value,
    patch: &Patch,
) -> Result<(), StatusError> {
    let Some(of) = type_of(&res.group, &res.version, &res.kind).filter(|_| !res.custom) else {
        return Ok(());
    };
    for (name, own) in [
        ("kind", res.kind.clone()),
        ("apiVersion", res.api_version()),
    ] {
        let strategic = matches!(patch, Patch::Strategic(_));
        let why = match &object[name] {
            Value::Null => None,
            Value::String(text) if text.is_empty() || *text == own || strategic => None,
            Value::String(_) => Some(unknown_type(res, object)),
            other if strategic => match other {
                Value::Number(_) => Some("cannot convert int64 to string".to_owned()),
                _ => Some("unrecognized type: string".to_owned()),
            },
            other => Some(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field \
                 .{name} of type string",
                json_type(other)
            )),
        };
        if let Some(why) = why {
            return Err(refuse(of, object, patch, &why));
        }
        object[name] = Value::String(own);
    }
    Ok(())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
        _ => "object",
    }
}

fn unknown_type(res: &Resource, object: &Value) -> String {
    let own = res.api_version();
    let word = |name: &str, own: &str| match object[name].as_str() {
        None | Some("") => own.to_owned(),
        Some(word) => word.to_owned(),
    };
    let (kind, api_version) = (word("kind", &res.kind), word("apiVersion", &own));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    if type_of(group, version, &kind).is_none() {
        return format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        );
    }
    let package = match res.group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    format!(
        "converting ({version}.{kind}) to ({package}.{}): unknown conversion",
        res.kind
    )
}

fn refuse(of: usize, object: &Value, patch: &Patch, why: &str) -> StatusError {
    let shown = match patch {
        Patch::Strategic(patch) => as_go(patch),
        _ => shown_object(of, object, patch),
    };
    let message = format!("Invalid value: {}: {why}", number::quoted(&shown));
    let mut error = StatusError::new(
        422,
        "Invalid",
        format!(" \"\" is invalid: patch: {message}"),
    );
    error.details = Some(json!({"causes": [
        {"reason": "FieldValueInvalid", "message": message, "field": "patch"}]}));
    error
}

/// The object as the patch leaves it, as JSON.
fn shown_object(of: usize, object: &Value, patch: &Patch) -> String {
    match patch {
        Patch::Merge(patch) => order::json(of, object, patch),
        Patch::Json(patch) => order::json(of, object, &touched(patch)),
        Patch::Strategic(_) | Patch::Apply(_) => object.to_string(),
    }
}

/// The places that a JSON patch touches, as a tree.
fn touched(patch: &Value) -> Value {
    let mut tree = Value::Object(Map::new());
    for operation in patch.as_array().into_iter().flatten() {
        for name in ["path", "from"] {
            let path = operation[name].as_str().unwrap_or_default();
            let mut here = &mut tree;
            for step in path.split('/').skip(1) {
                let step = step.replace("~1", "/").replace("~0", "~");
                let Value::Object(map) = here else { break };
                here = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
            }
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[track_caller]
    fn refused(patch: Patch, object: &Value) -> String {
        let res = Registry::with_builtin()
            .find("apps", "v1", "deployments")
            .unwrap();
        let how = (FieldValidation::Strict, &Warnings::default(), &[][..]);
        patched(&res, &mut object.clone(), &patch, how)
            .unwrap_err()
            .message
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_words_of_its_patch() {
        let object = json!({"kind": "Deployment", "apiVersion": "apps/v1",
            "spec": {"replicas": "a", "selector": {}, "strategy": {"type": "x", "rollingUpdate": {}}}});
        let change = json!({"spec": {"replicas": "a"}});
        assert_eq!(
            refused(Patch::Strategic(change.clone()), &object),
            " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:a]]\": unrecognized type: int32"
        );
        let why = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        let shown = "{\\\"apiVersion\\\":\\\"apps/v1\\\",\\\"kind\\\":\\\"Deployment\\\",\\\"spec\\\":{\\\"replicas\\\":\
                     \\\"a\\\",\\\"selector\\\":{},\\\"strategy\\\":{\\\"type\\\":\\\"x\\\",\\\"rollingUpdate\\\":{}}}}";
        let wanted = format!(" \"\" is invalid: patch: Invalid value: \"{shown}\": {why}");
        assert_eq!(refused(Patch::Merge(change), &object), wanted);
        let change = json!([{"op": "replace", "path": "/spec/replicas", "value": "a"}]);
        assert_eq!(refused(Patch::Json(change), &object), wanted);
        let object = json!({"spec": {"foo": 1}});
        assert_eq!(
            refused(Patch::Strategic(object.clone()), &object),
            " \"\" is invalid: patch: Invalid value: \"map[spec:map[foo:1]]\": strict decoding error: \
             unknown field \"spec.foo\""
        );
    }
}
