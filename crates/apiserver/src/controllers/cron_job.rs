//! CronJob to Jobs: one whenever the schedule says so.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::action::{Action, Behalf};
use super::events::Note;
use super::job::{finished, jobs};
use super::pods::{controlled_by, is_controlled_by};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::store::json::{child, fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::{Propagation, Subresource};
use crate::store::schedule;

const COMPONENT: &str = "cronjob-controller";
/// For which time a Job was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

fn cron_jobs() -> StorageKey {
    StorageKey::new("batch", "cronjobs")
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&cron_jobs(), namespace, name) else {
        return plan;
    };
    let before = object.value();
    let mut cron = before.clone();
    let owned: Vec<Value> = view
        .state
        .within(&jobs(), Some(namespace))
        .filter(|job| job.owners().any(|owner| owner == object.uid()))
        .map(|job| job.value())
        .filter(|job| is_controlled_by(job, object.uid()))
        .collect();
    forget_old(&cron, &owned, &mut plan);
    wonder(&cron, &owned, &mut plan);
    note_active(&mut cron, &owned, &mut plan);
    if !object.is_terminating() && cron["spec"]["suspend"] != true {
        start_next(view, &mut cron, &owned, &mut plan);
    }
    if cron != before {
        plan.actions
            .push(Action::Update(cron_jobs(), Subresource::Status, cron));
    }
    plan
}

/// Deletes what ended long ago.
fn forget_old(cron: &Value, owned: &[Value], plan: &mut Plan) {
    for (kind, limit) in [
        ("Complete", "successfulJobsHistoryLimit"),
        ("Failed", "failedJobsHistoryLimit"),
    ] {
        let Some(limit) = cron["spec"][limit].as_u64() else {
            continue;
        };
        let ended = owned.iter().filter(|job| finished(job) == Some(kind));
        let mut ended: Vec<&Value> = ended.collect();
        ended.sort_by_key(|job| (text(&job["status"], "startTime"), name_of(job)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for job in &ended[..ended.len().saturating_sub(limit)] {
            plan.actions.push(delete(cron, job));
        }
    }
}

fn name_of(job: &Value) -> &str {
    text(&job["metadata"], "name")
}

fn delete(cron: &Value, job: &Value) -> Action {
    let deleted = format!("Deleted job {}", name_of(job));
    Action::Behalf(Box::new(Behalf {
        action: Action::delete(&jobs(), job, Propagation::Background),
        done: Some(Note::new(COMPONENT, cron, "SuccessfulDelete", deleted)),
        failed: Some(Note::new(
            COMPONENT,
            cron,
            "FailedDelete",
            "Deleted job: {error}",
        )),
        condition: None,
    }))
}

/// Tells of Jobs that somebody else has made.
fn wonder(cron: &Value, owned: &[Value], plan: &mut Plan) {
    let known = list(&cron["status"], "active");
    for job in owned {
        let meta = &job["metadata"];
        let listed = known.iter().any(|one| one["uid"] == meta["uid"]);
        if listed || finished(job).is_some() || !meta["annotations"][SCHEDULED].is_null() {
            continue;
        }
        let message = format!(
            "Saw a job that the controller did not create or forgot: {}",
            name_of(job)
        );
        let note = Note::new(COMPONENT, cron, "UnexpectedJob", message).warning();
        plan.actions.push(Action::Tell(note));
    }
}

/// Notes which Jobs run, and what has come of those that ran.
fn note_active(cron: &mut Value, owned: &[Value], plan: &mut Plan) {
    let known = list(&cron["status"], "active").to_vec();
    let uid = |job: &Value| job["metadata"]["uid"].clone();
    let mut last = text(&cron["status"], "lastSuccessfulTime").to_owned();
    for reference in &known {
        let job = owned.iter().find(|job| uid(job) == reference["uid"]);
        let name = text(reference, "name");
        let (reason, message) = match job.map(|job| (job, finished(job))) {
            None => ("MissingJob", format!("Active job went missing: {name}")),
            Some((job, Some(kind))) => {
                let at = text(&job["status"], "completionTime");
                if kind == "Complete" && at > last.as_str() {
                    last = at.to_owned();
                }
                let message = format!("Saw completed job: {name}, condition: {kind}");
                ("SawCompletedJob", message)
            }
            Some((_, None)) => continue,
        };
        let note = Note::new(COMPONENT, cron, reason, message);
        plan.actions.push(Action::Tell(note));
    }
    let running = owned.iter().filter(|job| {
        let scheduled = !job["metadata"]["annotations"][SCHEDULED].is_null();
        scheduled && finished(job).is_none()
    });
    let active: Vec<Value> = running
        .map(|job| {
            let before = known.iter().find(|one| one["uid"] == uid(job)).cloned();
            before.unwrap_or_else(|| super::events::reference(job))
        })
        .collect();
    let status = child(cron, "status");
    set(
        status,
        "active",
        (!active.is_empty()).then(|| active.into()),
    );
    set(
        status,
        "lastSuccessfulTime",
        (!last.is_empty()).then(|| last.into()),
    );
}

/// Makes the Job that is due, and says when to look again.
fn start_next(view: &View<'_>, cron: &mut Value, owned: &[Value], plan: &mut Plan) {
    let spec = cron["spec"].clone();
    let Ok(schedule) = schedule::parse(text(&spec, "schedule")) else {
        return;
    };
    let schedule = schedule.in_zone(text(&spec, "timeZone"));
    if let Some(next) = schedule.next_after(view.now) {
        plan.look_at(next);
    }
    let time = |value: &Value, name: &str| text(value, name).parse::<Timestamp>().ok();
    let last = time(&cron["status"], "lastScheduleTime");
    let Some(mut since) = last.or_else(|| time(&cron["metadata"], "creationTimestamp")) else {
        return;
    };
    if let Some(deadline) = spec["startingDeadlineSeconds"].as_i64() {
        let earliest = view.now.checked_sub(SignedDuration::from_secs(deadline));
        since = earliest.map_or(since, |earliest| since.max(earliest));
    }
    let Some(at) = schedule.last_between(since, view.now) else {
        return;
    };
    let name = format!("{}-{}", name_of(cron), at.as_second() / 60);
    let running: Vec<&Value> = owned.iter().filter(|job| finished(job).is_none()).collect();
    let policy = text(&spec, "concurrencyPolicy");
    if policy == "Forbid" && !running.is_empty() {
        let message = "Not starting job because prior execution is running and concurrency policy \
                       is Forbid";
        let note = Note::new(COMPONENT, cron, "JobAlreadyActive", message);
        plan.actions.push(Action::Tell(note));
        return;
    }
    if policy == "Replace" {
        for job in running.iter().filter(|job| name_of(job) != name) {
            plan.actions.push(delete(cron, job));
        }
    }
    let job = job_of(cron, &name, schedule.written(at));
    plan.actions.push(Action::Behalf(Box::new(Behalf {
        action: Action::Create(jobs(), job),
        done: Some(Note::new(
            COMPONENT,
            cron,
            "SuccessfulCreate",
            "Created job {name}",
        )),
        failed: Some(Note::new(
            COMPONENT,
            cron,
            "FailedCreate",
            "Error creating job: {error}",
        )),
        condition: None,
    })));
    child(cron, "status").insert("lastScheduleTime".to_owned(), stamp(at).into());
}

fn job_of(cron: &Value, name: &str, at: String) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut meta = Map::new();
    if let Some(labels) = template["metadata"].get("labels") {
        meta.insert("labels".to_owned(), labels.clone());
    }
    let mut annotations = template["metadata"]["annotations"].clone();
    fields(&mut annotations).insert(SCHEDULED.to_owned(), at.into());
    meta.insert("annotations".to_owned(), annotations);
    meta.insert("name".to_owned(), name.into());
    meta.insert(
        "namespace".to_owned(),
        cron["metadata"]["namespace"].clone(),
    );
    let owners = controlled_by("batch/v1", "CronJob", cron);
    meta.insert("ownerReferences".to_owned(), owners);
    json!({ "metadata": meta, "spec": template["spec"] })
}
