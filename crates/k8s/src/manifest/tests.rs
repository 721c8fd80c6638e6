//! Manifests are objects that Kubernetes knows, and a generated Link is one that we accept.
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tombolo_core::link::LinkSpec;
use tombolo_core::selector::Selector;

use super::*;
use crate::{crd, credentials};

fn check<K: DeserializeOwned + serde::Serialize>(object: &Value) {
    let typed: K = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(
        &serde_json::to_value(typed).unwrap(),
        object,
        "something is not in the type"
    );
}

fn check_any(object: &Value) {
    match object["kind"].as_str().unwrap() {
        "ServiceAccount" => check::<ServiceAccount>(object),
        "Deployment" => check::<Deployment>(object),
        "Service" => check::<Service>(object),
        "Secret" => check::<Secret>(object),
        "ClusterRole" => check::<ClusterRole>(object),
        "ClusterRoleBinding" => check::<ClusterRoleBinding>(object),
        "Role" => check::<Role>(object),
        "RoleBinding" => check::<RoleBinding>(object),
        "CustomResourceDefinition" => check::<CustomResourceDefinition>(object),
        other => panic!("{other}"),
    }
}

fn a_gateway() -> Vec<Value> {
    gateway(&Gateway {
        namespace: "tombolo".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        replicas: 1,
        image: "pause".to_owned(),
    })
}

#[test]
fn every_manifest_is_an_object_of_its_kind() {
    let mut all = a_gateway();
    all.extend(remote_access("tombolo"));
    all.extend(control("tombolo"));
    all.extend(agent("tombolo"));
    all.extend([node_proxy("tombolo"), crd::links_crd()]);
    for object in &all {
        check_any(object);
    }
}

#[test]
fn another_cluster_reads_what_it_needs_and_writes_nothing() {
    let objects = remote_access("tombolo");
    let role = objects
        .iter()
        .find(|object| object["kind"] == "ClusterRole")
        .unwrap();
    for rule in role["rules"].as_array().unwrap() {
        for verb in rule["verbs"].as_array().unwrap() {
            assert!(
                ["get", "list", "watch"].contains(&verb.as_str().unwrap()),
                "{rule}"
            );
        }
        assert_ne!(rule["resources"], json!(["secrets"]));
    }
}

#[test]
fn control_may_do_what_it_does_and_no_more() {
    let objects = control("tombolo");
    let kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
    assert_eq!(
        kinds,
        ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]
    );
    let rules = objects[1]["rules"].as_array().unwrap();
    let mut table: Vec<String> = rules
        .iter()
        .map(|rule| {
            let words = |key: &str| {
                let words = rule[key].as_array().into_iter().flatten();
                let words: Vec<_> = words.map(|word| word.as_str().unwrap()).collect();
                words.join(",")
            };
            let (what, names) = (words("resources"), words("resourceNames"));
            format!("{}/{what}/{names}: {}", words("apiGroups"), words("verbs"))
        })
        .collect();
    table.sort();
    assert_eq!(
        table,
        [
            "/endpoints/: delete",
            "/events/: create",
            "/namespaces,nodes,pods/: list,watch",
            "/namespaces/kube-system: get",
            "/secrets/: list,watch",
            "/services/: list,watch,create,patch,delete",
            "authentication.k8s.io/tokenreviews/: create",
            "discovery.k8s.io/endpointslices/: list,watch,create,patch,delete",
            "multicluster.linkerd.io/links/: list,watch",
            "multicluster.linkerd.io/links/status/: patch",
            "policy.linkerd.io/servers/: list,watch",
        ]
    );
    assert_eq!(objects[2]["subjects"].as_array().unwrap().len(), 1);
    assert_eq!(objects[2]["subjects"][0]["namespace"], "tombolo");
    assert_eq!(objects[2]["subjects"][0]["name"], "control");
}

fn served() -> Value {
    let mut service = a_gateway().pop().unwrap();
    service["status"] = json!({ "loadBalancer": { "ingress": [
        { "ip": "127.108.0.9" }, { "hostname": "gw.example.org" },
    ] } });
    service
}

fn authority() -> String {
    rcgen::generate_simple_self_signed(vec!["api".to_owned()])
        .unwrap()
        .cert
        .pem()
}

fn remote<'a>(authority_pem: &'a str, gateway: Option<&'a Value>) -> RemoteCluster<'a> {
    RemoteCluster {
        server: "https://127.20.0.1:6443",
        authority_pem,
        token: "t",
        domain: "cluster.local",
        control_plane: "tombolo",
        gateway,
    }
}

#[test]
fn a_generated_link_and_its_credentials_are_accepted() {
    let (authority, service) = (authority(), served());
    let to = LinkTo {
        namespace: "tombolo",
        name: "east-gw",
        flat: Flat::No,
    };
    let objects = link(&to, &remote(&authority, Some(&service))).unwrap();
    check_any(&objects[0]);
    let secret: Secret = serde_json::from_value(objects[0].clone()).unwrap();
    credentials::read(&secret, Timestamp::from_second(1_795_341_600).unwrap()).unwrap();

    let LinkSpec::Accepted(link) = crate::link::read(&objects[1]).unwrap().spec else {
        panic!("refused")
    };
    assert_eq!(link.target.as_str(), "east-gw");
    let gateway = link.gateway.unwrap();
    assert_eq!((gateway.port, gateway.hosts.len()), (4143, 2));
    assert_eq!(
        gateway.identity.as_deref(),
        Some("gateway.tombolo.serviceaccount.identity.tombolo.cluster.local")
    );
    assert_eq!(link.probe.unwrap().port, 4191);
    assert_eq!(link.gateway_selector, Selector::exported());
    assert!(link.flat_selector.is_nothing() && link.federated_selector.is_nothing());
}

#[test]
fn a_flat_link_has_no_gateway() {
    let authority = authority();
    let to = LinkTo {
        namespace: "tombolo",
        name: "east",
        flat: Flat::Yes,
    };
    let objects = link(&to, &remote(&authority, None)).unwrap();
    let LinkSpec::Accepted(link) = crate::link::read(&objects[1]).unwrap().spec else {
        panic!("refused")
    };
    assert_eq!((link.gateway, link.probe), (None, None));
    assert!(link.gateway_selector.is_nothing());
    assert_eq!(link.flat_selector, Selector::remote_discovery());
    assert_eq!(link.federated_selector, Selector::federated_member());
}

#[test]
fn a_gateway_service_that_lacks_something_is_named() {
    let table = [
        (
            "/status",
            json!({}),
            "status.loadBalancer.ingress: has no address yet",
        ),
        (
            "/metadata/annotations/mirror.linkerd.io~1gateway-identity",
            json!(""),
            "metadata.annotations[\"mirror.linkerd.io/gateway-identity\"]: is empty",
        ),
        (
            "/metadata/annotations/mirror.linkerd.io~1probe-path",
            json!(""),
            "metadata.annotations[\"mirror.linkerd.io/probe-path\"]: is empty",
        ),
        (
            "/metadata/annotations/mirror.linkerd.io~1probe-period",
            json!("soon"),
            "metadata.annotations[\"mirror.linkerd.io/probe-period\"]: \"soon\" is no duration",
        ),
        (
            "/spec/ports/0/name",
            json!("x"),
            "spec.ports: has no port named \"mc-gateway\"",
        ),
        (
            "/spec/type",
            json!("NodePort"),
            "spec.ports: has no nodePort named \"mc-gateway\"",
        ),
    ];
    let authority = authority();
    let to = LinkTo {
        namespace: "tombolo",
        name: "east",
        flat: Flat::Yes,
    };
    for (pointer, value, want) in table {
        let mut service = served();
        *service.pointer_mut(pointer).unwrap() = value;
        let faults = link(&to, &remote(&authority, Some(&service))).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            format!("Service tombolo/gateway: {want}")
        );
    }
}
