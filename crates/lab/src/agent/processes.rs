//! The list of the node's processes, in a file for whoever keeps the lab.
//!
//! A file, and not a question to the agent, since it must be readable while the agent is stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use super::inject::PROXY_CONTAINER;
use super::machine::PodMachine;
use super::pod::ContainerSpec;
use crate::pki::write_private;

/// One process of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub pid: u32,
    /// `proxy` or `app`.
    pub role: String,
    /// `<namespace>/<pod>`, of the node's own proxy `node-proxy`.
    pub name: String,
    /// The pod's address.
    pub address: String,
}

impl Entry {
    pub(super) fn new(pid: u32, machine: &PodMachine, container: &ContainerSpec) -> Self {
        let spec = machine.spec();
        let role = if container.name == PROXY_CONTAINER {
            "proxy"
        } else {
            "app"
        };
        let name = if spec.uid == super::node::NODE_PROXY_UID {
            spec.uid.clone()
        } else {
            format!("{}/{}", spec.namespace, spec.name)
        };
        Self {
            pid,
            role: role.to_owned(),
            name,
            address: machine.address().to_string(),
        }
    }
}

/// Where the list of the agent that works in `dir` lies.
#[must_use]
pub fn file(dir: &Path) -> PathBuf {
    dir.join("processes.json")
}

pub(super) fn write(dir: &Path, entries: &[Entry]) -> Result<()> {
    let text = serde_json::to_vec(entries).context("encode the processes")?;
    write_private(&file(dir), &text)
}

/// Reads the list; empty if there is none (yet).
///
/// # Errors
/// The file is no list.
pub fn read(dir: &Path) -> Result<Vec<Entry>> {
    let path = file(dir);
    match std::fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// How often each container was started again, from what the status says of a life before this agent's: a
/// container that ran then starts again now.
pub(super) fn restarts(pod: &Pod) -> Vec<i32> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref());
    let spec = pod
        .spec
        .as_ref()
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    let of = |name: &str| {
        let status = statuses
            .unwrap_or_default()
            .iter()
            .find(|status| status.name == name);
        status.map_or(0, |status| {
            let ran = status
                .container_id
                .as_ref()
                .is_some_and(|id| !id.is_empty());
            status.restart_count.saturating_add(i32::from(ran))
        })
    };
    spec.iter().map(|container| of(&container.name)).collect()
}
