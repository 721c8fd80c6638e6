//! Endpoints and EndpointSlices: addresses and ports.
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::check as pods;
use super::service::port_number;
use super::words;
use crate::store::facts::{Facts, LoopbackEndpoints};
use crate::store::json::{default, fields, list_mut};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// The defaults of an EndpointSlice.
pub(super) fn complete_slice(object: &mut Value) {
    let map = fields(object);
    for port in list_mut(map, "ports") {
        default(fields(port), "protocol", "TCP");
        default(fields(port), "name", "");
    }
    for endpoint in list_mut(map, "endpoints") {
        default(fields(endpoint), "conditions", json!({}));
    }
    map.entry("endpoints").or_insert(Value::Null);
    map.entry("ports").or_insert(Value::Null);
}

/// The defaults of Endpoints.
pub(super) fn complete(object: &mut Value) {
    for subset in list_mut(fields(object), "subsets") {
        for port in list_mut(fields(subset), "ports") {
            default(fields(port), "protocol", "TCP");
        }
    }
}

/// What must hold of an EndpointSlice.
pub(super) fn slice(facts: Facts, (before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let at = At::new("", object);
    let (kind, endpoints) = (at.get("addressType"), at.get("endpoints"));
    let mut late = Causes::new();
    if kind.text().is_empty() {
        kind.required(&mut late, "");
    } else if !["FQDN", "IPv4", "IPv6"].contains(&kind.text()) {
        kind.unsupported(&mut late, &["FQDN", "IPv4", "IPv6"]);
    }
    slice_ports(&at.get("ports"), causes);
    if endpoints.len() > ENDPOINTS_MAX {
        endpoints.too_many(causes, ENDPOINTS_MAX);
    } else if before.is_none_or(|before| before["endpoints"] != *endpoints.value) {
        for endpoint in endpoints.items() {
            one_endpoint(facts, kind.text(), &endpoint, (causes, &mut late));
        }
    }
    if before.is_some_and(|before| before["addressType"] != *kind.value) {
        // The value is not shown.
        kind.invalid_as(&mut late, &Value::Null, "field is immutable");
    }
    causes.extend(late);
}

fn one_endpoint(
    facts: Facts,
    kind: &str,
    endpoint: &At<'_>,
    (causes, late): (&mut Causes, &mut Causes),
) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        addresses.required(late, "");
    }
    if addresses.len() > ADDRESSES_MAX {
        addresses.too_many(late, ADDRESSES_MAX);
        return;
    }
    for one in addresses.items() {
        match kind {
            "IPv4" | "IPv6" => {
                let parsed = one.text().parse::<IpAddr>().ok();
                let fits = parsed.is_some_and(|address| address.is_ipv4() == (kind == "IPv4"));
                if parsed.is_none() {
                    pods::address(&one, causes);
                    continue;
                }
                if !fits {
                    let all = one.named(addresses.path.clone());
                    all.invalid(causes, &format!("must be an {kind} address"));
                }
                address(facts, &one, causes);
            }
            "FQDN" => {
                let name = one.text().strip_suffix('.').unwrap_or_else(|| one.text());
                let why = words::subdomain(name);
                if !why.is_empty() {
                    one.invalid(causes, &why.join(","));
                } else if !name.contains('.') {
                    let why = "should be a domain with at least two segments separated by dots";
                    one.invalid(causes, why);
                }
            }
            _ => {}
        }
    }
    let node = endpoint.get("nodeName");
    if node.is_set() {
        node.all_invalid(causes, words::subdomain(node.text()));
    }
    let host = endpoint.get("hostname");
    if host.is_set() {
        host.all_invalid(causes, words::label(host.text()));
    }
}

fn slice_ports(ports: &At<'_>, causes: &mut Causes) {
    if ports.len() > PORTS_MAX {
        ports.too_many(causes, PORTS_MAX);
        return;
    }
    let mut names = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            name.all_invalid(causes, words::label(name.text()));
        }
        if !names.insert(name.text()) {
            name.duplicate(causes);
        }
        let protocol = port.get("protocol");
        if !PROTOCOLS.contains(&protocol.text()) {
            protocol.unsupported(causes, PROTOCOLS);
        }
        let application = port.get("appProtocol");
        if application.is_set() {
            application.all_invalid(causes, words::qualified(application.text()));
        }
    }
}

/// What must hold of Endpoints.
pub(super) fn endpoints(
    facts: Facts,
    (before, object): (Option<&Value>, &Value),
    causes: &mut Causes,
) {
    if before.is_some_and(|before| before["subsets"] == object["subsets"]) {
        return;
    }
    for subset in At::new("", object).each("subsets") {
        let (ready, rest) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.len() + rest.len() == 0 {
            subset.required(causes, "must specify `addresses` or `notReadyAddresses`");
        }
        for one in ready.items().chain(rest.items()) {
            let (ip, host) = (one.get("ip"), one.get("hostname"));
            let valid = ip.text().parse::<IpAddr>().is_ok();
            if !valid {
                pods::address(&ip, causes);
            }
            if !host.is_empty() {
                host.all_invalid(causes, words::label(host.text()));
            }
            if valid {
                address(facts, &ip, causes);
            } else {
                ip.invalid_as(causes, &json!(ip.text()), "must be a valid IP address");
            }
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            let name = port.get("name");
            if name.is_empty() {
                if ports.len() > 1 {
                    name.required(causes, "");
                }
            } else {
                name.all_invalid(causes, words::label(name.text()));
            }
            port_number(&port.get("port"), causes);
            port.get("protocol").must_be_one_of(causes, PROTOCOLS);
        }
    }
}

/// Addresses at which no endpoint can be.
pub(super) fn address(facts: Facts, at: &At<'_>, causes: &mut Causes) {
    let Ok(address) = at.text().parse::<IpAddr>() else {
        return;
    };
    if address.is_unspecified() {
        at.invalid(causes, &format!("may not be unspecified ({})", at.text()));
    }
    if address.is_loopback() && facts.loopback_endpoints == LoopbackEndpoints::Refused {
        let why = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        at.invalid(causes, why);
    }
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    if link_local {
        let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        at.invalid(causes, why);
    }
    let link_local_multicast = match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    if link_local_multicast {
        let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        at.invalid(causes, why);
    }
}
