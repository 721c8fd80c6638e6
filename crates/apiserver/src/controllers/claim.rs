//! Which Pods belong to an owner: those that it selects and controls, and those that it may adopt.
use serde_json::Value;

use super::action::Action;
use super::pods::{is_active, is_controlled_by, pods, reference_to};
use super::{Plan, View};
use crate::selector::LabelSelector;
use crate::store::json::{child, list, set, text};
use crate::store::request::Subresource;

/// Who claims Pods.
pub(super) struct Owner<'a> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) object: &'a Value,
    pub(super) selector: &'a LabelSelector,
}

/// All Pods of an owner, also those that have ended. Active ones that match and have no
/// controller are adopted, those that no longer match are let go.
pub(super) fn claim(view: &View<'_>, owner: &Owner<'_>, plan: &mut Plan) -> Vec<Value> {
    let meta = &owner.object["metadata"];
    let uid = text(meta, "uid");
    let may_adopt = meta["deletionTimestamp"].is_null();
    let mut claimed = Vec::new();
    for object in view.state.within(&pods(), Some(text(meta, "namespace"))) {
        let matches = owner.selector.matches(|key| object.label(key));
        let owned = object.owners().any(|owner| owner == uid);
        if !owned && (!matches || !may_adopt) {
            continue;
        }
        let mut pod = object.value();
        let controlled = owned && is_controlled_by(&pod, uid);
        if controlled && matches {
            claimed.push(pod);
            continue;
        }
        if !is_active(&pod) {
            continue;
        }
        let references = list(&pod["metadata"], "ownerReferences");
        let has_controller = references.iter().any(|owner| owner["controller"] == true);
        let mut owners = references.to_vec();
        if matches && !has_controller {
            owners.push(reference_to(owner.api_version, owner.kind, owner.object));
        } else if controlled && !matches {
            owners.retain(|owner| owner["uid"] != uid);
        } else {
            continue;
        }
        let owners = (!owners.is_empty()).then_some(Value::Array(owners));
        set(child(&mut pod, "metadata"), "ownerReferences", owners);
        plan.actions
            .push(Action::Update(pods(), Subresource::None, pod.clone()));
        if matches {
            claimed.push(pod);
        }
    }
    claimed
}

/// Whether a template makes Pods that its owner selects. From any other, Pods would be made
/// without end.
pub(super) fn selects_own(selector: &LabelSelector, template: &Value) -> bool {
    let labels = &template["metadata"]["labels"];
    labels.as_object().is_some_and(|labels| !labels.is_empty())
        && selector.matches(|key| labels[key].as_str())
}
