//! Our API server with the real kube-controller-manager in place of our controllers.
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tombolo_apiserver::pki::{Kubeconfig, Pki, Subject, write_private};

use crate::binaries;
use crate::ours::Ours;
use crate::process::Process;
use crate::real::Parts;

/// A running API server and its controller manager. Both end with this value.
#[derive(Debug)]
pub struct Managed {
    ours: Ours,
    controllers: Process,
}

impl Managed {
    /// Starts both.
    ///
    /// # Errors
    /// When one of them cannot be started, or the real programs are not on this machine.
    pub async fn start(name: &str) -> Result<Self> {
        let binaries = binaries::find()
            .context("the real Kubernetes is not on this machine: cargo xtask kube")?;
        let ours = Ours::start(name, Parts::ApiOnly).await?;
        let dir = ours.dir();
        let pki_dir = dir.join("data/pki");
        let pki = Pki::open(Some(&pki_dir), Timestamp::now())?;
        let user = "system:kube-controller-manager";
        let leaf = pki.client(Subject { user, group: None })?;
        let address = ours.address();
        let kubeconfig = Kubeconfig {
            cluster: name,
            user,
            server: &format!("https://{address}"),
            ca_pem: pki.ca_pem(),
            leaf: &leaf,
        };
        let file = dir.join("controllers.kubeconfig");
        write_private(&file, &kubeconfig.to_yaml())?;
        let key = |file: &str| pki_dir.join(file).display().to_string();
        let arguments = [
            format!("--kubeconfig={}", file.display()),
            "--kube-api-content-type=application/json".to_owned(),
            format!("--bind-address={}", address.ip()),
            // It need not be asked, and several may run.
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials".to_owned(),
            format!("--service-account-private-key-file={}", key("sa.key")),
            format!("--root-ca-file={}", key("ca.crt")),
            "--leader-elect=false".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        ];
        let log = dir.join("controllers.log");
        let controllers = Process::start(&binaries.controller_manager, &arguments, &log)?;
        Ok(Self { ours, controllers })
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client> {
        crate::cluster::client(&self.ours.kubeconfig()).await
    }

    /// The end of what the controller manager says.
    pub fn log(&self) -> String {
        self.controllers.tail()
    }
}
