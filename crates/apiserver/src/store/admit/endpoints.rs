//! Endpoints and EndpointSlices: addresses and ports.
use std::net::IpAddr;

use serde_json::{Value, json};

use super::service::port_number;
use crate::error::Cause;
use crate::store::facts::{Facts, LoopbackEndpoints};
use crate::store::json::{default, fields, list, list_mut, text};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 100;

/// Completes and checks an EndpointSlice.
pub(super) fn slice(
    facts: Facts,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Vec<Cause>,
) {
    let map = fields(object);
    for port in list_mut(map, "ports") {
        default(fields(port), "protocol", "TCP");
        default(fields(port), "name", "");
    }
    default(map, "endpoints", json!([]));
    let kind = text(object, "addressType");
    let kinds = ["FQDN", "IPv4", "IPv6"];
    if kind.is_empty() {
        causes.push(Cause::required("addressType", ""));
    } else if !kinds.contains(&kind) {
        causes.push(Cause::unsupported(
            "addressType",
            &object["addressType"],
            &kinds,
        ));
    }
    if before.is_some_and(|before| before["addressType"] != object["addressType"]) {
        causes.push(Cause::invalid(
            "addressType",
            &object["addressType"],
            "field is immutable",
        ));
    }
    let endpoints = list(object, "endpoints");
    too_many("endpoints", endpoints.len(), ENDPOINTS_MAX, causes);
    for (index, endpoint) in endpoints.iter().take(ENDPOINTS_MAX).enumerate() {
        let addresses = list(endpoint, "addresses");
        let field = format!("endpoints[{index}].addresses");
        if addresses.is_empty() {
            causes.push(Cause::required(&field, "must contain at least 1 address"));
        }
        too_many(&field, addresses.len(), ADDRESSES_MAX, causes);
        if kind == "FQDN" {
            continue;
        }
        for (at, value) in addresses.iter().take(ADDRESSES_MAX).enumerate() {
            address(
                facts,
                &format!("{field}[{at}]"),
                (value, Some(kind)),
                causes,
            );
        }
    }
    let ports = list(object, "ports");
    too_many("ports", ports.len(), PORTS_MAX, causes);
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().take(PORTS_MAX).enumerate() {
        if names.contains(&text(port, "name")) {
            causes.push(Cause::duplicate(
                format!("ports[{index}].name"),
                &port["name"],
            ));
        }
        names.push(text(port, "name"));
        if !port["port"].is_null() {
            port_number(&format!("ports[{index}].port"), &port["port"], causes);
        }
    }
}

fn too_many(field: &str, count: usize, max: usize, causes: &mut Vec<Cause>) {
    if count > max {
        causes.push(Cause {
            reason: "FieldValueTooMany",
            message: format!("Too many: {count}: must have at most {max} items"),
            field: field.to_owned(),
        });
    }
}

/// Completes and checks Endpoints.
pub(super) fn endpoints(facts: Facts, object: &mut Value, causes: &mut Vec<Cause>) {
    for subset in list_mut(fields(object), "subsets") {
        for port in list_mut(fields(subset), "ports") {
            default(fields(port), "protocol", "TCP");
        }
    }
    for (index, subset) in list(object, "subsets").iter().enumerate() {
        for name in ["addresses", "notReadyAddresses"] {
            for (at, entry) in list(subset, name).iter().enumerate() {
                let field = format!("subsets[{index}].{name}[{at}].ip");
                address(facts, &field, (&entry["ip"], None), causes);
            }
        }
        for (at, port) in list(subset, "ports").iter().enumerate() {
            port_number(
                &format!("subsets[{index}].ports[{at}].port"),
                &port["port"],
                causes,
            );
        }
    }
}

fn address(
    facts: Facts,
    field: &str,
    (value, family): (&Value, Option<&str>),
    causes: &mut Vec<Cause>,
) {
    let Some(address) = value.as_str().and_then(|text| text.parse::<IpAddr>().ok()) else {
        let why = match family {
            Some("IPv4") => "must be an IPv4 address",
            Some("IPv6") => "must be an IPv6 address",
            _ => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        };
        causes.push(Cause::invalid(field, value, why));
        return;
    };
    match (family, address.is_ipv4()) {
        (Some("IPv4"), false) => {
            causes.push(Cause::invalid(field, value, "must be an IPv4 address"))
        }
        (Some("IPv6"), true) => {
            causes.push(Cause::invalid(field, value, "must be an IPv6 address"))
        }
        _ => {}
    }
    let mut refuse = |why: &str| causes.push(Cause::invalid(field, value, why));
    if address.is_unspecified() {
        refuse(&format!("may not be unspecified ({address})"));
    }
    if address.is_loopback() && facts.loopback_endpoints == LoopbackEndpoints::Refused {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    let link_local_multicast = match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    if link_local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}
