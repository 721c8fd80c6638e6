//! What must hold of a pod's spec, in a Pod and in a template.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{container, resources, scheduling, security, volumes};
use crate::store::admit::at::{At, Causes};
use crate::store::admit::words;

const VERY_LARGE: i64 = 2_147_483_647;

/// Whose spec it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store::admit) enum Whose {
    Pod,
    Template,
}

/// A template: its metadata and its spec.
pub(in crate::store::admit) fn template(at: &At<'_>, causes: &mut Causes) {
    let meta = at.get("metadata");
    scheduling::labels(&meta.get("labels").named(at.get("labels").path), causes);
    let annotations = meta.get("annotations").named(at.get("annotations").path);
    crate::store::meta::annotations(annotations.value, &annotations.path, causes);
    spec(&at.get("spec"), Whose::Template, causes);
    let ephemeral = at.get("spec").get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden(causes, "ephemeral containers not allowed in pod template");
    }
}

/// A spec.
pub(in crate::store::admit) fn spec(spec: &At<'_>, whose: Whose, causes: &mut Causes) {
    let mounted = volumes::volumes(&spec.get("volumes"), causes);
    let claims = resource_claims(&spec.get("resourceClaims"), causes);
    let around = container::Around {
        volumes: mounted,
        claims,
        grace: spec.value["terminationGracePeriodSeconds"].as_i64(),
        restart: spec.get("restartPolicy").text(),
        host_users: *spec.get("hostUsers").value != json!(false),
        os: spec.get("os").get("name").text(),
    };
    let (regular, init) = (spec.get("containers"), spec.get("initContainers"));
    container::regular(&regular, &around, causes);
    container::init(&init, &regular, &around, causes);
    let names: BTreeSet<&str> = regular
        .items()
        .chain(init.items())
        .map(|one| one.get("name").text())
        .collect();
    container::ephemeral(&spec.get("ephemeralContainers"), names, &around, causes);
    pod_level(spec, causes);
    host_network(spec, whose, causes);
    spec.get("restartPolicy")
        .must_be_one_of(causes, &["Always", "OnFailure", "Never"]);
    spec.get("dnsPolicy").must_be_one_of(
        causes,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    scheduling::labels(&spec.get("nodeSelector"), causes);
    security::pod(spec, causes);
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        spec.get("shareProcessNamespace").invalid(causes, why);
    }
    scheduling::affinity(&spec.get("affinity"), causes);
    dns(spec, causes);
    for gate in spec.each("readinessGates") {
        let kind = gate.get("conditionType");
        kind.all_invalid(causes, words::qualified(kind.text()));
    }
    scheduling::gates(&spec.get("schedulingGates"), causes);
    scheduling::spread(&spec.get("topologySpreadConstraints"), causes);
    host_users(spec, causes);
    names_and_numbers(spec, causes);
}

fn resource_claims<'a>(list: &At<'a>, causes: &mut Causes) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for claim in list.items() {
        let name = claim.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
        } else if !names.insert(name.text()) {
            name.duplicate(causes);
        } else {
            name.all_invalid(causes, words::label(name.text()));
        }
    }
    names
}

fn pod_level(spec: &At<'_>, causes: &mut Causes) {
    let whole = spec.get("resources");
    for list in ["limits", "requests"] {
        for (key, one) in whole.get(list).entries() {
            if resources::name(&one, key, causes)
                && !["cpu", "memory"].contains(&key)
                && !key.starts_with("hugepages-")
            {
                one.named(one.path.clone()).invalid_as(
                    causes,
                    &json!(key),
                    "must be a standard resource for pods",
                );
            }
            resources::amount(&one, key, causes);
        }
    }
}

fn host_network(spec: &At<'_>, whose: Whose, causes: &mut Causes) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.each("containers") {
        for port in container.each("ports") {
            let (outer, inner) = (port.get("hostPort"), port.get("containerPort"));
            let asked = whose == Whose::Pod || outer.int() != 0;
            if asked && outer.int() != inner.int() {
                let why = "must match `containerPort` when `hostNetwork` is true";
                outer.invalid(causes, why);
            }
        }
    }
}

fn dns(spec: &At<'_>, causes: &mut Causes) {
    let (policy, config) = (spec.get("dnsPolicy"), spec.get("dnsConfig"));
    let servers = config.get("nameservers");
    if policy.text() == "None" {
        if !config.is_set() {
            config.required(causes, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            servers.required(causes, why);
            return;
        }
    }
    if servers.len() > 3 {
        servers.invalid(causes, "must not have more than 3 nameservers");
    }
    for server in servers.items() {
        address(&server, causes);
    }
    let searches = config.get("searches");
    if searches.len() > 32 {
        searches.invalid(causes, "must not have more than 32 search paths");
    }
    for option in config.each("options") {
        if option.get("name").text().is_empty() {
            option.required(causes, "must not be empty");
        }
    }
}

/// An IP address.
pub(in crate::store::admit) fn address(at: &At<'_>, causes: &mut Causes) {
    if at.text().parse::<std::net::IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        at.invalid_as(causes, &json!(at.text()), why);
    }
}

fn host_users(spec: &At<'_>, causes: &mut Causes) {
    if *spec.get("hostUsers").value != json!(false) {
        return;
    }
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.get(field).is_true() {
            spec.get(shown)
                .forbidden(causes, "when `hostUsers` is false");
        }
    }
}

fn names_and_numbers(spec: &At<'_>, causes: &mut Causes) {
    type Rule = fn(&str) -> Vec<String>;
    let rule = |name: &str, rule: Rule, causes: &mut Causes| {
        let at = spec.get(name);
        if !at.is_empty() {
            at.all_invalid(causes, rule(at.text()));
        }
    };
    rule("serviceAccountName", words::subdomain, causes);
    rule("nodeName", words::subdomain, causes);
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.within(causes, (1, VERY_LARGE));
    }
    rule("hostname", words::label, causes);
    rule("subdomain", words::label, causes);
    scheduling::tolerations(&spec.get("tolerations"), causes);
    for alias in spec.each("hostAliases") {
        address(&alias.get("ip"), causes);
        for name in alias.each("hostnames") {
            name.all_invalid(causes, words::subdomain(name.text()));
        }
    }
    rule("priorityClassName", words::subdomain, causes);
    let class = spec.get("runtimeClassName");
    if class.is_set() {
        class.all_invalid(causes, words::subdomain(class.text()));
    }
    spec.get("preemptionPolicy")
        .one_of(causes, &["PreemptLowerPriority", "Never"]);
    for (key, one) in spec.get("overhead").entries() {
        resources::amount(&one, key, causes);
    }
    let os = spec.get("os");
    if os.is_set() {
        os.get("name").must_be_one_of(causes, &["linux", "windows"]);
    }
}

/// Whether a selector selects a template's labels.
pub(in crate::store::admit) fn selects(selector: &Value, labels: &Value) -> bool {
    crate::selector::LabelSelector::from_object(selector).matches(|key| labels[key].as_str())
}
