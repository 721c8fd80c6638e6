//! Which pods get a proxy, and what the object says about it.
//!
//! The agent adds the proxy in the write that binds the pod to its node, since the lab's API server calls no
//! webhooks: whoever reads the object sees the container that runs. A pod without one is bound as a scheduler
//! does it. Pure; it starts nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::pod::{PROXY_IMAGE, PodSpec};
use crate::topology::{
    ADMIN_PORT, CLUSTER_DOMAIN, CONTROL_NAMESPACE, DESTINATION_PORT, INBOUND_PORT, OUTBOUND_PORT,
    POLICY_PORT,
};

/// The name of the proxy's container.
pub(crate) const PROXY_CONTAINER: &str = "linkerd-proxy";
/// The annotation that asks for a proxy, on a pod or on its namespace.
pub(crate) const INJECT: &str = "linkerd.io/inject";
/// The label that marks a pod as meshed.
pub(crate) const CONTROL_PLANE_LABEL: &str = "linkerd.io/control-plane-ns";
/// The annotation that makes a pod's proxy a gateway.
pub(crate) const ENABLE_GATEWAY: &str = "config.linkerd.io/enable-gateway";

/// What a proxy is told beside the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Beside an application.
    Sidecar,
    /// A gateway: it forwards to any exported name of its cluster.
    Gateway,
}

impl Role {
    /// The role of the proxy of `pod`.
    pub(super) fn of(pod: &Pod) -> Self {
        let annotations = pod.metadata.annotations.as_ref();
        let value = annotations.and_then(|all| all.get(ENABLE_GATEWAY));
        if value.is_some_and(|value| value == "true") {
            Self::Gateway
        } else {
            Self::Sidecar
        }
    }
}

/// What puts a pod on its node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Binding {
    /// A `Binding` for the pod as it is.
    Plain(Value),
    /// A merge patch that adds its proxy, too.
    WithProxy(Value),
}

/// What binds `pod` to the node, with its proxy if it shall have one that it has not yet.
#[must_use]
pub(crate) fn binding(pod: &Pod, namespace: &BTreeMap<String, String>, node_name: &str) -> Binding {
    let metadata = &pod.metadata;
    let containers = pod
        .spec
        .as_ref()
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    let present = containers
        .iter()
        .any(|container| container.name == PROXY_CONTAINER);
    if present || !wants_proxy(pod, namespace) {
        return Binding::Plain(json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node_name },
        }));
    }
    let mut all: Vec<Value> = containers
        .iter()
        .map(|container| json!(container))
        .collect();
    all.push(proxy_container(pod));
    Binding::WithProxy(json!({
        "metadata": {
            "resourceVersion": metadata.resource_version,
            "labels": { CONTROL_PLANE_LABEL: CONTROL_NAMESPACE },
        },
        "spec": { "nodeName": node_name, "containers": all },
    }))
}

/// The pod's own annotation decides; without one, its namespace's does.
fn wants_proxy(pod: &Pod, namespace: &BTreeMap<String, String>) -> bool {
    let own = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(INJECT));
    let host_network = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.host_network)
        .unwrap_or(false);
    let asked = own.or_else(|| namespace.get(INJECT));
    !host_network && asked.is_some_and(|value| value == "enabled")
}

fn proxy_container(pod: &Pod) -> Value {
    let mut env = vec![
        // The pod has no address yet; the process listens on that address only.
        json!({ "name": "LINKERD2_PROXY_INBOUND_LISTEN_ADDR", "value": format!("0.0.0.0:{INBOUND_PORT}") }),
        json!({ "name": "LINKERD2_PROXY_ADMIN_LISTEN_ADDR", "value": format!("0.0.0.0:{ADMIN_PORT}") }),
    ];
    if Role::of(pod) == Role::Gateway {
        env.push(json!({
            "name": "LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES",
            "value": format!("svc.{CLUSTER_DOMAIN}."),
        }));
    }
    json!({
        "name": PROXY_CONTAINER,
        "image": PROXY_IMAGE,
        "env": env,
        "ports": [
            { "name": "linkerd-proxy", "containerPort": INBOUND_PORT, "protocol": "TCP" },
            { "name": "linkerd-admin", "containerPort": ADMIN_PORT, "protocol": "TCP" },
        ],
        "readinessProbe": { "httpGet": { "path": "/ready", "port": ADMIN_PORT }, "periodSeconds": 2 },
    })
}

/// What every proxy of a cluster is told alike.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    /// The address of the control plane.
    pub(crate) control: Ipv4Addr,
    /// The port of its identity API.
    pub(crate) identity_port: u16,
    /// The trust anchors, PEM.
    pub(crate) anchors: String,
    /// The node's name.
    pub(crate) node_name: String,
}

impl Mesh {
    /// The environment of the proxy of `pod` at `address`, whose identity lies in `dir`.
    #[must_use]
    pub(crate) fn proxy_env(
        &self,
        pod: &PodSpec,
        address: Ipv4Addr,
        dir: &Path,
    ) -> BTreeMap<String, String> {
        let identity = |account: &str, namespace: &str| {
            format!(
                "{account}.{namespace}.serviceaccount.identity.{CONTROL_NAMESPACE}.{CLUSTER_DOMAIN}"
            )
        };
        let control = identity("control", CONTROL_NAMESPACE);
        let at = |address: Ipv4Addr, port: u16| {
            std::net::SocketAddr::new(IpAddr::V4(address), port).to_string()
        };
        let workload = json!({ "ns": pod.namespace, "pod": pod.name });
        let context = json!({ "ns": pod.namespace, "nodeName": self.node_name, "pod": pod.name });
        let mut env: BTreeMap<String, String> = [
            ("IDENTITY_TRUST_ANCHORS", self.anchors.clone()),
            (
                "IDENTITY_LOCAL_NAME",
                identity(&pod.service_account, &pod.namespace),
            ),
            ("IDENTITY_DIR", dir.display().to_string()),
            (
                "IDENTITY_TOKEN_FILE",
                dir.join("token").display().to_string(),
            ),
            ("IDENTITY_SVC_ADDR", at(self.control, self.identity_port)),
            ("IDENTITY_SVC_NAME", control.clone()),
            ("DESTINATION_SVC_ADDR", at(self.control, DESTINATION_PORT)),
            ("DESTINATION_SVC_NAME", control.clone()),
            ("POLICY_SVC_ADDR", at(self.control, POLICY_PORT)),
            ("POLICY_SVC_NAME", control),
            ("POLICY_WORKLOAD", workload.to_string()),
            ("DESTINATION_CONTEXT", context.to_string()),
            (
                "DESTINATION_PROFILE_SUFFIXES",
                format!("svc.{CLUSTER_DOMAIN}."),
            ),
            ("INBOUND_LISTEN_ADDR", at(address, INBOUND_PORT)),
            ("OUTBOUND_LISTEN_ADDR", at(address, OUTBOUND_PORT)),
            ("ADMIN_LISTEN_ADDR", at(address, ADMIN_PORT)),
            ("INBOUND_IPS", address.to_string()),
            (
                "SHUTDOWN_GRACE_PERIOD",
                format!("{}s", pod.grace.as_secs().max(1)),
            ),
        ]
        .into_iter()
        .map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value))
        .collect();
        let ports: Vec<String> = pod
            .containers
            .iter()
            .filter(|c| c.name != PROXY_CONTAINER)
            .filter_map(|c| c.port)
            .map(|p| p.to_string())
            .collect();
        if !ports.is_empty() {
            env.insert("LINKERD2_PROXY_INBOUND_PORTS".to_owned(), ports.join(","));
        }
        env
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "annotations": annotations,
            },
            "spec": { "containers": [{ "name": "a", "image": "tombolo/echo" }] },
        }))
        .unwrap()
    }

    fn namespace(value: &str) -> BTreeMap<String, String> {
        [(INJECT.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn the_annotation_of_the_pod_wins_over_its_namespace() {
        for (own, of_namespace, wanted) in [
            (json!({}), "enabled", true),
            (json!({ INJECT: "disabled" }), "enabled", false),
            (json!({ INJECT: "enabled" }), "disabled", true),
            (json!({}), "disabled", false),
        ] {
            let bound = binding(&pod(&own), &namespace(of_namespace), "west-node");
            let patch = match bound {
                Binding::WithProxy(patch) if wanted => patch,
                Binding::Plain(plain) if !wanted => {
                    assert_eq!(plain["target"]["name"], "west-node");
                    assert_eq!(plain["metadata"]["uid"], "u", "never another pod");
                    continue;
                }
                other => panic!("{own} in {of_namespace}: {other:?}"),
            };
            assert_eq!(patch["spec"]["nodeName"], "west-node");
            assert_eq!(
                patch["metadata"]["resourceVersion"], "7",
                "never over a newer object"
            );
            assert_eq!(patch["spec"]["containers"][1]["name"], PROXY_CONTAINER);
            assert_eq!(patch["metadata"]["labels"][CONTROL_PLANE_LABEL], "tombolo");
        }
    }

    #[test]
    fn a_proxy_that_is_there_is_not_added_again() {
        let mut pod = pod(&json!({ INJECT: "enabled" }));
        pod.spec.as_mut().unwrap().containers[0].name = PROXY_CONTAINER.to_owned();
        let bound = binding(&pod, &BTreeMap::new(), "west-node");
        assert!(matches!(bound, Binding::Plain(_)), "{bound:?}");
    }

    #[test]
    fn a_gateway_is_told_its_suffix_and_a_proxy_its_own_address() {
        let asked = pod(&json!({ INJECT: "enabled", ENABLE_GATEWAY: "true" }));
        let Binding::WithProxy(patch) = binding(&asked, &BTreeMap::new(), "n") else {
            panic!("a gateway has a proxy");
        };
        let env = &patch["spec"]["containers"][1]["env"];
        assert_eq!(env[0]["value"], "0.0.0.0:4143");
        assert_eq!(env[2]["value"], "svc.cluster.local.");
        let mesh = Mesh {
            control: Ipv4Addr::new(127, 10, 0, 2),
            identity_port: 8080,
            anchors: "PEM".to_owned(),
            node_name: "west-node".to_owned(),
        };
        let spec = PodSpec::read(&pod(&json!({}))).unwrap();
        let env = mesh.proxy_env(&spec, Ipv4Addr::new(127, 100, 0, 1), Path::new("/d"));
        assert_eq!(
            env["LINKERD2_PROXY_INBOUND_LISTEN_ADDR"],
            "127.100.0.1:4143"
        );
        assert_eq!(env["LINKERD2_PROXY_IDENTITY_SVC_ADDR"], "127.10.0.2:8080");
        assert_eq!(
            env["LINKERD2_PROXY_IDENTITY_LOCAL_NAME"],
            "default.n.serviceaccount.identity.tombolo.cluster.local"
        );
        assert_eq!(env["LINKERD2_PROXY_INBOUND_PORTS"], "8080");
    }
}
