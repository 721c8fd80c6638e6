//! Bodies that must be of a type: that of the path. A missing type is, another one is refused in Kubernetes' words.

use serde_json::{Value, json};

use super::body::{self, summary};
use super::call::Call;
use super::options::internal_type;
use crate::error::{Cause, StatusError};
use crate::registry::Resource;
use crate::schema;

/// What Go calls the part of an object that says its type.
const HEAD: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                    Kind string \"json:\\\"kind,omitempty\\\"\" }";

/// The object that a create or update sends.
pub(super) fn object(call: &Call, res: &Resource, bytes: &[u8]) -> Result<Value, StatusError> {
    let mut value = read(call, &res.kind, bytes)?;
    let expected = res.api_version();
    check(call, res, &value)?;
    if res.custom {
        named(res, &value, bytes)?;
    }
    value["apiVersion"] = expected.into();
    value["kind"] = res.kind.clone().into();
    call.read(res, &mut value, bytes)?;
    Ok(value)
}

/// A body of a type that is no resource's.
pub(super) fn of_type(
    call: &Call,
    bytes: &[u8],
    version: &str,
    kind: &str,
) -> Result<Value, StatusError> {
    let mut value = read(call, kind, bytes)?;
    for (field, expected) in [("apiVersion", version), ("kind", kind)] {
        let given = value[field].as_str().unwrap_or_default();
        if !given.is_empty() && given != expected {
            let (group, number) = version.split_once('/').unwrap_or(("", version));
            let found = (&value["apiVersion"], &value["kind"]);
            return Err(another(call, found, (group, number, kind)));
        }
        value[field] = expected.into();
    }
    Ok(value)
}

/// Any object, with a head that can be read.
fn read(call: &Call, kind: &str, bytes: &[u8]) -> Result<Value, StatusError> {
    let syntax = body::syntax(call.content_type())?;
    let parsed = call.parsed_as(bytes, syntax).and_then(|value| match value {
        // Nothing is an object without fields.
        Value::Null => Ok(json!({})),
        value => head(&value).map(|()| value),
    });
    parsed.map_err(|why| {
        let shown = summary(bytes);
        StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({shown})"
        ))
    })
}

fn head(value: &Value) -> Result<(), String> {
    let refuse = |why: String| {
        Err(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {why}"
        ))
    };
    let Some(object) = value.as_object() else {
        return refuse(format!(
            "{} into Go value of type {HEAD}",
            schema::kind_of(value)
        ));
    };
    for name in ["kind", "apiVersion"] {
        let found = object
            .get(name)
            .filter(|found| !found.is_null() && !found.is_string());
        if let Some(found) = found {
            let found = schema::kind_of(found);
            return refuse(format!(
                "{found} into Go struct field .{name} of type string"
            ));
        }
    }
    let version = value["apiVersion"].as_str().unwrap_or_default();
    if version.matches('/').count() > 1 {
        return Err(format!("unexpected GroupVersion string: {version}"));
    }
    Ok(())
}

/// The type that an object claims must be the resource's.
fn check(call: &Call, res: &Resource, value: &Value) -> Result<(), StatusError> {
    let given = |field: &str| value[field].as_str().unwrap_or_default();
    let (version, kind) = (given("apiVersion"), given("kind"));
    let expected = res.api_version();
    let same_kind = kind.is_empty() || kind == res.kind;
    let same_version = version.is_empty() || version == expected;
    if same_kind && same_version {
        return Ok(());
    }
    if !res.custom {
        let found = (&value["apiVersion"], &value["kind"]);
        return Err(another(call, found, (&res.group, &res.version, &res.kind)));
    }
    if !same_version {
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    let why = format!("must be {}", res.kind);
    let cause = Cause::invalid("kind", &kind.into(), &why);
    let found = Resource {
        kind: kind.to_owned(),
        ..res.clone()
    };
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    Err(StatusError::invalid(&found, name, &[cause]))
}

/// Objects of custom kinds say their type themselves.
fn named(res: &Resource, value: &Value, bytes: &[u8]) -> Result<(), StatusError> {
    let missing = |field: &str| value[field].as_str().unwrap_or_default().is_empty();
    if missing("kind") {
        let body = String::from_utf8_lossy(bytes);
        return Err(StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{body}' ({})",
            res.kind,
            summary(bytes)
        )));
    }
    if missing("apiVersion") {
        return Err(StatusError::bad_request(format!(
            "the API version in the data () does not match the expected API version ({})",
            res.api_version()
        )));
    }
    Ok(())
}

/// The same for what is applied, which must say its type.
pub(super) fn applied(call: &Call, res: &Resource, value: &Value) -> Result<(), StatusError> {
    if !value.is_object() {
        let found = schema::kind_of(value);
        return Err(StatusError::bad_request(format!(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let given = |field: &str| value[field].as_str().unwrap_or_default();
    let (version, kind) = (given("apiVersion"), given("kind"));
    if version == res.api_version() && kind == res.kind {
        return Ok(());
    }
    if res.custom && !version.is_empty() && !kind.is_empty() {
        return check(call, res, value);
    }
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    Err(StatusError::bad_request(format!(
        "invalid object type: {group}/{number}, Kind={kind}"
    )))
}

/// 400 of a built-in type that is not the one of the path.
fn another(
    call: &Call,
    (version, kind): (&Value, &Value),
    (group, number, wanted): (&str, &str, &str),
) -> StatusError {
    let own = if group.is_empty() {
        number.to_owned()
    } else {
        format!("{group}/{number}")
    };
    let text = |value: &Value, own: &str| {
        let given = value.as_str().unwrap_or_default();
        if given.is_empty() { own } else { given }.to_owned()
    };
    let (version, kind) = (text(version, &own), text(kind, wanted));
    let (in_group, in_version) = version.split_once('/').unwrap_or(("", &version));
    let registry = call.server.db.registry();
    let known = registry.all().into_iter().any(|res| {
        !res.custom
            && res.group == in_group
            && res.version == in_version
            && (res.kind == kind || res.list_kind == kind)
    });
    let why = if known {
        let target = registry.find_kind(group, number, wanted);
        let target = target.map_or_else(String::new, |res| internal_type(&res, wanted));
        format!("converting ({in_version}.{kind}) to ({target}): unknown conversion")
    } else {
        format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )
    };
    StatusError::bad_request(format!(
        "{kind} in version {in_version:?} cannot be handled as a {wanted}: {why}"
    ))
}
