//! What `lab status` shows: each cluster's processes and Services.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::{Deserialize, Serialize};

use super::Lab;
use crate::cluster::{Cluster, ProcessInfo, ProcessState};

/// How long an API server may take before its last known Services are shown.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its directory.
    pub dir: String,
    /// The kubeconfig with all contexts.
    pub kubeconfig: String,
    /// Its clusters.
    pub clusters: Vec<ClusterStatus>,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// The address of its API server.
    pub api: String,
    /// The way in which it is broken at present.
    pub broken: Option<String>,
    /// Whether its API server answers; if not, the Services are as last known.
    pub api_answers: bool,
    /// Its processes.
    pub processes: Vec<ProcessInfo>,
    /// Its Services that have an address.
    pub services: Vec<ServiceStatus>,
}

impl ClusterStatus {
    /// Whether nothing was done to it, neither by the lab nor by hand.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let runs = |process: &ProcessInfo| process.state == ProcessState::Running;
        self.broken.is_none() && self.api_answers && self.processes.iter().all(runs)
    }
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address, which answers any program on the machine.
    pub cluster_ip: String,
    /// Its ports.
    pub ports: Vec<u16>,
}

impl Lab {
    /// What runs at present. Never waits long, whatever is broken.
    pub async fn status(&self) -> Status {
        let clusters = self.clusters.iter().enumerate();
        let all = clusters.map(async |(index, cluster)| self.cluster_status(index, cluster).await);
        Status {
            dir: self.dir.path().display().to_string(),
            kubeconfig: self.dir.kubeconfig().display().to_string(),
            clusters: futures_util::future::join_all(all).await,
        }
    }

    async fn cluster_status(&self, index: usize, cluster: &Cluster) -> ClusterStatus {
        let answer = tokio::time::timeout(TIMEOUT, services(cluster)).await;
        let answered = matches!(answer, Ok(Ok(_)));
        let known = {
            let mut all = self.services.lock();
            if let Ok(Ok(services)) = answer {
                all[index] = services;
            }
            all[index].clone()
        };
        ClusterStatus {
            name: cluster.plan.name.to_owned(),
            api: format!("https://{}", cluster.plan.api()),
            broken: self.broken.lock()[index].map(|way| way.as_str().to_owned()),
            api_answers: answered,
            processes: cluster.list(),
            services: known,
        }
    }
}

pub(super) async fn services(cluster: &Cluster) -> Result<Vec<ServiceStatus>> {
    let api: Api<Service> = Api::all(cluster.client().await?);
    let services = api
        .list(&ListParams::default())
        .await
        .context("list the services")?;
    let shown = services.iter().filter_map(|service| {
        let spec = service.spec.as_ref()?;
        let cluster_ip = spec
            .cluster_ip
            .clone()
            .filter(|ip| !ip.is_empty() && ip != "None")?;
        let ports = spec.ports.as_deref().unwrap_or_default();
        Some(ServiceStatus {
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            cluster_ip,
            ports: ports
                .iter()
                .filter_map(|port| u16::try_from(port.port).ok())
                .collect(),
        })
    });
    Ok(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;

    #[test]
    fn a_cluster_is_whole_if_nothing_was_done_to_it() {
        let whole = || ClusterStatus {
            name: "east".into(),
            api: String::new(),
            broken: None,
            api_answers: true,
            processes: vec![ProcessInfo {
                pid: 7,
                role: Role::Control,
                name: "control".into(),
                address: String::new(),
                state: ProcessState::Running,
            }],
            services: Vec::new(),
        };
        assert!(whole().is_whole());
        let done: [fn(&mut ClusterStatus); 4] = [
            |cluster| cluster.broken = Some("a".into()),
            |cluster| cluster.api_answers = false,
            |cluster| cluster.processes[0].state = ProcessState::Stopped,
            |cluster| cluster.processes[0].state = ProcessState::Ended,
        ];
        for change in done {
            let mut cluster = whole();
            change(&mut cluster);
            assert!(!cluster.is_whole(), "{cluster:?}");
        }
    }
}
