//! The objects of the scenario, as a user would write them.
//!
//! Pure: plain objects out. Links and credentials are made from what the target cluster says of itself.

use anyhow::Result;
use serde_json::{Value, json};
use tombolo_k8s::crd::links_crd;
use tombolo_k8s::manifest::{self, Flat, Gateway, LinkTo, RemoteCluster};

use crate::agent::{ECHO_IMAGE, INJECT, PAUSE_IMAGE};
use crate::topology::{CLUSTER_DOMAIN, CONTROL_NAMESPACE, DEMO_NAMESPACE, LinkPlan, Route};

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
    let mut objects = vec![
        namespace(CONTROL_NAMESPACE, &json!({})),
        namespace(DEMO_NAMESPACE, &json!({ INJECT: "enabled" })),
        links_crd(),
        manifest::node_proxy(CONTROL_NAMESPACE),
    ];
    objects.extend(manifest::control(CONTROL_NAMESPACE));
    objects.extend(manifest::remote_access(CONTROL_NAMESPACE));
    objects
}

fn namespace(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "annotations": annotations },
    })
}

/// The gateway of a cluster: a pod which is nothing but its proxy, and its Service.
#[must_use]
pub fn gateway() -> Vec<Value> {
    manifest::gateway(&Gateway {
        namespace: CONTROL_NAMESPACE.to_owned(),
        trust_domain: CLUSTER_DOMAIN.to_owned(),
        replicas: 1,
        image: PAUSE_IMAGE.to_owned(),
    })
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

/// What a Link's target says of itself.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    /// Where its API server is.
    pub server: String,
    /// The authority of its API server, PEM.
    pub authority_pem: String,
    /// The token of its account for Links.
    pub token: String,
    /// The Service of its gateway, for a Link that leads through it.
    pub gateway: Option<Value>,
}

/// The credential of a Link, and the Link itself. A gateway link neither federates nor discovers: its target
/// is in the mesh by another.
///
/// # Errors
/// The gateway's Service does not say how it is reached.
pub fn link(plan: &LinkPlan, target: &TargetFacts) -> Result<Vec<Value>> {
    let to = LinkTo {
        namespace: CONTROL_NAMESPACE,
        name: plan.name,
        flat: match plan.route {
            Route::Flat => Flat::Yes,
            Route::Gateway => Flat::No,
        },
    };
    let remote = RemoteCluster {
        server: &target.server,
        authority_pem: &target.authority_pem,
        token: &target.token,
        domain: CLUSTER_DOMAIN,
        control_plane: CONTROL_NAMESPACE,
        gateway: target.gateway.as_ref(),
    };
    manifest::link(&to, &remote).map_err(|faults| anyhow::anyhow!("the gateway: {faults:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::links;

    #[test]
    fn a_gateway_link_neither_federates_nor_discovers() {
        let mut gateway = gateway().pop().unwrap();
        gateway["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "127.108.0.1" }] } });
        for plan in links() {
            let flat = plan.route == Route::Flat;
            let facts = TargetFacts {
                server: "https://127.20.0.1:6443".to_owned(),
                authority_pem: "PEM".to_owned(),
                token: "token".to_owned(),
                gateway: (!flat).then(|| gateway.clone()),
            };
            let spec = &link(&plan, &facts).unwrap()[1]["spec"];
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
}
