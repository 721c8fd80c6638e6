//! The objects of the scenario, as a user would write them.
//!
//! Pure: plain objects out. Links and credentials are made from what the target cluster says of itself.

use serde_json::{Value, json};

use crate::agent::{ECHO_IMAGE, ENABLE_GATEWAY, INJECT, PAUSE_IMAGE};
use crate::topology::{
    ADMIN_PORT, CLUSTER_DOMAIN, CONTROL_NAMESPACE, DEMO_NAMESPACE, INBOUND_PORT, LinkPlan, Route,
};

/// The service account whose token a Link's credential holds.
pub const REMOTE_ACCESS: &str = "remote-access";
/// The gateway's Deployment, Service and service account.
pub const GATEWAY: &str = "gateway";
const EXPORTED: &str = "mirror.linkerd.io/exported";
const FEDERATED: &str = "mirror.linkerd.io/federated";

/// One service of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Its name.
    pub name: &'static str,
    /// The clusters that it runs in.
    pub clusters: &'static [&'static str],
    /// How many pods it has in each.
    pub replicas: u32,
    /// The label that exports it.
    pub label: (&'static str, &'static str),
}

/// The services of the scenario: one per mode.
pub const SERVICES: [ServicePlan; 3] = [
    ServicePlan {
        name: "frontend",
        clusters: &["west", "east", "north"],
        replicas: 3,
        label: (FEDERATED, "member"),
    },
    ServicePlan {
        name: "api",
        clusters: &["west", "east"],
        replicas: 3,
        label: (EXPORTED, "remote-discovery"),
    },
    ServicePlan {
        name: "analytics",
        clusters: &["east"],
        replicas: 2,
        label: (EXPORTED, "true"),
    },
];

/// What every cluster has before its control plane starts.
#[must_use]
pub fn base() -> Vec<Value> {
    let account = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "namespace": CONTROL_NAMESPACE, "name": name },
        })
    };
    let mut objects = vec![
        namespace(CONTROL_NAMESPACE, &json!({})),
        namespace(DEMO_NAMESPACE, &json!({ INJECT: "enabled" })),
        account("control"),
        account("node"),
    ];
    objects.extend(remote_access());
    objects
}

fn namespace(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "annotations": annotations },
    })
}

/// The definition of Links, as permissive as a definition can be: whoever reads a Link says what is wrong with it.
#[must_use]
pub fn link_definition() -> Value {
    let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "links.multicluster.linkerd.io" },
        "spec": {
            "group": "multicluster.linkerd.io",
            "names": { "plural": "links", "singular": "link", "kind": "Link", "listKind": "LinkList" },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha3", "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": any, "status": any },
                } },
            }],
        },
    })
}

/// The account of other clusters' Links, and what it may read: what is needed to mirror, nothing to write.
fn remote_access() -> Vec<Value> {
    let read = ["list", "get", "watch"];
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "namespace": CONTROL_NAMESPACE, "name": REMOTE_ACCESS },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "tombolo-remote-access" },
            "rules": [
                { "apiGroups": [""], "resources": ["pods", "endpoints", "services"], "verbs": read },
                { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read },
                // The uid of this namespace tells one cluster from another.
                { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "tombolo-remote-access" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tombolo-remote-access" },
            "subjects": [{ "kind": "ServiceAccount", "name": REMOTE_ACCESS, "namespace": CONTROL_NAMESPACE }],
        }),
    ]
}

/// The gateway of a cluster: a pod which is nothing but its proxy, and its Service.
#[must_use]
pub fn gateway() -> Vec<Value> {
    let identity = format!(
        "{GATEWAY}.{CONTROL_NAMESPACE}.serviceaccount.identity.{CONTROL_NAMESPACE}.{CLUSTER_DOMAIN}"
    );
    let metadata = json!({ "namespace": CONTROL_NAMESPACE, "name": GATEWAY });
    let labels = json!({ "app": GATEWAY });
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": { INJECT: "enabled", ENABLE_GATEWAY: "true" },
                    },
                    "spec": {
                        "serviceAccountName": GATEWAY,
                        "containers": [{ "name": "pause", "image": PAUSE_IMAGE }],
                    },
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "namespace": CONTROL_NAMESPACE, "name": GATEWAY,
                "annotations": {
                    "mirror.linkerd.io/gateway-identity": identity,
                    "mirror.linkerd.io/probe-period": "3",
                    "mirror.linkerd.io/probe-path": "/ready",
                    "mirror.linkerd.io/multicluster-gateway": "true",
                },
            },
            "spec": {
                "type": "LoadBalancer",
                "selector": labels,
                "ports": [
                    { "name": "mc-gateway", "port": INBOUND_PORT, "protocol": "TCP" },
                    { "name": "mc-probe", "port": ADMIN_PORT, "protocol": "TCP" },
                ],
            },
        }),
    ]
}

/// The Deployment and the Service of `plan`.
#[must_use]
pub fn service(plan: &ServicePlan, port: u16) -> Vec<Value> {
    let labels = json!({ "app": plan.name });
    let metadata = json!({ "namespace": DEMO_NAMESPACE, "name": plan.name, "labels": labels });
    let (key, value) = plan.label;
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "namespace": DEMO_NAMESPACE, "name": plan.name,
                "labels": { "app": plan.name, key: value },
            },
            "spec": {
                "selector": labels,
                "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
            },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": plan.replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{
                        "name": plan.name,
                        "image": ECHO_IMAGE,
                        "ports": [{ "name": "http", "containerPort": port }],
                        "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 2 },
                        // Time for its clients to learn that it goes, as any service behind a balancer needs.
                        "lifecycle": { "preStop": { "sleep": { "seconds": 1 } } },
                    }] },
                },
            },
        }),
    ]
}

/// How a gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayFacts {
    /// Its address.
    pub address: String,
    /// Its identity.
    pub identity: String,
}

/// The credential of a Link: a kubeconfig with the token of the target's service account.
#[must_use]
pub fn credentials(link: &LinkPlan, server: &str, ca_base64: &str, token: &str) -> Value {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "current-context": link.target,
        "clusters": [{ "name": link.target, "cluster": { "server": server, "certificate-authority-data": ca_base64 } }],
        "users": [{ "name": REMOTE_ACCESS, "user": { "token": token } }],
        "contexts": [{ "name": link.target, "context": { "cluster": link.target, "user": REMOTE_ACCESS } }],
    });
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "mirror.linkerd.io/remote-kubeconfig",
        "metadata": {
            "namespace": CONTROL_NAMESPACE, "name": format!("cluster-credentials-{}", link.name),
            "labels": { "multicluster.linkerd.io/cluster-name": link.name },
            "annotations": {
                "multicluster.linkerd.io/trust-domain": CLUSTER_DOMAIN,
                "multicluster.linkerd.io/cluster-domain": CLUSTER_DOMAIN,
            },
        },
        "stringData": { "kubeconfig": kubeconfig.to_string() },
    })
}

/// The Link itself. A gateway link neither federates nor discovers: its target is in the mesh by another.
#[must_use]
pub fn link(link: &LinkPlan, gateway: Option<&GatewayFacts>) -> Value {
    let mut spec = json!({
        "targetClusterName": link.name,
        "targetClusterDomain": CLUSTER_DOMAIN,
        "targetClusterLinkerdNamespace": CONTROL_NAMESPACE,
        "clusterCredentialsSecret": format!("cluster-credentials-{}", link.name),
    });
    match link.route {
        Route::Flat => {
            spec["remoteDiscoverySelector"] =
                json!({ "matchLabels": { EXPORTED: "remote-discovery" } });
            spec["federatedServiceSelector"] = json!({ "matchLabels": { FEDERATED: "member" } });
        }
        Route::Gateway => {
            spec["selector"] = json!({ "matchLabels": { EXPORTED: "true" } });
            spec["remoteDiscoverySelector"] = json!({});
            spec["federatedServiceSelector"] = json!({});
        }
    }
    if let (Route::Gateway, Some(gateway)) = (link.route, gateway) {
        spec["gatewayAddress"] = json!(gateway.address);
        spec["gatewayIdentity"] = json!(gateway.identity);
        spec["gatewayPort"] = json!(INBOUND_PORT.to_string());
        spec["probeSpec"] =
            json!({ "path": "/ready", "port": ADMIN_PORT.to_string(), "period": "3s" });
    }
    json!({
        "apiVersion": "multicluster.linkerd.io/v1alpha3", "kind": "Link",
        "metadata": { "namespace": CONTROL_NAMESPACE, "name": link.name },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::links;

    #[test]
    fn a_gateway_link_neither_federates_nor_discovers() {
        let gateway = GatewayFacts {
            address: "127.108.0.1".to_owned(),
            identity: "g".to_owned(),
        };
        for plan in links() {
            let spec = &link(&plan, Some(&gateway))["spec"];
            let flat = plan.route == Route::Flat;
            assert_eq!(
                spec["federatedServiceSelector"] == json!({}),
                !flat,
                "{}",
                plan.name
            );
            assert_eq!(spec.get("gatewayAddress").is_some(), !flat, "{}", plan.name);
            assert_eq!(spec.get("selector").is_some(), !flat, "{}", plan.name);
            assert_eq!(spec["targetClusterName"], plan.name);
        }
    }

    #[test]
    fn a_credential_is_a_kubeconfig_with_a_token_and_nothing_else() {
        let secret = credentials(&links()[0], "https://127.20.0.1:6443", "Q0E=", "tok");
        let text = secret["stringData"]["kubeconfig"].as_str().unwrap();
        let config: kube::config::Kubeconfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("east"));
        assert_eq!(config.auth_infos.len(), 1);
    }
}
