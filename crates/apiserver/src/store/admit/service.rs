//! Services: defaults, ports and ClusterIPs.
mod allocate;
mod check;

use serde_json::{Map, Value, json};

use super::at::Causes;
use super::pod::defaults::absent_is_default;
use crate::store::Store;
use crate::store::json::{child, default, fields, list, list_mut, text};

pub(super) use allocate::assign;
pub(super) use check::{check, check_status, port_number};

const LOCAL: &str = "Local";

fn kind(service: &Value) -> &str {
    match text(&service["spec"], "type") {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn has_address(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

/// Whether its ports are open on nodes.
fn has_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn is_external(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
        || (kind(service) == "ClusterIP" && !list(&service["spec"], "externalIPs").is_empty())
}

fn has_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(&service["spec"], "externalTrafficPolicy") == LOCAL
}

fn is_headless(service: &Value) -> bool {
    list(&service["spec"], "clusterIPs") == [json!("None")]
}

/// The defaults.
pub(super) fn complete(store: &Store, object: &mut Value) {
    let external = is_external(object);
    let spec = child(object, "spec");
    absent_is_default(spec, "sessionAffinity", "None");
    absent_is_default(spec, "type", "ClusterIP");
    match spec["sessionAffinity"].as_str() {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let seconds = spec.get("sessionAffinityConfig");
            let seconds = seconds.map(|config| &config["clientIP"]["timeoutSeconds"]);
            if seconds.is_none_or(Value::is_null) {
                let config = json!({ "clientIP": { "timeoutSeconds": 10800 } });
                spec.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
    if external {
        absent_is_default(spec, "externalTrafficPolicy", "Cluster");
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    for port in list_mut(spec, "ports") {
        let port = fields(port);
        absent_is_default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_else(|| json!(0));
        let target = port.get("targetPort");
        if target.is_none_or(|target| target.is_null() || *target == 0 || *target == "") {
            port.insert("targetPort".to_owned(), number);
        }
        if port.get("nodePort").is_some_and(|number| *number == 0) {
            port.remove("nodePort");
        }
    }
    spec.retain(|_, value| !value.is_null());
    // A single address stands for the list.
    let single = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !single.is_empty() && !spec.contains_key("clusterIPs") {
        let all = json!([single]);
        spec.insert("clusterIPs".to_owned(), all);
    }
    if kind != "ExternalName" {
        families(store, object);
    }
}

/// The families of its addresses, as far as they follow from the rest.
fn families(store: &Store, object: &mut Value) {
    let headless = is_headless(object);
    let selectorless = object["spec"]["selector"]
        .as_object()
        .is_none_or(Map::is_empty);
    let own = if store.addresses.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    let other = if own == "IPv4" { "IPv6" } else { "IPv4" };
    let spec = child(object, "spec");
    if headless && selectorless {
        if !spec.contains_key("ipFamilyPolicy") && !spec.contains_key("ipFamilies") {
            default(spec, "ipFamilyPolicy", "RequireDualStack");
        }
        let both = spec
            .get("ipFamilyPolicy")
            .is_some_and(|policy| policy != "SingleStack");
        let first = spec.get("ipFamilies").and_then(|all| all.get(0)).cloned();
        let first = first.unwrap_or_else(|| own.into());
        let second = if first == own { other } else { own };
        if both {
            spec.insert("ipFamilies".to_owned(), json!([first, second]));
        }
    }
    default(spec, "ipFamilies", json!([own]));
    let count = spec["ipFamilies"].as_array().map_or(0, Vec::len);
    let policy = if count > 1 {
        "RequireDualStack"
    } else {
        "SingleStack"
    };
    default(spec, "ipFamilyPolicy", policy);
}

/// What a changed Service keeps although the client leaves it out, and what it loses with its type.
pub(super) fn keep(before: &Value, object: &mut Value) {
    child(object, "spec").retain(|_, value| !value.is_null());
    let old = &before["spec"];
    if has_address(before) && has_address(object) {
        keep_addresses(old, child(object, "spec"));
    }
    if has_node_ports(before) && has_node_ports(object) {
        let old_ports = list(old, "ports");
        for port in list_mut(child(object, "spec"), "ports") {
            let protocol = match text(port, "protocol") {
                "" => "TCP",
                protocol => protocol,
            };
            let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == protocol;
            let found = old_ports
                .iter()
                .find(same)
                .map(|old| old["nodePort"].clone());
            if let Some(number) = found.filter(|number| !number.is_null()) {
                let port = fields(port);
                if port
                    .get("nodePort")
                    .is_none_or(|own| own.is_null() || *own == 0)
                {
                    port.insert("nodePort".to_owned(), number);
                }
            }
        }
    }
    if has_health_port(before) && has_health_port(object) {
        default(
            child(object, "spec"),
            "healthCheckNodePort",
            old["healthCheckNodePort"].clone(),
        );
    }
    drop_with_type(before, object);
}

fn keep_addresses(old: &Value, spec: &mut Map<String, Value>) {
    let old_list = old["clusterIPs"].clone();
    let empty = |spec: &Map<String, Value>, name: &str| {
        spec.get(name)
            .is_none_or(|value| *value == "" || *value == json!([]))
    };
    match (empty(spec, "clusterIP"), empty(spec, "clusterIPs")) {
        (true, true) => {
            spec.insert("clusterIP".to_owned(), old["clusterIP"].clone());
            spec.insert("clusterIPs".to_owned(), old_list.clone());
        }
        (true, false) if spec["clusterIPs"][0] == old["clusterIP"] => {
            spec.insert("clusterIP".to_owned(), old["clusterIP"].clone());
        }
        (false, true) if spec["clusterIP"] == old["clusterIP"] => {
            spec.insert("clusterIPs".to_owned(), old_list.clone());
        }
        _ => {}
    }
    // Who changes only the single form means both.
    let single = spec.get("clusterIP").cloned().unwrap_or_default();
    if single != old["clusterIP"] && spec.get("clusterIPs") == Some(&old_list) {
        spec.insert("clusterIPs".to_owned(), json!([single]));
    }
    for name in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
        default(spec, name, old[name].clone());
    }
}

fn drop_with_type(before: &Value, object: &mut Value) {
    let (addressed, open, external, health) = (
        has_address(object),
        has_node_ports(object),
        is_external(object),
        has_health_port(object),
    );
    let balanced = kind(object) == "LoadBalancer";
    let old = &before["spec"];
    let spec = child(object, "spec");
    let mut lose = |names: &[&str]| {
        if names
            .iter()
            .all(|name| spec.get(*name).unwrap_or(&Value::Null) == &old[*name])
        {
            spec.retain(|name, _| !names.contains(&name.as_str()));
        }
    };
    if has_address(before) && !addressed {
        lose(&["clusterIP", "clusterIPs"]);
        lose(&["ipFamilies"]);
        lose(&["ipFamilyPolicy"]);
    }
    if kind(before) == "LoadBalancer" && !balanced {
        lose(&["allocateLoadBalancerNodePorts"]);
        lose(&["loadBalancerClass"]);
    }
    if is_external(before) && !external {
        lose(&["externalTrafficPolicy"]);
    }
    if has_address(before) && !addressed {
        lose(&["internalTrafficPolicy"]);
    }
    if has_health_port(before) && !health {
        lose(&["healthCheckNodePort"]);
    }
    if has_node_ports(before) && !open {
        let old: Vec<&Value> = list(old, "ports")
            .iter()
            .map(|port| &port["nodePort"])
            .collect();
        for port in list_mut(spec, "ports") {
            if old.contains(&&port["nodePort"]) {
                fields(port).remove("nodePort");
            }
        }
    }
}

/// What may not change of a Service's addresses.
fn changed(before: &Value, object: &Value, causes: &mut Causes) {
    check::changed(before, object, causes);
}
