//! DaemonSet to Pods: one on every node that it fits.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::action::{Action, Behalf};
use super::claim::{Owner, claim, selects_own};
use super::events::Note;
use super::history::{self, HASH};
use super::pods::{
    Availability, availability, controlled_by, is_active, is_finished, is_ready, pod_of, pods,
};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, set, text};
use crate::store::request::{Propagation, Subresource};

const COMPONENT: &str = "daemonset-controller";

/// The collection of DaemonSets.
fn daemon_sets() -> StorageKey {
    StorageKey::new("apps", "daemonsets")
}

/// What a DaemonSet's nodes and Pods add up to.
#[derive(Default)]
struct Counts {
    desired: i64,
    current: i64,
    stray: i64,
    ready: i64,
    available: i64,
    updated: i64,
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&daemon_sets(), namespace, name) else {
        return plan;
    };
    if object.is_terminating() {
        return plan;
    }
    let mut daemon = object.value();
    let selector = LabelSelector::from_object(&daemon["spec"]["selector"]);
    if !selects_own(&selector, &daemon["spec"]["template"]) {
        return plan;
    }
    let revision = history::current(view, &daemon, "DaemonSet", &mut plan);
    let Some(revision) = revision else {
        return plan;
    };
    let hash = revision.hash.clone();
    let by_node = pods_by_node(view, &daemon, &mut plan);
    let mut counts = Counts::default();
    let nodes = StorageKey::new("", "nodes");
    let (mut writes, mut old) = (Vec::new(), Vec::new());
    for node in view.state.within(&nodes, None) {
        let found = by_node.get(node.name()).map_or(&[][..], Vec::as_slice);
        let fits = fits(&daemon, &node.value());
        let active: Vec<&Value> = found.iter().filter(|pod| is_active(pod)).collect();
        tally(
            view,
            (&daemon, &hash),
            (fits, &active),
            (&mut counts, &mut plan),
        );
        match (fits, active.is_empty()) {
            (true, true) if found.iter().all(is_finished) => {
                writes.push(create(&daemon, node.name(), &hash));
            }
            (true, false) => {
                let outdated = |pod: &&&Value| pod["metadata"]["labels"][HASH] != hash;
                old.extend(active.iter().filter(outdated).map(|pod| (*pod).clone()));
            }
            (false, false) => writes.extend(active.iter().map(|pod| delete(&daemon, pod))),
            _ => {}
        }
        let ended = found.iter().filter(|pod| is_finished(pod) && fits);
        writes.extend(ended.map(|pod| delete(&daemon, pod)));
    }
    keep_pace(view, &mut writes, &mut plan);
    writes.extend(replaced(view, &daemon, &counts, &old));
    status(&mut daemon, &counts, &mut plan);
    history::truncate(view, &daemon, &[&revision.name], &mut plan);
    plan.actions.extend(writes);
    plan
}

/// Makes no more Pods than there is room for.
fn keep_pace(view: &View<'_>, writes: &mut Vec<Action>, plan: &mut Plan) {
    let mut made = 0;
    writes.retain(|write| {
        made += usize::from(write.makes_pod());
        !write.makes_pod() || made <= view.room.pods
    });
    if made > view.room.pods {
        plan.wait_for_room(view);
    }
}

fn pods_by_node(view: &View<'_>, daemon: &Value, plan: &mut Plan) -> BTreeMap<String, Vec<Value>> {
    let selector = LabelSelector::from_object(&daemon["spec"]["selector"]);
    let owner = Owner {
        api_version: "apps/v1",
        kind: "DaemonSet",
        object: daemon,
        selector: &selector,
    };
    let mut by_node: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pod in claim(view, &owner, plan) {
        let node = node_of(&pod).to_owned();
        by_node.entry(node).or_default().push(pod);
    }
    by_node
}

/// The node that a Pod is on, or is made for.
fn node_of(pod: &Value) -> &str {
    let node = text(&pod["spec"], "nodeName");
    if !node.is_empty() {
        return node;
    }
    let required =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(required, "nodeSelectorTerms").iter();
    terms
        .flat_map(|term| list(term, "matchFields"))
        .find(|field| field["key"] == "metadata.name")
        .and_then(|field| list(field, "values").first()?.as_str())
        .unwrap_or_default()
}

/// Whether a node has the labels that are asked for, and no taint that is not tolerated.
fn fits(daemon: &Value, node: &Value) -> bool {
    let spec = &daemon["spec"]["template"]["spec"];
    let labels = &node["metadata"]["labels"];
    let wanted = spec["nodeSelector"].as_object();
    let labelled = wanted
        .into_iter()
        .flatten()
        .all(|(name, value)| labels[name] == *value);
    let named = text(spec, "nodeName");
    let named = named.is_empty() || node["metadata"]["name"] == named;
    let tolerations: Vec<Value> = list(spec, "tolerations")
        .iter()
        .cloned()
        .chain(tolerations())
        .collect();
    let tolerated = list(&node["spec"], "taints")
        .iter()
        .filter(|taint| matches!(text(taint, "effect"), "NoSchedule" | "NoExecute"))
        .all(|taint| tolerations.iter().any(|one| tolerates(one, taint)));
    labelled && named && tolerated
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let effect = text(toleration, "effect");
    let key = text(toleration, "key");
    let same_effect = effect.is_empty() || taint["effect"] == effect;
    let exists = toleration["operator"] == "Exists";
    let same_key = (key.is_empty() && exists) || taint["key"] == key;
    same_effect && same_key && (exists || text(toleration, "value") == text(taint, "value"))
}

/// What every daemon tolerates.
fn tolerations() -> Vec<Value> {
    [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ]
    .iter()
    .map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect}))
    .collect()
}

fn tally(
    view: &View<'_>,
    (daemon, hash): (&Value, &str),
    (fits, active): (bool, &[&Value]),
    (counts, plan): (&mut Counts, &mut Plan),
) {
    if !fits {
        counts.stray += i64::from(!active.is_empty());
        return;
    }
    counts.desired += 1;
    let Some(pod) = active.first() else { return };
    counts.current += 1;
    counts.ready += i64::from(is_ready(pod));
    let min_ready = daemon["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    match availability(pod, min_ready, view.now) {
        Availability::Available => counts.available += 1,
        Availability::At(at) => plan.look_at(at),
        Availability::Unavailable => {}
    }
    counts.updated += i64::from(pod["metadata"]["labels"][HASH] == hash);
}

fn behalf(
    daemon: &Value,
    action: Action,
    done: (&'static str, &str),
    failed: (&'static str, &str),
) -> Action {
    Action::Behalf(Box::new(Behalf {
        action,
        done: Some(Note::new(COMPONENT, daemon, done.0, done.1)),
        failed: Some(Note::new(COMPONENT, daemon, failed.0, failed.1)),
        condition: None,
    }))
}

fn create(daemon: &Value, node: &str, hash: &str) -> Action {
    let owner = controlled_by("apps/v1", "DaemonSet", daemon);
    let mut pod = pod_of(daemon, &daemon["spec"]["template"], owner);
    let labels = child(&mut pod, "metadata")
        .entry("labels")
        .or_insert(Value::Null);
    let labels = fields(labels);
    labels.insert(HASH.to_owned(), hash.into());
    labels.insert(
        "pod-template-generation".to_owned(),
        daemon["metadata"]["generation"].to_string().into(),
    );
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]}]});
    let more = child(&mut pod, "spec")
        .entry("tolerations")
        .or_insert_with(|| json!([]));
    if let Value::Array(more) = more {
        for toleration in tolerations() {
            if !more.contains(&toleration) {
                more.push(toleration);
            }
        }
    }
    behalf(
        daemon,
        Action::Create(pods(), pod),
        ("SuccessfulCreate", "Created pod: {name}"),
        ("FailedCreate", "Error creating: {error}"),
    )
}

fn delete(daemon: &Value, pod: &Value) -> Action {
    behalf(
        daemon,
        Action::delete(&pods(), pod, Propagation::Background),
        ("SuccessfulDelete", "Deleted pod: {name}"),
        ("FailedDelete", "Error deleting: {error}"),
    )
}

/// Pods of an older template go if the strategy says so: those that serve nobody at once, of the
/// others as many as may be missing.
fn replaced(view: &View<'_>, daemon: &Value, counts: &Counts, old: &[Value]) -> Vec<Action> {
    let strategy = &daemon["spec"]["updateStrategy"];
    if strategy["type"] == "OnDelete" {
        return Vec::new();
    }
    let limit = match &strategy["rollingUpdate"]["maxUnavailable"] {
        Value::Number(number) => number.as_i64().unwrap_or(1),
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            (percent.clamp(0, 100) * counts.desired + 99) / 100
        }
        _ => 1,
    };
    let mut spare = limit.max(1) - (counts.desired - counts.available);
    let min_ready = daemon["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let mut deletes = Vec::new();
    for pod in old {
        let serves = availability(pod, min_ready, view.now) == Availability::Available;
        if serves && spare <= 0 {
            continue;
        }
        spare -= i64::from(serves);
        deletes.push(delete(daemon, pod));
    }
    deletes
}

fn status(daemon: &mut Value, counts: &Counts, plan: &mut Plan) {
    let mut status = daemon["status"].clone();
    let map = fields(&mut status);
    for (name, number) in [
        ("currentNumberScheduled", counts.current),
        ("desiredNumberScheduled", counts.desired),
        ("numberMisscheduled", counts.stray),
        ("numberReady", counts.ready),
    ] {
        map.insert(name.to_owned(), number.into());
    }
    for (name, number) in [
        ("updatedNumberScheduled", counts.updated),
        ("numberAvailable", counts.available),
        ("numberUnavailable", counts.desired - counts.available),
    ] {
        set(map, name, (number > 0).then(|| number.into()));
    }
    let generation = daemon["metadata"]["generation"].clone();
    map.insert("observedGeneration".to_owned(), generation);
    if status != daemon["status"] {
        daemon["status"] = status;
        let update = Action::Update(daemon_sets(), Subresource::Status, daemon.clone());
        plan.actions.push(update);
    }
}
