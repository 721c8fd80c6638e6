//! Scaling a cluster's services away and back, and waiting until its pods are truly ready.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use super::STEP;
use crate::agent::is_ready;
use crate::ask;
use crate::cluster::Cluster;
use crate::procfs;
use crate::topology::{ADMIN_PORT, DEMO_NAMESPACE};

/// How many replicas a Deployment had before it was scaled to zero; on the object, so that it outlives us.
const REPLICAS_BEFORE: &str = "lab.tombolo/replicas-before";
/// How long the pods of a cluster may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

fn deployments(client: &kube::Client) -> Api<Deployment> {
    Api::namespaced(client.clone(), DEMO_NAMESPACE)
}

/// Scales the demo's deployments to zero.
pub(super) async fn scale_to_zero(cluster: &Cluster) -> Result<()> {
    let api = deployments(&cluster.client().await?);
    for deployment in api
        .list(&ListParams::default())
        .await
        .context("list the deployments")?
    {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        if replicas == 0 {
            continue;
        }
        let patch = json!({
            "metadata": { "annotations": { REPLICAS_BEFORE: replicas.to_string() } },
            "spec": { "replicas": 0 },
        });
        scale(&api, &deployment.name_any(), &patch).await?;
    }
    Ok(())
}

/// Scales what was scaled to zero back to what it was.
pub(super) async fn scale_back(cluster: &Cluster) -> Result<()> {
    let api = deployments(&cluster.client().await?);
    for deployment in api
        .list(&ListParams::default())
        .await
        .context("list the deployments")?
    {
        let before = deployment.annotations().get(REPLICAS_BEFORE);
        let Some(replicas) = before.and_then(|text| text.parse::<u32>().ok()) else {
            continue;
        };
        let patch = json!({
            "metadata": { "annotations": { REPLICAS_BEFORE: null } },
            "spec": { "replicas": replicas },
        });
        scale(&api, &deployment.name_any(), &patch).await?;
    }
    Ok(())
}

async fn scale(api: &Api<Deployment>, name: &str, patch: &serde_json::Value) -> Result<()> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .with_context(|| format!("scale {name}"))
        .map(drop)
}

/// Waits until every pod that a Deployment wants is ready, and not only said to be: its processes run, and
/// its proxy says so itself. A status may be one from before the cluster was lost.
pub(super) async fn pods_ready(cluster: &Cluster) -> Result<()> {
    let client = cluster.client().await?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let missing = match missing(&client).await {
            Ok(missing) => missing,
            Err(error) => Some(format!("{error:#}")),
        };
        let Some(missing) = missing else {
            return Ok(());
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "the pods of {} are not ready: {missing}; see {}",
            cluster.plan.name,
            cluster.logs().display()
        );
        tokio::time::sleep(STEP).await;
    }
}

/// What is not ready yet.
async fn missing(client: &kube::Client) -> Result<Option<String>> {
    let all: Api<Deployment> = Api::all(client.clone());
    let wanted: i32 = all
        .list(&ListParams::default())
        .await
        .context("list the deployments")?
        .iter()
        .map(|deployment| deployment.spec.replicas.unwrap_or(1))
        .sum();
    let pods = Api::<Pod>::all(client.clone())
        .list(&ListParams::default())
        .await
        .context("list the pods")?;
    let mut ready = 0;
    for pod in &pods {
        match not_ready(pod).await {
            None => ready += 1,
            Some(why) if pod.metadata.deletion_timestamp.is_none() => {
                let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
                return Ok(Some(format!("{namespace}/{name} {why}")));
            }
            Some(_) => {}
        }
    }
    Ok((ready < wanted).then(|| format!("{ready} of {wanted} pods are there")))
}

async fn not_ready(pod: &Pod) -> Option<String> {
    if !is_ready(pod) {
        return Some("is not ready".to_owned());
    }
    let status = pod.status.as_ref()?;
    for container in status.container_statuses.as_deref().unwrap_or_default() {
        let id = container.container_id.as_deref().unwrap_or_default();
        let pid: u32 = id
            .strip_prefix("tombolo://")
            .and_then(|pid| pid.parse().ok())
            .unwrap_or(0);
        // A container without a process has pid 0.
        if pid != 0 && !procfs::alive(pid) {
            return Some(format!(
                "says that {} runs as process {pid}, which has ended",
                container.name
            ));
        }
    }
    let address = status.pod_ip.as_deref()?.parse().ok()?;
    let has_proxy = pod
        .spec
        .as_ref()?
        .containers
        .iter()
        .any(|c| c.name == crate::agent::PROXY_CONTAINER);
    if !has_proxy {
        return None;
    }
    let address = SocketAddr::new(address, ADMIN_PORT);
    match ask::get(address, "/ready", Duration::from_secs(1)).await {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(format!("has a proxy that is not ready: {}", answer.body)),
        Err(error) => Some(format!("has a proxy that does not answer: {error:#}")),
    }
}
