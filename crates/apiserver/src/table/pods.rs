//! Tables of pods and of templates of pods.

use serde_json::{Value, json};

use super::text::{self, duration, field, labels, list, number as int, or_none};
use super::workloads::containers;
use super::{Layout, Row, layout};

pub(super) const LAYOUTS: &[Layout] = &[
    layout("", "pods", pod),
    layout("", "podtemplates", |row| {
        let template = &row.object["template"];
        let [names, images] = containers(template);
        vec![
            row.name(),
            names,
            images,
            labels(&template["metadata"]["labels"]).into(),
        ]
    }),
];

/// That a Pod has come to its end.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let phase = field(&pod["status"], "phase");
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
}

/// What is counted while looking through a Pod's containers.
#[derive(Default)]
struct Tally {
    ready: usize,
    restarts: i64,
    last: Option<i64>,
    /// Of init containers that go on beside the others.
    beside: (i64, Option<i64>),
}

impl Tally {
    fn restarted(&mut self, container: &Value) {
        let (count, last) = restarts(container);
        self.restarts += count;
        self.last = self.last.max(last);
    }
}

fn restarts(container: &Value) -> (i64, Option<i64>) {
    let last = text::seconds(&container["lastState"]["terminated"]["finishedAt"]);
    (int(container, "restartCount"), last)
}

fn pod(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let beside = list(spec, "initContainers")
        .iter()
        .filter(|container| container["restartPolicy"] == "Always");
    let total = list(spec, "containers").len() + beside.count();
    let mut tally = Tally::default();
    let word = word(row.object, &mut tally);
    let restarts = match tally.last {
        Some(last) if tally.restarts != 0 => format!(
            "{} ({} ago)",
            tally.restarts,
            duration(row.now.saturating_sub(last))
        ),
        _ => tally.restarts.to_string(),
    };
    let ip = list(status, "podIPs").first();
    vec![
        row.name(),
        format!("{}/{total}", tally.ready).into(),
        word.into(),
        restarts.into(),
        row.age(),
        or_none(ip.map_or("", |ip| field(ip, "ip")).to_owned()).into(),
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
    let met = gates
        .iter()
        .filter(|gate| holds(&pod["status"], field(gate, "conditionType")));
    format!("{}/{}", met.count(), gates.len())
}

/// Whether the first condition of a type is true.
pub(super) fn holds(status: &Value, kind: &str) -> bool {
    let mut conditions = list(status, "conditions").iter();
    conditions
        .find(|condition| condition["type"] == kind)
        .is_some_and(|condition| condition["status"] == "True")
}

/// One word for how a Pod is.
fn word(pod: &Value, tally: &mut Tally) -> String {
    let status = &pod["status"];
    let phase = field(status, "phase");
    let reason = field(status, "reason");
    let mut word = if reason.is_empty() { phase } else { reason }.to_owned();
    let gated = list(status, "conditions").iter().any(|condition| {
        condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
    });
    if gated {
        "SchedulingGated".clone_into(&mut word);
    }
    let initializing = initializing(pod, tally);
    let has_begun = initializing.is_none();
    word = initializing.unwrap_or(word);
    if has_begun || holds(status, "Initialized") {
        running(status, &mut word, tally);
    }
    let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
    if terminating && reason == "NodeLost" {
        "Unknown".clone_into(&mut word);
    } else if terminating && !matches!(phase, "Succeeded" | "Failed") {
        "Terminating".clone_into(&mut word);
    }
    word
}

/// What the containers themselves say.
fn running(status: &Value, word: &mut String, tally: &mut Tally) {
    (tally.restarts, tally.last) = tally.beside;
    let (mut runs, mut failure) = (false, String::new());
    for container in list(status, "containerStatuses").iter().rev() {
        tally.restarted(container);
        let state = &container["state"];
        let waiting = field(&state["waiting"], "reason");
        if !waiting.is_empty() {
            waiting.clone_into(word);
        } else if state["terminated"].is_object() {
            *word = ended(&state["terminated"]);
            if int(&state["terminated"], "exitCode") != 0 {
                failure.clone_from(word);
            }
        } else if container["ready"] == true && state["running"].is_object() {
            runs = true;
            tally.ready += 1;
        }
    }
    if word != "Completed" {
        return;
    }
    if runs && holds(status, "Ready") {
        "Running".clone_into(word);
    } else if !failure.is_empty() {
        *word = failure;
    } else if runs {
        "NotReady".clone_into(word);
    }
}

/// How a container ended.
fn ended(terminated: &Value) -> String {
    match (field(terminated, "reason"), int(terminated, "signal")) {
        ("", 0) => format!("ExitCode:{}", int(terminated, "exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// `Init:...` while the first unfinished init container holds the others up.
fn initializing(pod: &Value, tally: &mut Tally) -> Option<String> {
    let specs = list(&pod["spec"], "initContainers");
    let statuses = list(&pod["status"], "initContainerStatuses");
    for (index, container) in statuses.iter().enumerate() {
        tally.restarted(container);
        let spec = specs.iter().find(|spec| spec["name"] == container["name"]);
        let beside = spec.is_some_and(|spec| spec["restartPolicy"] == "Always");
        if beside {
            let (count, last) = restarts(container);
            tally.beside = (tally.beside.0 + count, tally.beside.1.max(last));
        }
        let state = &container["state"];
        let terminated = &state["terminated"];
        if terminated.is_object() && int(terminated, "exitCode") == 0 {
            continue;
        }
        if beside && container["started"] == true {
            tally.ready += usize::from(container["ready"] == true);
            continue;
        }
        let waiting = field(&state["waiting"], "reason");
        return Some(if terminated.is_object() {
            format!("Init:{}", ended(terminated))
        } else if waiting.is_empty() || waiting == "PodInitializing" {
            format!("Init:{index}/{}", specs.len())
        } else {
            format!("Init:{waiting}")
        });
    }
    None
}
