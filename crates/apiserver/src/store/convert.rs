//! Between the version that a client speaks and the one that is stored.
//!
//! Versions of a custom resource differ only in their apiVersion (conversion strategy `None`).
//! Events are stored as core Events, and shown in both groups under the names of each.
mod autoscaler;

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::fields;
use crate::crd::object;
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;

/// Names in `events.k8s.io/v1`, and the same fields' names in the core group.
const EVENT_NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn is_old_autoscaler(res: &Resource) -> bool {
    res.kind == "HorizontalPodAutoscaler"
        && res.group == "autoscaling"
        && res.version == "v1"
        && !res.custom
}

fn is_new_event(res: &Resource) -> bool {
    res.group == "events.k8s.io" && !res.custom
}

/// Turns a value from the client's version into the stored one.
pub fn to_storage(res: &Resource, value: &mut Value) {
    if is_new_event(res) {
        let map = fields(value);
        for (new, core) in EVENT_NAMES {
            if let Some(value) = map.remove(*new) {
                map.insert((*core).to_owned(), value);
            }
        }
    }
    if is_old_autoscaler(res) {
        autoscaler::to_second(value);
    }
    if res.custom {
        object::prune_for_storage(res, value);
    }
    fields(value).insert("apiVersion".to_owned(), res.storage_api_version().into());
}

/// Turns a stored value into the client's version.
pub fn from_storage(res: &Resource, value: &mut Value) {
    if is_new_event(res) {
        let map = fields(value);
        for (new, core) in EVENT_NAMES {
            if let Some(value) = map.remove(*core) {
                map.insert((*new).to_owned(), value);
            }
        }
        for name in ["reportingController", "reportingInstance"] {
            if map.get(name).is_some_and(|value| value == "") {
                map.remove(name);
            }
        }
        if map.get("eventTime").is_none() {
            map.insert("eventTime".to_owned(), json!(null));
        }
    }
    if is_old_autoscaler(res) {
        autoscaler::to_first(value);
    }
    if res.custom {
        object::reread(res, value);
    }
    fields(value).insert("apiVersion".to_owned(), res.api_version().into());
}

/// A stored object as this resource shows it.
pub fn shown(res: &Resource, stored: Arc<Object>) -> Result<Arc<Object>, StatusError> {
    if is_in_version_of(res, &stored) {
        return Ok(stored);
    }
    let mut value = stored.value();
    from_storage(res, &mut value);
    Object::new(&value).map(Arc::new)
}

/// Whether an object is encoded in the version of a resource. It may have been stored when
/// another version was the one to store, or when the schema was another.
fn is_in_version_of(res: &Resource, stored: &Object) -> bool {
    if stored.resource_version() < res.of_crd.since {
        return false;
    }
    let found = stored.api_version();
    match found.split_once('/') {
        Some((group, version)) => group == res.group && version == res.version,
        None => res.group.is_empty() && found == res.version,
    }
}
