//! HorizontalPodAutoscaler: keeps the replicas of its target between the least and the most. No
//! metrics are served here, so it says that it cannot do more.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::action::{Action, Behalf};
use super::events::Note;
use super::{Plan, View, conditions};
use crate::registry::StorageKey;
use crate::store::json::{child, list, text};
use crate::store::meta::stamp;
use crate::store::request::Subresource;
use crate::store::scale;

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// After what time a target is looked at again.
const PERIOD: SignedDuration = SignedDuration::from_secs(15);
const NO_RESOURCE_METRICS: &str = "unable to fetch metrics from resource metrics API: the server \
could not find the requested resource (get pods.metrics.k8s.io)";

fn autoscalers() -> StorageKey {
    StorageKey::new("autoscaling", "horizontalpodautoscalers")
}

/// What an autoscaler changes: the collection, and the number of replicas that it has.
struct Target {
    collection: StorageKey,
    scale: Value,
    replicas: i64,
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let found = view.state.get(&autoscalers(), namespace, name);
    let Some(object) = found.filter(|object| !object.is_terminating()) else {
        return plan;
    };
    let before = object.value();
    if let Some(at) = rests_until(&before, view.now) {
        plan.look_at(at);
        return plan;
    }
    if let Ok(at) = view.now.checked_add(PERIOD) {
        plan.look_at(at);
    }
    let mut after = before.clone();
    let target = match target_of(view, &before, namespace) {
        Ok(target) => target,
        Err(why) => {
            let message =
                format!("the HPA controller was unable to get the target's current scale: {why}");
            let failed = ("AbleToScale", "False", "FailedGetScale");
            if set_condition(view, &mut after, failed, &message) {
                let note = Note::new(COMPONENT, &before, "FailedGetScale", why).warning();
                plan.actions.push(Action::Tell(note));
            }
            return finish(plan, &before, after);
        }
    };
    let message = "the HPA controller was able to get the target's current scale";
    let able = ("AbleToScale", "True", "SucceededGetScale");
    set_condition(view, &mut after, able, message);
    let most = before["spec"]["maxReplicas"].as_i64().unwrap_or(1);
    let least = before["spec"]["minReplicas"].as_i64().unwrap_or(1);
    if target.replicas == 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        let disabled = ("ScalingActive", "False", "ScalingDisabled");
        set_condition(view, &mut after, disabled, message);
        note_replicas(&mut after, (0, Some(0)), Value::Null);
    } else if target.replicas > most {
        let why = "Current number of replicas above Spec.MaxReplicas";
        rescale(view, (&target, most, why), &mut after, &mut plan);
    } else if target.replicas < least {
        let why = "Current number of replicas below Spec.MinReplicas";
        rescale(view, (&target, least, why), &mut after, &mut plan);
    } else {
        miss_metrics(view, &target, &mut after, &mut plan);
    }
    finish(plan, &before, after)
}

/// Until when it does nothing because it has just scaled.
fn rests_until(autoscaler: &Value, now: Timestamp) -> Option<Timestamp> {
    let last: Timestamp = text(&autoscaler["status"], "lastScaleTime").parse().ok()?;
    let until = last.checked_add(PERIOD).ok()?;
    (last <= now && now < until).then_some(until)
}

fn finish(mut plan: Plan, before: &Value, after: Value) -> Plan {
    if *before != after {
        let write = Action::Update(autoscalers(), Subresource::Status, after);
        plan.actions.insert(0, write);
    }
    plan
}

fn target_of(view: &View<'_>, autoscaler: &Value, namespace: &str) -> Result<Target, String> {
    let reference = &autoscaler["spec"]["scaleTargetRef"];
    let (kind, name) = (text(reference, "kind"), text(reference, "name"));
    let api_version = text(reference, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let res = view.registry.find_kind(group, version, kind);
    let res = res.ok_or_else(|| format!("no matches for kind {kind:?} in group {group:?}"))?;
    if res.subresources.scale.is_none() {
        return Err("the server could not find the requested resource".to_owned());
    }
    let found = view.state.get(&res.storage, namespace, name);
    let object = found.ok_or_else(|| {
        let resource = if group.is_empty() {
            res.plural.clone()
        } else {
            format!("{}.{group}", res.plural)
        };
        format!("{resource} {name:?} not found")
    })?;
    let scale = scale::view(&res, object);
    Ok(Target {
        collection: res.storage.clone(),
        replicas: scale["spec"]["replicas"].as_i64().unwrap_or(0),
        scale,
    })
}

fn rescale(
    view: &View<'_>,
    (target, wanted, why): (&Target, i64, &'static str),
    after: &mut Value,
    plan: &mut Plan,
) {
    let mut scale = target.scale.clone();
    child(&mut scale, "spec").insert("replicas".to_owned(), wanted.into());
    let done = format!("New size: {wanted}; reason: {why}");
    plan.actions.push(Action::Behalf(Box::new(Behalf {
        action: Action::Update(target.collection.clone(), Subresource::Scale, scale),
        done: Some(Note::new(COMPONENT, after, "SuccessfulRescale", done)),
        failed: None,
        condition: None,
    })));
    let message = format!("the HPA controller was able to update the target scale to {wanted}");
    let able = ("AbleToScale", "True", "SucceededRescale");
    set_condition(view, after, able, &message);
    let message = "the HPA controller did not scale the workload to zero";
    let not_zero = ("ScaledToZero", "False", "NotScaledToZero");
    set_condition(view, after, not_zero, message);
    note_replicas(after, (target.replicas, Some(wanted)), Value::Null);
    child(after, "status").insert("lastScaleTime".to_owned(), stamp(view.now).into());
}

/// Says that the first metric cannot be had.
fn miss_metrics(view: &View<'_>, target: &Target, after: &mut Value, plan: &mut Plan) {
    let metrics = list(&after["spec"], "metrics").to_vec();
    let Some(first) = metrics.first() else { return };
    let (reason, error, of) = missing(first, text(&after["metadata"], "namespace"));
    let message = format!("the HPA was unable to compute the replica count: {error}");
    let inactive = ("ScalingActive", "False", reason);
    if set_condition(view, after, inactive, &message) {
        let number = metrics.len();
        let all = format!(
            "invalid metrics ({number} invalid out of {number}), first error is: failed to get \
             {of}: {error}"
        );
        for (reason, message) in [(reason, error), ("FailedComputeMetricsReplicas", all)] {
            let note = Note::new(COMPONENT, after, reason, message).warning();
            plan.actions.push(Action::Tell(note));
        }
    }
    let unknown: Vec<Value> = metrics.iter().map(|_| json!({ "type": "" })).collect();
    note_replicas(after, (target.replicas, None), unknown.into());
}

/// Of a metric that cannot be had: the reason, the error, and what was asked for.
fn missing(metric: &Value, namespace: &str) -> (&'static str, String, String) {
    let none = |api: &str, name: &str| {
        format!(
            "unable to fetch metrics from {api} metrics API: no {api} metrics API ({name}) registered"
        )
    };
    let custom = || none("custom", "custom.metrics.k8s.io");
    match text(metric, "type") {
        sort @ ("Resource" | "ContainerResource") => {
            let (reason, field, of) = if sort == "Resource" {
                ("FailedGetResourceMetric", "resource", "resource")
            } else {
                let of = "container resource";
                ("FailedGetContainerResourceMetric", "containerResource", of)
            };
            let name = text(&metric[field], "name");
            let raw = metric[field]["target"]["averageValue"].is_string();
            let what = if raw { "usage" } else { "utilization" };
            let error = format!(
                "failed to get {name} {what}: unable to get metrics for resource {name}: \
                 {NO_RESOURCE_METRICS}"
            );
            (reason, error, format!("{name} {of} metric value"))
        }
        "Pods" => {
            let name = text(&metric["pods"]["metric"], "name");
            let error = format!("unable to get metric {name}: {}", custom());
            ("FailedGetPodsMetric", error, "pods metric value".to_owned())
        }
        "Object" => {
            let object = &metric["object"];
            let (name, of) = (text(&object["metric"], "name"), &object["describedObject"]);
            let (kind, object) = (text(of, "kind"), text(of, "name"));
            let error = format!(
                "unable to get metric {name} on {kind} {namespace}/{object}: {}",
                custom()
            );
            (
                "FailedGetObjectMetric",
                error,
                "object metric value".to_owned(),
            )
        }
        _ => {
            let name = text(&metric["external"]["metric"], "name");
            let why = none("external", "external.metrics.k8s.io");
            let error = format!("unable to get external metric {namespace}/{name}/nil: {why}");
            let of = format!("{name} external metric value");
            ("FailedGetExternalMetric", error, of)
        }
    }
}

fn note_replicas(after: &mut Value, (now, wanted): (i64, Option<i64>), metrics: Value) {
    let generation = after["metadata"]["generation"].clone();
    let status = child(after, "status");
    status.insert("currentReplicas".to_owned(), now.into());
    if let Some(wanted) = wanted {
        status.insert("desiredReplicas".to_owned(), wanted.into());
    }
    status.insert("currentMetrics".to_owned(), metrics);
    status.insert("observedGeneration".to_owned(), generation);
    if now == 0 {
        status.remove("currentReplicas");
    }
}

/// Sets a condition; answers whether it says something new.
fn set_condition(
    view: &View<'_>,
    autoscaler: &mut Value,
    (kind, state, reason): (&str, &str, &str),
    message: &str,
) -> bool {
    let all = conditions::of(child(autoscaler, "status"));
    let at = all.iter().position(|one| one["type"] == kind);
    let before = at.map(|at| all[at].clone()).unwrap_or_default();
    let since = if before["status"] == state {
        before["lastTransitionTime"].clone()
    } else {
        stamp(view.now).into()
    };
    let condition = json!({
        "type": kind, "status": state, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    let is_new = condition["status"] != before["status"] || condition["reason"] != before["reason"];
    match at {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
    is_new
}
