//! Tables of services and their endpoints.

use serde_json::Value;

use super::text::{field, first_three, labels, list, or_none};
use super::{AGE, Layout, NAME, Row, text as column, wide};

pub(super) const LAYOUTS: &[Layout] = &[
    Layout {
        group: "",
        plural: "services",
        columns: &[
            NAME,
            column("Type"),
            column("Cluster-IP"),
            column("External-IP"),
            column("Port(s)"),
            AGE,
            wide("Selector"),
        ],
        cells: service,
    },
    Layout {
        group: "",
        plural: "endpoints",
        columns: &[NAME, column("Endpoints"), AGE],
        cells: endpoints,
    },
    Layout {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        columns: &[
            NAME,
            column("AddressType"),
            column("Ports"),
            column("Endpoints"),
            AGE,
        ],
        cells: endpoint_slice,
    },
];

fn service(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let kind = match field(spec, "type") {
        "" => "ClusterIP",
        kind => kind,
    };
    let ports: Vec<String> = list(spec, "ports").iter().map(port).collect();
    vec![
        row.name(),
        kind.into(),
        or_none(field(spec, "clusterIP").to_owned()).into(),
        external(kind, row.object).into(),
        or_none(ports.join(",")).into(),
        row.age(),
        labels(&spec["selector"]).into(),
    ]
}

/// `80/TCP`, or `80:30080/TCP` with a node port.
fn port(port: &Value) -> String {
    let number = port["port"].as_i64().unwrap_or(0);
    let protocol = match field(port, "protocol") {
        "" => "TCP",
        protocol => protocol,
    };
    match port["nodePort"].as_i64() {
        Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external(kind: &str, service: &Value) -> String {
    let spec = &service["spec"];
    if kind == "ExternalName" {
        return field(spec, "externalName").to_owned();
    }
    let given = list(spec, "externalIPs").iter().filter_map(Value::as_str);
    let ingress = list(&service["status"]["loadBalancer"], "ingress")
        .iter()
        .map(|entry| match field(entry, "ip") {
            "" => field(entry, "hostname"),
            ip => ip,
        });
    if kind != "LoadBalancer" {
        return or_none(given.collect::<Vec<_>>().join(","));
    }
    let all: Vec<&str> = ingress.chain(given).collect();
    if all.is_empty() {
        "<pending>".to_owned()
    } else {
        all.join(",")
    }
}

fn endpoints(row: &Row<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(row.object, "subsets") {
        for address in list(subset, "addresses") {
            let ip = field(address, "ip");
            match list(subset, "ports") {
                [] => all.push(ip.to_owned()),
                ports => all.extend(
                    ports
                        .iter()
                        .map(|port| format!("{ip}:{}", port["port"].as_i64().unwrap_or(0))),
                ),
            }
        }
    }
    vec![row.name(), first_three(&all).into(), row.age()]
}

fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = list(row.object, "ports")
        .iter()
        .map(|port| {
            port["port"]
                .as_i64()
                .map_or_else(|| "*".to_owned(), |port| port.to_string())
        })
        .collect();
    let ports = if ports.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&ports)
    };
    let addresses: Vec<String> = list(row.object, "endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "addresses"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let addresses = if addresses.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&addresses)
    };
    vec![
        row.name(),
        row.object["addressType"].clone(),
        ports.into(),
        addresses.into(),
        row.age(),
    ]
}
