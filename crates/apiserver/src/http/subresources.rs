//! What lies below an object: status, scale, finalize, binding, eviction and tokens.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::access::{method_not_allowed, no_such_resource};
use super::call::{Answer, Call};
pub(super) use super::typed::of_type as typed;
use super::{objects, options, respond, scale, tokens};
use crate::db::{DryRun, Subresource, Target};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;

/// Answers a request for a subresource.
pub(super) async fn answer(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let attributes = &call.route.attributes;
    let (verb, sub) = (attributes.verb.as_str(), attributes.subresource.as_str());
    let subresources = &res.subresources;
    let exists = match sub {
        "status" => subresources.status,
        "scale" => subresources.scale.is_some(),
        other => subresources.others.contains(&other),
    };
    if !exists && res.custom {
        return Err(StatusError::not_found(res, &attributes.name));
    }
    if !exists {
        return Err(no_such_resource());
    }
    match (verb, sub) {
        ("get", "status" | "approval" | "ephemeralcontainers" | "resize") => {
            let object = object(call, res)?;
            objects::shown(call, res, &object)
        }
        ("update", "status") => objects::update(call, res, Subresource::Status, bytes).await,
        ("patch", "status") => objects::patch(call, res, Subresource::Status, bytes).await,
        ("update", "approval") => objects::update(call, res, Subresource::Approval, bytes).await,
        ("patch", "approval") => objects::patch(call, res, Subresource::Approval, bytes).await,
        ("update", "ephemeralcontainers") => {
            objects::update(call, res, Subresource::EphemeralContainers, bytes).await
        }
        ("patch", "ephemeralcontainers") => {
            objects::patch(call, res, Subresource::EphemeralContainers, bytes).await
        }
        ("update", "resize") => objects::update(call, res, Subresource::Resize, bytes).await,
        ("patch", "resize") => objects::patch(call, res, Subresource::Resize, bytes).await,
        ("update", "finalize") => objects::update(call, res, Subresource::Finalize, bytes).await,
        ("get", "scale") => {
            let object = object(call, res)?;
            show_scale(call, res, &object, StatusCode::OK)
        }
        ("update", "scale") => update_scale(call, res, bytes).await,
        ("patch", "scale") => {
            let (object, outcome) = objects::patched(call, res, Subresource::Scale, bytes).await?;
            show_scale(call, res, &object, objects::code_of(outcome))
        }
        ("create", "binding") => bind(call, res, bytes).await,
        ("create", "eviction") => evict(call, res, bytes).await,
        ("create", "token") => {
            let object = object(call, res)?;
            tokens::request(call, &object, bytes)
        }
        _ => Err(method_not_allowed()),
    }
}

fn object(call: &Call, res: &Arc<Resource>) -> Result<Arc<Object>, StatusError> {
    let target = call.target(res);
    call.server.db.get(res, target.namespace, target.name)
}

fn show_scale(call: &Call, res: &Resource, object: &Object, code: StatusCode) -> Answer {
    let scale = scale::of(res, &object.value()).ok_or_else(no_such_resource)?;
    Ok(respond::value(code, &scale, call.accept.syntax))
}

async fn update_scale(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let value = typed(call, bytes, "autoscaling/v1", "Scale")?;
    let target = call.target(res).sub(Subresource::Scale);
    let (object, _) = call
        .server
        .db
        .update(target, value, &call.write_options()?)
        .await?;
    show_scale(call, res, &object, StatusCode::OK)
}

async fn bind(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let value = typed(call, bytes, "v1", "Binding")?;
    let target = call.target(res).sub(Subresource::Binding);
    call.server
        .db
        .update(target, value, &call.write_options()?)
        .await?;
    Ok(done(call))
}

/// The old way to bind a Pod: the Binding says which.
pub(super) async fn bind_pod(call: &Call, bytes: &[u8]) -> Answer {
    let value = typed(call, bytes, "v1", "Binding")?;
    let pods = call.server.db.registry().find("", "v1", "pods");
    let pods = pods.ok_or_else(no_such_resource)?;
    let name = value["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let target = Target::new(&pods, call.namespace(&pods), &name).sub(Subresource::Binding);
    let options = call.write_options()?;
    call.server.db.update(target, value, &options).await?;
    Ok(done(call))
}

/// The word that something was done, which has no details.
fn done(call: &Call) -> http::Response<super::Body> {
    let mut done = objects::success(json!({}));
    done["code"] = 201.into();
    if let Some(done) = done.as_object_mut() {
        done.remove("details");
    }
    respond::value(StatusCode::CREATED, &done, call.accept.syntax)
}

async fn evict(call: &Call, res: &Arc<Resource>, bytes: &[u8]) -> Answer {
    let is_old = call
        .parsed(bytes)
        .is_ok_and(|value| value["apiVersion"] == "policy/v1beta1");
    let version = if is_old {
        "policy/v1beta1"
    } else {
        "policy/v1"
    };
    let value = typed(call, bytes, version, "Eviction")?;
    let named = value["metadata"]["name"].as_str().unwrap_or_default();
    if !named.is_empty() && named != call.route.attributes.name {
        return Err(StatusError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = options::delete_body(&value["deleteOptions"])?;
    // Policies judge who evicts, not this server.
    options.gate = super::guard::gate(call);
    options.warnings = call.warnings.clone();
    if call.write_options()?.dry_run == DryRun::All {
        options.dry_run = DryRun::All;
    }
    let target = call.target(res);
    super::evict::refuse(call, target.namespace.unwrap_or_default(), target.name)?;
    call.server.db.delete(target, &options).await?;
    Ok(done(call))
}
