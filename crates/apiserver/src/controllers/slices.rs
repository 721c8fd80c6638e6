//! EndpointSlices of Services with selectors: who serves behind a name.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::action::Action;
use super::events::Note;
use super::pods::{controlled_by, is_finished, is_ready, pods};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, text};
use crate::store::request::{Propagation, Subresource};

/// The label by which a slice belongs to a Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label of a node that names its zone.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const US: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints in one slice.
const ENDPOINTS_MAX: usize = 100;

pub(super) fn slices() -> StorageKey {
    StorageKey::new("discovery.k8s.io", "endpointslices")
}

/// The slices of a Service that a controller of that name manages.
pub(super) fn managed(view: &View<'_>, (namespace, name): (&str, &str), by: &str) -> Vec<Value> {
    view.state
        .within(&slices(), Some(namespace))
        .filter(|slice| slice.label(SERVICE_NAME) == Some(name))
        .filter(|slice| slice.label(MANAGED_BY) == Some(by) && !slice.is_terminating())
        .map(|slice| slice.value())
        .collect()
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let ours = managed(view, (namespace, name), US);
    let service = view
        .state
        .get(&StorageKey::new("", "services"), namespace, name);
    let service = service
        .filter(|service| !service.is_terminating())
        .map(|found| found.value());
    let Some(service) = service.filter(selects) else {
        // A Service that no longer selects keeps its slices, as in Kubernetes: somebody else
        // looks after them now. Those of a Service that is gone go with it.
        return plan;
    };
    let mut lost = Vec::new();
    let mut groups = groups(view, &service, &mut lost);
    if groups.is_empty() {
        // One slice says that nobody serves.
        groups.insert(key_of(&Value::Null), Group::default());
    }
    let mut spare = Vec::new();
    for slice in &ours {
        match groups
            .get_mut(&key_of(slice))
            .filter(|_| slice["addressType"] == "IPv4")
        {
            Some(group) => keep(&service, slice, group, &mut plan),
            None => spare.push(slice),
        }
    }
    for (_, mut group) in groups {
        while group.kept == 0 || !group.endpoints.is_empty() {
            group.kept += 1;
            let mut endpoints = Vec::new();
            fill(&mut endpoints, &mut group);
            match spare.pop() {
                Some(slice) => update(&service, slice, (&group.ports, endpoints), &mut plan),
                None => plan.actions.push(create(&service, &group.ports, endpoints)),
            }
        }
    }
    plan.actions.extend(spare.into_iter().map(delete));
    date(view, &service, &ours, &mut plan);
    if !lost.is_empty() {
        let all = match lost.as_slice() {
            [one] => one.clone(),
            more => format!("[{}]", more.join(", ")),
        };
        let message =
            format!("Error updating Endpoint Slices for Service {namespace}/{name}: {all}");
        let reason = "FailedToUpdateEndpointSlices";
        let note = Note::new("endpoint-slice-controller", &service, reason, message);
        plan.actions.push(Action::Tell(note.warning()));
    }
    plan
}

/// Writes into each slice that is made or changed, from what time the change is.
fn date(view: &View<'_>, service: &Value, ours: &[Value], plan: &mut Plan) {
    let meta = &service["metadata"];
    let pods_of = |slice: &Value| -> BTreeMap<String, Value> {
        let endpoints = list(slice, "endpoints").iter();
        let named = endpoints.map(|one| (text(&one["targetRef"], "name").to_owned(), one.clone()));
        named.collect()
    };
    let before: BTreeMap<String, Value> = ours.iter().flat_map(pods_of).collect();
    let namespace = text(meta, "namespace");
    for action in &mut plan.actions {
        let (Action::Create(_, slice) | Action::Update(_, _, slice)) = action else {
            continue;
        };
        let trigger = if ours.is_empty() {
            Some(text(meta, "creationTimestamp").to_owned())
        } else {
            let since = |name: &str| pod_trigger(view, namespace, name);
            trigger_of_new(&before, &pods_of(slice), since)
        };
        annotate(child(slice, "metadata"), trigger);
    }
}

/// By its ports a slice belongs to a group.
fn key_of(slice: &Value) -> String {
    Value::Array(list(slice, "ports").to_vec()).to_string()
}

/// Whether a Service chooses its Pods.
pub(super) fn selects(service: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|selector| !selector.is_empty())
        && service["spec"]["type"] != "ExternalName"
}

/// Endpoints that have the same ports.
#[derive(Debug, Default)]
struct Group {
    ports: Vec<Value>,
    /// By the Pod's name; those that no slice has yet.
    endpoints: BTreeMap<String, Value>,
    /// How many slices hold the others.
    kept: usize,
}

/// The endpoints behind a Service, by their ports. Pods whose node is not known do not count.
fn groups(view: &View<'_>, service: &Value, lost: &mut Vec<String>) -> BTreeMap<String, Group> {
    let namespace = text(&service["metadata"], "namespace");
    let selector = LabelSelector::from_map(&service["spec"]["selector"]);
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let nodes = StorageKey::new("", "nodes");
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let pods = pods();
    let selected = view
        .state
        .within(&pods, Some(namespace))
        .filter(|pod| selector.matches(|key| pod.label(key)));
    for object in selected {
        let pod = object.value();
        let address = text(&pod["status"], "podIP");
        if is_finished(&pod)
            || !address
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_ipv4())
        {
            continue;
        }
        let node = text(&pod["spec"], "nodeName");
        if !publish && view.state.get(&nodes, "", node).is_none() {
            lost.push(format!(
                "skipping Pod {} for Service {namespace}/{}: Node {node} Not Found",
                object.name(),
                text(&service["metadata"], "name")
            ));
            continue;
        }
        let ports = ports(service, &pod);
        let key = Value::Array(ports.clone()).to_string();
        let group = groups.entry(key).or_default();
        group.ports = ports;
        group
            .endpoints
            .insert(object.name().to_owned(), endpoint(view, service, &pod));
    }
    groups
}

fn endpoint(view: &View<'_>, service: &Value, pod: &Value) -> Value {
    let meta = &pod["metadata"];
    let serving = is_ready(pod);
    let terminating = !meta["deletionTimestamp"].is_null();
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let ready = publish || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "targetRef": { "kind": "Pod", "namespace": meta["namespace"], "name": meta["name"],
                       "uid": meta["uid"] },
    });
    let node = text(&pod["spec"], "nodeName");
    if !node.is_empty() {
        endpoint["nodeName"] = json!(node);
        let node = view.state.get(&StorageKey::new("", "nodes"), "", node);
        if let Some(zone) = node.and_then(|node| node.label(ZONE)) {
            endpoint["zone"] = json!(zone);
        }
    }
    let named = pod["spec"]["subdomain"] == service["metadata"]["name"];
    if let Some(host) = pod["spec"]["hostname"].as_str().filter(|_| named) {
        endpoint["hostname"] = json!(host);
    }
    endpoint
}

/// The Service's ports as they are on this Pod; named ones that it does not have are left out.
pub(super) fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in list(&service["spec"], "ports") {
        let protocol = text(port, "protocol");
        let number = match &port["targetPort"] {
            Value::Number(number) => number.as_i64(),
            Value::String(name) => list(&pod["spec"], "containers")
                .iter()
                .flat_map(|container| list(container, "ports"))
                .find(|found| found["name"] == *name && text(found, "protocol") == protocol)
                .and_then(|found| found["containerPort"].as_i64()),
            _ => port["port"].as_i64(),
        };
        let Some(number) = number else { continue };
        let mut entry = json!({ "name": text(port, "name"), "protocol": protocol, "port": number });
        if let Some(protocol) = port.get("appProtocol") {
            entry["appProtocol"] = protocol.clone();
        }
        ports.push(entry);
    }
    ports
}

/// Brings one slice up to date: its endpoints stay where they are, new ones fill it up.
fn keep(service: &Value, slice: &Value, group: &mut Group, plan: &mut Plan) {
    let mut endpoints = Vec::new();
    for endpoint in list(slice, "endpoints") {
        if let Some(now) = group.endpoints.remove(text(&endpoint["targetRef"], "name")) {
            endpoints.push(now);
        }
    }
    fill(&mut endpoints, group);
    if endpoints.is_empty() && group.kept > 0 {
        plan.actions.push(delete(slice));
        return;
    }
    group.kept += 1;
    update(service, slice, (list(slice, "ports"), endpoints), plan);
}

/// Moves endpoints that no slice has yet into one, as many as there is room for.
fn fill(endpoints: &mut Vec<Value>, group: &mut Group) {
    while endpoints.len() < ENDPOINTS_MAX {
        let Some((_, endpoint)) = group.endpoints.pop_first() else {
            break;
        };
        endpoints.push(endpoint);
    }
}

fn update(
    service: &Value,
    slice: &Value,
    (ports, endpoints): (&[Value], Vec<Value>),
    plan: &mut Plan,
) {
    let mut after = slice.clone();
    let map = fields(&mut after);
    map.insert("endpoints".to_owned(), or_null(endpoints));
    map.insert("ports".to_owned(), or_null(ports.to_vec()));
    child(&mut after, "metadata").insert("labels".to_owned(), labels(service));
    if after != *slice {
        plan.actions
            .push(Action::Update(slices(), Subresource::None, after));
    }
}

/// As Kubernetes stores them: an empty list is none.
pub(super) fn or_null(list: Vec<Value>) -> Value {
    if list.is_empty() {
        Value::Null
    } else {
        Value::Array(list)
    }
}

fn labels(service: &Value) -> Value {
    let mut labels: Map<String, Value> = service["metadata"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), service["metadata"]["name"].clone());
    labels.insert(MANAGED_BY.to_owned(), US.into());
    if service["spec"]["clusterIP"] == "None" {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    Value::Object(labels)
}

fn create(service: &Value, ports: &[Value], endpoints: Vec<Value>) -> Action {
    let meta = &service["metadata"];
    let slice = json!({
        "metadata": {
            "generateName": format!("{}-", text(meta, "name")),
            "namespace": meta["namespace"], "labels": labels(service),
            "ownerReferences": controlled_by("v1", "Service", service),
        },
        "addressType": "IPv4", "ports": or_null(ports.to_vec()),
        "endpoints": or_null(endpoints),
    });
    Action::Create(slices(), slice)
}

fn delete(slice: &Value) -> Action {
    let meta = &slice["metadata"];
    Action::Delete {
        collection: slices(),
        namespace: text(meta, "namespace").to_owned(),
        name: text(meta, "name").to_owned(),
        uid: text(meta, "uid").to_owned(),
        how: Propagation::Background,
    }
}

pub(super) const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Says in annotations what time the change is from; nothing, if nobody can tell.
pub(super) fn annotate(meta: &mut Map<String, Value>, trigger: Option<String>) {
    match trigger {
        Some(time) => {
            let annotations = meta.entry("annotations").or_insert(Value::Null);
            fields(annotations).insert(TRIGGER.to_owned(), time.into());
        }
        None => {
            if let Some(annotations) = meta.get_mut("annotations") {
                let annotations = fields(annotations);
                annotations.remove(TRIGGER);
                if annotations.is_empty() {
                    meta.remove("annotations");
                }
            }
        }
    }
}

/// Since when a Pod is as it is: the earliest of those that have changed is the change's time.
pub(super) fn trigger_of_new(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    trigger: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let changed = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value));
    changed.filter_map(|(name, _)| trigger(name)).min()
}

/// When a Pod has become ready, or the contrary, or was made.
pub(super) fn pod_trigger(view: &View<'_>, namespace: &str, name: &str) -> Option<String> {
    let pod = view.state.get(&pods(), namespace, name)?.value();
    let ready = super::conditions::find(&pod["status"], "Ready");
    let since = ready.map(|ready| text(ready, "lastTransitionTime").to_owned());
    since.or_else(|| Some(text(&pod["metadata"], "creationTimestamp").to_owned()))
}
