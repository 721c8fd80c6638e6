//! Jobs and CronJobs.
pub(crate) mod schedule;

use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::check::{self, selects};
use super::pod::scheduling;
use super::{diff, words, workload};
use crate::error::Cause;
use crate::store::json::{child, default, fields, list, text};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

/// The defaults of a Job or CronJob.
pub(super) fn complete(kind: &str, object: &mut Value) {
    let spec = child(object, "spec");
    if kind == "Job" {
        job_defaults(spec);
        workload::template(spec);
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        let own = object["metadata"]["labels"].as_object();
        if labels.is_object() && own.is_none_or(serde_json::Map::is_empty) {
            child(object, "metadata").insert("labels".to_owned(), labels);
        }
        return;
    }
    super::pod::defaults::absent_is_default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    let template = spec.entry("jobTemplate").or_insert_with(|| json!({}));
    let meta = child(template, "metadata");
    meta.retain(|name, value| name != "creationTimestamp" || !value.is_null());
    workload::template(child(template, "spec"));
}

fn job_defaults(spec: &mut serde_json::Map<String, Value>) {
    let set = |spec: &serde_json::Map<String, Value>, name: &str| {
        spec.get(name).is_some_and(|value| !value.is_null())
    };
    if !set(spec, "completions") && !set(spec, "parallelism") {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let limit = if set(spec, "backoffLimitPerIndex") {
        i32::MAX
    } else {
        6
    };
    default(spec, "backoffLimit", limit);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    let policy = if set(spec, "podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    default(spec, "podReplacementPolicy", policy);
    default(spec, "manualSelector", false);
}

/// The labels and the selector by which a new Job knows its pods.
pub(super) fn begin(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (
        text(&object["metadata"], "uid").to_owned(),
        text(&object["metadata"], "name").to_owned(),
    );
    // The Job has its template's labels if it has none of its own: they are one map.
    let shared = object["metadata"]["labels"] == object["spec"]["template"]["metadata"]["labels"];
    let template = child(object, "spec")
        .entry("template")
        .or_insert_with(|| json!({}));
    let labels = fields(
        child(template, "metadata")
            .entry("labels")
            .or_insert_with(|| json!({})),
    );
    for (key, value) in [
        (UID, &uid),
        (NAME, &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.entry(key).or_insert_with(|| value.as_str().into());
    }
    let labels = labels.clone();
    if shared {
        child(object, "metadata").insert("labels".to_owned(), labels.into());
    }
    let spec = child(object, "spec");
    let selector = fields(spec.entry("selector").or_insert_with(|| json!({})));
    let wanted = fields(selector.entry("matchLabels").or_insert_with(|| json!({})));
    wanted.entry(UID).or_insert_with(|| uid.into());
}

/// What must hold of a Job or CronJob.
pub(super) fn check(kind: &str, (before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let old = before.map(|before| At::new("spec", &before["spec"]));
    if kind == "CronJob" {
        cron_job(&spec, old.as_ref(), causes);
        let name = At::new("metadata.name", &object["metadata"]["name"]);
        if before.is_none() && name.len() > 52 {
            name.invalid(causes, "must be no more than 52 characters");
        }
        return;
    }
    if before.is_none() {
        generated(object, causes);
    }
    job(&spec, causes);
    let (selector, labels) = (
        spec.get("selector"),
        spec.get("template").get("metadata").get("labels"),
    );
    if selector.is_set() {
        scheduling::selector(&selector, causes);
        if !selects(selector.value, labels.value) {
            labels.invalid(causes, "`selector` does not match template `labels`");
        }
    } else {
        selector.required(causes, "");
    }
    if let (Some(old), Some(before)) = (old, before) {
        let status = &before["status"];
        let suspended = list(status, "conditions")
            .iter()
            .any(|one| one["type"] == "Suspended" && one["status"] == "True");
        let idle = status["active"].as_i64().unwrap_or(0) == 0;
        let stopped = idle && (suspended || status["startTime"].is_null());
        changed(&old, &spec, stopped, causes);
    }
}

/// Nobody else may have chosen a new Job's selector.
fn generated(object: &Value, causes: &mut Causes) {
    if object["spec"]["manualSelector"] == true || object["spec"]["selector"].is_null() {
        return;
    }
    let meta = At::new(
        "spec.template.metadata.labels",
        &object["spec"]["template"]["metadata"]["labels"],
    );
    let (uid, name) = (&object["metadata"]["uid"], &object["metadata"]["name"]);
    for (key, wanted) in [
        ("controller-uid", uid),
        ("job-name", name),
        (UID, uid),
        (NAME, name),
    ] {
        if meta.value[key] != *wanted {
            let why = format!("must be '{}'", wanted.as_str().unwrap_or_default());
            let field = meta.named(format!("{}[{key}]", meta.path));
            field.invalid_as(causes, meta.value, &why);
        }
    }
    let selector = At::new("spec.selector", &object["spec"]["selector"]);
    let expected = json!({ "controller-uid": uid, "job-name": name, UID: uid, NAME: name });
    if !selects(selector.value, &expected) {
        selector.invalid(causes, "`selector` not auto-generated");
    }
}

fn job(spec: &At<'_>, causes: &mut Causes) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.get(name).non_negative(causes);
    }
    let manager = spec.get("managedBy");
    if manager.is_set() {
        manager.all_invalid(causes, words::prefixed_path(manager.text()));
    }
    let mode = spec.get("completionMode");
    mode.one_of(causes, &["NonIndexed", "Indexed"]);
    if mode.text() == "Indexed" {
        indexed(spec, causes);
    } else {
        for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            let field = spec.get(name);
            if field.is_set() {
                field.invalid(causes, "requires indexed completion mode");
            }
        }
    }
    let policy = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").is_set() {
        policy.one_of(causes, &["Failed"]);
    } else {
        policy.one_of(causes, &["Failed", "TerminatingOrFailed"]);
    }
    check::template(&spec.get("template"), causes);
    let restart = spec.get("template").get("spec").get("restartPolicy");
    match restart.text() {
        "Always" | "" => restart.required(causes, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.get("podFailurePolicy").is_set() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            restart.invalid(causes, why);
        }
        "OnFailure" | "Never" => {}
        _ => restart.unsupported(causes, &["OnFailure", "Never"]),
    }
    if spec.get("maxFailedIndexes").is_set() && !spec.get("backoffLimitPerIndex").is_set() {
        let why = "when maxFailedIndexes is specified";
        spec.get("backoffLimitPerIndex").required(causes, why);
    }
}

fn indexed(spec: &At<'_>, causes: &mut Causes) {
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    if !completions.is_set() {
        completions.required(causes, "when completion mode is Indexed");
    }
    if parallelism.int() > 100_000 {
        let why = "must be less than or equal to 100000 when completion mode is Indexed";
        parallelism.invalid(causes, why);
    }
    let failed = spec.get("maxFailedIndexes");
    if failed.is_set() && completions.is_set() && failed.int() > completions.int() {
        failed.invalid(causes, "must be less than or equal to completions");
    }
}

/// The template stays as it is; of a Job that is suspended and runs nothing a few things may change.
fn template(old: &At<'_>, spec: &At<'_>, stopped: bool, causes: &mut Causes) {
    let template = spec.get("template");
    let suspended = old.get("suspend").is_true();
    let kept = may_change(old, spec, stopped);
    let (field, shown) = if suspended && stopped {
        if template.value["spec"] == kept["spec"] {
            return;
        }
        let spec = template.get("spec");
        (spec.path, diff::internal_spec(spec.value))
    } else {
        if *template.value == kept {
            return;
        }
        let shown = diff::internal_template(template.value);
        (template.path, shown)
    };
    causes.push(Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {shown}: field is immutable"),
        field,
    });
}

fn changed(old: &At<'_>, spec: &At<'_>, stopped: bool, causes: &mut Causes) {
    let completions = spec.get("completions");
    if spec.get("completionMode").text() != "Indexed" {
        completions.immutable(causes, &old.get("completions"));
    } else if completions.value != old.get("completions").value
        && completions.is_set()
        && completions.value != spec.get("parallelism").value
    {
        completions.invalid(
            causes,
            "can only be modified in tandem with spec.parallelism",
        );
    }
    spec.get("selector").immutable(causes, &old.get("selector"));
    template(old, spec, stopped, causes);
    for name in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        spec.get(name).immutable(causes, &old.get(name));
    }
}

/// The old template, with what may change of a Job that is suspended taken from the new one.
fn may_change(old: &At<'_>, new: &At<'_>, stopped: bool) -> Value {
    let mut template = old.get("template").value.clone();
    if !(old.get("suspend").is_true() && stopped) {
        return template;
    }
    let fresh = new.get("template");
    let copy = |to: &mut Value, from: &Value, name: &str| {
        crate::store::json::set(fields(to), name, from.get(name).cloned());
    };
    for name in ["labels", "annotations"] {
        copy(&mut template["metadata"], fresh.get("metadata").value, name);
    }
    for name in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
        copy(&mut template["spec"], fresh.get("spec").value, name);
    }
    for (name, many) in [("containers", true), ("initContainers", true)] {
        let fresh = list(fresh.get("spec").value, name);
        let own = template["spec"].get_mut(name).and_then(Value::as_array_mut);
        for (to, from) in own.into_iter().flatten().zip(fresh).filter(|_| many) {
            copy(to, from, "resources");
        }
    }
    template
}

fn cron_job(spec: &At<'_>, old: Option<&At<'_>>, causes: &mut Causes) {
    let schedule = spec.get("schedule");
    if !schedule.is_empty() {
        if let Err(why) = schedule::parse(schedule.text()) {
            schedule.invalid(causes, &why);
        }
        if schedule.text().contains("TZ") {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            schedule.invalid(causes, why);
        }
    }
    spec.get("startingDeadlineSeconds").non_negative(causes);
    let zone = spec.get("timeZone");
    if zone.is_set() && old.is_none_or(|old| old.get("timeZone").value != zone.value) {
        time_zone(&zone, causes);
    }
    spec.get("concurrencyPolicy")
        .must_be_one_of(causes, &["Allow", "Forbid", "Replace"]);
    let inner = spec.get("jobTemplate").get("spec");
    job(&inner, causes);
    let selector = inner.get("selector");
    if selector.is_set() {
        selector.invalid(causes, "`selector` will be auto-generated");
    }
    if inner.get("manualSelector").is_true() {
        inner
            .get("manualSelector")
            .unsupported(causes, &["nil", "false"]);
    }
    spec.get("successfulJobsHistoryLimit").non_negative(causes);
    spec.get("failedJobsHistoryLimit").non_negative(causes);
    if schedule.is_empty() {
        schedule.required(causes, "");
    }
}

fn time_zone(zone: &At<'_>, causes: &mut Causes) {
    let name = zone.text();
    if name.is_empty() {
        zone.invalid(causes, "timeZone must be nil or non-empty string");
    } else if name.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in \
                   https://www.iana.org/time-zones";
        zone.invalid(causes, why);
    } else if jiff::tz::TimeZone::get(name).is_err() {
        zone.invalid(causes, &format!("unknown time zone {name}"));
    }
}
