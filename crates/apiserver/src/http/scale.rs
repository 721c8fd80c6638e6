//! The Scale of an object: replicas wanted, replicas present, selector, at the paths that its resource names. Pure.

use serde_json::{Value, json};

use crate::registry::{Resource, ScalePaths};
use crate::selector::LabelSelector;

/// The `autoscaling/v1` Scale of an object; nothing if its resource has none.
pub(super) fn of(res: &Resource, object: &Value) -> Option<Value> {
    let ScalePaths {
        spec,
        status,
        selector,
    } = res.subresources.scale.as_ref()?;
    let meta = &object["metadata"];
    let mut metadata = json!({
        "name": meta["name"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
        "creationTimestamp": meta["creationTimestamp"],
    });
    if let Some(namespace) = meta.get("namespace") {
        metadata["namespace"] = namespace.clone();
    }
    let number = |path: &str| at(object, path).and_then(Value::as_i64);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {}, "status": {"replicas": number(status).unwrap_or(0)},
    });
    if let Some(wanted) = number(spec).filter(|wanted| *wanted != 0) {
        scale["spec"]["replicas"] = wanted.into();
    }
    let selector = selector.as_deref().and_then(|path| at(object, path));
    let text = match selector {
        Some(Value::String(text)) => text.clone(),
        Some(other) => LabelSelector::from_object(other).to_text(),
        None => String::new(),
    };
    if !text.is_empty() {
        scale["status"]["selector"] = text.into();
    }
    Some(scale)
}

/// What lies at a path like `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .filter(|part| !part.is_empty())
        .try_fold(object, |value, part| value.get(part))
}
