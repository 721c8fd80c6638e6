//! What is no question about rights. Pure.

use serde_json::{Value, json};

use super::meta;
use crate::error::{Cause, StatusError};
use crate::selector::{QUALIFIED_NAME, is_label_key};
use crate::store::json::{list, text};

/// Which of the three questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// What the asker himself may.
    Oneself,
    /// What anybody may.
    Anybody,
    /// What anybody may within a namespace.
    Within,
}

/// Refuses what cannot be answered.
pub(super) fn check(about: About, review: &Value) -> Result<(), StatusError> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut causes = Vec::new();
    if resource.is_null() == path.is_null() {
        let shown = if path.is_null() {
            Value::Null
        } else {
            internal(path)
        };
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        causes.push(Cause::invalid("spec", &shown, why));
    }
    if about != About::Oneself && text(spec, "user").is_empty() && list(spec, "groups").is_empty() {
        let why = "at least one of user or group must be specified";
        causes.push(Cause::invalid("spec.user", &json!(""), why));
    }
    for field in ["fieldSelector", "labelSelector"] {
        selector(field, &resource[field], &mut causes);
    }
    metadata(about, &review["metadata"], &mut causes);
    if about == About::Within {
        within(review, &mut causes);
    }
    refuse(&causes)
}

fn metadata(about: About, metadata: &Value, causes: &mut Vec<Cause>) {
    let (empty, why) = match about {
        About::Within => ("namespace", "must be empty except for namespace"),
        _ => ("", "must be empty"),
    };
    let more = metadata.as_object().is_some_and(|metadata| {
        metadata
            .keys()
            .any(|name| name != "managedFields" && name != empty)
    });
    if more {
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {why}", meta::shown(metadata)),
            field: "metadata".to_owned(),
        });
    }
}

fn within(review: &Value, causes: &mut Vec<Cause>) {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let asked = text(resource, "namespace");
    if !resource.is_null() && asked != text(&review["metadata"], "namespace") {
        let field = "spec.resourceAttributes.namespace";
        causes.push(Cause::invalid(
            field,
            &json!(asked),
            "must match metadata.namespace",
        ));
    }
    if !path.is_null() {
        let why = "disallowed on this kind of request";
        causes.push(Cause::invalid(
            "spec.nonResourceAttributes",
            &internal(path),
            why,
        ));
    }
}

/// Attributes as Kubernetes' texts show them: by the names that they have inside.
fn internal(path: &Value) -> Value {
    json!({"Path": text(path, "path"), "Verb": text(path, "verb")})
}

fn selector(field: &str, selector: &Value, causes: &mut Vec<Cause>) {
    if selector.is_null() {
        return;
    }
    let at = format!("spec.resourceAttributes.{field}");
    let raw = text(selector, "rawSelector");
    let requirements = list(selector, "requirements");
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let why = "may not specified at the same time as requirements";
            causes.push(Cause::invalid(
                format!("{at}.rawSelector"),
                &json!(raw),
                why,
            ));
        }
        (true, true) => {
            let why = format!("when {at} is specified, requirements or rawSelector is required");
            causes.push(Cause::required(format!("{at}.requirements"), &why));
        }
        _ => {}
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let at = format!("{at}.requirements[{index}]");
        let key = text(requirement, "key");
        if field == "labelSelector" {
            values(requirement, &at, causes);
            label_key(key, &at, causes);
        } else {
            if key.is_empty() {
                causes.push(Cause::required(format!("{at}.key"), "must be specified"));
            }
            values(requirement, &at, causes);
        }
    }
}

fn values(requirement: &Value, at: &str, causes: &mut Vec<Cause>) {
    let empty = list(requirement, "values").is_empty();
    match text(requirement, "operator") {
        "In" | "NotIn" if empty => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            causes.push(Cause::required(format!("{at}.values"), why));
        }
        "Exists" | "DoesNotExist" if !empty => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(Cause::forbidden(format!("{at}.values"), why));
        }
        _ => {}
    }
}

fn label_key(key: &str, at: &str, causes: &mut Vec<Cause>) {
    let mut refuse = |why: &str| {
        causes.push(Cause::invalid(format!("{at}.key"), &json!(key), why));
    };
    if key.is_empty() {
        refuse("name part must be non-empty");
    }
    if !is_label_key(key) {
        refuse(QUALIFIED_NAME);
    }
}

fn refuse(causes: &[Cause]) -> Result<(), StatusError> {
    let each = |cause: &Cause| format!("{}: {}", cause.field, cause.message);
    let text = match causes {
        [] => return Ok(()),
        [one] => each(one),
        several => format!(
            "[{}]",
            several.iter().map(each).collect::<Vec<_>>().join(", ")
        ),
    };
    let message = format!(".authorization.k8s.io \"\" is invalid: {text}");
    let causes: Vec<Value> = causes
        .iter()
        .map(
            |cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}),
        )
        .collect();
    let mut error = StatusError::new(422, "Invalid", message);
    error.details = Some(json!({"group": "authorization.k8s.io", "causes": causes}));
    Err(error)
}
