//! What must hold of a Service.
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{has_address, has_health_port, is_external, is_headless, kind};
use crate::error::Cause;
use crate::store::Store;
use crate::store::admit::at::{At, Causes};
use crate::store::admit::pod::{check as pods, port, scheduling};
use crate::store::admit::{endpoints, words};

const FAMILIES: &[&str] = &["IPv4", "IPv6"];

/// A number from 1 to 65535.
pub(in crate::store::admit) fn port_number(at: &At<'_>, causes: &mut Causes) {
    at.within(causes, (1, 65535));
}

/// Families that there are none of: a Service that asks for them is not looked at any further.
pub(super) fn families(object: &Value, causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    for family in spec.each("ipFamilies") {
        family.one_of(causes, FAMILIES);
    }
    spec.get("ipFamilyPolicy").one_of(
        causes,
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
    );
}

/// What must hold of where a load balancer is reached.
pub(in crate::store::admit) fn check_status(object: &Value, causes: &mut Causes) {
    let status = At::new("status", &object["status"]);
    let ingress = status.get("loadBalancer").get("ingress");
    if object["spec"]["type"] != "LoadBalancer" && !ingress.is_empty() {
        ingress.forbidden(
            causes,
            "may only be used when `spec.type` is 'LoadBalancer'",
        );
        return;
    }
    for one in ingress.items() {
        let (ip, host) = (one.get("ip"), one.get("hostname"));
        if !ip.is_empty() && ip.text().parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            ip.invalid(causes, why);
        }
        if !host.is_empty() {
            host.all_invalid(causes, words::subdomain(host.text()));
            if host.text().parse::<IpAddr>().is_ok() {
                host.invalid(causes, "must be a DNS name, not an IP address");
            }
        }
    }
}

/// What must hold of a Service.
pub(in crate::store::admit) fn check(
    store: &Store,
    (before, object): (Option<&Value>, &Value),
    causes: &mut Causes,
) {
    if let Some(before) = before {
        super::changed(before, object, causes);
    }
    let spec = At::new("spec", &object["spec"]);
    let ports = spec.get("ports");
    if ports.items().next().is_none() && !is_headless(object) && has_address(object) {
        ports.required(causes, "");
    }
    by_type(object, &spec, causes);
    let mut names = BTreeSet::new();
    for one in ports.items() {
        service_port(&one, ports.len() > 1, &mut names, causes);
    }
    scheduling::labels(&spec.get("selector"), causes);
    affinity(&spec, causes);
    if has_address(object) {
        addresses(object, &spec, causes);
    }
    for one in spec.each("externalIPs") {
        if one.text().parse::<IpAddr>().is_ok() {
            endpoints::address(store.facts, &one, causes);
        } else {
            pods::address(&one, causes);
        }
    }
    spec.get("type").one_of(
        causes,
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    duplicates(object, &ports, causes);
    balancer(object, &spec, causes);
    traffic(object, &spec, causes);
}

fn by_type(object: &Value, spec: &At<'_>, causes: &mut Causes) {
    match kind(object) {
        "ExternalName" => {
            for name in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.get(name).is_empty() {
                    let why = "may not be set for ExternalName services";
                    spec.get(name).forbidden(causes, why);
                }
            }
            let name = spec.get("externalName");
            let plain = name.text().strip_suffix('.').unwrap_or_else(|| name.text());
            if plain.is_empty() {
                name.required(causes, "");
            } else {
                let shown = json!(plain);
                At::new(name.path, &shown).all_invalid(causes, words::subdomain(plain));
            }
        }
        kind @ ("LoadBalancer" | "NodePort") if is_headless(object) => {
            let first = spec.get("clusterIPs").items().next();
            if let Some(first) = first {
                let why = format!("may not be set to 'None' for {kind} services");
                first.invalid(causes, &why);
            }
        }
        _ => {}
    }
}

fn service_port<'a>(one: &At<'a>, named: bool, names: &mut BTreeSet<&'a str>, causes: &mut Causes) {
    let name = one.get("name");
    if name.is_empty() {
        if named {
            name.required(causes, "");
        }
    } else {
        name.all_invalid(causes, words::label(name.text()));
        if !names.insert(name.text()) {
            name.duplicate(causes);
        }
    }
    port_number(&one.get("port"), causes);
    one.get("protocol")
        .must_be_one_of(causes, &["SCTP", "TCP", "UDP"]);
    port(&one.get("targetPort"), causes);
    let protocol = one.get("appProtocol");
    if protocol.is_set() {
        protocol.all_invalid(causes, words::qualified(protocol.text()));
    }
}

fn affinity(spec: &At<'_>, causes: &mut Causes) {
    let affinity = spec.get("sessionAffinity");
    affinity.must_be_one_of(causes, &["ClientIP", "None"]);
    let seconds = spec
        .get("sessionAffinityConfig")
        .get("clientIP")
        .get("timeoutSeconds");
    if affinity.text() == "ClientIP" && !(1..=86400).contains(&seconds.int()) {
        seconds.invalid(causes, "must be greater than 0 and less than 86400");
    }
}

pub(super) fn addresses(object: &Value, spec: &At<'_>, causes: &mut Causes) {
    let (single, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    let first = all.items().next();
    match (&first, single.is_empty()) {
        (Some(first), false) if first.value != single.value => {
            all.invalid(causes, "first value must match `clusterIP`");
        }
        (Some(_), true) => {
            all.invalid(causes, "must be empty when `clusterIP` is not specified");
        }
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for family in spec.each("ipFamilies") {
        if !seen.insert(family.text()) {
            family.duplicate(causes);
        }
    }
    let mut wrong = false;
    for (index, one) in all.items().enumerate() {
        if index == 0 && one.text() == "None" {
            if all.len() > 1 {
                wrong = true;
                all.invalid(causes, "'None' must be the first and only value");
            }
            continue;
        }
        let before = causes.len();
        pods::address(&one, causes);
        wrong |= causes.len() > before;
    }
    if all.len() > 2 {
        all.invalid(causes, "may only hold up to 2 values");
    }
    if wrong || is_headless(object) {
        return;
    }
    let parsed: Vec<IpAddr> = all
        .items()
        .filter_map(|one| one.text().parse().ok())
        .collect();
    if parsed.len() == 2 && parsed[0].is_ipv4() == parsed[1].is_ipv4() {
        all.invalid(causes, "may specify no more than one IP for each IP family");
    }
    for (index, (one, address)) in all.items().zip(parsed).enumerate() {
        let wanted = spec.value["ipFamilies"][index].as_str().unwrap_or_default();
        if (wanted == "IPv4" && address.is_ipv6()) || (wanted == "IPv6" && address.is_ipv4()) {
            let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            one.invalid(causes, &why);
        }
    }
}

fn duplicates(object: &Value, ports: &At<'_>, causes: &mut Causes) {
    if kind(object) == "ClusterIP" {
        for one in ports.items() {
            let number = one.get("nodePort");
            if number.int() != 0 {
                number.forbidden(causes, "may not be used when `type` is 'ClusterIP'");
            }
        }
    }
    let mut nodes = BTreeSet::new();
    for one in ports.items() {
        let number = one.get("nodePort");
        if number.int() != 0 && !nodes.insert((one.get("protocol").text(), number.int())) {
            number.duplicate(causes);
        }
    }
    let mut seen = BTreeSet::new();
    for one in ports.items() {
        let (protocol, number) = (one.get("protocol"), one.get("port"));
        if !seen.insert((protocol.text(), number.int())) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!(
                    "Duplicate value: {{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\
                     \"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                    protocol.value, number.value
                ),
                field: one.path,
            });
        }
    }
}

fn balancer(object: &Value, spec: &At<'_>, causes: &mut Causes) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let balanced = kind(object) == "LoadBalancer";
    let ranges = spec.get("loadBalancerSourceRanges");
    let shown = ranges.named("spec.LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        shown.forbidden(causes, only);
    }
    for range in shown.items() {
        if range.text().trim().parse::<ipnet::IpNet>().is_err() {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            range.invalid(causes, why);
        }
    }
    if spec.get("allocateLoadBalancerNodePorts").is_set() && !balanced {
        spec.get("allocateLoadBalancerNodePorts")
            .forbidden(causes, only);
    }
    let class = spec.get("loadBalancerClass");
    if class.is_set() {
        if balanced {
            class.all_invalid(causes, words::qualified(class.text()));
        } else {
            class.forbidden(causes, only);
        }
    }
}

fn traffic(object: &Value, spec: &At<'_>, causes: &mut Causes) {
    let outer = spec.get("externalTrafficPolicy");
    if is_external(object) {
        outer.must_be_one_of(causes, &["Cluster", "Local"]);
    } else if !outer.is_empty() {
        outer.invalid(causes, "may only be set for externally-accessible services");
    }
    let health = spec.get("healthCheckNodePort");
    if health.int() != 0 && !has_health_port(object) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is \
                   'Local'";
        health.invalid(causes, why);
    }
    spec.get("internalTrafficPolicy")
        .one_of(causes, &["Cluster", "Local"]);
    spec.get("trafficDistribution")
        .one_of(causes, &["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

/// What may not change of a Service's addresses.
pub(super) fn changed(before: &Value, object: &Value, causes: &mut Causes) {
    let addressed = has_address(before) && has_address(object);
    if !addressed || (is_headless(before) && is_headless(object)) {
        return;
    }
    let (old, new) = (
        At::new("spec", &before["spec"]).get("clusterIPs"),
        At::new("spec", &object["spec"]).get("clusterIPs"),
    );
    let why = "may not change once set";
    if old.len() == new.len() {
        for (one, other) in old.items().zip(new.items()) {
            if one.value != other.value {
                new.named(other.path).invalid(causes, why);
            }
        }
    } else if old.value[0] != new.value[0] && !old.is_empty() {
        let why = if new.is_empty() {
            "primary clusterIP can not be unset"
        } else {
            why
        };
        new.named("spec.clusterIPs[0]").invalid(causes, why);
    }
    if is_headless(before) != is_headless(object) {
        return;
    }
    let (old, new) = (&before["spec"]["ipFamilies"], &object["spec"]["ipFamilies"]);
    if old[0] != new[0] {
        At::new("spec.ipFamilies[0]", new).invalid(causes, why);
    }
    let class = At::new(
        "spec.loadBalancerClass",
        &object["spec"]["loadBalancerClass"],
    );
    let both = kind(before) == "LoadBalancer" && kind(object) == "LoadBalancer";
    if both && before["spec"]["loadBalancerClass"] != *class.value {
        class.invalid(causes, why);
    }
}
