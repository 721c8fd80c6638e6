//! One real cluster without nodes: etcd, kube-apiserver, kube-controller-manager, on a loopback address of its own.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use rand::RngExt as _;
use rcgen::KeyPair;
use rustix::process::Signal;
use tempfile::TempDir;
use tombolo_apiserver::pki::{Kubeconfig, Pki, Subject, write_private};

use crate::binaries::Binaries;
use crate::process::Process;

const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const API_PORT: u16 = 6443;
const CONTROLLERS_PORT: u16 = 10257;
/// A busy machine with two cores takes half a minute, one that is overloaded several.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a cluster is begun if a part of it ends at once, as when somebody takes its port first.
const STARTS_MAX: usize = 3;
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SERVICES: &str = "10.96.0.0/16";

/// Which parts of a cluster run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Nobody acts on objects.
    ApiOnly,
    /// With the controllers.
    All,
}

/// Whether etcd waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Quick, for tests.
    No,
    /// As in production, for benchmarks.
    Yes,
}

/// A running cluster. It ends with this value, and with this process.
#[derive(Debug)]
pub struct Real {
    dir: TempDir,
    binaries: Binaries,
    address: Ipv4Addr,
    etcd: Process,
    api: Process,
    controllers: Option<Process>,
}

impl Real {
    /// Starts a cluster, and waits until it answers.
    ///
    /// # Errors
    /// When a part cannot be started, or ends, or is not ready in time: with the end of its log.
    pub async fn start(binaries: &Binaries, name: &str, parts: Parts) -> Result<Self> {
        Self::start_with(binaries, name, parts, Fsync::No).await
    }

    /// As [`Real::start`], with a say in how etcd writes.
    ///
    /// # Errors
    /// As [`Real::start`].
    pub async fn start_with(
        binaries: &Binaries,
        name: &str,
        parts: Parts,
        fsync: Fsync,
    ) -> Result<Self> {
        tombolo_shell::tls::install_provider();
        let mut starts = 0;
        loop {
            let mut real = Self::spawn(binaries, name, fsync)?;
            starts += 1;
            match real.begin(parts).await {
                Ok(()) => return Ok(real),
                Err(_ended) if starts < STARTS_MAX && real.alive().is_err() => {}
                Err(error) => return Err(real.keep(error)),
            }
        }
    }

    fn spawn(binaries: &Binaries, name: &str, fsync: Fsync) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("tombolo-real-")
            .tempdir()
            .context("create a directory for a cluster")?;
        let address = free_address()?;
        write_credentials(dir.path(), name, address)?;
        let etcd = Process::start(
            &binaries.etcd,
            &etcd_arguments(dir.path(), address, fsync),
            &dir.path().join("etcd.log"),
        )?;
        let api = start_api(binaries, dir.path(), address)?;
        Ok(Self {
            dir,
            binaries: binaries.clone(),
            address,
            etcd,
            api,
            controllers: None,
        })
    }

    async fn begin(&mut self, parts: Parts) -> Result<()> {
        self.wait_ready().await?;
        if parts == Parts::All {
            self.start_controllers().await?;
        }
        Ok(())
    }

    /// Fails if a part has ended.
    fn alive(&mut self) -> Result<()> {
        self.etcd.alive()?;
        self.api.alive()?;
        self.controllers.as_mut().map_or(Ok(()), Process::alive)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Where everything of the cluster lies, logs included.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its API answers.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), API_PORT)
    }

    /// The process ids of its parts: etcd, API server, controllers.
    pub fn process_ids(&self) -> Vec<u32> {
        [&self.etcd, &self.api]
            .into_iter()
            .chain(&self.controllers)
            .map(Process::id)
            .collect()
    }

    /// Ends the API server, as a crash would.
    pub fn stop_api(&mut self) {
        self.api.kill();
    }

    /// Starts the API server again, and waits until it answers.
    ///
    /// # Errors
    /// As [`Real::start`].
    pub async fn start_api(&mut self) -> Result<()> {
        self.api = start_api(&self.binaries, self.dir.path(), self.address)?;
        self.wait_ready().await
    }

    /// Stops the API server's process without ending it: connections hang.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn freeze_api(&self) -> Result<()> {
        self.api.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw_api(&self) -> Result<()> {
        self.api.signal(Signal::CONT)
    }

    async fn start_controllers(&mut self) -> Result<()> {
        let log = self.dir.path().join("controllers.log");
        let arguments = controller_arguments(self.dir.path(), self.address);
        let program = &self.binaries.controller_manager;
        self.controllers = Some(Process::start(program, &arguments, &log)?);
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        self.wait_for(account).await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        self.wait_for("/readyz").await
    }

    /// Waits until a path of the API answers well.
    async fn wait_for(&mut self, path: &str) -> Result<()> {
        let client = crate::cluster::client(&self.kubeconfig()).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = http::Request::get(path).body(Vec::new())?;
            let asked = client.request_text(request);
            let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(());
            }
            self.alive()?;
            if Instant::now() > deadline {
                bail!(
                    "no answer from {path} within {PATIENCE:?}\n{}",
                    self.api.tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Keeps the logs of a cluster that failed, and says where they are.
    fn keep(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.dir.disable_cleanup(true);
        error.context(format!("logs are in {}", self.dir.path().display()))
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // Before the directory goes: who still writes into it would leave parts of it behind.
        if let Some(controllers) = &mut self.controllers {
            controllers.kill();
        }
        self.api.kill();
        self.etcd.kill();
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
        }
    }
}

/// A loopback address of one's own, on which none of the ports of an API server is taken. No connection starts from it,
/// so a port that is given up there is still free later.
///
/// # Errors
/// When none is found.
pub fn free_address() -> Result<Ipv4Addr> {
    let mut rng = rand::rng();
    for _ in 0..100 {
        let address = Ipv4Addr::new(
            127,
            rng.random_range(64..96),
            rng.random(),
            rng.random_range(1..255),
        );
        let free = |port| TcpListener::bind((address, port)).is_ok();
        if [ETCD_PORT, ETCD_PEER_PORT, API_PORT, CONTROLLERS_PORT]
            .into_iter()
            .all(free)
        {
            return Ok(address);
        }
    }
    bail!(
        "ports {ETCD_PORT} and {API_PORT} are taken on every loopback address: does something listen on 0.0.0.0?"
    )
}

fn write_credentials(dir: &Path, name: &str, address: Ipv4Addr) -> Result<()> {
    let pki = Pki::open(Some(&dir.join("pki")), Timestamp::now())?;
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
    ];
    let leaf = pki.server(&[IpAddr::V4(address)], &names.map(str::to_owned))?;
    write_private(&dir.join("pki/server.key"), &leaf.key_pem)?;
    write_private(&dir.join("pki/server.crt"), &leaf.cert_pem)?;
    // The one program reads the private key, the other only the public one.
    let tokens = KeyPair::from_pem(pki.token_key_pem()).context("read the key of tokens")?;
    write_private(&dir.join("pki/sa.pub"), &tokens.public_key_pem())?;
    let server = format!("https://{address}:{API_PORT}");
    let users = [
        ("kubeconfig", "kubernetes-admin", Some("system:masters")),
        (
            "controllers.kubeconfig",
            "system:kube-controller-manager",
            None,
        ),
    ];
    for (file, user, group) in users {
        let leaf = pki.client(Subject { user, group })?;
        let config = Kubeconfig {
            cluster: name,
            user,
            server: &server,
            ca_pem: pki.ca_pem(),
            leaf: &leaf,
        };
        write_private(&dir.join(file), &config.to_yaml())?;
    }
    Ok(())
}

fn start_api(binaries: &Binaries, dir: &Path, address: Ipv4Addr) -> Result<Process> {
    let log = dir.join("apiserver.log");
    Process::start(&binaries.apiserver, &api_arguments(dir, address), &log)
}

fn etcd_arguments(dir: &Path, address: Ipv4Addr, fsync: Fsync) -> Vec<String> {
    let client = format!("http://{address}:{ETCD_PORT}");
    let peer = format!("http://{address}:{ETCD_PEER_PORT}");
    let mut arguments = vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    if fsync == Fsync::No {
        arguments.push("--unsafe-no-fsync".to_owned());
    }
    arguments
}

fn api_arguments(dir: &Path, address: Ipv4Addr) -> Vec<String> {
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    vec![
        format!("--etcd-servers=http://{address}:{ETCD_PORT}"),
        format!("--bind-address={address}"),
        format!("--secure-port={API_PORT}"),
        // Nothing is reached there: it must only not be a loopback address.
        "--advertise-address=192.0.2.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--tls-cert-file={}", pki("server.crt")),
        format!("--tls-private-key-file={}", pki("server.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--service-account-key-file={}", pki("sa.pub")),
        format!("--service-account-signing-key-file={}", pki("sa.key")),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=RBAC".to_owned(),
    ]
}

fn controller_arguments(dir: &Path, address: Ipv4Addr) -> Vec<String> {
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    vec![
        format!(
            "--kubeconfig={}",
            dir.join("controllers.kubeconfig").display()
        ),
        format!("--bind-address={address}"),
        "--use-service-account-credentials".to_owned(),
        format!("--service-account-private-key-file={}", pki("sa.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        "--leader-elect=false".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
    ]
}
