use std::net::SocketAddr;

use super::super::exports::Export;
use super::super::model::{Backend, Gateway, Mesh, Port, PortSet, Reach, Resolution, Role, Slice};
use super::super::view::Completeness;
use super::*;
use crate::discovery::inventory::Kind;

const NS: &str = "demo";

fn scheme() -> Scheme {
    Scheme {
        control_namespace: "tombolo".into(),
        linkerd_namespace: "linkerd".into(),
        trust_domain: "cluster.local".into(),
    }
}

fn service(name: &str, ip: &str, resolution: Resolution) -> Service {
    let port = Port {
        name: "http".into(),
        app_protocol: None,
    };
    Service {
        key: Key::new(NS, name),
        reach: Reach::ClusterIp,
        ips: vec![ip.parse().unwrap()],
        ports: BTreeMap::from([(80, port)]),
        resolution,
        opaque_ports: None,
        traffic: Default::default(),
        export: Export::Kept,
    }
}

fn pod(name: &str, ip: &str) -> Pod {
    Pod {
        key: Key::new(NS, name),
        ips: vec![ip.parse().unwrap()],
        node: None,
        service_account: "default".into(),
        owner: None,
        labels: BTreeMap::new(),
        ports: BTreeMap::new(),
        template_hash: None,
        mesh: Some(Mesh {
            control_namespace: "tombolo".into(),
            inbound_port: Some(4143),
            admin_port: 4191,
            skipped_ports: PortSet::default(),
            role: Role::Sidecar,
        }),
        inbound_policy: None,
        opaque_ports: None,
    }
}

fn slice(service: &str, backends: &[(&str, Option<&str>)], gateway: Option<Gateway>) -> Slice {
    Slice {
        key: Key::new(NS, &format!("{service}-x")),
        service: service.into(),
        gateway,
        unready: Vec::new(),
        version: None,
        ports: BTreeMap::from([("http".to_owned(), 8080)]),
        endpoints: backends
            .iter()
            .map(|(ip, pod)| Backend {
                ip: ip.parse().unwrap(),
                hostname: None,
                zone: None,
                node: None,
                for_zones: Vec::new(),
                pod: pod.map(|pod| Key::new(NS, pod)),
            })
            .collect(),
    }
}

/// A Service with one meshed pod behind it.
fn serve(inventory: &mut Inventory, name: &str, ip: &str) {
    inventory.put_service(service(name, "10.0.0.1", Resolution::Local));
    let pod_name = format!("{name}-0");
    inventory.put_slice(slice(name, &[(ip, Some(&pod_name))], None));
    inventory.put_pod(pod(&pod_name, ip));
    for kind in [Kind::Services, Kind::Slices, Kind::Pods] {
        inventory.complete(kind);
    }
}

fn directory() -> Directory {
    Directory::new("west", scheme())
}

fn east() -> Arc<str> {
    "east".into()
}

fn remote(peer: PeerId, domain: &str, use_of: UseOf) -> Remote {
    Remote {
        trust_domain: None,
        peer: Some(peer),
        standing: Standing {
            domain: domain.into(),
            use_of,
        },
    }
}

/// A Link to a cluster that it calls `name`, where `api` and `web` have a pod each.
fn link(d: &mut Directory, name: &str, peer: PeerId, ip: &str) {
    serve(d.peer_mut(peer), "web", ip);
    d.put_remote(&name.into(), remote(peer, name, UseOf::Given));
}

/// What streams of `name` would be told: `address cluster`, one per endpoint.
fn told(directory: &Directory, name: &str) -> Vec<String> {
    let Some(view) = directory.views.get(&Key::new(NS, name)) else {
        return vec!["absent".into()];
    };
    if let Some(refusal) = &view.refusal {
        return vec![refusal.to_string()];
    }
    let endpoints = &view.port(80).unwrap().endpoints;
    endpoints
        .iter()
        .map(|(addr, e)| format!("{addr} {}", e.told.metric_labels["cluster"]))
        .collect()
}

fn touched(delta: &Delta) -> Vec<String> {
    let mut keys: Vec<_> = delta
        .services
        .iter()
        .map(|(k, _)| k.name.to_string())
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_local_service_has_its_meshed_pods() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    assert_eq!(touched(&d.refresh()), ["web"]);
    assert_eq!(told(&d, "web"), ["10.1.0.1:8080 west"]);
    let view = &d.views[&Key::new(NS, "web")];
    let addr: SocketAddr = "10.1.0.1:8080".parse().unwrap();
    let told = &view.port(80).unwrap().endpoints[&addr].told;
    assert_eq!(told.weight, 10_000);
    let hint = told.protocol_hint.unwrap();
    assert_eq!(hint.opaque_transport.unwrap().inbound_port, 4143);
    let name = &told
        .tls_identity
        .as_ref()
        .unwrap()
        .server_name
        .as_ref()
        .unwrap()
        .name;
    assert_eq!(
        name,
        "default.demo.serviceaccount.identity.tombolo.cluster.local"
    );
}

#[test]
fn nothing_new_says_nothing() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    d.refresh();
    serve(&mut d.local, "web", "10.1.0.1");
    let delta = d.refresh();
    assert!(delta.services.is_empty() && delta.addresses.is_empty() && delta.pods.is_empty());
}

#[test]
fn an_endpoint_waits_for_its_pod_rather_than_be_reached_without_tls() {
    let mut d = directory();
    d.local
        .put_service(service("web", "10.0.0.1", Resolution::Local));
    d.local
        .put_slice(slice("web", &[("10.1.0.1", Some("web-0"))], None));
    d.refresh();
    assert!(told(&d, "web").is_empty());
    d.local.put_pod(pod("web-0", "10.1.0.1"));
    assert_eq!(touched(&d.refresh()), ["web"]);
    assert_eq!(told(&d, "web"), ["10.1.0.1:8080 west"]);
}

#[test]
fn a_pod_whose_proxy_cannot_be_understood_is_left_out() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    let mut odd = pod("web-0", "10.1.0.1");
    odd.mesh.as_mut().unwrap().inbound_port = None;
    d.local.put_pod(odd);
    d.refresh();
    assert!(told(&d, "web").is_empty());
}

#[test]
fn a_flat_mirror_has_the_pods_of_the_other_cluster() {
    let mut d = directory();
    let mirror = |service: Option<&str>| Resolution::Remote {
        cluster: east(),
        service: service.map(Arc::from),
    };
    d.local
        .put_service(service("api-east", "10.0.0.2", mirror(Some("api"))));
    d.local
        .put_service(service("odd", "10.0.0.3", mirror(None)));
    d.refresh();
    assert_eq!(
        told(&d, "api-east"),
        ["service demo/api-east is in cluster east, to which no link leads"]
    );
    assert_eq!(
        told(&d, "odd"),
        ["service demo/odd has no label multicluster.linkerd.io/remote-service"]
    );
    d.put_remote(&east(), remote(1, "east", UseOf::Given));
    assert_eq!(touched(&d.refresh()), ["api-east"]);
    assert!(told(&d, "api-east").is_empty());
    let partial = d.views[&Key::new(NS, "api-east")].completeness;
    assert_eq!(partial, Completeness::Partial);

    serve(d.peer_mut(1), "api", "10.2.0.1");
    d.touch_peer(1);
    assert_eq!(touched(&d.refresh()), ["api-east"]);
    assert_eq!(told(&d, "api-east"), ["10.2.0.1:8080 east"]);
    d.keep_remotes(&BTreeSet::new());
    d.refresh();
    assert!(told(&d, "api-east")[0].contains("no link leads"));
}

#[test]
fn a_federated_service_is_the_union_and_a_dead_cluster_leaves_it() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    link(&mut d, "east", 1, "10.2.0.1");
    link(&mut d, "north", 2, "10.3.0.1");
    let federated = Resolution::Federated {
        local: Some("web".into()),
        remote: vec![(east(), "web".into()), ("north".into(), "web".into())],
    };
    d.local
        .put_service(service("web-federated", "10.0.0.9", federated));
    d.refresh();
    let all = [
        "10.1.0.1:8080 west",
        "10.2.0.1:8080 east",
        "10.3.0.1:8080 north",
    ];
    assert_eq!(told(&d, "web-federated"), all);

    d.put_remote(&east(), remote(1, "east", UseOf::Withheld));
    assert_eq!(touched(&d.refresh()), ["web-federated"]);
    assert_eq!(told(&d, "web-federated"), [all[0], all[2]]);

    d.put_remote(&east(), remote(1, "east", UseOf::Given));
    d.refresh();
    assert_eq!(told(&d, "web-federated"), all);
}

#[test]
fn two_links_to_one_cluster_share_one_copy_of_it() {
    let mut d = directory();
    link(&mut d, "east", 1, "10.2.0.1");
    d.put_remote(&"east-gw".into(), remote(1, "east", UseOf::Given));
    let mirror = |cluster: &str| Resolution::Remote {
        cluster: cluster.into(),
        service: Some("web".into()),
    };
    d.local
        .put_service(service("web-east", "10.0.0.2", mirror("east")));
    d.local
        .put_service(service("web-east-gw", "10.0.0.3", mirror("east-gw")));
    d.refresh();
    assert_eq!(told(&d, "web-east"), ["10.2.0.1:8080 east"]);
    assert_eq!(told(&d, "web-east-gw"), ["10.2.0.1:8080 east"]);
    d.peer_mut(1).drop_slice(&Key::new(NS, "web-x"));
    assert_eq!(touched(&d.refresh()), ["web-east", "web-east-gw"]);
}

#[test]
fn a_gateway_mirror_shows_the_name_behind_it_and_the_failure_domain_of_its_cluster() {
    let mut d = directory();
    let gateway = Gateway {
        cluster: Some("east-gw".into()),
        fq_name: Some("analytics.demo.svc.cluster.local".into()),
        identity: Some("gateway.tombolo.serviceaccount.identity.tombolo.cluster.local".into()),
    };
    d.local
        .put_service(service("analytics-east-gw", "10.0.0.4", Resolution::Local));
    d.local.put_slice(slice(
        "analytics-east-gw",
        &[("10.9.0.1", None)],
        Some(gateway),
    ));
    let link: Arc<str> = "east-gw".into();
    d.put_remote(&link, remote(1, "east", UseOf::Given));
    d.refresh();
    assert_eq!(told(&d, "analytics-east-gw"), ["10.9.0.1:8080 east"]);
    let view = Arc::clone(&d.views[&Key::new(NS, "analytics-east-gw")]);
    let set = view.port(80).unwrap();
    assert_eq!(set.labels["target_service"], "analytics");
    let endpoint = set.endpoints.values().next().unwrap();
    let name = endpoint.told.authority_override.as_ref().unwrap();
    assert_eq!(
        name.authority_override,
        "analytics.demo.svc.cluster.local:80"
    );
    assert!(endpoint.told.tls_identity.is_some());

    d.put_remote(&link, remote(1, "east", UseOf::Withheld));
    d.refresh();
    assert!(told(&d, "analytics-east-gw").is_empty());
}

#[test]
fn an_address_belongs_to_one_service_or_to_a_pod() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    let ip = |text: &str| text.parse().unwrap();
    let delta = d.refresh();
    let ips: Vec<_> = delta
        .addresses
        .iter()
        .map(|(ip, _)| ip.to_string())
        .collect();
    assert_eq!(ips, ["10.0.0.1", "10.1.0.1"]);
    assert!(matches!(d.holder(ip("10.0.0.1")), Holder::Service(_)));
    assert!(matches!(d.holder(ip("10.1.0.1")), Holder::Pod(_)));
    assert_eq!(d.holder(ip("10.1.0.9")), Holder::Nobody);
    d.local
        .put_service(service("thief", "10.0.0.1", Resolution::Local));
    d.refresh();
    assert!(matches!(d.holder(ip("10.0.0.1")), Holder::Conflict(_)));
    d.local.drop_service(&Key::new(NS, "web"));
    d.refresh();
    assert!(matches!(d.holder(ip("10.0.0.1")), Holder::Service(_)));
    assert_eq!(told(&d, "web"), ["absent"]);
}

#[test]
fn what_a_new_listing_lacks_is_gone() {
    let mut d = directory();
    serve(&mut d.local, "web", "10.1.0.1");
    d.refresh();
    d.local.retain(Kind::Slices, &BTreeSet::new());
    d.refresh();
    assert!(told(&d, "web").is_empty());
    d.local.retain(Kind::Services, &BTreeSet::new());
    d.refresh();
    assert_eq!(told(&d, "web"), ["absent"]);
}
