//! Ingresses, IngressClasses and NetworkPolicies.
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::scheduling;
use super::words;
use crate::error::Cause;
use crate::store::json::{child, default, fields, list, list_mut};

const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// The defaults of an object of `networking.k8s.io`.
pub(super) fn complete(kind: &str, object: &mut Value) {
    match kind {
        "NetworkPolicy" => policy_defaults(object),
        "IngressClass" => {
            let parameters = child(object, "spec").get_mut("parameters");
            if let Some(parameters) = parameters.filter(|one| one.is_object()) {
                default(fields(parameters), "scope", "Cluster");
            }
        }
        _ => {}
    }
}

fn policy_defaults(object: &mut Value) {
    let spec = child(object, "spec");
    for name in ["ingress", "egress"] {
        for rule in list_mut(spec, name) {
            for port in list_mut(fields(rule), "ports") {
                default(fields(port), "protocol", "TCP");
            }
        }
    }
    spec.entry("podSelector").or_insert_with(|| json!({}));
    let none = spec
        .get("policyTypes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if none {
        let egress = spec.get("egress").and_then(Value::as_array);
        let kinds = if egress.is_some_and(|rules| !rules.is_empty()) {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".to_owned(), kinds);
    }
}

/// What must hold of an object of `networking.k8s.io`.
pub(super) fn check(kind: &str, (before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    match kind {
        "Ingress" => {
            ingress(&spec, causes);
            let name = "kubernetes.io/ingress.class";
            let old = At::new(
                format!("annotations.{name}"),
                &object["metadata"]["annotations"][name],
            );
            let class = spec.get("ingressClassName");
            if before.is_none() && old.is_set() && class.is_set() && old.value != class.value {
                old.invalid(
                    causes,
                    "must match `ingressClassName` when both are specified",
                );
            }
        }
        "IngressClass" => {
            if let Some(before) = before {
                let old = At::new("", &before["spec"]["controller"]);
                spec.get("controller").immutable(causes, &old);
            }
            class(&spec, causes);
        }
        "NetworkPolicy" => policy(&spec, causes),
        _ => {}
    }
}

fn ingress(spec: &At<'_>, causes: &mut Causes) {
    let (rules, backend) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !backend.is_set() {
        let why = "either `defaultBackend` or `rules` must be specified";
        spec.invalid_as(causes, rules.value, why);
    }
    if backend.is_set() {
        ingress_backend(&backend, causes);
    }
    for rule in rules.items() {
        let name = rule.get("host");
        if name.text().parse::<IpAddr>().is_ok() {
            name.invalid(causes, "must be a DNS name, not an IP address");
        }
        if !name.is_empty() {
            host(&name, causes);
        }
        let http = rule.get("http");
        if !http.is_set() {
            continue;
        }
        if http.get("paths").is_empty() {
            http.get("paths").required(causes, "");
        }
        for path in http.each("paths") {
            ingress_path(&path, causes);
        }
    }
    for tls in spec.each("tls") {
        for name in tls.each("hosts") {
            host(&name, causes);
        }
        let secret = tls.get("secretName");
        if !secret.is_empty() {
            secret.all_invalid(causes, words::subdomain(secret.text()));
        }
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        class.all_invalid(causes, words::subdomain(class.text()));
    }
}

fn host(name: &At<'_>, causes: &mut Causes) {
    if name.text().contains('*') {
        name.all_invalid(causes, words::wildcard(name.text()));
    } else {
        name.all_invalid(causes, words::subdomain(name.text()));
    }
}

fn ingress_path(at: &At<'_>, causes: &mut Causes) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    let absolute = path.text().starts_with('/');
    let text = json!(path.text());
    match kind.text() {
        "" => {
            kind.required(causes, "pathType must be specified");
            return;
        }
        "Exact" | "Prefix" => {
            if !absolute {
                path.invalid_as(causes, &text, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if path.text().contains(part) {
                    path.invalid(causes, &format!("must not contain '{part}'"));
                }
            }
            for end in ["/..", "/."] {
                if path.text().ends_with(end) {
                    path.invalid(causes, &format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !absolute {
                path.invalid(causes, "must be an absolute path");
            }
        }
        _ => kind.unsupported(causes, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    ingress_backend(&at.get("backend"), causes);
}

fn ingress_backend(at: &At<'_>, causes: &mut Causes) {
    let (resource, service) = (at.get("resource"), at.get("service"));
    let none = json!("");
    match (resource.is_set(), service.is_set()) {
        (true, true) => {
            at.invalid_as(
                causes,
                &none,
                "cannot set both resource and service backends",
            );
        }
        (true, false) => {
            let mut missing = Causes::new();
            reference(&resource, causes, &mut missing);
            causes.extend(missing);
        }
        (false, false) => {
            at.invalid_as(causes, &none, "resource or service backend is required");
        }
        (false, true) => {
            let name = service.get("name");
            if name.text().is_empty() {
                name.required(causes, "");
            } else {
                name.all_invalid(causes, words::label(name.text()));
            }
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            match (name.is_empty(), number.int() == 0) {
                (false, false) => {
                    at.invalid_as(causes, &none, "cannot set both port name & port number");
                }
                (false, true) => name.all_invalid(causes, words::port_name(name.text())),
                (true, false) => number.within(causes, (1, 65535)),
                (true, true) => at.required(causes, "port name or number is required"),
            }
        }
    }
}

fn reference(at: &At<'_>, causes: &mut Causes, missing: &mut Causes) {
    let group = at.get("apiGroup");
    if group.is_set() {
        group.all_invalid(causes, words::subdomain(group.text()));
    }
    for name in ["kind", "name"] {
        let field = at.get(name);
        if field.text().is_empty() {
            field.required(missing, "");
        } else {
            field.all_invalid(causes, words::path_segment(field.text()));
        }
    }
}

fn class(spec: &At<'_>, causes: &mut Causes) {
    let controller = spec.get("controller");
    if controller.text().is_empty() {
        controller.required(causes, "");
    } else {
        controller.all_invalid(causes, words::prefixed_path(controller.text()));
    }
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    let mut missing = Causes::new();
    reference(&parameters, causes, &mut missing);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    scope.must_be_one_of(causes, &["Cluster", "Namespace"]);
    match scope.text() {
        "Namespace" if namespace.is_empty() => {
            namespace.required(causes, "`parameters.scope` is set to 'Namespace'");
        }
        "Cluster" if namespace.is_set() => {
            namespace.forbidden(causes, "`parameters.scope` is set to 'Cluster'");
        }
        _ => {}
    }
    causes.extend(missing);
}

fn policy(spec: &At<'_>, causes: &mut Causes) {
    scheduling::selector(&spec.get("podSelector"), causes);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.each(rules) {
            for port in rule.each("ports") {
                policy_port(&port, causes);
            }
            for peer in rule.each(peers) {
                policy_peer(&peer, causes);
            }
        }
    }
    let kinds = spec.get("policyTypes");
    if kinds.len() > 2 {
        kinds.invalid(causes, "may not specify more than two policyTypes");
        return;
    }
    for kind in kinds.items() {
        kind.one_of(causes, &["Ingress", "Egress"]);
    }
}

fn policy_port(at: &At<'_>, causes: &mut Causes) {
    at.get("protocol").one_of(causes, &["TCP", "UDP", "SCTP"]);
    let (port, end) = (at.get("port"), at.get("endPort"));
    match port.value {
        Value::Null => {
            if end.is_set() {
                end.invalid(causes, "may not be specified when `port` is not specified");
            }
        }
        Value::String(name) => {
            if end.is_set() {
                end.invalid(causes, "may not be specified when `port` is non-numeric");
            }
            port.all_invalid(causes, words::port_name(name));
        }
        _ => {
            port.within(causes, (1, 65535));
            if end.is_set() {
                if end.int() < port.int() {
                    end.invalid(causes, "must be greater than or equal to `port`");
                }
                end.within(causes, (1, 65535));
            }
        }
    }
}

fn policy_peer(at: &At<'_>, causes: &mut Causes) {
    let (pods, namespaces, block) = (
        at.get("podSelector"),
        at.get("namespaceSelector"),
        at.get("ipBlock"),
    );
    scheduling::selector(&pods, causes);
    scheduling::selector(&namespaces, causes);
    if block.is_set() {
        ip_block(&block, causes);
        if pods.is_set() || namespaces.is_set() {
            at.forbidden(causes, "may not specify both ipBlock and another peer");
        }
    } else if !pods.is_set() && !namespaces.is_set() {
        at.required(causes, "must specify a peer");
    }
}

fn ip_block(at: &At<'_>, causes: &mut Causes) {
    let whole = at.get("cidr");
    if whole.text().is_empty() {
        causes.push(Cause::required(whole.path, ""));
        return;
    }
    let Ok(range) = whole.text().parse::<IpNet>() else {
        whole.invalid(causes, NO_CIDR);
        return;
    };
    for one in at.each("except") {
        match one.text().parse::<IpNet>() {
            Err(_) => one.invalid(causes, NO_CIDR),
            Ok(part) => {
                if !range.contains(&part) || range.prefix_len() >= part.prefix_len() {
                    one.invalid(causes, "must be a strict subset of `cidr`");
                }
            }
        }
    }
}

/// What is said of ranges whose address is none of a network.
pub(super) fn odd_ranges(object: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(&object["spec"], rules).iter().enumerate() {
            for (at, peer) in list(rule, peers).iter().enumerate() {
                let text = peer["ipBlock"]["cidr"].as_str().unwrap_or_default();
                let Ok(range) = text.parse::<IpNet>() else {
                    continue;
                };
                if range.addr() != range.network() {
                    told.push(format!(
                        "spec.{rules}[{index}].{peers}[{at}].ipBlock.cidr: CIDR value {text:?} is \
                         ambiguous in this context (should be {:?} or \"{}/{}\"?)",
                        range.trunc().to_string(),
                        range.addr(),
                        range.max_prefix_len()
                    ));
                }
            }
        }
    }
    told
}
