//! Tables of pods and of what makes pods.

use serde_json::{Value, json};

use super::text::{self, age, duration, field, labels, list, number as int, or_none};
use super::{AGE, Layout, NAME, Row, number, text as column, wide};

pub(super) const LAYOUTS: &[Layout] = &[
    Layout {
        group: "",
        plural: "pods",
        columns: &[
            NAME,
            column("Ready"),
            column("Status"),
            column("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        cells: pod,
    },
    Layout {
        group: "apps",
        plural: "deployments",
        columns: &[
            NAME,
            column("Ready"),
            number("Up-to-date"),
            number("Available"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        cells: deployment,
    },
    Layout {
        group: "apps",
        plural: "replicasets",
        columns: &[
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        cells: replica_set,
    },
    Layout {
        group: "apps",
        plural: "statefulsets",
        columns: &[
            NAME,
            column("Ready"),
            AGE,
            wide("Containers"),
            wide("Images"),
        ],
        cells: stateful_set,
    },
    Layout {
        group: "apps",
        plural: "daemonsets",
        columns: &[
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            column("Node Selector"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        cells: daemon_set,
    },
    Layout {
        group: "batch",
        plural: "jobs",
        columns: &[
            NAME,
            column("Status"),
            column("Completions"),
            column("Duration"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        cells: job,
    },
    Layout {
        group: "batch",
        plural: "cronjobs",
        columns: &[
            NAME,
            column("Schedule"),
            column("Timezone"),
            column("Suspend"),
            number("Active"),
            column("Last Schedule"),
            AGE,
        ],
        cells: cron_job,
    },
];

/// Containers, images and selector of what makes pods.
fn template(object: &Value) -> [Value; 3] {
    let containers = list(&object["spec"]["template"]["spec"], "containers");
    let join = |name| {
        containers
            .iter()
            .map(|c| field(c, name))
            .collect::<Vec<_>>()
            .join(",")
    };
    [
        join("name").into(),
        join("image").into(),
        selector(&object["spec"]["selector"]).into(),
    ]
}

fn selector(selector: &Value) -> String {
    or_none(crate::selector::LabelSelector::from_object(selector).to_text())
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
    cells.extend(template(row.object));
    cells
}

fn replica_set(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let mut cells = vec![
        row.name(),
        wanted(row.object).into(),
        int(status, "replicas").into(),
        int(status, "readyReplicas").into(),
        row.age(),
    ];
    cells.extend(template(row.object));
    cells
}

fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    let ready = format!(
        "{}/{}",
        int(&row.object["status"], "readyReplicas"),
        wanted(row.object)
    );
    let [containers, images, _] = template(row.object);
    vec![row.name(), ready.into(), row.age(), containers, images]
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
    cells.extend(template(row.object));
    cells
}

fn job(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let holds = |kind: &str| {
        list(status, "conditions")
            .iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    let state = match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if holds("Suspended") => "Suspended",
        () => "Running",
    };
    let completions = spec["completions"].as_i64().unwrap_or(1);
    let start = text::seconds(&status["startTime"]);
    let end = text::seconds(&status["completionTime"]).unwrap_or(row.now);
    let took = start
        .map(|start| duration(end.saturating_sub(start)))
        .unwrap_or_default();
    let mut cells = vec![
        row.name(),
        state.into(),
        format!("{}/{completions}", int(status, "succeeded")).into(),
        took.into(),
        row.age(),
    ];
    cells.extend(template(row.object));
    cells
}

fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let last = &status["lastScheduleTime"];
    let last = if last.is_null() {
        "<none>".to_owned()
    } else {
        age(last, row.now)
    };
    let suspended = if spec["suspend"] == true {
        "True"
    } else {
        "False"
    };
    vec![
        row.name(),
        spec["schedule"].clone(),
        or_none(field(spec, "timeZone").to_owned()).into(),
        suspended.into(),
        list(status, "active").len().into(),
        last.into(),
        row.age(),
    ]
}

fn pod(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let containers = list(status, "containerStatuses");
    let ready = containers
        .iter()
        .filter(|container| container["ready"] == true)
        .count();
    let total = list(spec, "containers").len();
    vec![
        row.name(),
        format!("{ready}/{total}").into(),
        pod_status(row.object).into(),
        restarts(containers, row.now).into(),
        row.age(),
        or_none(field(status, "podIP").to_owned()).into(),
        or_none(field(spec, "nodeName").to_owned()).into(),
        or_none(field(status, "nominatedNodeName").to_owned()).into(),
        readiness_gates(row.object).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let conditions = list(&pod["status"], "conditions");
    let met = gates.iter().filter(|gate| {
        conditions
            .iter()
            .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
    });
    format!("{}/{}", met.count(), gates.len())
}

/// How often its containers were restarted, and when last.
fn restarts(containers: &[Value], now: i64) -> String {
    let count: i64 = containers
        .iter()
        .map(|container| int(container, "restartCount"))
        .sum();
    let last = containers
        .iter()
        .filter_map(|c| text::seconds(&c["lastState"]["terminated"]["finishedAt"]))
        .max();
    match last {
        Some(last) if count > 0 => {
            format!("{count} ({} ago)", duration(now.saturating_sub(last)))
        }
        _ => count.to_string(),
    }
}

/// One word for how a pod is, by Kubernetes' rules.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut word = match field(status, "reason") {
        "" => field(status, "phase"),
        reason => reason,
    }
    .to_owned();
    let initializing = initializing(pod);
    if let Some(text) = &initializing {
        word.clone_from(text);
    } else {
        let mut running = false;
        for container in list(status, "containerStatuses").iter().rev() {
            let state = &container["state"];
            if let Some(text) = troubled(state) {
                word = text;
            } else if container["ready"] == true && state.get("running").is_some() {
                running = true;
            }
        }
        if word == "Completed" && running {
            word = "Running".to_owned();
        }
    }
    if pod["metadata"]
        .get("deletionTimestamp")
        .is_some_and(|time| *time != json!(null))
    {
        return if field(status, "reason") == "NodeLost" {
            "Unknown"
        } else {
            "Terminating"
        }
        .to_owned();
    }
    word
}

/// Why a container does not run, if it does not.
fn troubled(state: &Value) -> Option<String> {
    let waiting = field(&state["waiting"], "reason");
    if !waiting.is_empty() {
        return Some(waiting.to_owned());
    }
    let terminated = state
        .get("terminated")
        .filter(|terminated| terminated.is_object())?;
    Some(
        match (field(terminated, "reason"), int(terminated, "signal")) {
            ("", 0) => format!("ExitCode:{}", int(terminated, "exitCode")),
            ("", signal) => format!("Signal:{signal}"),
            (reason, _) => reason.to_owned(),
        },
    )
}

/// `Init:...` while the first unfinished init container holds the others up.
fn initializing(pod: &Value) -> Option<String> {
    let statuses = list(&pod["status"], "initContainerStatuses");
    let total = list(&pod["spec"], "initContainers").len();
    for (index, container) in statuses.iter().enumerate() {
        let state = &container["state"];
        let terminated = state
            .get("terminated")
            .filter(|terminated| terminated.is_object());
        if terminated.is_some_and(|t| int(t, "exitCode") == 0) || container["started"] == true {
            continue;
        }
        return Some(match troubled(state) {
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{total}"),
        });
    }
    None
}
