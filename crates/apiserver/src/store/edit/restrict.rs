//! Which part of an object a write may change: the rest stays as it was.
use serde_json::{Value, json};

use super::Edit;
use crate::store::admit;
use crate::store::json::{child, fields, set, set_at};
use crate::store::request::Subresource;

/// Metadata that only the store writes.
const SYSTEM_FIELDS: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
    "namespace",
];

/// Leaves of the new state only what this kind of write may change.
pub(super) fn restrict(edit: &mut Edit<'_>) {
    let res = edit.target.res;
    match edit.target.sub {
        Subresource::None => {
            if res.subresources.status {
                let status = edit.before.get("status").cloned();
                set(fields(&mut edit.after), "status", status);
            }
            let fixed = ["Namespace", "CertificateSigningRequest"].contains(&res.kind.as_str());
            if fixed && !res.custom {
                let spec = edit.before.get("spec").cloned();
                set(fields(&mut edit.after), "spec", spec);
            }
        }
        Subresource::Status => {
            let mut after = edit.before.clone();
            set(
                fields(&mut after),
                "status",
                edit.after.get("status").cloned(),
            );
            let kept: &[&str] = if res.custom {
                &["managedFields"]
            } else {
                &["managedFields", "labels", "annotations", "finalizers"]
            };
            for &name in kept {
                let value = edit.after["metadata"].get(name).cloned();
                set(child(&mut after, "metadata"), name, value);
            }
            edit.after = after;
        }
        Subresource::Finalize => {
            let finalizers = edit.after["spec"].get("finalizers").cloned();
            let mut after = edit.before.clone();
            set_at(
                &mut after,
                "spec.finalizers",
                finalizers.unwrap_or_else(|| json!([])),
            );
            edit.after = after;
        }
        Subresource::Approval => {
            let conditions = edit.after["status"].get("conditions").cloned();
            let mut after = edit.before.clone();
            set(child(&mut after, "status"), "conditions", conditions);
            keep_managed(&mut after, &edit.after);
            edit.after = after;
        }
        Subresource::EphemeralContainers => {
            let added = edit.after["spec"].get("ephemeralContainers").cloned();
            let mut after = edit.before.clone();
            set(child(&mut after, "spec"), "ephemeralContainers", added);
            keep_managed(&mut after, &edit.after);
            edit.after = after;
        }
        Subresource::Resize => {
            let mut after = admit::pod::part::resized(&edit.before, &edit.after);
            keep_managed(&mut after, &edit.after);
            edit.after = after;
        }
        Subresource::Scale | Subresource::Binding => {}
    }
    for name in SYSTEM_FIELDS {
        let value = edit.before["metadata"].get(*name).cloned();
        set(child(&mut edit.after, "metadata"), name, value);
    }
}

/// What was noted of managers by whoever computed the new state.
fn keep_managed(after: &mut Value, computed: &Value) {
    let managed = computed["metadata"].get("managedFields").cloned();
    set(child(after, "metadata"), "managedFields", managed);
}
