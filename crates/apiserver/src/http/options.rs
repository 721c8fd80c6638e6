//! The options of writes, deletes and lists, from query and body, with Kubernetes' words for what is wrong with them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::body;
use super::call::Call;
use super::guard;
use super::query::Query;
use crate::db::{
    DeleteOptions, DryRun, FieldValidation, Force, Inquiry, Propagation, WriteOptions,
};
use crate::error::{Cause, StatusError};
use crate::registry::Resource;
use crate::schema;

/// A manager's name may not be longer, in bytes.
const MANAGER_MAX: usize = 128;
/// Nobody waits longer for a watch to end.
const SECONDS_MAX: u64 = 24 * 3600;

/// Whether a patch is server-side apply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    Yes,
    No,
}

/// 422 of options.
fn invalid(kind: &str, causes: &[Cause]) -> Result<(), StatusError> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid_kind("meta.k8s.io", kind, "", causes))
}

/// `fieldManager`, `dryRun`, `force` and `fieldValidation` of a create, update or patch.
pub(super) fn write(call: &Call) -> Result<WriteOptions, StatusError> {
    let kind = match call.route.attributes.verb.as_str() {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        _ => "UpdateOptions",
    };
    let mut causes = Vec::new();
    let options = common(call, &mut causes);
    invalid(kind, &causes)?;
    Ok(options)
}

/// The same of a patch, whose type has a say.
pub(super) fn patch(call: &Call, applies: Applies) -> Result<WriteOptions, StatusError> {
    let mut causes = Vec::new();
    let named = call.query.text("fieldManager").is_some();
    let forced = call.query.first("force").is_some();
    if applies == Applies::Yes && !named {
        causes.push(Cause::required(
            "fieldManager",
            "is required for apply patch",
        ));
    }
    if applies == Applies::No && forced {
        causes.push(Cause::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    let options = common(call, &mut causes);
    invalid("PatchOptions", &causes)?;
    Ok(options)
}

fn common(call: &Call, causes: &mut Vec<Cause>) -> WriteOptions {
    let query = &call.query;
    let manager = query.text("fieldManager").unwrap_or_default();
    if manager.len() > MANAGER_MAX {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MANAGER_MAX} bytes"),
            field: "fieldManager".to_owned(),
        });
    }
    if let Some((at, c)) = manager.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "invalid character U+{:04X} (at position {at})",
            u32::from(c)
        );
        causes.push(Cause::invalid("fieldManager", &json!(manager), &why));
    }
    let dry_run = dry_run(query, causes);
    let validation = match query.first("fieldValidation").unwrap_or_default() {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            let known = ["", "Ignore", "Strict", "Warn"];
            let field = "fieldValidation";
            causes.push(Cause::unsupported(field, &json!(other), &known));
            FieldValidation::Warn
        }
    };
    let force = if query.is_true("force") {
        Force::Yes
    } else {
        Force::No
    };
    WriteOptions {
        field_manager: Some(call.manager().to_owned()),
        user: call.user.name.clone(),
        dry_run,
        force,
        validation,
        warnings: call.warnings.clone(),
        gate: guard::gate(call),
        faults: Vec::new(),
        inquiry: inquiry(call),
        given: given(query),
    }
}

fn inquiry(call: &Call) -> Inquiry {
    let room = Arc::clone(&call.server.asking);
    Inquiry::of_request(patience(&call.query), room, &call.user.name)
}

/// How long the client is willing to wait; 0 is as long as anybody.
fn patience(query: &Query) -> Option<Duration> {
    let nanos = schema::nanos(query.text("timeout")?)?;
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0);
    nanos.map(Duration::from_nanos)
}

/// What the client says itself.
fn given(query: &Query) -> Vec<(&'static str, String)> {
    let names = ["fieldManager", "fieldValidation"];
    let given = names.map(|name| Some((name, query.text(name)?.to_owned())));
    given.into_iter().flatten().collect()
}

fn dry_run(query: &Query, causes: &mut Vec<Cause>) -> DryRun {
    let values: Vec<&str> = query.all("dryRun").collect();
    checked_dry_run(&values, causes)
}

fn checked_dry_run(values: &[&str], causes: &mut Vec<Cause>) -> DryRun {
    if values.iter().any(|value| *value != "All") {
        let shown = json!(values);
        causes.push(Cause::unsupported("dryRun", &shown, &["All"]));
    }
    if values.is_empty() {
        DryRun::No
    } else {
        DryRun::All
    }
}

/// How to delete: from the body if there is one, else from the query.
pub(super) fn delete(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, StatusError> {
    Ok(DeleteOptions {
        warnings: call.warnings.clone(),
        gate: guard::gate(call),
        inquiry: inquiry(call),
        ..delete_of(call, bytes)?
    })
}

fn delete_of(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, StatusError> {
    if !bytes.is_empty() {
        body::syntax(call.content_type())?;
        let body = call.parsed(bytes).map_err(StatusError::bad_request)?;
        return delete_body(&body);
    }
    let query = &call.query;
    let grace = query.first("gracePeriodSeconds").map(number).transpose()?;
    let policy = query.text("propagationPolicy");
    let orphan = query.first("orphanDependents");
    let orphan = orphan.map(|_| query.is_true("orphanDependents"));
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    delete_checked((policy, orphan), &dry_run, grace)
}

fn delete_checked(
    (policy, orphan): (Option<&str>, Option<bool>),
    dry_run: &[&str],
    grace_seconds: Option<i64>,
) -> Result<DeleteOptions, StatusError> {
    let mut causes = Vec::new();
    let mut propagation = match policy {
        None => None,
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(_) => None,
    };
    if let (Some(policy), Some(_)) = (policy, orphan) {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        causes.push(Cause::invalid("propagationPolicy", &json!(policy), why));
    } else if let (Some(policy), None) = (policy, propagation) {
        let known = ["Foreground", "Background", "Orphan", "nil"];
        causes.push(Cause::unsupported(
            "propagationPolicy",
            &json!(policy),
            &known,
        ));
    }
    match orphan {
        Some(true) => propagation = Some(Propagation::Orphan),
        Some(false) => propagation = Some(Propagation::Background),
        None => {}
    }
    let dry_run = checked_dry_run(dry_run, &mut causes);
    invalid("DeleteOptions", &causes)?;
    Ok(DeleteOptions {
        propagation,
        grace_seconds,
        dry_run,
        ..DeleteOptions::default()
    })
}

/// DeleteOptions, as they are in a body.
pub(super) fn delete_body(body: &Value) -> Result<DeleteOptions, StatusError> {
    let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" && !kind.is_empty() {
        let version = body["apiVersion"].as_str().unwrap_or("v1");
        return Err(StatusError::bad_request(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )));
    }
    let grace = &body["gracePeriodSeconds"];
    if !grace.is_null() && !grace.is_i64() {
        return Err(wrong_type("gracePeriodSeconds", grace, "int64"));
    }
    let policy = &body["propagationPolicy"];
    if !policy.is_null() && !policy.is_string() {
        return Err(wrong_type(
            "propagationPolicy",
            policy,
            "v1.DeletionPropagation",
        ));
    }
    let values = body["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
    let dry_run: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let which = (policy.as_str(), body["orphanDependents"].as_bool());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(DeleteOptions {
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        ..delete_checked(which, &dry_run, grace.as_i64())?
    })
}

fn wrong_type(field: &str, value: &Value, wanted: &str) -> StatusError {
    let found = schema::kind_of(value);
    StatusError::bad_request(format!(
        "json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {wanted}"
    ))
}

/// A number as queries write it.
fn number(text: &str) -> Result<i64, StatusError> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

/// What a list or a watch is asked for.
#[derive(Debug, Default)]
pub(super) struct ListOptions {
    /// The version, as it was written.
    pub(super) version: String,
    /// `Exact`, `NotOlderThan` or nothing.
    pub(super) version_match: String,
    pub(super) limit: usize,
    pub(super) continue_token: String,
    pub(super) initial_events: Option<bool>,
    pub(super) timeout: Option<Duration>,
    /// Whether its time was over before it began.
    pub(super) overdue: bool,
}

/// Whether events are followed or a list is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Yes,
    No,
}

/// The options of a list or watch.
pub(super) fn list(query: &Query, follow: Follow) -> Result<ListOptions, StatusError> {
    let text = |name: &str| query.first(name).unwrap_or_default().to_owned();
    let timeout = query.first("timeoutSeconds").map(number).transpose()?;
    let limit = query.first("limit").map(number).transpose()?;
    let initial = query.first("sendInitialEvents");
    let overdue = timeout.is_some_and(|seconds| seconds < 0);
    let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok());
    let mut options = ListOptions {
        overdue,
        version: text("resourceVersion"),
        version_match: text("resourceVersionMatch"),
        limit: limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(0),
        continue_token: text("continue"),
        initial_events: initial.map(|_| query.is_true("sendInitialEvents")),
        timeout: timeout
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.min(SECONDS_MAX))),
    };
    // Who follows from any version is told where the present ends.
    if query.is_true("watch")
        && options.initial_events.is_none()
        && options.version_match.is_empty()
        && ["", "0"].contains(&options.version.as_str())
    {
        options.initial_events = Some(true);
        "NotOlderThan".clone_into(&mut options.version_match);
    }
    let causes = match follow {
        Follow::Yes => watch_problems(&options),
        Follow::No => list_problems(&options),
    };
    invalid("ListOptions", &causes)?;
    Ok(options)
}

const MATCH: &str = "resourceVersionMatch";

fn list_problems(options: &ListOptions) -> Vec<Cause> {
    let mut causes = Vec::new();
    let asked = options.version_match.as_str();
    if !asked.is_empty() {
        if options.version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if !options.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        let known = ["Exact", "NotOlderThan", ""];
        if !known.contains(&asked) {
            causes.push(Cause::unsupported(MATCH, &json!(asked), &known));
        }
        if asked == "Exact" && options.version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(MATCH, why));
        }
    }
    if options.initial_events.is_some() {
        let why = "sendInitialEvents is forbidden for list";
        causes.push(Cause::forbidden("sendInitialEvents", why));
    }
    causes
}

fn watch_problems(options: &ListOptions) -> Vec<Cause> {
    let mut causes = Vec::new();
    let asked = options.version_match.as_str();
    if options.initial_events.is_some() && asked != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(Cause::forbidden(MATCH, why));
    }
    if asked.is_empty() {
        return causes;
    }
    if options.initial_events.is_none() {
        let why =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(Cause::forbidden(MATCH, why));
    }
    if asked != "NotOlderThan" {
        causes.push(Cause::unsupported(MATCH, &json!(asked), &["NotOlderThan"]));
    }
    if !options.continue_token.is_empty() {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        causes.push(Cause::forbidden(MATCH, why));
    }
    causes
}

/// A resource version as requests write it; why it is none otherwise.
pub(super) fn version(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_error| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    })
}

/// The 500 without a reason that reads and watches answer to what is no version.
pub(super) fn no_version(why: String) -> StatusError {
    StatusError::new(500, "", why)
}

/// How messages name a kind's internal type: `core.Namespace`.
pub(super) fn internal_type(res: &Resource, kind: &str) -> String {
    let package = match res.group.as_str() {
        "" | "events.k8s.io" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("{package}.{kind}")
}
