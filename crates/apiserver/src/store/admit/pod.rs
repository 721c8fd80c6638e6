//! Pods, and the pod specs inside templates.
pub(super) mod check;
mod container;
pub(super) mod defaults;
pub(super) mod resources;
mod resources_of;
pub(super) mod scheduling;
mod security;
mod update;
mod volumes;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::at::{At, Causes};
use crate::error::{Cause, StatusError};
use crate::store::json::{child, default, fields, list, text};
use crate::store::meta;
use crate::store::request::Target;
use check::Whose;
pub(super) use container::port;
pub(super) use resources_of::{Amounts, amounts, limits_of, quality, requests_of};
pub(super) use volumes::host_path;

/// The defaults of a Pod, before anybody else looks at it.
pub(super) fn complete(object: &mut Value) {
    let spec = child(object, "spec");
    defaults::spec(spec);
    defaults::pod(spec);
}

/// Checks a Pod; a new one begins its life.
pub(super) fn pod(
    (before, object): (Option<&Value>, &mut Value),
    now: Timestamp,
    causes: &mut Causes,
) {
    if before.is_none() {
        begin(object, now);
    }
    check::spec(&At::new("spec", &object["spec"]), Whose::Pod, causes);
    let spec = At::new("spec", &object["spec"]);
    for one in spec.each("containers").chain(spec.each("initContainers")) {
        container::untrimmed(&one, causes);
    }
    match before {
        Some(before) => update::check(before, object, causes),
        None => {
            if !spec.get("ephemeralContainers").is_empty() {
                spec.get("ephemeralContainers")
                    .forbidden(causes, "cannot be set on create");
            }
            if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
                let why = "cannot be set until all schedulingGates have been cleared";
                spec.get("nodeName").forbidden(causes, why);
            }
        }
    }
}

fn begin(object: &mut Value, now: Timestamp) {
    let mut status = json!({ "phase": "Pending", "qosClass": quality(&object["spec"]) });
    if !list(&object["spec"], "schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": meta::stamp(now),
        }]);
    }
    fields(object).insert("status".to_owned(), status);
}

/// What a write of a Pod's status may not forget.
pub(super) fn status(before: &Value, object: &mut Value) {
    let quality = before["status"]["qosClass"].clone();
    let status = child(object, "status");
    if !quality.is_null() {
        status.insert("qosClass".to_owned(), quality);
    }
    let (one, all) = (status.get("podIP").cloned(), status.get("podIPs").cloned());
    match (one, all) {
        (Some(Value::String(one)), None | Some(Value::Null)) if !one.is_empty() => {
            status.insert("podIPs".to_owned(), json!([{ "ip": one }]));
        }
        (None, Some(all)) => {
            default(status, "podIP", all[0]["ip"].clone());
        }
        _ => {}
    }
}

/// A Pod that a Binding puts on a node.
pub(crate) fn bind(
    target: Target<'_>,
    now: Timestamp,
    (before, binding): (&Value, &Value),
) -> Result<Value, StatusError> {
    let node = text(&binding["target"], "name");
    if node.is_empty() {
        let cause = Cause::required("target.name", "");
        return Err(StatusError::invalid(target.res, target.name, &[cause]));
    }
    let present = text(&before["spec"], "nodeName");
    if !present.is_empty() {
        let why = format!(
            "pod {} is already assigned to node {present:?}",
            target.name
        );
        return Err(StatusError::conflict(target.res, target.name, &why));
    }
    if !before["metadata"]["deletionTimestamp"].is_null() {
        let why = format!(
            "pod {} is being deleted, cannot be assigned to a host",
            target.name
        );
        return Err(StatusError::conflict(target.res, target.name, &why));
    }
    let mut after = before.clone();
    child(&mut after, "spec").insert("nodeName".to_owned(), node.into());
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": meta::stamp(now),
    });
    let mut conditions: Vec<Value> = list(&after["status"], "conditions").to_vec();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(scheduled);
    child(&mut after, "status").insert("conditions".to_owned(), Value::Array(conditions));
    Ok(after)
}
