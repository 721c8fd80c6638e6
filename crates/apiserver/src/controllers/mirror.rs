//! EndpointSlices of Services without selectors: what somebody has written as Endpoints, in the newer kind.
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::action::Action;
use super::endpoints::endpoints;
use super::pods::controlled_by;
use super::slices::{MANAGED_BY, SERVICE_NAME, TRIGGER, managed, or_null, slices};
use super::{Plan, View};
use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::json::{child, fields, list, text};
use crate::store::request::{Propagation, Subresource};

const US: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset.
const ADDRESSES_MAX: usize = 1000;

/// Brings the mirrored slices of one name up to date.
pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let mut spare = managed(view, (namespace, name), US);
    let found = view.state.get(&endpoints(), namespace, name);
    let source = found
        .filter(|found| !found.is_terminating() && is_mirrored(view, found))
        .map(|found| found.value());
    let mut missing = Vec::new();
    if let Some(source) = &source {
        for (key, group) in groups(source) {
            let wanted = slice(source, &key, &group);
            match spare.iter().position(|slice| key_of(slice) == key) {
                Some(at) => update(&spare.remove(at), wanted, &mut plan),
                None => missing.push(wanted),
            }
        }
    }
    for mut wanted in missing {
        // What is to go serves again, if it can.
        let same_type = |slice: &Value| slice["addressType"] == wanted["addressType"];
        if let Some(at) = spare.iter().position(same_type) {
            update(&spare.remove(at), wanted, &mut plan);
        } else {
            let meta = child(&mut wanted, "metadata");
            meta.insert("generateName".to_owned(), format!("{name}-").into());
            plan.actions.push(Action::Create(slices(), wanted));
        }
    }
    for slice in &spare {
        let how = Propagation::Background;
        plan.actions.push(Action::delete(&slices(), slice, how));
    }
    plan
}

/// Whether somebody else than a controller looks after these Endpoints, for a Service of their name.
fn is_mirrored(view: &View<'_>, found: &Object) -> bool {
    let services = StorageKey::new("", "services");
    let Some(service) = view.state.get(&services, found.namespace(), found.name()) else {
        return false;
    };
    let annotations = &found.value()["metadata"]["annotations"];
    found.label(SKIP) != Some("true")
        && annotations.get(LEADER).is_none()
        && service.value()["spec"]["selector"].is_null()
}

/// By its type of addresses and its ports a slice belongs to a group.
type Key = (&'static str, String);

#[derive(Default)]
struct Group {
    ports: Vec<Value>,
    endpoints: Vec<Value>,
}

fn key_of(slice: &Value) -> Key {
    let kind = match text(slice, "addressType") {
        "IPv6" => "IPv6",
        _ => "IPv4",
    };
    let ports = Value::Array(list(slice, "ports").to_vec());
    (kind, ports.to_string())
}

fn groups(source: &Value) -> BTreeMap<Key, Group> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for subset in list(source, "subsets") {
        let ports: Vec<Value> = list(subset, "ports").iter().map(port).collect();
        let shown = Value::Array(ports.clone()).to_string();
        let ready = list(subset, "addresses").iter().map(|one| (one, true));
        let waiting = list(subset, "notReadyAddresses").iter();
        let all = ready.chain(waiting.map(|one| (one, false)));
        for (address, ready) in all.take(ADDRESSES_MAX) {
            let Ok(ip) = text(address, "ip").parse::<IpAddr>() else {
                continue;
            };
            let kind = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let group = groups.entry((kind, shown.clone())).or_default();
            group.ports.clone_from(&ports);
            group.endpoints.push(endpoint(address, ip, ready));
        }
    }
    groups
}

fn port(port: &Value) -> Value {
    let mut entry = json!({
        "name": text(port, "name"), "port": port["port"], "protocol": port["protocol"],
    });
    if let Some(protocol) = port.get("appProtocol") {
        entry["appProtocol"] = protocol.clone();
    }
    entry
}

fn endpoint(address: &Value, ip: IpAddr, ready: bool) -> Value {
    let mut endpoint = json!({ "addresses": [ip.to_string()], "conditions": { "ready": ready } });
    for name in ["targetRef", "nodeName", "hostname"] {
        if let Some(value) = address.get(name) {
            endpoint[name] = value.clone();
        }
    }
    endpoint
}

fn slice(source: &Value, (kind, _): &Key, group: &Group) -> Value {
    let meta = &source["metadata"];
    let mut labels: Map<String, Value> = meta["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), meta["name"].clone());
    labels.insert(MANAGED_BY.to_owned(), US.into());
    let mut slice = json!({
        "metadata": {
            "namespace": meta["namespace"], "labels": labels,
            "ownerReferences": controlled_by("v1", "Endpoints", source),
        },
        "addressType": kind, "ports": or_null(group.ports.clone()),
        "endpoints": or_null(group.endpoints.clone()),
    });
    let mut notes: Map<String, Value> =
        meta["annotations"].as_object().cloned().unwrap_or_default();
    notes.retain(|name, _| name != TRIGGER && name != LAST_APPLIED);
    if !notes.is_empty() {
        child(&mut slice, "metadata").insert("annotations".to_owned(), notes.into());
    }
    slice
}

/// Makes a slice what is wanted, unless it is.
fn update(slice: &Value, wanted: Value, plan: &mut Plan) {
    let mut after = slice.clone();
    for name in ["ports", "endpoints"] {
        fields(&mut after).insert(name.to_owned(), wanted[name].clone());
    }
    let meta = child(&mut after, "metadata");
    for name in ["labels", "annotations"] {
        match wanted["metadata"].get(name) {
            Some(value) => meta.insert(name.to_owned(), value.clone()),
            None => meta.remove(name),
        };
    }
    if after != *slice {
        let change = Action::Update(slices(), Subresource::None, after);
        plan.actions.push(change);
    }
}
