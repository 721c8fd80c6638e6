//! The words of a line: keys, labels, Services, selectors.
use crate::link::LinkKey;
use crate::name::{Hostname, Namespace, ServiceName};
use crate::selector::Selector;
use crate::service::{
    Labels, ManagedService, Readiness, Service, ServiceKey, ServiceKind, ServicePort, TargetPort,
};
use crate::world::{Host, Hosts};

pub(crate) fn service_key(text: &str) -> ServiceKey {
    let (namespace, name) = text.split_once('/').expect("NS/NAME");
    ServiceKey {
        namespace: Namespace::parse(namespace).unwrap(),
        name: ServiceName::parse(name).unwrap(),
    }
}

pub(crate) fn link_key(text: &str) -> LinkKey {
    LinkKey {
        namespace: Namespace::parse("mc").unwrap(),
        name: text.into(),
    }
}

pub(crate) fn has(rest: &str, word: &str) -> bool {
    rest.split_whitespace().any(|w| w == word)
}

pub(crate) fn value<'a>(rest: &'a str, name: &str) -> Option<&'a str> {
    rest.split_whitespace()
        .find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
}

pub(crate) fn pairs(rest: &str, sigil: char) -> Labels {
    let words = rest
        .split_whitespace()
        .filter_map(|w| w.strip_prefix(sigil)?.split_once('='));
    words
        .map(|(key, value)| (long(key), value.to_owned()))
        .collect()
}

fn long(key: &str) -> String {
    match key.split_once('/') {
        Some(("m", rest)) => format!("mirror.linkerd.io/{rest}"),
        Some(("mc", rest)) => format!("multicluster.linkerd.io/{rest}"),
        _ => key.to_owned(),
    }
}

pub(crate) fn service(rest: &str) -> Service {
    let kind = match (has(rest, "headless"), has(rest, "external")) {
        (true, _) => ServiceKind::Headless,
        (_, true) => ServiceKind::ExternalName,
        _ => ServiceKind::ClusterIp,
    };
    let ports = match value(rest, "ports").unwrap_or("http:80") {
        "none" => Vec::new(),
        ports => ports.split(',').map(port).collect(),
    };
    Service {
        kind,
        labels: pairs(rest, '@'),
        annotations: pairs(rest, '#'),
        ports,
    }
}

fn port(text: &str) -> ServicePort {
    let (name, number) = text.split_once(':').unwrap_or(("", text));
    let port = number.parse().unwrap();
    let name = (!name.is_empty()).then(|| name.to_owned());
    ServicePort {
        name,
        protocol: Default::default(),
        port,
        target: TargetPort::Number(port),
    }
}

pub(crate) fn selector(rest: &str, name: &str, default: Selector) -> Selector {
    match value(rest, name) {
        None => default,
        Some("none") => Selector::nothing(),
        Some(text) => {
            let (key, value) = text.split_once('=').unwrap();
            Selector::label(&long(key), value)
        }
    }
}

pub(crate) fn hosts(rest: &str) -> Hosts {
    if has(rest, "nameless") {
        return Hosts::Nameless;
    }
    let host = |text: &str| {
        let (name, readiness) = match text.strip_suffix(":down") {
            Some(name) => (name, Readiness::NotReady),
            None => (text, Readiness::Ready),
        };
        Host {
            name: Hostname::parse(name).unwrap(),
            readiness,
            version: value(rest, "slice-rv").unwrap_or("9").to_owned(),
        }
    };
    let named = value(rest, "hosts").map(|list| list.split(',').map(host).collect());
    named.map_or(Hosts::None, Hosts::Named)
}

/// What a cluster would give a Service of ours: always the same for the same name.
pub(crate) fn address_of(key: &ServiceKey, managed: &ManagedService) -> Vec<std::net::IpAddr> {
    if managed.kind == ServiceKind::Headless {
        return Vec::new();
    }
    let sum = key
        .to_string()
        .bytes()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
    vec![[10, 96, 0, sum].into()]
}
