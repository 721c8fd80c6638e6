//! Pods, and the pod specs inside templates.
pub(super) mod check;
mod container;
pub(super) mod defaults;
pub(in crate::store) mod part;
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
use crate::store::facts::Facts;
use crate::store::json::{child, default, fields, list, text};
use crate::store::meta;
use crate::store::request::{Subresource, Target};
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
    (facts, now): (Facts, Timestamp),
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
        Some(before) => update::check(facts.bound_pods, (before, object), causes),
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

/// Completes and checks what a subresource has changed of a Pod.
pub(super) fn partly(
    sub: Subresource,
    (before, object): (&Value, &mut Value),
    causes: &mut Causes,
) {
    complete(object);
    check::spec(&At::new("spec", &object["spec"]), Whose::Pod, causes);
    match sub {
        Subresource::Resize => part::check_resized(before, object, causes),
        _ => part::check_ephemeral(before, object, causes),
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
    let node = target_of(target.name, binding)?;
    if let Some(why) = unbindable(target.name, before) {
        return Err(StatusError::conflict_at(
            (target.res, "binding"),
            target.name,
            &why,
        ));
    }
    let mut after = before.clone();
    child(&mut after, "spec").insert("nodeName".to_owned(), node.into());
    let metadata = child(&mut after, "metadata");
    for name in ["uid", "resourceVersion"] {
        // Preconditions, which the edit checks.
        let wanted = text(&binding["metadata"], name);
        if !wanted.is_empty() {
            metadata.insert(name.to_owned(), wanted.into());
        }
    }
    for name in ["annotations", "labels"] {
        let added = binding["metadata"][name].as_object();
        for (key, value) in added.into_iter().flatten() {
            let all = metadata.entry(name).or_insert_with(|| json!({}));
            fields(all).insert(key.clone(), value.clone());
        }
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": meta::stamp(now),
    });
    let mut conditions: Vec<Value> = list(&after["status"], "conditions").to_vec();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(scheduled);
    let status = child(&mut after, "status");
    status.insert("conditions".to_owned(), Value::Array(conditions));
    status.remove("nominatedNodeName");
    Ok(after)
}

/// The node that a Binding names.
fn target_of<'a>(pod: &str, binding: &'a Value) -> Result<&'a str, StatusError> {
    if text(&binding["metadata"], "name") != pod {
        let why = "name in URL does not match name in Binding object";
        return Err(StatusError::bad_request(why));
    }
    let (kind, node) = (
        text(&binding["target"], "kind"),
        text(&binding["target"], "name"),
    );
    let mut causes = Vec::new();
    if !["", "Node"].contains(&kind) {
        causes.push(Cause::unsupported(
            "target.kind",
            &json!(kind),
            &["Node", "<empty>"],
        ));
    }
    if node.is_empty() {
        causes.push(Cause::required("target.name", ""));
    }
    if causes.is_empty() {
        return Ok(node);
    }
    let texts: Vec<String> = causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    let why = match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(StatusError::new(500, "", why))
}

/// Why a Pod cannot be put on a node.
fn unbindable(name: &str, pod: &Value) -> Option<String> {
    let present = text(&pod["spec"], "nodeName");
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return Some(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    if !present.is_empty() {
        return Some(format!(
            "pod {name} is already assigned to node {present:?}"
        ));
    }
    let gated = !list(&pod["spec"], "schedulingGates").is_empty();
    gated.then(|| format!("pod {name} has non-empty .spec.schedulingGates"))
}
