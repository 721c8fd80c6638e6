//! Pods, and the pod specs inside templates.
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::{Cause, StatusError};
use crate::selector::is_dns_label;
use crate::store::json::{child, default, fields, list, list_mut, text};
use crate::store::meta;
use crate::store::request::Target;

/// Completes and checks a Pod.
pub(super) fn pod(before: Option<&Value>, object: &mut Value, causes: &mut Vec<Cause>) {
    let spec = child(object, "spec");
    default(spec, "enableServiceLinks", true);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    default(spec, "priority", 0);
    spec_defaults(spec);
    let account = spec
        .get("serviceAccountName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let account = if account.is_empty() {
        "default"
    } else {
        account
    }
    .to_owned();
    spec.insert("serviceAccountName".to_owned(), account.clone().into());
    spec.insert("serviceAccount".to_owned(), account.into());
    check(&object["spec"], "spec", causes);
    match before {
        None => {
            let status = json!({ "phase": "Pending", "qosClass": quality(&object["spec"]) });
            fields(object).insert("status".to_owned(), status);
        }
        Some(before) => check_update(before, object, causes),
    }
}

/// The defaults of a pod's spec, in a Pod or in a template.
pub(super) fn spec_defaults(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    for name in ["containers", "initContainers"] {
        for container in list_mut(spec, name) {
            container_defaults(fields(container));
        }
    }
}

fn container_defaults(container: &mut Map<String, Value>) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!tag.contains(':') || tag.ends_with(":latest"));
    let policy = if latest { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    for port in list_mut(container, "ports") {
        default(fields(port), "protocol", "TCP");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) else {
            continue;
        };
        let probe = fields(probe);
        for (name, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            default(probe, name, value);
        }
        if let Some(get) = probe.get_mut("httpGet").filter(|get| get.is_object()) {
            default(fields(get), "path", "/");
            default(fields(get), "scheme", "HTTP");
        }
    }
    for variable in list_mut(container, "env") {
        let reference = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"));
        if let Some(reference) = reference.filter(|reference| reference.is_object()) {
            default(fields(reference), "apiVersion", "v1");
        }
    }
}

/// What must hold of a pod's spec, in a Pod or in a template.
pub(super) fn check(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    if list(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{at}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for list_name in ["initContainers", "containers"] {
        for (index, container) in list(spec, list_name).iter().enumerate() {
            let field = |name: &str| format!("{at}.{list_name}[{index}].{name}");
            let name = text(container, "name");
            if name.is_empty() {
                causes.push(Cause::required(field("name"), ""));
            } else if !is_dns_label(name) {
                let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
                           characters or '-', and must start and end with an alphanumeric \
                           character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                           '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
                causes.push(Cause::invalid(field("name"), &container["name"], why));
            } else if names.contains(&name) {
                causes.push(Cause::duplicate(field("name"), &container["name"]));
            }
            names.push(name);
            if text(container, "image").is_empty() {
                causes.push(Cause::required(field("image"), ""));
            }
            for (port_index, port) in list(container, "ports").iter().enumerate() {
                let field = field(&format!("ports[{port_index}].containerPort"));
                super::service::port_number(&field, &port["containerPort"], causes);
            }
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    if !policies.contains(&text(spec, "restartPolicy")) {
        let field = format!("{at}.restartPolicy");
        causes.push(Cause::unsupported(field, &spec["restartPolicy"], &policies));
    }
}

/// Of a Pod that exists, only images and a few small things may change.
fn check_update(before: &Value, object: &Value, causes: &mut Vec<Cause>) {
    // Who puts a Pod on its node by an update, which Kubernetes never allows, may also complete
    // it: there are no admission webhooks, and this is where one would have added its container.
    let bound = |pod: &Value| !text(&pod["spec"], "nodeName").is_empty();
    if !bound(before) && bound(object) {
        return;
    }
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        let map = fields(&mut spec);
        for name in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "schedulingGates",
        ] {
            map.remove(name);
        }
        for name in ["containers", "initContainers"] {
            for container in list_mut(map, name) {
                fields(container).remove("image");
                fields(container).remove("imagePullPolicy");
            }
        }
        spec
    };
    if fixed(before) != fixed(object) {
        let why = "pod updates may not change fields other than \
                   `spec.containers[*].image`,`spec.initContainers[*].image`,\
                   `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                   tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if \
                   it was previously negative)";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn quality(spec: &Value) -> &'static str {
    let (mut any, mut all_limited) = (false, true);
    for container in list(spec, "containers") {
        let resources = &container["resources"];
        let some = |value: &Value| value.as_object().is_some_and(|map| !map.is_empty());
        any |= some(&resources["limits"]) || some(&resources["requests"]);
        let limits = &resources["limits"];
        let whole = limits["cpu"].is_string() && limits["memory"].is_string();
        let same = resources["requests"].is_null() || resources["requests"] == *limits;
        all_limited &= whole && same;
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
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
