//! The Node object: that the node is there, ready, and where its log server listens.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::status::seconds;
use crate::topology::KUBELET_PORT;

/// How soon a registration that failed is tried again.
const RETRY: Duration = Duration::from_millis(300);
/// How many pods the node takes.
const PODS_MAX: &str = "1000";

/// Registers the node; tries until the API server has it.
pub(super) async fn register(client: kube::Client, name: String, address: Ipv4Addr) {
    let nodes: Api<Node> = Api::all(client);
    while let Err(error) = attempt(&nodes, &name, address).await {
        tracing::debug!(%error, "the node is not registered yet");
        tokio::time::sleep(RETRY).await;
    }
    tracing::info!(node = name, "registered");
}

async fn attempt(nodes: &Api<Node>, name: &str, address: Ipv4Addr) -> Result<(), kube::Error> {
    let object = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
    }))
    .map_err(kube::Error::SerdeError)?;
    match nodes.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    let patch = status_patch(name, address, Timestamp::now());
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

fn status_patch(name: &str, address: Ipv4Addr, now: Timestamp) -> Value {
    let resources = json!({ "pods": PODS_MAX });
    json!({ "status": {
        "addresses": [
            { "type": "InternalIP", "address": address.to_string() },
            { "type": "Hostname", "address": name },
        ],
        "capacity": resources,
        "allocatable": resources,
        "daemonEndpoints": { "kubeletEndpoint": { "Port": KUBELET_PORT } },
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the agent runs",
            "lastHeartbeatTime": seconds(now),
            "lastTransitionTime": seconds(now),
        }],
        "nodeInfo": {
            "architecture": std::env::consts::ARCH,
            "operatingSystem": std::env::consts::OS,
            "kubeletVersion": concat!("v", env!("CARGO_PKG_VERSION"), "-tombolo"),
            "kubeProxyVersion": "", "bootID": "", "machineID": "", "systemUUID": "",
            "kernelVersion": "", "osImage": "processes", "containerRuntimeVersion": "tombolo://processes",
        },
    } })
}
