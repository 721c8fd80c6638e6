use serde_json::json;

use super::*;

fn kube<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn where_a_service_is_resolved_follows_its_marks_federated_first() {
    let at = |meta: serde_json::Value| {
        let mut meta = meta;
        meta["name"] = "web".into();
        meta["namespace"] = "demo".into();
        service(&kube(
            json!({"metadata": meta, "spec": {"clusterIP": "10.0.0.1"}}),
        ))
        .unwrap()
        .resolution
    };
    let key = "multicluster.linkerd.io/remote-discovery";
    assert_eq!(at(json!({})), Resolution::Local);
    assert_eq!(
        at(json!({"labels": {key: "east", "multicluster.linkerd.io/remote-service": "web"}})),
        Resolution::Remote {
            cluster: "east".into(),
            service: Some("web".into())
        }
    );
    assert_eq!(
        at(json!({"labels": {key: "east"}})),
        Resolution::Remote {
            cluster: "east".into(),
            service: None
        }
    );
    assert_eq!(
        at(json!({"labels": {key: "east"}, "annotations": {key: "web@north, web@east,bad,@,x@"}})),
        Resolution::Federated {
            local: None,
            remote: vec![
                ("east".into(), "web".into()),
                ("north".into(), "web".into())
            ]
        }
    );
    assert_eq!(
        at(json!({"annotations": {"multicluster.linkerd.io/local-discovery": "web"}})),
        Resolution::Federated {
            local: Some("web".into()),
            remote: Vec::new()
        }
    );
}

#[test]
fn only_ready_endpoints_and_tcp_ports_with_a_number_are_kept() {
    let slice = slice(&kube(json!({
        "metadata": {"name": "web-1", "namespace": "demo", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "none"}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "p1", "namespace": "demo"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"]},
            {"addresses": ["nonsense"]},
            {"addresses": []},
        ],
    })))
    .unwrap();
    assert_eq!(slice.ports, BTreeMap::from([("http".to_owned(), 8080)]));
    let ips: Vec<_> = slice.endpoints.iter().map(|e| e.ip.to_string()).collect();
    assert_eq!(ips, ["10.0.0.1", "10.0.0.3"]);
    assert_eq!(slice.endpoints[0].pod, Some(Key::new("demo", "p1")));
    assert_eq!(slice.gateway, None);
}

#[test]
fn a_slice_without_a_service_is_of_no_interest() {
    let orphan = kube(
        json!({"metadata": {"name": "x", "namespace": "demo"}, "addressType": "IPv4", "endpoints": []}),
    );
    assert_eq!(slice(&orphan), None);
}

#[test]
fn a_meshed_pod_is_known_by_its_label_and_its_proxys_environment() {
    let with = |env: serde_json::Value| {
        pod(&kube(json!({
            "metadata": {
                "name": "web-6d5-abc", "namespace": "demo",
                "labels": {"linkerd.io/control-plane-ns": "tombolo", "pod-template-hash": "6d5"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d5", "uid": "u", "controller": true}],
            },
            "spec": {"containers": [{"name": "app"}, {"name": "linkerd-proxy", "env": env}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running"},
        })))
        .unwrap()
    };
    let name = "LINKERD2_PROXY_INBOUND_LISTEN_ADDR";
    let good = with(json!([{"name": name, "value": "0.0.0.0:4143"}]));
    assert_eq!(good.mesh.as_ref().unwrap().inbound_port, Some(4143));
    assert_eq!(good.owner, Some(("deployment".into(), "web".into())));
    assert_eq!(&*good.service_account, "default");
    assert_eq!(good.ips.len(), 1);
    for env in [json!([]), json!([{"name": name, "value": "nonsense"}])] {
        assert_eq!(with(env).mesh.unwrap().inbound_port, None);
    }
}

#[test]
fn a_pod_that_is_over_has_no_address() {
    let over = pod(&kube(json!({
        "metadata": {"name": "job", "namespace": "demo"},
        "spec": {"containers": []},
        "status": {"podIP": "10.0.0.1", "phase": "Succeeded"},
    })))
    .unwrap();
    assert!(over.ips.is_empty() && over.mesh.is_none());
}
