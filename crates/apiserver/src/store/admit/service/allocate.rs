//! Addresses and node ports of Services: what they ask for, or what is free.
use std::net::IpAddr;

use serde_json::{Value, json};

use super::check::families;
use super::{has_address, has_health_port, has_node_ports, is_headless};
use crate::error::Cause;
use crate::store::admit::addresses::{NODE_PORTS, Owner};
use crate::store::admit::at::{At, Causes};
use crate::store::json::{child, fields, list, text};
use crate::store::{Moment, Store};

/// Gives the Service its address and its ports, or refuses those that it asks for.
pub(in crate::store::admit) fn assign(
    store: &Store,
    moment: &mut Moment<'_>,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Causes,
) {
    if has_address(object) {
        families(object, causes);
        if before.is_some() && contradicts(object) {
            let spec = At::new("spec", &object["spec"]);
            return super::check::addresses(object, &spec, causes);
        }
        stacks(store, object, causes);
        let had = before.is_some_and(has_address);
        if causes.is_empty() && !had && !is_headless(object) {
            address(store, moment, object, causes);
        }
    }
    if causes.is_empty() && has_node_ports(object) {
        node_ports(store, moment, (before, object), causes);
    }
    if causes.is_empty() && has_health_port(object) {
        health_port(store, moment, (before, object), causes);
    }
}

fn owner(object: &Value) -> Owner {
    let meta = &object["metadata"];
    (text(meta, "namespace").into(), text(meta, "name").into())
}

/// Whether an address is of another family than it says: that is refused, whatever the cluster has.
fn contradicts(object: &Value) -> bool {
    let addresses = list(&object["spec"], "clusterIPs").iter();
    let families = list(&object["spec"], "ipFamilies").iter();
    addresses.zip(families).any(|(address, family)| {
        let address = address.as_str().unwrap_or_default();
        let is_ipv6 = address.parse::<IpAddr>().map(|address| address.is_ipv6());
        is_ipv6.is_ok_and(|is_ipv6| is_ipv6 == (family == "IPv4"))
    })
}

/// Whether the cluster has the families that it asks for.
fn stacks(store: &Store, object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let selectorless = spec.get("selector").is_empty();
    if is_headless(object) && selectorless {
        return;
    }
    let own = if store.addresses.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    let policy = spec.get("ipFamilyPolicy");
    if policy.text() == "RequireDualStack" {
        policy.invalid(
            causes,
            "this cluster is not configured for dual-stack services",
        );
    }
    for family in spec.each("ipFamilies") {
        if ["IPv4", "IPv6"].contains(&family.text()) && family.text() != own {
            family.invalid(causes, "not configured on this cluster");
        }
    }
}

fn address(store: &Store, moment: &mut Moment<'_>, object: &mut Value, causes: &mut Causes) {
    let asked = text(&object["spec"], "clusterIP").to_owned();
    if asked.is_empty() {
        if !list(&object["spec"], "clusterIPs").is_empty() {
            return;
        }
        let Some(free) = store.addresses.free(moment.rng) else {
            causes.push(Cause {
                reason: "InternalError",
                message: "Internal error: failed to allocate a serviceIP: range is full".to_owned(),
                field: "spec.clusterIPs".to_owned(),
            });
            return;
        };
        let spec = child(object, "spec");
        spec.insert("clusterIP".to_owned(), free.to_string().into());
        spec.insert("clusterIPs".to_owned(), json!([free.to_string()]));
        return;
    }
    let Ok(parsed) = asked.parse::<IpAddr>() else {
        return;
    };
    if let Some(why) = store.addresses.refusal(parsed) {
        causes.push(Cause::invalid("spec.clusterIPs", &json!([asked]), &why));
    }
}

fn node_ports(
    store: &Store,
    moment: &mut Moment<'_>,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Causes,
) {
    let owner = owner(object);
    let old = before.map_or(&[][..], |before| list(&before["spec"], "ports"));
    let mut taken: Vec<(i64, String)> = Vec::new();
    let ports = At::new("spec", &object["spec"]);
    for port in ports.each("ports") {
        let (number, protocol) = (port.get("nodePort"), port.get("protocol").text());
        if number.int() == 0 {
            continue;
        }
        let twice = taken
            .iter()
            .any(|(one, other)| *one == number.int() && other == protocol);
        let mine = old.iter().any(|old| old["nodePort"] == *number.value);
        let why = store.addresses.port_refusal(number.int(), &owner);
        if twice {
            number.invalid(causes, "provided port is already allocated");
        } else if let Some(why) = why.filter(|_| !mine) {
            number.invalid(causes, &why);
        }
        taken.push((number.int(), protocol.to_owned()));
    }
    if !causes.is_empty() {
        return;
    }
    let ports = child(object, "spec")
        .get_mut("ports")
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if port["nodePort"].as_i64().unwrap_or(0) != 0 {
            continue;
        }
        // The same number for another protocol of the same port.
        let protocol = text(port, "protocol").to_owned();
        let held: Vec<i64> = taken.iter().map(|(number, _)| *number).collect();
        let Some(free) = store.addresses.free_port(moment.rng, &held) else {
            let at = At::new("spec.ports", &Value::Null);
            let why = format!(
                "failed to allocate a nodePort: range is full: {}-{}",
                NODE_PORTS.start(),
                NODE_PORTS.end()
            );
            at.invalid(causes, &why);
            return;
        };
        taken.push((free, protocol));
        fields(port).insert("nodePort".to_owned(), free.into());
    }
}

fn health_port(
    store: &Store,
    moment: &mut Moment<'_>,
    (before, object): (Option<&Value>, &mut Value),
    causes: &mut Causes,
) {
    let asked = object["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0);
    let kept = before.is_some_and(|before| before["spec"]["healthCheckNodePort"] == asked);
    if asked != 0 {
        let why = store.addresses.port_refusal(asked, &owner(object));
        if let Some(why) = why.filter(|_| !kept) {
            let at = At::new(
                "spec.healthCheckNodePort",
                &object["spec"]["healthCheckNodePort"],
            );
            at.invalid(causes, &why);
        }
        return;
    }
    let ports = list(&object["spec"], "ports");
    let held: Vec<i64> = ports
        .iter()
        .filter_map(|port| port["nodePort"].as_i64())
        .collect();
    if let Some(free) = store.addresses.free_port(moment.rng, &held) {
        child(object, "spec").insert("healthCheckNodePort".to_owned(), free.into());
    }
}
