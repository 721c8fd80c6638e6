//! Tables of what makes pods.

use serde_json::{Value, json};

use super::pods::holds;
use super::text::{self, age, duration, field, labels, list, number as int, or_none};
use super::{Layout, Row, layout};

pub(super) const LAYOUTS: &[Layout] = &[
    layout("apps", "deployments", deployment),
    layout("apps", "replicasets", replica_set),
    layout("", "replicationcontrollers", replication_controller),
    layout("apps", "statefulsets", stateful_set),
    layout("apps", "daemonsets", daemon_set),
    layout("apps", "controllerrevisions", revision),
    layout("batch", "jobs", job),
    layout("batch", "cronjobs", cron_job),
];

/// Names and images of a template's containers.
pub(super) fn containers(template: &Value) -> [Value; 2] {
    let containers = list(&template["spec"], "containers");
    ["name", "image"].map(|name| {
        let all: Vec<&str> = containers.iter().map(|c| field(c, name)).collect();
        all.join(",").into()
    })
}

/// A label selector as text.
pub(super) fn selector(selector: &Value) -> String {
    or_none(crate::selector::LabelSelector::from_object(selector).to_text())
}

/// Containers, images and selector of what makes pods.
fn template(spec: &Value) -> [Value; 3] {
    let [names, images] = containers(&spec["template"]);
    [names, images, selector(&spec["selector"]).into()]
}

/// Replicas wanted; one, if it is not said.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn deployment(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let ready = format!("{}/{}", int(status, "readyReplicas"), wanted(row.object));
    let mut cells = vec![
        row.name(),
        ready.into(),
        int(status, "updatedReplicas").into(),
        int(status, "availableReplicas").into(),
        row.age(),
    ];
    cells.extend(template(&row.object["spec"]));
    cells
}

fn replicas(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    vec![
        row.name(),
        wanted(row.object).into(),
        int(status, "replicas").into(),
        int(status, "readyReplicas").into(),
        row.age(),
    ]
}

fn replica_set(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    cells.extend(template(&row.object["spec"]));
    cells
}

fn replication_controller(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    let spec = &row.object["spec"];
    cells.extend(containers(&spec["template"]));
    cells.push(labels(&spec["selector"]).into());
    cells
}

fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    let ready = int(&row.object["status"], "readyReplicas");
    let ready = format!("{ready}/{}", wanted(row.object));
    let [names, images] = containers(&row.object["spec"]["template"]);
    vec![row.name(), ready.into(), row.age(), names, images]
}

fn daemon_set(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let mut cells = vec![
        row.name(),
        int(status, "desiredNumberScheduled").into(),
        int(status, "currentNumberScheduled").into(),
        int(status, "numberReady").into(),
        int(status, "updatedNumberScheduled").into(),
        int(status, "numberAvailable").into(),
        labels(&row.object["spec"]["template"]["spec"]["nodeSelector"]).into(),
        row.age(),
    ];
    cells.extend(template(&row.object["spec"]));
    cells
}

fn revision(row: &Row<'_>) -> Vec<Value> {
    let owner = list(&row.object["metadata"], "ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true);
    let owner = owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let kind = field(owner, "kind").to_lowercase();
            match field(owner, "apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", field(owner, "name")),
                None => format!("{kind}/{}", field(owner, "name")),
            }
        },
    );
    let number = row.object["revision"].as_i64().unwrap_or(0);
    vec![row.name(), owner.into(), number.into(), row.age()]
}

fn job_state(row: &Row<'_>) -> &'static str {
    let status = &row.object["status"];
    let words = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("", "Terminating"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    words
        .iter()
        .find(|(kind, _)| match *kind {
            "" => row.is_terminating(),
            kind => holds(status, kind),
        })
        .map_or("Running", |(_, word)| word)
}

fn job(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let succeeded = int(status, "succeeded");
    let completions = match (spec["completions"].as_i64(), int(spec, "parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let start = text::seconds(&status["startTime"]);
    let end = text::seconds(&status["completionTime"]).unwrap_or(row.now);
    let took = start
        .map(|start| duration(end.saturating_sub(start)))
        .unwrap_or_default();
    let mut cells = vec![
        row.name(),
        job_state(row).into(),
        completions.into(),
        took.into(),
        row.age(),
    ];
    cells.extend(template(spec));
    cells
}

fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let last = match &status["lastScheduleTime"] {
        Value::Null => "<none>".to_owned(),
        last => age(last, row.now),
    };
    let suspended = match spec["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let mut cells = vec![
        row.name(),
        spec["schedule"].clone(),
        spec["timeZone"].as_str().unwrap_or("<none>").into(),
        suspended.into(),
        list(status, "active").len().into(),
        last.into(),
        row.age(),
    ];
    let job = &spec["jobTemplate"]["spec"];
    cells.extend(containers(&job["template"]));
    cells.push(if job["selector"].is_null() {
        json!("<none>")
    } else {
        selector(&job["selector"]).into()
    });
    cells
}
