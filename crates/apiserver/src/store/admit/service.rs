//! Services: defaults, ports and ClusterIPs.
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::Cause;
use crate::selector::is_dns_label;
use crate::store::json::{child, default, fields, list, list_mut, text};
use crate::store::{Moment, Store};

/// Completes and checks a new Service.
pub(super) fn create(
    store: &Store,
    moment: &mut Moment<'_>,
    object: &mut Value,
    causes: &mut Vec<Cause>,
) {
    complete(object);
    check(object, causes);
    assign(store, moment, object, causes);
    fields(object).insert("status".to_owned(), json!({ "loadBalancer": {} }));
}

/// Completes and checks a changed Service.
pub(super) fn update(
    store: &Store,
    moment: &mut Moment<'_>,
    (before, object): (&Value, &mut Value),
    causes: &mut Vec<Cause>,
) {
    let (old_type, new_type) = (
        text(&before["spec"], "type").to_owned(),
        text(&object["spec"], "type").to_owned(),
    );
    let old_addresses = before["spec"]["clusterIPs"].clone();
    let keeps = old_type != "ExternalName" && new_type != "ExternalName";
    let spec = child(object, "spec");
    if keeps {
        // A client that leaves them out (an old client, or a replace from a file) keeps them.
        default(spec, "clusterIP", before["spec"]["clusterIP"].clone());
        default(spec, "clusterIPs", old_addresses.clone());
        for name in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            default(spec, name, before["spec"][name].clone());
        }
        // Who changes only the single form means both.
        let single = spec.get("clusterIP").cloned().unwrap_or_default();
        if single != before["spec"]["clusterIP"] && spec.get("clusterIPs") == Some(&old_addresses) {
            spec.insert("clusterIPs".to_owned(), json!([single]));
        }
    } else if new_type == "ExternalName" && old_type != new_type {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(name);
        }
    }
    spec.retain(|_, value| !value.is_null());
    complete(object);
    check(object, causes);
    let asked = &object["spec"]["clusterIPs"];
    if keeps && *asked != old_addresses {
        let why = "may not change once set";
        causes.push(Cause::invalid("spec.clusterIPs[0]", asked, why));
        return;
    }
    assign(store, moment, object, causes);
}

fn complete(object: &mut Value) {
    let spec = child(object, "spec");
    default(spec, "sessionAffinity", "None");
    default(spec, "type", "ClusterIP");
    let kind = spec
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if spec
        .get("sessionAffinity")
        .is_some_and(|affinity| affinity == "ClientIP")
    {
        default(
            spec,
            "sessionAffinityConfig",
            json!({ "clientIP": { "timeoutSeconds": 10800 } }),
        );
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    for port in list_mut(spec, "ports") {
        let port = fields(port);
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if port
            .get("targetPort")
            .is_none_or(|target| target.is_null() || *target == 0 || *target == "")
        {
            port.insert("targetPort".to_owned(), number);
        }
    }
    // Either of the two forms of the address stands for both.
    let first = spec.get("clusterIPs").and_then(|all| all.get(0)).cloned();
    let single = spec
        .get("clusterIP")
        .filter(|one| one.as_str().is_some_and(|text| !text.is_empty()));
    match (single.cloned(), first) {
        (Some(single), None) => {
            spec.insert("clusterIPs".to_owned(), json!([single]));
        }
        (None, Some(first)) => {
            spec.insert("clusterIP".to_owned(), first);
        }
        _ => {}
    }
}

fn check(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let kind = text(spec, "type");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &kinds));
    }
    let headless = spec["clusterIP"] == "None";
    let ports = list(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if kind == "ExternalName" && text(spec, "externalName").is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(field("name"), ""));
            }
        } else if !is_dns_label(name) {
            let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
                       characters or '-', and must start and end with an alphanumeric character \
                       (e.g. 'my-name',  or '123-abc', regex used for validation is \
                       '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
            causes.push(Cause::invalid(field("name"), &port["name"], why));
        } else if !names.insert(name) {
            causes.push(Cause::duplicate(field("name"), &port["name"]));
        }
        port_number(&field("port"), &port["port"], causes);
        let protocols = ["SCTP", "TCP", "UDP"];
        if !protocols.contains(&text(port, "protocol")) {
            causes.push(Cause::unsupported(
                field("protocol"),
                &port["protocol"],
                &protocols,
            ));
        }
        target_port(&field("targetPort"), &port["targetPort"], causes);
        if !numbers.insert((port["port"].as_i64(), text(port, "protocol"))) {
            let both = json!({ "port": port["port"], "protocol": port["protocol"] });
            causes.push(Cause::duplicate(format!("spec.ports[{index}]"), &both));
        }
    }
    crate::store::meta::labels(&spec["selector"], "spec.selector", causes);
}

/// A number from 1 to 65535.
pub(super) fn port_number(field: &str, value: &Value, causes: &mut Vec<Cause>) {
    let number = value.as_i64();
    if !number.is_some_and(|number| (1..=65535).contains(&number)) {
        let shown = if value.is_null() {
            json!(0)
        } else {
            value.clone()
        };
        causes.push(Cause::invalid(
            field,
            &shown,
            "must be between 1 and 65535, inclusive",
        ));
    }
}

fn target_port(field: &str, value: &Value, causes: &mut Vec<Cause>) {
    let Some(name) = value.as_str() else {
        return port_number(field, value, causes);
    };
    if name.len() > 15 {
        causes.push(Cause::invalid(
            field,
            value,
            "must be no more than 15 characters",
        ));
    } else if !is_dns_label(name) || !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let why = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        causes.push(Cause::invalid(field, value, why));
    }
}

/// Gives the Service its address, or refuses the one that it asks for.
fn assign(store: &Store, moment: &mut Moment<'_>, object: &mut Value, causes: &mut Vec<Cause>) {
    let (namespace, name) = (
        text(&object["metadata"], "namespace").to_owned(),
        text(&object["metadata"], "name").to_owned(),
    );
    let selectorless = object["spec"]["selector"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty);
    let spec = child(object, "spec");
    if spec.get("type").is_some_and(|kind| kind == "ExternalName") || !causes.is_empty() {
        return;
    }
    let asked = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if asked == "None" {
        if selectorless && spec.get("ipFamilyPolicy").is_none() {
            default(spec, "ipFamilies", json!(["IPv4", "IPv6"]));
            default(spec, "ipFamilyPolicy", "RequireDualStack");
        }
        default(spec, "ipFamilies", json!(["IPv4"]));
        default(spec, "ipFamilyPolicy", "SingleStack");
        return;
    }
    let address = if asked.is_empty() {
        let free = store.addresses.free(moment.rng);
        if free.is_none() {
            causes.push(Cause {
                reason: "InternalError",
                message: "Internal error: failed to allocate a serviceIP: range is full".to_owned(),
                field: "spec.clusterIPs".to_owned(),
            });
        }
        free
    } else {
        let parsed = asked.parse::<IpAddr>().ok();
        if parsed.is_none() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.push(Cause::invalid("spec.clusterIPs[0]", &json!(asked), why));
        }
        if let Some(why) = parsed.and_then(|one| store.addresses.refusal(one, &namespace, &name)) {
            causes.push(Cause::invalid("spec.clusterIPs", &json!([asked]), &why));
        }
        parsed
    };
    let Some(address) = address else { return };
    spec.insert("clusterIP".to_owned(), address.to_string().into());
    spec.insert("clusterIPs".to_owned(), json!([address.to_string()]));
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    default(spec, "ipFamilies", json!([family]));
    default(spec, "ipFamilyPolicy", "SingleStack");
}
