//! Get, list, create, update, patch and delete of whole objects: from HTTP to the store and back.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::body::{self, essence};
use super::call::{Answer, Call};
use super::negotiate::Form;
use super::respond::ListHead;
use super::{access, components, list, options, respond, subresources, typed};
use crate::db::{Deleted, FieldValidation, Outcome, Patch, Subresource, Target, WriteOptions};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::schema;
use crate::selector::{FieldSelector, LabelSelector, Selectors};
use crate::table;

/// Answers a request for an object or a collection.
pub(super) async fn answer(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    if components::is_component(res) {
        return components::answer(call, res).await;
    }
    let named = !call.route.attributes.name.is_empty();
    match (call.route.attributes.verb.as_str(), named) {
        ("get", true) => get(call, res),
        ("list", false) => list::answer(call, res),
        ("create", false) if res.kind == "Binding" && !res.custom => {
            subresources::bind_pod(call, bytes).await
        }
        ("create", false) => create(call, res, bytes).await,
        ("update", true) => update(call, res, Subresource::None, bytes).await,
        ("patch", true) => patch(call, res, Subresource::None, bytes).await,
        ("delete", true) => delete(call, res, bytes).await,
        ("deletecollection", false) => delete_collection(call, res, bytes).await,
        _ => Err(access::method_not_allowed()),
    }
}

fn get(call: &Call, res: &Arc<Resource>) -> Answer {
    if let Some(text) = call.query.text("resourceVersion") {
        let wanted = options::version(text).map_err(options::no_version)?;
        let now = call.server.db.snapshot().version;
        if wanted > now {
            return Err(list::too_large(wanted, now));
        }
    }
    let target = call.target(res);
    let object = call.server.db.get(res, target.namespace, target.name)?;
    shown(call, res, &object)
}

/// One object in the form that the client asked for.
pub(super) fn shown(call: &Call, res: &Resource, object: &Object) -> Answer {
    shown_as(call, res, object, StatusCode::OK)
}

/// The same after a write.
pub(super) fn shown_as(call: &Call, res: &Resource, object: &Object, code: StatusCode) -> Answer {
    let (syntax, version) = (call.accept.syntax, call.accept.version);
    match call.accept.form {
        Form::Object | Form::Discovery | Form::OpenApi(_) => {
            Ok(respond::bytes(code, object.bytes().clone(), syntax))
        }
        Form::Metadata => Ok(respond::value(code, &metadata_of(object, version), syntax)),
        Form::MetadataList => Err(wrong_form(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
            options::internal_type(res, &res.kind)
        ))),
        Form::Table => {
            let mut table = table::of_one(res, object, table_options(call)?);
            table_version(&mut table, version);
            Ok(respond::value(code, &table, syntax))
        }
    }
}

/// 406 of a form that does not fit what was asked for.
pub(super) fn wrong_form(why: String) -> StatusError {
    StatusError::new(406, "NotAcceptable", why)
}

/// Says in which version of the API a table is.
pub(super) fn table_version(table: &mut Value, version: &str) {
    let version = format!("meta.k8s.io/{version}");
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        if row["object"]["kind"] == "PartialObjectMetadata" {
            row["object"]["apiVersion"] = version.clone().into();
        }
    }
    table["apiVersion"] = version.into();
}

/// Type and metadata of an object, and nothing else.
pub(super) fn metadata_of(object: &Object, version: &str) -> Value {
    let mut value = object.value();
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": value["metadata"].take(),
    })
}

/// How the client wants tables.
pub(super) fn table_options(call: &Call) -> Result<table::Options, StatusError> {
    let include = match call.query.text("includeObject") {
        None | Some("Metadata") => table::Include::Metadata,
        Some("None") => table::Include::Nothing,
        Some("Object") => table::Include::Object,
        Some(other) => {
            return Err(StatusError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be \
                 'Metadata', 'Object', 'None', or empty"
            )));
        }
    };
    Ok(table::Options {
        include,
        now: call.server.now(),
    })
}

/// The selectors of a list, watch or collection delete.
pub(super) fn selectors(call: &Call, res: &Resource) -> Result<Selectors, StatusError> {
    let labels = call
        .query
        .text("labelSelector")
        .map(LabelSelector::parse)
        .transpose()?;
    let fields = call
        .query
        .text("fieldSelector")
        .map(|text| FieldSelector::parse(text, res))
        .transpose()?;
    Ok(Selectors {
        labels: labels.unwrap_or_default(),
        fields: fields.unwrap_or_default(),
    })
}

async fn create(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let options = call.write_options()?;
    let value = typed::object(call, res, bytes)?;
    let namespace = call.namespace(res);
    check_namespace(&value, namespace)?;
    let object = call
        .server
        .db
        .create(res, namespace, value, &options)
        .await?;
    shown_as(call, res, &object, StatusCode::CREATED)
}

/// Replaces an object or its status.
pub(super) async fn update(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Answer {
    let options = call.write_options()?;
    let value = typed::object(call, res, bytes)?;
    let target = call.target(res).sub(sub);
    check_namespace(&value, target.namespace)?;
    check_name(&value, target.name)?;
    let (object, outcome) = call.server.db.update(target, value, &options).await?;
    shown_as(call, res, &object, code_of(outcome))
}

/// Changes an object or its status.
pub(super) async fn patch(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Answer {
    let (object, outcome) = patched(call, res, sub, bytes).await?;
    shown_as(call, res, &object, code_of(outcome))
}

/// The object as the request's patch leaves it.
pub(super) async fn patched(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Result<(Arc<Object>, Outcome), StatusError> {
    let kind = patch_kind(call, res)?;
    let applies = if kind == PatchKind::Apply {
        options::Applies::Yes
    } else {
        options::Applies::No
    };
    let mut options = options::patch(call, applies)?;
    let patch = read_patch(call, kind, bytes)?;
    if kind == PatchKind::Apply {
        check_keys(&options, bytes)?;
    }
    options.faults = duplicates(kind, bytes);
    let target = call.target(res).sub(sub);
    if let Patch::Apply(value) = &patch {
        check_applied(call, res, target, value)?;
    }
    call.server.db.patch(target, patch, &options).await
}

/// The ways to say a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

fn patch_kind(call: &Call, res: &Resource) -> Result<PatchKind, StatusError> {
    match essence(call.content_type()) {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" if !res.custom => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ if res.custom => Err(StatusError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        _ => {
            let mut error = StatusError::unsupported_media_type("415: Unsupported Media Type");
            error.details = Some(json!({}));
            Err(error)
        }
    }
}

fn read_patch(call: &Call, kind: PatchKind, bytes: &[u8]) -> Result<Patch, StatusError> {
    if kind == PatchKind::Apply {
        let parsed = call.ahead.clone();
        let parsed = parsed.unwrap_or_else(|| body::yaml_or_json(bytes));
        return parsed.map(Patch::Apply).map_err(|why| {
            // What begins as JSON is read as that first.
            let step = if bytes.trim_ascii_start().starts_with(b"{") {
                "error decoding patch: error converting YAML to JSON"
            } else {
                "error encoding patch"
            };
            StatusError::bad_request(format!("{step}: {why}"))
        });
    }
    let value = serde_json::from_slice(bytes)
        .map_err(|_error| StatusError::bad_request("invalid JSON patch"))?;
    Ok(match kind {
        PatchKind::Json => Patch::Json(value),
        PatchKind::Merge => Patch::Merge(value),
        PatchKind::Strategic | PatchKind::Apply => Patch::Strategic(value),
    })
}

/// What is applied is YAML: the keys that it has twice are told, or refused. What is JSON is not asked.
fn check_keys(options: &WriteOptions, bytes: &[u8]) -> Result<(), StatusError> {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    if is_json || options.validation == FieldValidation::Ignore {
        return Ok(());
    }
    let lines = body::yaml::duplicates(bytes);
    if options.validation == FieldValidation::Strict && !lines.is_empty() {
        let lines = lines.join("\n  ");
        return Err(StatusError::bad_request(format!(
            "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  {lines}"
        )));
    }
    lines.iter().for_each(|line| options.warnings.add(line));
    Ok(())
}

/// The fields that a patch has twice.
fn duplicates(kind: PatchKind, bytes: &[u8]) -> Vec<String> {
    let before = match kind {
        PatchKind::Apply => return Vec::new(),
        PatchKind::Json => "json patch ",
        PatchKind::Merge | PatchKind::Strategic => "",
    };
    let found = schema::document::duplicates(bytes).unwrap_or_default();
    let found = found.into_iter();
    found
        .map(|path| format!("{before}duplicate field \"{path}\""))
        .collect()
}

/// The object of an apply must be what the path says.
fn check_applied(
    call: &Call,
    res: &Arc<Resource>,
    target: Target<'_>,
    value: &Value,
) -> Result<(), StatusError> {
    if target.sub != Subresource::Scale {
        typed::applied(call, res, value)?;
    }
    check_namespace(value, target.namespace)?;
    check_name(value, target.name)
}

async fn delete(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let options = options::delete(call, bytes)?;
    match call.server.db.delete(call.target(res), &options).await? {
        Deleted::Gone(object) if crate::store::delete::is_answered_whole(res) => {
            shown(call, res, &object)
        }
        Deleted::Terminating(object) => shown(call, res, &object),
        Deleted::Gone(object) => {
            let mut details =
                json!({"name": object.name(), "kind": res.plural, "uid": object.uid()});
            if !res.group.is_empty() {
                details["group"] = res.group.clone().into();
            }
            Ok(respond::value(
                StatusCode::OK,
                &success(details),
                call.accept.syntax,
            ))
        }
    }
}

/// The Status of something done.
pub(super) fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details})
}

async fn delete_collection(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let options = options::delete(call, bytes)?;
    let selectors = selectors(call, res)?;
    let namespace = call.namespace(res);
    let list = call
        .server
        .db
        .delete_collection(res, namespace, &selectors, &options)
        .await?;
    let head = ListHead {
        version: list.resource_version,
        ..ListHead::default()
    };
    let bytes = respond::list(res, &head, &list.items);
    Ok(respond::bytes(StatusCode::OK, bytes, call.accept.syntax))
}

fn check_namespace(value: &Value, namespace: Option<&str>) -> Result<(), StatusError> {
    let given = value["metadata"]["namespace"].as_str().unwrap_or_default();
    if given.is_empty() || given == namespace.unwrap_or_default() {
        return Ok(());
    }
    Err(StatusError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn check_name(value: &Value, name: &str) -> Result<(), StatusError> {
    let given = value["metadata"]["name"].as_str().unwrap_or_default();
    if given.is_empty() || given == name {
        return Ok(());
    }
    Err(StatusError::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({name})"
    )))
}

pub(super) fn code_of(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Created => StatusCode::CREATED,
        Outcome::Updated | Outcome::Unchanged => StatusCode::OK,
    }
}
