//! What of an object is ours: our label *and* our field manager in `managedFields`, and of its fields
//! those that the manager owns. What others added is theirs; what they changed of ours is not ours any
//! more, so that a plan sees the difference and takes it back.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;
use tombolo_core::keys::MIRRORED_SERVICE;
use tombolo_core::service::Labels;

use crate::names::FIELD_MANAGER;

/// The fields of one object that our manager applied.
#[derive(Clone, Copy)]
pub(crate) struct Owned<'o> {
    fields: &'o Value,
}

impl<'o> Owned<'o> {
    /// Our fields, if the object is ours.
    pub(crate) fn of(metadata: &'o ObjectMeta) -> Option<Self> {
        let label = metadata.labels.as_ref()?.get(MIRRORED_SERVICE)?;
        let entry = metadata
            .managed_fields
            .as_ref()?
            .iter()
            .find(|entry| is_ours(entry))?;
        let fields = &entry.fields_v1.as_ref()?.0;
        (label == "true").then_some(Self { fields })
    }

    /// Whether we own the field at this path, as in `["f:spec", "f:ports"]`.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        self.at(path).is_some()
    }

    /// What we own below a path.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&'o Value> {
        path.iter()
            .try_fold(self.fields, |value, step| value.get(*step))
    }

    /// Our labels.
    pub(crate) fn labels(&self, metadata: &ObjectMeta) -> Labels {
        self.pairs("f:labels", metadata.labels.as_ref())
    }

    /// Our annotations.
    pub(crate) fn annotations(&self, metadata: &ObjectMeta) -> Labels {
        self.pairs("f:annotations", metadata.annotations.as_ref())
    }

    fn pairs(&self, field: &str, all: Option<&BTreeMap<String, String>>) -> Labels {
        let Some(owned) = self.at(&["f:metadata", field]) else {
            return Labels::new();
        };
        let ours = all
            .into_iter()
            .flatten()
            .filter(|(key, _)| owned.get(format!("f:{key}").as_str()).is_some());
        ours.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Whether an entry of `managedFields` is what we applied.
pub(crate) fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Drops what nobody reads of an object that is kept in memory.
pub(crate) fn trim(metadata: &mut ObjectMeta) {
    if let Some(fields) = &mut metadata.managed_fields {
        fields.retain(is_ours);
    }
    if metadata.managed_fields.as_ref().is_some_and(Vec::is_empty) {
        metadata.managed_fields = None;
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
