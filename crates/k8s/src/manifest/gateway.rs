//! The gateway: a pod whose proxy is all there is to it, and the Service that makes it reachable.
use serde_json::{Value, json};

use crate::names::{
    ENABLE_GATEWAY, GATEWAY_PORT, GATEWAY_SERVICE_IDENTITY, INJECT, MULTICLUSTER_GATEWAY,
    PROBE_PATH, PROBE_PERIOD, PROBE_PORT,
};

/// What is chosen of a gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The namespace that it lives in.
    pub namespace: String,
    /// The trust domain of its identity.
    pub trust_domain: String,
    /// How many pods.
    pub replicas: u32,
    /// The image of the container that does nothing.
    pub image: String,
}

impl Gateway {
    /// Its TLS identity: that of its service account.
    #[must_use]
    pub fn identity(&self) -> String {
        let Self {
            namespace,
            trust_domain,
            ..
        } = self;
        format!("gateway.{namespace}.serviceaccount.identity.{namespace}.{trust_domain}")
    }
}

/// ServiceAccount, Deployment and Service of a gateway, all called `gateway`.
#[must_use]
pub fn gateway(gateway: &Gateway) -> Vec<Value> {
    let metadata = json!({
        "namespace": gateway.namespace,
        "name": "gateway",
        "labels": { "app": "gateway", "component": "gateway", "linkerd.io/extension": "multicluster" },
    });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": gateway.replicas,
            "selector": { "matchLabels": { "app": "gateway" } },
            "template": template(gateway),
        },
    });
    vec![account, deployment, service(gateway, &metadata)]
}

fn template(gateway: &Gateway) -> Value {
    json!({
        "metadata": {
            "labels": { "app": "gateway", "component": "gateway" },
            "annotations": {
                INJECT: "enabled",
                ENABLE_GATEWAY: "true",
                "config.linkerd.io/default-inbound-policy": "all-authenticated",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            },
        },
        "spec": {
            "serviceAccountName": "gateway",
            "automountServiceAccountToken": false,
            "containers": [{ "name": "pause", "image": gateway.image }],
        },
    })
}

fn service(gateway: &Gateway, metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    metadata["annotations"] = json!({
        GATEWAY_SERVICE_IDENTITY: gateway.identity(),
        PROBE_PERIOD: "3",
        PROBE_PATH: "/ready",
        MULTICLUSTER_GATEWAY: "true",
        "component": "gateway",
    });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "LoadBalancer",
            "selector": { "app": "gateway" },
            "ports": [
                { "name": GATEWAY_PORT, "protocol": "TCP", "port": 4143, "targetPort": 4143 },
                { "name": PROBE_PORT, "protocol": "TCP", "port": 4191, "targetPort": 4191 },
            ],
        },
    })
}
