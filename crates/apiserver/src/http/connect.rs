//! `exec`, `attach`, `portforward` and `proxy`: how a real server refuses where there is nothing to connect to. No
//! connection is made to a node, a pod or a service from here.

use std::net::IpAddr;
use std::sync::Arc;

use super::access::method_not_allowed;
use super::call::{Answer, Call};
use super::logs;
use crate::error::StatusError;
use crate::registry::Resource;

/// Whether a subresource is a connection.
pub(super) fn is_connection(subresource: &str) -> bool {
    matches!(subresource, "exec" | "attach" | "portforward" | "proxy")
}

/// Refuses.
pub(super) fn answer(call: &Call, res: &Arc<Resource>) -> Answer {
    let attributes = &call.route.attributes;
    let allowed = match attributes.subresource.as_str() {
        "proxy" => &["get", "create", "update", "patch", "delete"][..],
        _ => &["get", "create"],
    };
    if !allowed.contains(&attributes.verb.as_str()) {
        return Err(method_not_allowed());
    }
    match (res.plural.as_str(), attributes.subresource.as_str()) {
        ("pods", "proxy") => pod_proxy(call, res),
        ("services", _) => service_proxy(call, res),
        ("nodes", _) => node_proxy(call, res),
        ("pods", sub) => stream(call, res, sub),
        _ => Err(method_not_allowed()),
    }
}

fn stream(call: &Call, res: &Arc<Resource>, subresource: &str) -> Answer {
    let name = &call.route.attributes.name;
    let pod = call.server.db.get(res, call.namespace(res), name)?.value();
    if subresource != "portforward" {
        logs::container(call, &pod)?;
    }
    if pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        return Err(StatusError::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    Err(method_not_allowed())
}

fn pod_proxy(call: &Call, res: &Arc<Resource>) -> Answer {
    let (name, _) = name_and_port(call, "pod")?;
    let pod = call.server.db.get(res, call.namespace(res), name)?.value();
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    reachable(address)?;
    Err(unreachable_service())
}

fn service_proxy(call: &Call, res: &Arc<Resource>) -> Answer {
    let (name, port) = name_and_port(call, "service")?;
    if let Ok(number) = port.parse::<i64>() {
        let service = call.server.db.get(res, call.namespace(res), name)?.value();
        let ports = service["spec"]["ports"].as_array();
        let mut ports = ports.into_iter().flatten();
        if !ports.any(|port| port["port"] == number) {
            return Err(unavailable(&format!(
                "no service port {number} found for service \"{name}\""
            )));
        }
    }
    Err(unavailable(&format!(
        "no endpoints available for service \"{name}\""
    )))
}

fn node_proxy(call: &Call, res: &Arc<Resource>) -> Answer {
    let (name, _) = name_and_port(call, "node")?;
    let node = call.server.db.get(res, None, name)?.value();
    let addresses = node["status"]["addresses"].as_array();
    let mut addresses = addresses.into_iter().flatten();
    let Some(address) = addresses.find_map(|address| address["address"].as_str()) else {
        return Err(StatusError::internal(
            "no preferred addresses found; known addresses: []",
        ));
    };
    reachable(address)?;
    Err(unreachable_service())
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
fn name_and_port<'a>(call: &'a Call, kind: &str) -> Result<(&'a str, &'a str), StatusError> {
    let id = call.route.attributes.name.as_str();
    let parts: Vec<&str> = id.split(':').collect();
    match parts.as_slice() {
        [name] if !name.is_empty() => Ok((name, "")),
        [name, port] if !name.is_empty() => Ok((name, port)),
        ["" | "http" | "https", name, port] if !name.is_empty() => Ok((name, port)),
        _ => Err(StatusError::bad_request(format!(
            "invalid {kind} request \"{id}\""
        ))),
    }
}

/// Addresses of this machine, of its links and of groups are none to connect to.
fn reachable(address: &str) -> Result<(), StatusError> {
    let outside = match address.parse() {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_link_local()
                || ip.is_broadcast())
        }
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local())
        }
        Err(_) => false,
    };
    if outside {
        Ok(())
    } else {
        Err(StatusError::bad_request("address not allowed"))
    }
}

fn unavailable(message: &str) -> StatusError {
    StatusError::new(503, "ServiceUnavailable", message)
}

fn unreachable_service() -> StatusError {
    unavailable("error trying to reach service: this server does not pass connections on")
}
