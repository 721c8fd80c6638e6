//! What a pod's status says: a pure function of its machine.
//!
//! Whether it is written, and when, is for the agent to decide.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::machine::{Answer, ContainerState, PodMachine, Run};
use super::pod::ContainerSpec;

/// The merge patch of the status of a pod.
#[must_use]
pub(crate) fn patch(machine: &PodMachine, node_address: Ipv4Addr) -> Value {
    let spec = machine.spec();
    let pairs: Vec<_> = spec.containers.iter().zip(machine.containers()).collect();
    let containers: Vec<Value> = pairs
        .iter()
        .map(|(spec, state)| container_status(&spec_key(machine), spec, state))
        .collect();
    let (ready, since) = machine.ready;
    let condition = |kind: &str, truth: bool, at: Timestamp| {
        json!({
            "type": kind,
            "status": if truth { "True" } else { "False" },
            "lastTransitionTime": seconds(at),
        })
    };
    let is_ready = ready == Answer::Ready;
    json!({ "status": {
        "phase": phase(machine),
        "podIP": machine.address().to_string(),
        "podIPs": [{ "ip": machine.address().to_string() }],
        "hostIP": node_address.to_string(),
        "hostIPs": [{ "ip": node_address.to_string() }],
        "startTime": seconds(machine.since),
        "qosClass": "BestEffort",
        "conditions": [
            condition("PodScheduled", true, machine.since),
            condition("Initialized", true, machine.since),
            condition("ContainersReady", is_ready, since),
            condition("Ready", is_ready, since),
        ],
        "containerStatuses": containers,
    } })
}

fn spec_key(machine: &PodMachine) -> String {
    machine.spec().key()
}

fn phase(machine: &PodMachine) -> &'static str {
    let states = machine.containers();
    let never_ran = |state: &ContainerState| state.last_code.is_none();
    if states
        .iter()
        .all(|state| matches!(state.run, Run::Ended { .. }))
    {
        return if states.iter().all(|state| state.last_code.unwrap_or(0) == 0) {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    let waits = |state: &ContainerState| {
        matches!(state.run, Run::Waiting { .. } | Run::Starting) && never_ran(state)
    };
    if states.iter().any(waits) {
        "Pending"
    } else {
        "Running"
    }
}

fn container_status(pod: &str, spec: &ContainerSpec, state: &ContainerState) -> Value {
    let id = match state.run {
        Run::Running { pid, .. } => format!("tombolo://{pid}"),
        Run::Waiting { .. } | Run::Starting | Run::Ended { .. } => String::new(),
    };
    let mut status = json!({
        "name": spec.name,
        "image": spec.image,
        "imageID": format!("tombolo://{pod}/{}", spec.name),
        "ready": state.ready == Answer::Ready && state.is_running(),
        "started": state.is_running(),
        "restartCount": state.restarts,
        "state": run_state(state),
        "containerID": id,
    });
    // A merge patch replaces lists as a whole, so what is absent here is absent in the object.
    if let (Some(code), false) = (state.last_code, matches!(state.run, Run::Ended { .. })) {
        status["lastState"] = json!({ "terminated": { "exitCode": code, "reason": reason(code) } });
    }
    status
}

fn run_state(state: &ContainerState) -> Value {
    match &state.run {
        Run::Waiting {
            reason, message, ..
        } if message.is_empty() => {
            json!({ "waiting": { "reason": reason } })
        }
        Run::Waiting {
            reason, message, ..
        } => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        Run::Starting => json!({ "waiting": { "reason": "ContainerCreating" } }),
        Run::Running { since, .. } => json!({ "running": { "startedAt": seconds(*since) } }),
        Run::Ended { code, at } => json!({ "terminated": {
            "exitCode": code, "reason": reason(*code), "finishedAt": seconds(*at),
        } }),
    }
}

fn reason(code: i32) -> &'static str {
    if code == 0 { "Completed" } else { "Error" }
}

/// A time as Kubernetes writes it: whole seconds.
pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::machine::{Event, Now};
    use super::super::pod::PodSpec;
    use super::*;

    #[test]
    fn a_pod_becomes_ready_in_its_status_and_shows_its_restarts() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "app", "image": "tombolo/echo"}]},
        });
        let spec = PodSpec::read(&serde_json::from_value(object).unwrap()).unwrap();
        let now = Now {
            monotonic: Instant::now(),
            wall: Timestamp::UNIX_EPOCH,
        };
        let mut machine = PodMachine::new(spec, Ipv4Addr::new(127, 100, 0, 1), &[4], now);
        let node = Ipv4Addr::new(127, 10, 0, 3);
        assert_eq!(patch(&machine, node)["status"]["phase"], "Pending");
        machine.handle_timeout(now);
        machine.on(
            now,
            Event::Started {
                container: 0,
                pid: 9,
            },
        );
        machine.on(
            now,
            Event::Probed {
                container: 0,
                pid: 9,
                answer: Answer::Ready,
            },
        );
        let status = &patch(&machine, node)["status"];
        assert_eq!(status["phase"], "Running");
        assert_eq!(status["podIP"], "127.100.0.1");
        assert_eq!(status["conditions"][3]["type"], "Ready");
        assert_eq!(status["conditions"][3]["status"], "True");
        assert_eq!(status["containerStatuses"][0]["restartCount"], 4);
        assert_eq!(status["containerStatuses"][0]["containerID"], "tombolo://9");
        machine.on(
            now,
            Event::Exited {
                container: 0,
                code: 137,
            },
        );
        let status = &patch(&machine, node)["status"];
        assert_eq!(status["conditions"][3]["status"], "False");
        assert_eq!(
            status["containerStatuses"][0]["state"]["waiting"]["reason"],
            "CrashLoopBackOff"
        );
        assert_eq!(
            status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"],
            137
        );
    }
}
