//! Get, list, create, update, patch and delete of whole objects: from HTTP to the store and back.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::body::essence;
use super::call::{Answer, Call, unsupported_dry_run};
use super::negotiate::Form;
use super::{access, guard, respond};
use crate::db::{
    DeleteOptions, Deleted, DryRun, Outcome, Patch, Propagation, Subresource, Target, WriteOptions,
};
use crate::error::StatusError;
use crate::object::Object;
use crate::rbac::Attributes;
use crate::registry::Resource;
use crate::selector::{FieldSelector, LabelSelector, Selectors};
use crate::table;

/// Answers a request for an object or a collection.
pub(super) async fn answer(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let named = !call.route.attributes.name.is_empty();
    match (call.route.attributes.verb.as_str(), named) {
        ("get", true) => {
            let target = call.target(res);
            let object = call.server.db.get(res, target.namespace, target.name)?;
            shown(call, res, &object)
        }
        ("list", false) => list(call, res),
        ("create", false) => create(call, res, bytes).await,
        ("update", true) => update(call, res, Subresource::None, bytes).await,
        ("patch", true) => patch(call, res, Subresource::None, bytes).await,
        ("delete", true) => delete(call, res, bytes).await,
        ("deletecollection", false) => delete_collection(call, res, bytes).await,
        _ => Err(access::method_not_allowed()),
    }
}

/// One object in the form that the client asked for.
pub(super) fn shown(call: &Call, res: &Resource, object: &Object) -> Answer {
    let syntax = call.accept.syntax;
    match call.accept.form {
        Form::Object | Form::Discovery(_) => Ok(respond::bytes(
            StatusCode::OK,
            object.bytes().clone(),
            syntax,
        )),
        Form::Metadata => Ok(respond::value(StatusCode::OK, &metadata_of(object), syntax)),
        Form::Table => {
            let table = table::of_one(res, object, table_options(call)?);
            Ok(respond::value(StatusCode::OK, &table, syntax))
        }
    }
}

/// Type and metadata of an object, and nothing else.
pub(super) fn metadata_of(object: &Object) -> Value {
    let mut value = object.value();
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
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
                "unrecognized includeObject value: {other:?}"
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

fn list(call: &Call, res: &Arc<Resource>) -> Answer {
    let version = call
        .query
        .text("resourceVersion")
        .map(super::watch::version)
        .transpose()?;
    let selectors = selectors(call, res)?;
    let list = call.server.db.list(res, call.namespace(res), &selectors);
    if version.is_some_and(|version| version > list.resource_version) {
        let mut error = StatusError::new(
            504,
            "Timeout",
            format!(
                "Too large resource version: {}, current: {}",
                version.unwrap_or_default(),
                list.resource_version
            ),
        );
        error.details = Some(json!({"causes": [{"reason": "ResourceVersionTooLarge",
            "message": "Too large resource version"}]}));
        error.retry_after = Some(1);
        return Err(error);
    }
    let syntax = call.accept.syntax;
    match call.accept.form {
        Form::Object | Form::Discovery(_) => {
            let kind = &res.list_kind;
            let bytes = respond::list(&res.api_version(), kind, list.resource_version, &list.items);
            Ok(respond::bytes(StatusCode::OK, bytes, syntax))
        }
        Form::Metadata => {
            let items: Vec<Value> = list
                .items
                .iter()
                .map(|object| metadata_of(object))
                .collect();
            let value = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": list.resource_version.to_string()}, "items": items,
            });
            Ok(respond::value(StatusCode::OK, &value, syntax))
        }
        Form::Table => {
            let table = table::of_list(res, &list, table_options(call)?);
            Ok(respond::value(StatusCode::OK, &table, syntax))
        }
    }
}

async fn create(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let mut value = call.value(bytes)?;
    check_type(res, &mut value)?;
    let namespace = call.namespace(res);
    check_namespace(&value, namespace)?;
    guard::may_grant(call, res, &value)?;
    let object = call
        .server
        .db
        .create(res, namespace, value, &call.write_options()?)
        .await?;
    Ok(respond::bytes(
        StatusCode::CREATED,
        object.bytes().clone(),
        call.accept.syntax,
    ))
}

/// Replaces an object or its status.
pub(super) async fn update(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Answer {
    let mut value = call.value(bytes)?;
    check_type(res, &mut value)?;
    let target = call.target(res).sub(sub);
    check_namespace(&value, target.namespace)?;
    check_name(&value, target.name)?;
    guard::may_grant(call, res, &value)?;
    let (object, outcome) = call
        .server
        .db
        .update(target, value, &call.write_options()?)
        .await?;
    Ok(respond::bytes(
        code_of(outcome),
        object.bytes().clone(),
        call.accept.syntax,
    ))
}

/// Changes an object or its status.
pub(super) async fn patch(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Answer {
    let (object, outcome) = patched(call, res, sub, bytes).await?;
    Ok(respond::bytes(
        code_of(outcome),
        object.bytes().clone(),
        call.accept.syntax,
    ))
}

/// The object as the request's patch leaves it.
pub(super) async fn patched(
    call: &Call,
    res: &Arc<Resource>,
    sub: Subresource,
    bytes: &[u8],
) -> Result<(Arc<Object>, Outcome), StatusError> {
    let mut patch = read_patch(call, bytes)?;
    let options = call.write_options()?;
    let target = call.target(res).sub(sub);
    if let Patch::Apply(value) = &patch {
        if call.query.text("fieldManager").is_none() {
            return Err(invalid_patch_options(
                "fieldManager: Required value: is required for apply patch",
            ));
        }
        check_applied(call, res, target, value)?;
    } else if call.query.text("force").is_some() {
        return Err(invalid_patch_options(
            "force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    if guard::is_guarded(res) {
        let present = call.server.db.get(res, target.namespace, target.name);
        if let Ok(present) = present {
            patch = guard::pinned(patch, present.resource_version())?;
        }
        let pretend = WriteOptions {
            dry_run: DryRun::All,
            ..options.clone()
        };
        let (wanted, _) = call
            .server
            .db
            .patch(target, patch.clone(), &pretend)
            .await?;
        guard::may_grant(call, res, &wanted.value())?;
    }
    call.server.db.patch(target, patch, &options).await
}

fn read_patch(call: &Call, bytes: &[u8]) -> Result<Patch, StatusError> {
    use super::body::{Syntax, parse};
    let json = |bytes| parse(bytes, Syntax::Json);
    match essence(call.content_type()) {
        "application/json-patch+json" => Ok(Patch::Json(json(bytes)?)),
        "application/merge-patch+json" => Ok(Patch::Merge(json(bytes)?)),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(json(bytes)?)),
        "application/apply-patch+yaml" | "application/apply-patch+json" => {
            // JSON is YAML, and most clients send it; its parser is much the quicker.
            let parsed = serde_json::from_slice(bytes).ok();
            Ok(Patch::Apply(match parsed {
                Some(value) => value,
                None => parse(bytes, Syntax::Yaml)?,
            }))
        }
        other => Err(StatusError::unsupported_media_type(format!(
            "the body of the request was in an unknown format ({other}) - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/strategic-merge-patch+json, application/apply-patch+yaml"
        ))),
    }
}

/// Apply may create: then it needs that right too. Its object must be what the path says.
fn check_applied(
    call: &Call,
    res: &Arc<Resource>,
    target: Target<'_>,
    value: &Value,
) -> Result<(), StatusError> {
    let mut typed = value.clone();
    check_type(res, &mut typed)?;
    check_namespace(value, target.namespace)?;
    check_name(value, target.name)?;
    let exists = call
        .server
        .db
        .get(res, target.namespace, target.name)
        .is_ok();
    if !exists && target.sub == Subresource::None {
        let attributes = Attributes {
            verb: "create".to_owned(),
            ..call.route.attributes.clone()
        };
        access::authorize(&call.server, &call.user, &attributes)?;
    }
    Ok(())
}

fn invalid_patch_options(cause: &str) -> StatusError {
    StatusError::new(
        422,
        "Invalid",
        format!("PatchOptions.meta.k8s.io \"\" is invalid: {cause}"),
    )
}

async fn delete(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let options = delete_options(call, bytes)?;
    match call.server.db.delete(call.target(res), &options).await? {
        Deleted::Terminating(object) => Ok(respond::bytes(
            StatusCode::OK,
            object.bytes().clone(),
            call.accept.syntax,
        )),
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
    let options = delete_options(call, bytes)?;
    let selectors = selectors(call, res)?;
    let namespace = call.namespace(res);
    let list = call
        .server
        .db
        .delete_collection(res, namespace, &selectors, &options)
        .await?;
    let bytes = respond::list(
        &res.api_version(),
        &res.list_kind,
        list.resource_version,
        &list.items,
    );
    Ok(respond::bytes(StatusCode::OK, bytes, call.accept.syntax))
}

/// From the body and the query; the body wins.
pub(super) fn delete_options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, StatusError> {
    let body = if bytes.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        call.value(bytes)?
    };
    if !body.is_object() {
        return Err(StatusError::bad_request(
            "the body of a delete must be DeleteOptions",
        ));
    }
    let mut options = read_delete_options(&body)?;
    if options.grace_seconds.is_none() {
        options.grace_seconds = match call.query.text("gracePeriodSeconds") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_error| {
                StatusError::bad_request(format!("gracePeriodSeconds: {text:?} is no number"))
            })?),
        };
    }
    if options.propagation.is_none() {
        options.propagation = call
            .query
            .text("propagationPolicy")
            .map(propagation)
            .transpose()?;
    }
    if options.propagation.is_none() && call.query.is_true("orphanDependents") {
        options.propagation = Some(Propagation::Orphan);
    }
    if options.dry_run == DryRun::No {
        options.dry_run = call.dry_run()?;
    }
    Ok(options)
}

/// DeleteOptions, as they are in a body.
pub(super) fn read_delete_options(body: &Value) -> Result<DeleteOptions, StatusError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut options = DeleteOptions {
        propagation: body["propagationPolicy"]
            .as_str()
            .map(propagation)
            .transpose()?,
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        grace_seconds: body["gracePeriodSeconds"].as_i64(),
        dry_run: DryRun::No,
    };
    if options.propagation.is_none() && body["orphanDependents"] == true {
        options.propagation = Some(Propagation::Orphan);
    }
    match body["dryRun"].as_array().map(Vec::as_slice) {
        None | Some([]) => {}
        Some([one]) if one == "All" => options.dry_run = DryRun::All,
        Some([other, ..]) => return Err(unsupported_dry_run(other.as_str().unwrap_or_default())),
    }
    Ok(options)
}

fn propagation(text: &str) -> Result<Propagation, StatusError> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => Err(StatusError::new(
            422,
            "Invalid",
            format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: \
             supported values: \"Background\", \"Foreground\", \"Orphan\""
            ),
        )),
    }
}

/// The object's type must be the path's; a missing one is.
pub(super) fn check_type(res: &Resource, value: &mut Value) -> Result<(), StatusError> {
    let Some(object) = value.as_object_mut() else {
        return Err(StatusError::bad_request(
            "the body of the request must be one object",
        ));
    };
    let expected = res.api_version();
    let given = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, kind) = (given("apiVersion"), given("kind"));
    if !kind.is_empty() && kind != res.kind {
        return Err(StatusError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: the kind in the data ({kind}) does not \
             match the expected kind ({})",
            res.kind, res.kind
        )));
    }
    if !version.is_empty() && version != expected {
        return Err(StatusError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    object.insert("apiVersion".to_owned(), expected.into());
    object.insert("kind".to_owned(), res.kind.clone().into());
    Ok(())
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
