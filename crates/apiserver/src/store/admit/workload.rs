//! Deployments and the other kinds that carry a pod template.
use serde_json::{Value, json};

use super::pod;
use crate::error::Cause;
use crate::registry::Resource;
use crate::selector::LabelSelector;
use crate::store::json::{child, default, fields, text};
use crate::store::meta;

/// Completes and checks an object of `apps` or `batch`.
pub(super) fn workload(
    res: &Resource,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Vec<Cause>,
) {
    if before.is_none() {
        fields(object).insert("status".to_owned(), json!({}));
    }
    match res.kind.as_str() {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => {
            apps(res, (before, object), causes)
        }
        "Job" => {
            let uid = text(&object["metadata"], "uid").to_owned();
            let spec = child(object, "spec");
            for (name, value) in [("parallelism", 1), ("completions", 1), ("backoffLimit", 6)] {
                default(spec, name, value);
            }
            default(spec, "completionMode", "NonIndexed");
            default(spec, "suspend", false);
            default(
                spec,
                "selector",
                json!({
                "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }),
            );
            template_defaults(object);
        }
        "CronJob" => {
            let spec = child(object, "spec");
            default(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", false);
            default(spec, "successfulJobsHistoryLimit", 3);
            default(spec, "failedJobsHistoryLimit", 1);
            if text(&object["spec"], "schedule").is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
        }
        _ => {}
    }
}

fn apps(res: &Resource, (before, object): (Option<&Value>, &mut Value), causes: &mut Vec<Cause>) {
    let spec = child(object, "spec");
    match res.kind.as_str() {
        "Deployment" => {
            default(spec, "replicas", 1);
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "progressDeadlineSeconds", 600);
            let strategy = fields(spec.entry("strategy").or_insert_with(|| json!({})));
            default(strategy, "type", "RollingUpdate");
            if strategy
                .get("type")
                .is_some_and(|kind| kind == "RollingUpdate")
            {
                let rolling = fields(strategy.entry("rollingUpdate").or_insert_with(|| json!({})));
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
        "ReplicaSet" => default(spec, "replicas", 1),
        "StatefulSet" => {
            default(spec, "replicas", 1);
            default(spec, "podManagementPolicy", "OrderedReady");
            default(spec, "revisionHistoryLimit", 10);
            default(
                spec,
                "updateStrategy",
                json!({
                "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }),
            );
            default(
                spec,
                "persistentVolumeClaimRetentionPolicy",
                json!({
                "whenDeleted": "Retain", "whenScaled": "Retain" }),
            );
        }
        _ => {
            default(spec, "revisionHistoryLimit", 10);
            default(
                spec,
                "updateStrategy",
                json!({
                "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } }),
            );
        }
    }
    template_defaults(object);
    check(before, object, causes);
}

fn template_defaults(object: &mut Value) {
    let template = child(object, "spec")
        .entry("template")
        .or_insert_with(|| json!({}));
    pod::spec_defaults(child(template, "spec"));
    child(template, "metadata");
    child(template, "metadata")
        .entry("creationTimestamp")
        .or_insert(Value::Null);
    child(template, "metadata").remove("creationTimestamp");
}

fn check(before: Option<&Value>, object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let replicas = &spec["replicas"];
    if !replicas.is_null()
        && !replicas
            .as_i64()
            .is_some_and(|number| (0..=i64::from(i32::MAX)).contains(&number))
    {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", replicas, why));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    meta::labels(labels, "spec.template.metadata.labels", causes);
    let selector = &spec["selector"];
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        if selector.is_null() {
            causes.push(Cause::required("spec.selector", ""));
        } else {
            let why = "empty selector is invalid for deployment";
            causes.push(Cause::invalid("spec.selector", selector, why));
        }
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    } else if !LabelSelector::from_object(selector).matches(|key| labels[key].as_str()) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    pod::check(&spec["template"]["spec"], "spec.template.spec", causes);
    if spec["template"]["spec"]["restartPolicy"] != "Always" {
        let policy = &spec["template"]["spec"]["restartPolicy"];
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if before.is_some_and(|before| before["spec"]["selector"] != *selector) {
        causes.push(Cause::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
}
