//! The scale subresource: how many replicas an object wants, in a form that is the same for all.
use serde_json::{Value, json};

use super::json::{at, child, set_at, text};
use crate::error::{Cause, StatusError};
use crate::object::Object;
use crate::registry::{Resource, ScalePaths};
use crate::selector::LabelSelector;

/// An object as an `autoscaling/v1` Scale; null if the kind has none.
pub fn view(res: &Resource, object: &Object) -> Value {
    view_value(res, &object.value())
}

/// Whether a value is a Scale, and not what is scaled.
pub(super) fn is_scale(value: &Value) -> bool {
    text(value, "kind") == "Scale" && text(value, "apiVersion") == "autoscaling/v1"
}

pub(super) fn view_value(res: &Resource, object: &Value) -> Value {
    let Some(paths) = &res.subresources.scale else {
        return Value::Null;
    };
    let meta = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {}, "status": { "replicas": at(object, &paths.status).as_i64().unwrap_or(0) },
    });
    if let Some(replicas) = at(object, &paths.spec)
        .as_i64()
        .filter(|replicas| *replicas != 0)
    {
        scale["spec"]["replicas"] = json!(replicas);
    }
    if let Some(selector) = paths.selector.as_deref().map(|path| at(object, path)) {
        let text = match selector {
            Value::String(text) => text.clone(),
            Value::Object(_) => LabelSelector::from_object(selector).to_text(),
            _ => String::new(),
        };
        if !text.is_empty() {
            scale["status"]["selector"] = json!(text);
        }
    }
    scale
}

fn paths(res: &Resource) -> Result<&ScalePaths, StatusError> {
    let paths = res.subresources.scale.as_ref();
    paths.ok_or_else(|| {
        StatusError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    })
}

/// The object with the number of replicas that a Scale wants.
pub(super) fn put(res: &Resource, before: &Value, scale: &Value) -> Result<Value, StatusError> {
    let paths = paths(res)?;
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => match value.as_i64() {
            Some(number) if (0..=i64::from(i32::MAX)).contains(&number) => number,
            _ => {
                let why = "must be greater than or equal to 0";
                let cause = Cause::invalid("spec.replicas", value, why);
                return Err(StatusError::invalid(
                    &scale_kind(res),
                    text(&before["metadata"], "name"),
                    &[cause],
                ));
            }
        },
    };
    let mut after = before.clone();
    set_at(&mut after, &paths.spec, json!(replicas));
    let version = scale["metadata"]["resourceVersion"].clone();
    if version.is_string() {
        child(&mut after, "metadata").insert("resourceVersion".to_owned(), version);
    }
    Ok(after)
}

/// What a Scale of a resource is.
pub(super) fn scale_kind(res: &Resource) -> Resource {
    Resource {
        group: "autoscaling".to_owned(),
        version: "v1".to_owned(),
        kind: "Scale".to_owned(),
        custom: false,
        ..res.clone()
    }
}

/// An applied Scale, as the part of the object that it is about.
pub(super) fn as_config(res: &Resource, before: &Value, scale: &Value) -> Value {
    let mut config = json!({
        "apiVersion": before["apiVersion"], "kind": before["kind"],
        "metadata": { "name": before["metadata"]["name"] },
    });
    if let (Some(paths), Some(replicas)) = (&res.subresources.scale, scale["spec"].get("replicas"))
    {
        set_at(&mut config, &paths.spec, replicas.clone());
    }
    config
}
