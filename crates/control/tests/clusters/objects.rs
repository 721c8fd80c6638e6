//! Objects as users write them.
use base64::Engine as _;
use serde_json::{Value, json};

pub(crate) const FLAT: (&str, &str) = ("mirror.linkerd.io/exported", "remote-discovery");
pub(crate) const GATEWAY: (&str, &str) = ("mirror.linkerd.io/exported", "true");
pub(crate) const FEDERATED: (&str, &str) = ("mirror.linkerd.io/federated", "member");

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(namespace: &str, name: &str, (key, value): (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": {key: value}},
        "spec": {"ports": [{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": 8080}]},
    })
}

pub(crate) fn slice(namespace: &str, service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<_> = ips
        .iter()
        .map(|ip| {
            json!({
                "addresses": [ip], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name(service, ip)},
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": namespace, "name": format!("{service}-x"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

fn pod_name(service: &str, ip: &str) -> String {
    format!("{service}-{}", ip.replace('.', "-"))
}

pub(crate) fn pod(namespace: &str, service: &str, ip: &str) -> Value {
    let env = json!([{"name": "LINKERD2_PROXY_INBOUND_LISTEN_ADDR", "value": "0.0.0.0:4143"}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": pod_name(service, ip),
            "labels": {"linkerd.io/control-plane-ns": "tombolo"},
        },
        "spec": {"containers": [
            {"name": "app", "image": "app"},
            {"name": "linkerd-proxy", "image": "proxy", "env": env},
        ]},
    })
}

pub(crate) fn credentials(link: &str, kubeconfig: &str) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(kubeconfig);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "mirror.linkerd.io/remote-kubeconfig",
        "metadata": {"namespace": "tombolo", "name": format!("cluster-credentials-{link}")},
        "data": {"kubeconfig": data},
    })
}

pub(crate) fn link(name: &str) -> Value {
    json!({
        "apiVersion": "multicluster.linkerd.io/v1alpha3", "kind": "Link",
        "metadata": {"namespace": "tombolo", "name": name},
        "spec": {
            "targetClusterName": name, "targetClusterDomain": "cluster.local",
            "clusterCredentialsSecret": format!("cluster-credentials-{name}"),
        },
    })
}

pub(crate) fn token(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "namespace": "tombolo", "name": name,
            "annotations": {"kubernetes.io/service-account.name": "remote-access"},
        },
    })
}
