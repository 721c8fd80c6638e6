use std::collections::BTreeMap;

use super::*;
use crate::discovery::exports::Export;
use crate::discovery::model::{Key, Port, PortSet, Reach, Resolution};

fn service(app_protocol: Option<&str>, opaque: Option<&str>) -> Service {
    let port = Port {
        name: "http".into(),
        app_protocol: app_protocol.map(str::to_owned),
    };
    Service {
        key: Key::new("demo", "web"),
        reach: Reach::ClusterIp,
        ips: Vec::new(),
        ports: BTreeMap::from([(80, port)]),
        resolution: Resolution::Local,
        opaque_ports: opaque.map(PortSet::parse),
        traffic: Default::default(),
        export: Export::Kept,
    }
}

fn kind(policy: &OutboundPolicy) -> &'static str {
    match policy.protocol.as_ref().unwrap().kind.as_ref().unwrap() {
        proxy_protocol::Kind::Detect(_) => "detect",
        proxy_protocol::Kind::Opaque(_) => "opaque",
        proxy_protocol::Kind::Http1(_) => "http1",
        proxy_protocol::Kind::Http2(_) => "http2",
        _ => "other",
    }
}

#[test]
fn a_protocol_is_detected_unless_it_was_declared() {
    for (app_protocol, opaque, want) in [
        (None, None, "detect"),
        (Some("http"), None, "http1"),
        (Some("kubernetes.io/h2c"), None, "http2"),
        (Some("linkerd.io/opaque"), None, "opaque"),
        (Some("something-else"), None, "detect"),
        (Some("http"), Some("80"), "opaque"),
        (None, Some("1-100"), "opaque"),
    ] {
        let policy = of_service(&service(app_protocol, opaque), 80, "cluster.local");
        assert_eq!(kind(&policy), want, "{app_protocol:?} {opaque:?}");
    }
}

#[test]
fn a_service_is_balanced_over_its_own_name_with_all_that_linkerds_proxy_insists_on() {
    let policy = of_service(&service(None, None), 80, "cluster.local");
    assert!(policy.metadata.is_some());
    let Some(proxy_protocol::Kind::Detect(detect)) = policy.protocol.unwrap().kind else {
        panic!("a protocol must be detected")
    };
    assert!(detect.timeout.is_some() && detect.opaque.is_some() && detect.http2.is_some());
    let route = &detect.http1.unwrap().routes[0];
    let Some(http_route::Distribution {
        kind: Some(http_route::distribution::Kind::FirstAvailable(first)),
    }) = &route.rules[0].backends
    else {
        panic!("there must be a backend")
    };
    let backend = first.backends[0].backend.as_ref().unwrap();
    assert!(backend.metadata.is_some() && backend.queue.is_some());
    let Some(backend::Kind::Balancer(balancer)) = &backend.kind else {
        panic!("it must be balanced")
    };
    assert!(balancer.load.is_some());
    let discovery = balancer.discovery.as_ref().unwrap().kind.as_ref().unwrap();
    let backend::endpoint_discovery::Kind::Dst(dst) = discovery;
    assert_eq!(dst.path, "web.demo.svc.cluster.local:80");
}

#[test]
fn a_port_that_is_not_declared_is_forbidden() {
    let policy = of_service(&service(None, None), 81, "cluster.local");
    let Some(proxy_protocol::Kind::Detect(detect)) = policy.protocol.unwrap().kind else {
        panic!("a protocol must be detected")
    };
    let rule = &detect.http1.unwrap().routes[0].rules[0];
    assert!(matches!(
        rule.filters[0].kind,
        Some(http_route::filter::Kind::FailureInjector(
            HttpFailureInjector { status: 403, .. }
        ))
    ));
}
