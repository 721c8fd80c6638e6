//! Endpoints of Services with selectors: what EndpointSlices say, in the older kind.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::action::Action;
use super::events::Note;
use super::pods::{is_finished, is_ready, pods};
use super::{Plan, View, slices};
use crate::error::{Cause, StatusError};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, set, text};
use crate::store::request::{Propagation, Subresource};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const US: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// Addresses in one object.
const ADDRESSES_MAX: usize = 1000;

/// The collection of Endpoints.
pub(super) fn endpoints() -> StorageKey {
    StorageKey::new("", "endpoints")
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let present = view.state.get(&endpoints(), namespace, name);
    let services = StorageKey::new("", "services");
    let Some(service) = view.state.get(&services, namespace, name) else {
        // Endpoints that somebody else made stay, whether there is a Service or not.
        let ours = present
            .filter(|present| present.label(MANAGED_BY) == Some(US) && !present.is_terminating());
        if let Some(present) = ours {
            let how = Propagation::Background;
            plan.actions
                .push(Action::delete(&endpoints(), &present.value(), how));
        }
        return plan;
    };
    let service = service.value();
    if !slices::selects(&service) {
        return plan;
    }
    let subsets = subsets(view, &service);
    let present = present.map(|present| present.value());
    let labels = labels(&service);
    if let Some(present) = &present
        && list(present, "subsets") == subsets.as_slice()
        && present["metadata"]["labels"] == labels
    {
        return plan;
    }
    let trigger = match &present {
        Some(present) => slices::trigger_of_new(
            &addresses_of(list(present, "subsets")),
            &addresses_of(&subsets),
            |name| slices::pod_trigger(view, namespace, name),
        ),
        None => Some(text(&service["metadata"], "creationTimestamp").to_owned()),
    };
    let known = present.is_some();
    if let Some(problem) = homeless(view, &subsets, (namespace, name), known) {
        plan.actions.push(problem);
        return plan;
    }
    let mut wanted =
        present.unwrap_or_else(|| json!({"metadata": {"name": name, "namespace": namespace}}));
    let meta = child(&mut wanted, "metadata");
    meta.insert("labels".to_owned(), labels);
    slices::annotate(meta, trigger);
    let subsets = (!subsets.is_empty()).then_some(Value::Array(subsets));
    set(fields(&mut wanted), "subsets", subsets);
    plan.actions.push(if known {
        Action::Update(endpoints(), Subresource::None, wanted)
    } else {
        Action::Create(endpoints(), wanted)
    });
    plan
}

/// An address whose Pod has no node cannot be written: all stays as it is.
fn homeless(
    view: &View<'_>,
    subsets: &[Value],
    (namespace, name): (&str, &str),
    known: bool,
) -> Option<Action> {
    let mut causes = Vec::new();
    for (at, subset) in subsets.iter().enumerate() {
        for kind in ["addresses", "notReadyAddresses"] {
            for (index, address) in list(subset, kind).iter().enumerate() {
                if address.get("nodeName").is_none() {
                    let field = format!("subsets[{at}].{kind}[{index}].nodeName");
                    causes.push(Cause::invalid(field, &json!(""), DNS_SUBDOMAIN));
                }
            }
        }
    }
    if causes.is_empty() {
        return None;
    }
    let res = view.registry.stored(&endpoints())?;
    let error = StatusError::invalid(&res, name, &causes).message;
    let (reason, message) = if known {
        let message = format!("Failed to update endpoint {namespace}/{name}: {error}");
        ("FailedToUpdateEndpoint", message)
    } else {
        let message = format!("Failed to create endpoint for service {namespace}/{name}: {error}");
        ("FailedToCreateEndpoint", message)
    };
    let about = match view.state.get(&endpoints(), namespace, name) {
        Some(present) => present.value(),
        None => json!({"kind": "Endpoints", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace}}),
    };
    Some(Action::Tell(
        Note::new(US, &about, reason, message).warning(),
    ))
}

fn labels(service: &Value) -> Value {
    let labels = service["metadata"]["labels"].as_object();
    let mut labels: Map<String, Value> = labels.cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if service["spec"]["clusterIP"] == "None" || text(&service["spec"], "clusterIP").is_empty() {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels.insert(MANAGED_BY.to_owned(), US.into());
    Value::Object(labels)
}

/// The names of the Pods behind the addresses, with what is said of each.
fn addresses_of(subsets: &[Value]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for subset in subsets {
        for (kind, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in list(subset, kind) {
                let name = text(&address["targetRef"], "name").to_owned();
                all.insert(name, json!([ready, address, subset["ports"]]));
            }
        }
    }
    all
}

/// Addresses that are ready, those that are not, and the ports of both.
type Group = (Vec<Value>, Vec<Value>, Vec<Value>);

/// Addresses, by their ports.
fn subsets(view: &View<'_>, service: &Value) -> Vec<Value> {
    let namespace = text(&service["metadata"], "namespace");
    let selector = LabelSelector::from_map(&service["spec"]["selector"]);
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut room = ADDRESSES_MAX;
    for object in view.state.within(&pods(), Some(namespace)) {
        if !selector.matches(|key| object.label(key)) || room == 0 {
            continue;
        }
        let pod = object.value();
        let ip = text(&pod["status"], "podIP");
        if is_finished(&pod) || ip.is_empty() || (object.is_terminating() && !publish) {
            continue;
        }
        let ports = slices::ports(service, &pod);
        if ports.is_empty() && !list(&service["spec"], "ports").is_empty() {
            continue;
        }
        room -= 1;
        let ports: Vec<Value> = ports.into_iter().map(without_empty_name).collect();
        let key = Value::Array(ports.clone()).to_string();
        let group = groups.entry(key).or_default();
        group.2 = ports;
        let address = address(service, &pod, ip);
        if publish || is_ready(&pod) {
            group.0.push(address);
        } else {
            group.1.push(address);
        }
    }
    let subset = |(mut ready, mut waiting, ports): Group| {
        let mut subset = Map::new();
        for (name, addresses) in [
            ("addresses", &mut ready),
            ("notReadyAddresses", &mut waiting),
        ] {
            addresses.sort_by_cached_key(|one| {
                (
                    text(one, "ip").to_owned(),
                    text(&one["targetRef"], "uid").to_owned(),
                )
            });
            let addresses = std::mem::take(addresses);
            set(
                &mut subset,
                name,
                (!addresses.is_empty()).then(|| addresses.into()),
            );
        }
        set(
            &mut subset,
            "ports",
            (!ports.is_empty()).then(|| ports.into()),
        );
        Value::Object(subset)
    };
    groups.into_values().map(subset).collect()
}

fn without_empty_name(mut port: Value) -> Value {
    if port["name"] == "" {
        fields(&mut port).remove("name");
    }
    port
}

fn address(service: &Value, pod: &Value, ip: &str) -> Value {
    let meta = &pod["metadata"];
    let mut address = json!({
        "ip": ip,
        "targetRef": { "kind": "Pod", "namespace": meta["namespace"], "name": meta["name"],
                       "uid": meta["uid"] },
    });
    let node = text(&pod["spec"], "nodeName");
    if !node.is_empty() {
        address["nodeName"] = json!(node);
    }
    let named = pod["spec"]["subdomain"] == service["metadata"]["name"];
    if let Some(host) = pod["spec"]["hostname"].as_str().filter(|_| named) {
        address["hostname"] = json!(host);
    }
    address
}
