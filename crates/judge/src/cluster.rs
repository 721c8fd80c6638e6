//! A cluster of either kind, as a test sees it.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::binaries;
use crate::ours::Ours;
use crate::real::{Parts, Real};

/// Whose API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The embedded one.
    Ours,
    /// kube-apiserver with etcd.
    Real,
}

impl Kind {
    /// As test names and reports say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Real => "real",
        }
    }

    /// The kinds that can be started here. Without the real one only ours, unless that is forbidden.
    ///
    /// # Errors
    /// When the real one is required (`TOMBOLO_REAL=required`) and is not on this machine.
    pub fn available() -> Result<Vec<Self>> {
        match (binaries::find(), binaries::required()) {
            (Some(_), _) => Ok(vec![Self::Ours, Self::Real]),
            (None, false) => Ok(vec![Self::Ours]),
            (None, true) => bail!(
                "the real Kubernetes is required (TOMBOLO_REAL=required) and not on this machine: cargo xtask kube"
            ),
        }
    }
}

/// A running cluster of either kind. It ends with this value.
#[derive(Debug)]
pub enum Cluster {
    /// The embedded API server.
    Ours(Ours),
    /// kube-apiserver with etcd.
    Real(Real),
}

impl Cluster {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or the real one is not on this machine.
    pub async fn start(kind: Kind, name: &str, parts: Parts) -> Result<Self> {
        match kind {
            Kind::Ours => Ok(Self::Ours(Ours::start(name, parts).await?)),
            Kind::Real => {
                let binaries = binaries::find()
                    .context("the real Kubernetes is not on this machine: cargo xtask kube")?;
                Ok(Self::Real(Real::start(&binaries, name, parts).await?))
            }
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ours(_) => Kind::Ours,
            Self::Real(_) => Kind::Real,
        }
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::Ours(ours) => ours.kubeconfig(),
            Self::Real(real) => real.kubeconfig(),
        }
    }

    /// A directory that goes with the cluster.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Ours(ours) => ours.dir(),
            Self::Real(real) => real.dir(),
        }
    }

    /// Where its API answers.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Ours(ours) => ours.address(),
            Self::Real(real) => real.address(),
        }
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.kubeconfig()).await
    }

    /// Ends its API server.
    pub async fn stop_api(&mut self) {
        match self {
            Self::Ours(ours) => ours.stop_api().await,
            Self::Real(real) => real.stop_api(),
        }
    }

    /// Starts its API server again, with what it had, and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start_api(&mut self) -> Result<()> {
        match self {
            Self::Ours(ours) => ours.start_api().await,
            Self::Real(real) => real.start_api().await,
        }
    }
}

/// A client with the first context of a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    kube::Client::try_from(config(kubeconfig).await?).context("make a client")
}

/// What the first context of a kubeconfig says.
///
/// # Errors
/// When the file cannot be read or used.
pub async fn config(kubeconfig: &Path) -> Result<kube::Config> {
    let file = Kubeconfig::read_from(kubeconfig).context("read a kubeconfig")?;
    let options = KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .context("use a kubeconfig")
}
