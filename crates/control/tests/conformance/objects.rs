//! Objects as users write them; the constants are those of the cases.
use serde_json::{Value, json};

use super::site::encoded;

pub(crate) const LINKS: &str = "linkerd-multicluster";
pub(crate) const GATEWAY_IP: &str = "192.0.2.127";
pub(crate) const EXPORTED: &str = "mirror.linkerd.io/exported";
pub(crate) const FEDERATED: &str = "mirror.linkerd.io/federated";
pub(crate) const REMOTE: &str = "multicluster.linkerd.io/remote-discovery";
pub(crate) const REMOTE_SERVICE: &str = "multicluster.linkerd.io/remote-service";
pub(crate) const LOCAL: &str = "multicluster.linkerd.io/local-discovery";
pub(crate) const MIRRORED: &str = "mirror.linkerd.io/mirrored-service";
pub(crate) const CLUSTER: &str = "mirror.linkerd.io/cluster-name";
pub(crate) const RESOURCE_VERSION: &str = "mirror.linkerd.io/remote-resource-version";
pub(crate) const FQ_NAME: &str = "mirror.linkerd.io/remote-svc-fq-name";
pub(crate) const IDENTITY: &str = "mirror.linkerd.io/remote-gateway-identity";

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn account(namespace: &str, name: &str) -> Value {
    let metadata = json!({"namespace": namespace, "name": name});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

/// With the ports port1/555 and port2/666.
pub(crate) fn service(namespace: &str, name: &str, labels: Value) -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": port});
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"ports": [port("port1", 555), port("port2", 666)]},
    })
}

/// Endpoints without pods, one slice for all.
pub(crate) fn slice(namespace: &str, service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<_> = ips
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    let family = if ips.iter().any(|ip| ip.contains(':')) {
        "IPv6"
    } else {
        "IPv4"
    };
    let port = |name: &str, port: u16| json!({"name": name, "protocol": "TCP", "port": port});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {
            "namespace": namespace, "name": format!("{service}-{}", family.to_lowercase()),
            "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [port("port1", 555), port("port2", 666)],
        "endpoints": endpoints,
    })
}

/// A meshed pod, as an injector leaves it.
pub(crate) fn pod(namespace: &str, name: &str, ip: &str) -> Value {
    let env = |name: &str, value: &str| json!({"name": format!("LINKERD2_PROXY_{name}_LISTEN_ADDR"), "value": value});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "labels": {"linkerd.io/control-plane-ns": "linkerd"},
            "annotations": {},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [
                {"name": "app", "image": "app"},
                {"name": "linkerd-proxy", "image": "proxy", "env": [
                    env("INBOUND", "0.0.0.0:4143"), env("ADMIN", "0.0.0.0:4191"), env("CONTROL", "0.0.0.0:4190"),
                ]},
            ],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    })
}

/// The Link of the cases.
pub(crate) fn link(name: &str) -> Value {
    let label = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    json!({
        "apiVersion": "multicluster.linkerd.io/v1alpha3", "kind": "Link",
        "metadata": {"namespace": LINKS, "name": name},
        "spec": {
            "targetClusterName": name, "targetClusterDomain": "cluster.local", "targetClusterLinkerdNamespace": "linkerd",
            "clusterCredentialsSecret": format!("cluster-credentials-{name}"),
            "gatewayAddress": GATEWAY_IP, "gatewayPort": "888", "gatewayIdentity": "gateway-identity",
            "probeSpec": {"path": "/probe", "port": "12345", "period": "60s"},
            "selector": label(EXPORTED, "true"),
            "remoteDiscoverySelector": label(EXPORTED, "remote-discovery"),
            "federatedServiceSelector": label(FEDERATED, "member"),
        },
    })
}

pub(crate) fn credentials(link: &str, kubeconfig: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "mirror.linkerd.io/remote-kubeconfig",
        "metadata": {"namespace": LINKS, "name": format!("cluster-credentials-{link}")},
        "data": {"kubeconfig": encoded(&kubeconfig.to_string())},
    })
}

/// Credentials for discovery alone.
pub(crate) fn introduction(cluster: &str, kubeconfig: &Value) -> Value {
    let mut secret = credentials(cluster, kubeconfig);
    secret["metadata"] = json!({
        "namespace": "linkerd", "name": format!("{cluster}-cluster-credentials"),
        "labels": {"multicluster.linkerd.io/cluster-name": cluster},
        "annotations": {
            "multicluster.linkerd.io/trust-domain": "cluster.local",
            "multicluster.linkerd.io/cluster-domain": "cluster.local",
        },
    });
    secret
}
