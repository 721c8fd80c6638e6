//! Our own API server, as one process would run it: on a loopback address, with its objects on disk.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tombolo_apiserver::db::{Controllers, LoopbackEndpoints, Storage};
use tombolo_apiserver::run::{Config, Running};

use crate::real::{Parts, free_address};

const PORT: u16 = 6443;

/// A running API server and its directory.
#[derive(Debug)]
pub struct Ours {
    dir: TempDir,
    config: Config,
    running: Option<Running>,
}

impl Ours {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(name: &str, parts: Parts) -> Result<Self> {
        tombolo_shell::tls::install_provider();
        let dir = tempfile::Builder::new()
            .prefix("tombolo-ours-")
            .tempdir()
            .context("create a directory for a cluster")?;
        let mut config = Config::memory();
        // An address of its own: the port is still free when it starts again.
        config.listen = SocketAddr::from((free_address()?, PORT));
        config.storage = Storage::Dir(dir.path().join("data"));
        config.kubeconfig = Some(dir.path().join("kubeconfig"));
        name.clone_into(&mut config.cluster);
        // What the real one refuses is refused in comparisons, too.
        config.loopback_endpoints = LoopbackEndpoints::Refused;
        if parts == Parts::ApiOnly {
            config.controllers = Controllers::Off;
        }
        let running = Running::start(&config).await?;
        Ok(Self {
            dir,
            config,
            running: Some(running),
        })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Where everything of the cluster lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its API answers.
    pub fn address(&self) -> SocketAddr {
        self.config.listen
    }

    /// Ends it. What it acknowledged is on disk.
    pub async fn stop_api(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Starts it again, on the same address and with what it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start_api(&mut self) -> Result<()> {
        self.running = Some(Running::start(&self.config).await?);
        Ok(())
    }
}
