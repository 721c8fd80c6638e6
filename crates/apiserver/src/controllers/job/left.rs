//! Pods that outlive their Job: nobody counts them any more, so nothing may hold them.
use serde_json::Value;

use super::super::action::Action;
use super::super::pods::pods;
use super::super::{Plan, View};
use super::{FINALIZER, has_finalizer, jobs};
use crate::store::json::{child, list, set, text};
use crate::store::request::Subresource;

/// Lets go of the Pods in a namespace whose Job is gone. While a Job of the name is there, only
/// those that are being deleted are looked at.
pub(super) fn release(view: &View<'_>, namespace: &str, only_deleted: bool, plan: &mut Plan) {
    for object in view.state.within(&pods(), Some(namespace)) {
        if only_deleted && !object.is_terminating() {
            continue;
        }
        let mut pod = object.value();
        if !has_finalizer(&pod) || may_be_counted(view, namespace, &pod) {
            continue;
        }
        let mut finalizers = list(&pod["metadata"], "finalizers").to_vec();
        finalizers.retain(|one| one != FINALIZER);
        let finalizers = (!finalizers.is_empty()).then_some(Value::Array(finalizers));
        set(child(&mut pod, "metadata"), "finalizers", finalizers);
        plan.actions
            .push(Action::Update(pods(), Subresource::None, pod));
    }
}

/// Whether a Pod's Job is there, or something else than a Job looks after it.
fn may_be_counted(view: &View<'_>, namespace: &str, pod: &Value) -> bool {
    let mut owners = list(&pod["metadata"], "ownerReferences").iter();
    let Some(owner) = owners.find(|owner| owner["controller"] == true) else {
        return false;
    };
    if owner["kind"] != "Job" || owner["apiVersion"] != "batch/v1" {
        return true;
    }
    let job = view.state.get(&jobs(), namespace, text(owner, "name"));
    job.is_some_and(|job| job.uid() == text(owner, "uid"))
}
