//! Tables of services, their endpoints, and of what leads to them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{field, flag, labels, list, or_none, or_unset, some_of};
use super::workloads::selector;
use super::{Layout, Row, layout};

pub(super) const LAYOUTS: &[Layout] = &[
    layout("", "services", service),
    layout("", "endpoints", endpoints),
    layout("discovery.k8s.io", "endpointslices", endpoint_slice),
    layout("networking.k8s.io", "ingresses", ingress),
    layout("networking.k8s.io", "ingressclasses", ingress_class),
    layout("networking.k8s.io", "networkpolicies", |row| {
        let pods = selector(&row.object["spec"]["podSelector"]);
        vec![row.name(), pods.into(), row.age()]
    }),
    layout("networking.k8s.io", "servicecidrs", |row| {
        let ranges = list(&row.object["spec"], "cidrs").iter();
        let ranges: Vec<&str> = ranges.filter_map(Value::as_str).collect();
        vec![row.name(), ranges.join(",").into(), row.age()]
    }),
    layout("networking.k8s.io", "ipaddresses", ip_address),
];

fn service(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let ports: Vec<String> = list(spec, "ports").iter().map(port).collect();
    let address = list(spec, "clusterIPs").first().and_then(Value::as_str);
    let address = address.unwrap_or_else(|| field(spec, "clusterIP"));
    vec![
        row.name(),
        field(spec, "type").into(),
        or_none(address.to_owned()).into(),
        external(row.object).into(),
        or_none(ports.join(",")).into(),
        row.age(),
        labels(&spec["selector"]).into(),
    ]
}

/// `80/TCP`, or `80:30080/TCP` with a node port.
fn port(port: &Value) -> String {
    let number = port["port"].as_i64().unwrap_or(0);
    let protocol = field(port, "protocol");
    match port["nodePort"].as_i64() {
        Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let given = list(spec, "externalIPs").iter().filter_map(Value::as_str);
    let given = given.map(str::to_owned);
    match field(spec, "type") {
        "ClusterIP" | "NodePort" => or_none(given.collect::<Vec<_>>().join(",")),
        "ExternalName" => field(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            let all: Vec<String> = balanced(service).into_iter().chain(given).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ => "<unknown>".to_owned(),
    }
}

/// The addresses of a load balancer.
fn balanced(object: &Value) -> BTreeSet<String> {
    list(&object["status"]["loadBalancer"], "ingress")
        .iter()
        .map(|entry| match field(entry, "ip") {
            "" => field(entry, "hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

fn endpoints(row: &Row<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(row.object, "subsets") {
        let addresses = || list(subset, "addresses").iter().map(|one| field(one, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let port = port["port"].as_i64().unwrap_or(0);
            all.extend(addresses().map(|ip| joined(ip, port)));
        }
    }
    let shown = if list(row.object, "subsets").is_empty() {
        "<none>".to_owned()
    } else {
        some_of(&all)
    };
    vec![row.name(), shown.into(), row.age()]
}

fn joined(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = list(row.object, "ports")
        .iter()
        .map(
            |port| match (port["port"].as_i64(), port["name"].as_str()) {
                (Some(number), _) => number.to_string(),
                (None, Some(name)) => name.to_owned(),
                (None, None) => "*".to_owned(),
            },
        )
        .collect();
    let addresses: Vec<String> = list(row.object, "endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "addresses"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        row.name(),
        row.object["addressType"].clone(),
        or_unset(some_of(&ports)).into(),
        or_unset(some_of(&addresses)).into(),
        row.age(),
    ]
}

fn ingress(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let addresses: Vec<String> = balanced(row.object).into_iter().collect();
    let ports = if list(spec, "tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        row.name(),
        spec["ingressClassName"].as_str().unwrap_or("<none>").into(),
        hosts(list(spec, "rules")).into(),
        addresses.join(",").into(),
        ports.into(),
        row.age(),
    ]
}

/// The first three hosts. What is not shown is counted by rules, not by hosts.
fn hosts(rules: &[Value]) -> String {
    const SHOWN: usize = 3;
    let mut hosts = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= hosts.len() == SHOWN;
        let host = field(rule, "host");
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    match (hosts.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => hosts.join(","),
        (false, true) => format!("{} + {} more...", hosts.join(","), rules.len() - SHOWN),
    }
}

fn ingress_class(row: &Row<'_>) -> Vec<Value> {
    let (meta, spec) = (&row.object["metadata"], &row.object["spec"]);
    let mut name = field(meta, "name").to_owned();
    if flag(
        &meta["annotations"],
        "ingressclass.kubernetes.io/is-default-class",
    ) {
        name.push_str(" (default)");
    }
    let parameters = &spec["parameters"];
    let shown = if parameters.is_null() {
        "<none>".to_owned()
    } else {
        let mut kind = field(parameters, "kind").to_owned();
        if let Some(group) = parameters["apiGroup"].as_str() {
            kind = format!("{kind}.{group}");
        }
        format!("{kind}/{}", field(parameters, "name"))
    };
    vec![
        name.into(),
        spec["controller"].clone(),
        shown.into(),
        row.age(),
    ]
}

fn ip_address(row: &Row<'_>) -> Vec<Value> {
    let parent = &row.object["spec"]["parentRef"];
    let shown = if parent.is_null() {
        "<none>".to_owned()
    } else {
        let mut text = field(parent, "resource").to_lowercase();
        for (mark, part) in [(".", "group"), ("/", "namespace")] {
            let part = field(parent, part);
            if !part.is_empty() {
                text = format!("{text}{mark}{part}");
            }
        }
        format!("{text}/{}", field(parent, "name"))
    };
    // Kubernetes names two columns here, and fills three.
    vec![row.name(), shown.into(), row.age()]
}
