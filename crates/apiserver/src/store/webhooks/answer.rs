//! What a webhook has answered: read and checked as the API server does it, and in its words.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Does;
use super::hook::{Hook, Version};
use crate::error::StatusError;
use crate::schema::kind_of;
use crate::store::json::{list, text};

/// What a webhook has decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(super) allowed: bool,
    /// Why not: a Status.
    pub(super) status: Value,
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    pub(super) warnings: Vec<String>,
    /// How much was read, in bytes.
    pub(crate) size: usize,
}

/// Reads the body of an answer; else why it is none.
pub(crate) fn read(hook: &Hook, uid: &str, bytes: &[u8]) -> Result<Response, String> {
    let failed = |why: String| format!("failed to call webhook: {why}");
    let review: Value = match serde_json::from_slice(bytes) {
        Ok(review) => review,
        // What is no object may be YAML, of which any text is a string.
        Err(_error) if !bytes.trim_ascii_start().starts_with(b"{") => Value::from(""),
        Err(error) => {
            let why = in_go(&error);
            let why = format!("couldn't get version/kind; json parse error: {why}");
            return Err(failed(why));
        }
    };
    check_type(hook, &review).map_err(failed)?;
    let mut response = verify(hook, uid, &review)
        .map_err(|why| format!("received invalid webhook response: {why}"))?;
    response.size = bytes.len();
    Ok(response)
}

/// What Go's decoder says of what is no JSON, where that is known.
pub(super) fn in_go(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    error.to_string()
}

/// The answer must be a review, of one version or another.
fn check_type(hook: &Hook, review: &Value) -> Result<(), String> {
    if !review.is_object() {
        let found = kind_of(review);
        return Err(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type \
             struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" }}"
        ));
    }
    let (version, kind) = (text(review, "apiVersion"), text(review, "kind"));
    if version.is_empty() && kind.is_empty() {
        // It is taken for what is expected; which is looked at next.
        return Ok(());
    }
    let expected = match hook.version {
        Some(Version::V1beta1) => "admission.k8s.io/v1beta1",
        _ => "admission.k8s.io/v1",
    };
    if version == expected && kind == "AdmissionReview" {
        return Ok(());
    }
    if kind.is_empty() {
        return Err(format!("Object 'Kind' is missing in '{review}'"));
    }
    let other = version.strip_prefix("admission.k8s.io/");
    let other = other.filter(|_| kind == "AdmissionReview");
    if let Some(other @ ("v1" | "v1beta1")) = other {
        let expected = expected.trim_start_matches("admission.k8s.io/");
        return Err(format!(
            "converting ({other}.AdmissionReview) to ({expected}.AdmissionReview): unknown conversion"
        ));
    }
    Err(format!(
        "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/util/webhook/client.go:70\""
    ))
}

/// Whether it answers this question.
fn verify(hook: &Hook, uid: &str, review: &Value) -> Result<Response, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if hook.version == Some(Version::V1) {
        let found = text(response, "uid");
        if found != uid {
            return Err(format!("expected response.uid={uid:?}, got {found:?}"));
        }
        let (version, kind) = (text(review, "apiVersion"), text(review, "kind"));
        if version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={kind}",
                [group, version].join("/")
            ));
        }
    }
    let patch = STANDARD
        .decode(text(response, "patch"))
        .map_err(|_error| "the patch is no base64".to_owned())?;
    let patch_type = response["patchType"].as_str();
    check_patch(hook, &patch, patch_type)?;
    let warnings = list(response, "warnings").iter();
    Ok(Response {
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch_type: match (hook.version, patch_type) {
            (Some(Version::V1beta1), _) if !patch.is_empty() => "JSONPatch".to_owned(),
            (_, patch_type) => patch_type.unwrap_or_default().to_owned(),
        },
        patch,
        warnings: warnings
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        size: 0,
    })
}

fn check_patch(hook: &Hook, patch: &[u8], patch_type: Option<&str>) -> Result<(), String> {
    let why = match (hook.does, hook.version) {
        (_, Some(Version::V1beta1)) => return Ok(()),
        (Does::Validate, _) if !patch.is_empty() => {
            "validating webhook may not return response.patch"
        }
        (Does::Validate, _) if patch_type.is_some() => {
            "validating webhook may not return response.patchType"
        }
        (Does::Validate, _) => return Ok(()),
        (Does::Mutate, _) => match (patch.is_empty(), patch_type) {
            (false, None) => "webhook returned response.patch but not response.patchType",
            (true, Some(_)) => "webhook returned response.patchType but not response.patch",
            (false, Some("")) => "webhook returned invalid response.patchType of \"\"",
            _ => return Ok(()),
        },
    };
    Err(why.to_owned())
}

/// The refusal that a webhook's Status is.
pub(super) fn refusal(hook: &Hook, status: &Value) -> StatusError {
    let denied = format!("admission webhook {:?} denied the request", hook.name);
    let (message, reason) = (text(status, "message"), text(status, "reason"));
    let message = match (message, reason) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (400..1000).contains(code))
        .unwrap_or(400);
    let mut error = StatusError::new(code, "", message);
    error.own_reason = (!reason.is_empty()).then(|| reason.into());
    error.details = details(&status["details"]);
    error
}

/// What of a Status' details is of their type.
fn details(details: &Value) -> Option<Value> {
    details.is_object().then(|| {
        let mut kept = json!({});
        for name in ["name", "group", "kind", "uid"] {
            if !text(details, name).is_empty() {
                kept[name] = text(details, name).into();
            }
        }
        if let Some(seconds) = details["retryAfterSeconds"]
            .as_i64()
            .filter(|one| *one != 0)
        {
            kept["retryAfterSeconds"] = seconds.into();
        }
        let causes = list(details, "causes").iter().map(|cause| {
            let mut kept = json!({});
            for name in ["reason", "message", "field"] {
                if !text(cause, name).is_empty() {
                    kept[name] = text(cause, name).into();
                }
            }
            kept
        });
        let causes: Vec<Value> = causes.collect();
        if !causes.is_empty() {
            kept["causes"] = causes.into();
        }
        kept
    })
}

/// The longest text of a webhook's doing that is repeated where it does not explain itself.
const WHY_BYTES_MAX: usize = 4096;

/// Why something is wrong with what a webhook has said, which may be as long as it likes.
pub(crate) fn short(mut why: String) -> String {
    if why.len() > WHY_BYTES_MAX {
        why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
        why.push_str("...");
    }
    why
}

/// The refusal of a write whose webhook could not be asked.
pub(super) fn failure(hook: &Hook, why: &str) -> StatusError {
    StatusError::internal(format!("failed calling webhook {:?}: {why}", hook.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_webhook_says_at_length_is_cut() {
        assert_eq!(short("no".to_owned()), "no");
        let cut = short("\u{e9}".repeat(WHY_BYTES_MAX));
        assert!(cut.len() <= WHY_BYTES_MAX + 3 && cut.ends_with("\u{e9}..."));
        let hook = Hook::new(Does::Validate, "c", &json!({"name": "v"}));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
        for answer in [&*long, "{", "[]", "", "{\"response\":{\"uid\":\"u\"}}"] {
            let why = short(
                read(&hook, "w", answer.as_bytes())
                    .err()
                    .unwrap_or_default(),
            );
            assert!(why.len() <= WHY_BYTES_MAX + 3, "{answer}");
        }
    }
}
