//! What a refused request answers: the Kubernetes `Status`, with Kubernetes' own texts.
//!
//! Every part of the API server refuses with [`StatusError`]; the HTTP front only encodes it.
//! It must not know about HTTP types or about how a request came in.
use std::fmt;

use serde_json::{Value, json};

use crate::registry::Resource;

/// One refused request: an HTTP code, a machine-readable reason and a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusError {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, one of Kubernetes' `StatusReason` values.
    pub reason: &'static str,
    /// A reason that somebody else has chosen, in place of the other.
    pub own_reason: Option<Box<str>>,
    /// The sentence that `kubectl` prints after `Error from server (Reason): `.
    pub message: String,
    /// The `details` of the Status (name, group, kind, causes).
    pub details: Option<Value>,
    /// Seconds after which the client may try again (`Retry-After`).
    pub retry_after: Option<u32>,
    /// Where a list that cannot be continued as it began may go on.
    pub continue_token: Option<Box<str>>,
}

/// One field that makes an object invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired` and so on.
    pub reason: &'static str,
    /// What is wrong, for example `Invalid value: "A": must be lower case`.
    pub message: String,
    /// The path of the field, for example `metadata.name`.
    pub field: String,
}

impl Cause {
    /// A value that is not allowed.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: match value {
                Value::String(text) => {
                    format!("Invalid value: {}: {why}", crate::crd::number::quoted(text))
                }
                other => format!("Invalid value: {other}: {why}"),
            },
            field: field.into(),
        }
    }

    /// A value that is missing.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    /// A value outside a closed set.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        Self {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {value}: supported values: {}",
                list.join(", ")
            ),
            field: field.into(),
        }
    }

    /// A value that may not be set (here, or now).
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
            field: field.into(),
        }
    }

    /// A value of the wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self {
            reason: "FieldValueTypeInvalid",
            message: format!("Invalid value: {value}: {why}"),
            field: field.into(),
        }
    }

    /// The same key twice in a list that is a map or a set.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value}"),
            field: field.into(),
        }
    }
}

/// The name and group of a resource as error texts write them: `deployments.apps`.
fn qualified(res: &Resource) -> String {
    if res.group.is_empty() {
        res.plural.clone()
    } else {
        format!("{}.{}", res.plural, res.group)
    }
}

fn about(res: &Resource, name: &str) -> Value {
    let mut details = json!({ "kind": res.plural });
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !res.group.is_empty() {
        details["group"] = json!(res.group);
    }
    details
}

impl StatusError {
    /// Any error: the other constructors are for those with fixed texts.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            own_reason: None,
            message: message.into(),
            details: None,
            retry_after: None,
            continue_token: None,
        }
    }

    fn of(code: u16, reason: &'static str, message: String, details: Value) -> Self {
        Self {
            code,
            reason,
            own_reason: None,
            message,
            details: Some(details),
            retry_after: None,
            continue_token: None,
        }
    }

    /// 404: no object of that name.
    pub fn not_found(res: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(res));
        Self::of(404, "NotFound", message, about(res, name))
    }

    /// 409: the name is taken.
    pub fn already_exists(res: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(res));
        Self::of(409, "AlreadyExists", message, about(res, name))
    }

    /// 409: the write cannot be done on the object as it is now.
    pub fn conflict(res: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(res)
        );
        Self::of(409, "Conflict", message, about(res, name))
    }

    /// 409: the same of what lies below an object, which is named `pods/binding`.
    pub fn conflict_at((res, sub): (&Resource, &str), name: &str, why: &str) -> Self {
        let kind = format!("{}/{sub}", qualified(res));
        let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
        let mut details = about(res, name);
        details["kind"] = json!(kind);
        Self::of(409, "Conflict", message, details)
    }

    /// 409: somebody else has written since the client read.
    pub fn modified(res: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest \
                   version and try again";
        Self::conflict(res, name, why)
    }

    /// 403: the request is understood and refused.
    pub fn forbidden(res: &Resource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", qualified(res))
        } else {
            format!("{} {name:?} is forbidden: {why}", qualified(res))
        };
        Self::of(403, "Forbidden", message, about(res, name))
    }

    /// 422: the object breaks rules of its kind.
    pub fn invalid(res: &Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_kind(&res.group, &res.kind, name, causes)
    }

    /// 422 of anything that has a kind, such as a request's options.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        // What is wrong twice in the same words is said once.
        let mut texts = texts;
        let mut said = std::collections::BTreeSet::new();
        texts.retain(|text| said.insert(text.clone()));
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut details = json!({ "kind": kind, "causes": causes_json(causes) });
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        let dot = if group.is_empty() { "" } else { "." };
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        let message = format!("{kind}{dot}{group} {name:?} is invalid: {text}");
        Self::of(422, "Invalid", message, details)
    }

    /// 400: the request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 410: the version from which to watch or list is no longer kept.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    /// 405: the resource has no such verb.
    pub fn method_not_allowed(verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of this kind");
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 413: the object is larger than the store takes.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 429: more is being answered than there is room for.
    pub fn too_many() -> Self {
        let mut error = Self::new(
            429,
            "TooManyRequests",
            "Too many requests, please try again later.",
        );
        error.retry_after = Some(1);
        error
    }

    /// 415: a body or patch type that is not spoken here.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 500: our own fault.
    pub fn internal(why: impl fmt::Display) -> Self {
        let message = format!("Internal error occurred: {why}");
        let details = json!({ "causes": [{ "message": why.to_string() }] });
        Self::of(500, "InternalError", message, details)
    }

    /// 503: the store has stopped or cannot write.
    pub fn unavailable(why: impl fmt::Display) -> Self {
        let mut error = Self::new(503, "ServiceUnavailable", why.to_string());
        error.retry_after = Some(1);
        error
    }

    /// 409: server-side apply would take fields from other managers.
    pub fn apply_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let causes: Vec<Value> = causes
            .into_iter()
            .map(|(field, message)| {
                json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
            })
            .collect();
        Self::of(409, "Conflict", message, json!({ "causes": causes }))
    }

    /// The `Status` object that goes to the client.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        let reason = self.own_reason.as_deref().unwrap_or(self.reason);
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = json!(token);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(seconds) = self.retry_after {
            status["details"]["retryAfterSeconds"] = json!(seconds);
        }
        status
    }
}

fn causes_json(causes: &[Cause]) -> Vec<Value> {
    causes
        .iter()
        .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
        .collect()
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message, self.code, self.reason)
    }
}

impl std::error::Error for StatusError {}
