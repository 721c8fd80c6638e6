//! The processes of one cluster: started, listed, killed, stopped and continued.
//!
//! Knows how each role is called and where its files lie; not what the cluster is for. A process is killed
//! when this value is dropped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::agent::processes;
use crate::pki::IssuerFiles;
use crate::procfs::{self, Tree};
use crate::spawn::{Input, Process, Program, Signaller, Spawner};
use crate::topology::{ADMIN_PORT, ClusterPlan};

/// How long a process may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an agent may take to end its pods.
const AGENT_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);

/// The role of a process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The API server.
    Apiserver,
    /// The control plane.
    Control,
    /// The node agent.
    Agent,
    /// A proxy: of a pod, of the gateway, or the node's own.
    Proxy,
    /// The application of a pod.
    App,
}

/// One process, as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its id.
    pub pid: u32,
    /// What it does.
    pub role: Role,
    /// Which one it is.
    pub name: String,
    /// The address that it serves.
    pub address: String,
    /// Whether it runs, is stopped, or has ended.
    pub state: ProcessState,
}

/// What a process does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It is stopped by a signal.
    Stopped,
    /// It has ended.
    Ended,
}

/// What every cluster needs from outside.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Starts processes.
    pub spawner: Spawner,
    /// This program.
    pub exe: PathBuf,
    /// The trust anchors.
    pub anchors: PathBuf,
    /// The port of the identity APIs.
    pub identity_port: u16,
}

/// One cluster.
pub struct Cluster {
    /// Its name and addresses.
    pub plan: ClusterPlan,
    dir: PathBuf,
    issuer: IssuerFiles,
    ground: Ground,
    processes: Mutex<BTreeMap<Role, Process>>,
    client: OnceCell<kube::Client>,
}

impl Cluster {
    /// A cluster of which nothing runs yet.
    #[must_use]
    pub fn new(plan: ClusterPlan, dir: PathBuf, issuer: IssuerFiles, ground: Ground) -> Self {
        let processes = Mutex::new(BTreeMap::new());
        Self {
            plan,
            dir,
            issuer,
            ground,
            processes,
            client: OnceCell::new(),
        }
    }

    /// Where its logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The administrator's kubeconfig, which the API server writes.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// The kubeconfig of the control plane, with the credential of its own service account.
    #[must_use]
    pub fn control_kubeconfig(&self) -> PathBuf {
        self.dir.join("control.kubeconfig")
    }

    fn agent_dir(&self) -> PathBuf {
        self.dir.join("agent")
    }

    /// Starts the API server on its data, and waits until it answers.
    ///
    /// # Errors
    /// It ended, or did not answer in time; the error names its log.
    pub async fn start_apiserver(&self) -> Result<()> {
        let args = [
            "apiserver".into(),
            "--listen".into(),
            self.plan.api().to_string().into(),
            "--data".into(),
            self.dir.join("apiserver").into(),
            "--kubeconfig".into(),
            self.kubeconfig().into(),
            "--cluster-name".into(),
            self.plan.name.into(),
            "--service-cidr".into(),
            self.plan.services.to_string().into(),
            "--loopback-endpoints".into(),
            "--complete-pods".into(),
        ];
        self.start(Role::Apiserver, args.into()).await?;
        self.wait_for(Role::Apiserver, async || {
            let client = self.client().await?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client
                .request_text(request)
                .await
                .map(drop)
                .context("ask /readyz")
        })
        .await
    }

    /// Starts the control plane, for which there must be its kubeconfig. It becomes ready by itself.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_control(&self) -> Result<()> {
        let args = [
            "control".into(),
            "--kubeconfig".into(),
            self.control_kubeconfig().into(),
            "--listen".into(),
            self.plan.control().to_string().into(),
            "--cluster-name".into(),
            self.plan.name.into(),
            "--trust-anchors".into(),
            self.ground.anchors.clone().into(),
            "--issuer-cert".into(),
            self.issuer.certificate.clone().into(),
            "--issuer-key".into(),
            self.issuer.key.clone().into(),
            "--identity-port".into(),
            self.ground.identity_port.to_string().into(),
        ];
        self.start(Role::Control, args.into()).await
    }

    /// Waits until the control plane is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the error names its log.
    pub async fn control_ready(&self) -> Result<()> {
        let address = (self.plan.control(), ADMIN_PORT).into();
        self.wait_for(Role::Control, async || {
            let answer = crate::ask::get(address, "/ready", Duration::from_secs(1)).await?;
            anyhow::ensure!(
                answer.status == 200,
                "/ready says {}: {}",
                answer.status,
                answer.body
            );
            Ok(())
        })
        .await
    }

    /// Starts the node agent, which starts the pods.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_agent(&self) -> Result<()> {
        if self.runs(Role::Agent) {
            return Ok(());
        }
        let data = self.dir.join("apiserver");
        let args = [
            "agent".into(),
            "--kubeconfig".into(),
            data.join("agent.kubeconfig").into(),
            "--cluster-name".into(),
            self.plan.name.into(),
            "--node-name".into(),
            self.plan.node_name().into(),
            "--address".into(),
            self.plan.node_address().to_string().into(),
            "--proxy-address".into(),
            self.plan.node_proxy().to_string().into(),
            "--pod-cidr".into(),
            self.plan.pods.to_string().into(),
            "--control".into(),
            self.plan.control().to_string().into(),
            "--identity-port".into(),
            self.ground.identity_port.to_string().into(),
            "--trust-anchors".into(),
            self.ground.anchors.clone().into(),
            "--pki".into(),
            data.join("pki").into(),
            "--dir".into(),
            self.agent_dir().into(),
        ];
        // What an agent before this one has listed no longer runs.
        std::fs::remove_file(processes::file(&self.agent_dir())).ok();
        self.start(Role::Agent, args.into()).await
    }

    async fn start(&self, role: Role, args: Vec<OsString>) -> Result<()> {
        if self.runs(role) {
            return Ok(());
        }
        let logs = self.logs();
        std::fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        let program = Program {
            exe: self.ground.exe.clone(),
            args,
            env: Vec::new(),
            log: self.log(role),
            input: Input::Null,
        };
        let process = self.ground.spawner.spawn(&program).await?;
        self.processes.lock().insert(role, process);
        Ok(())
    }

    fn log(&self, role: Role) -> PathBuf {
        let name = match role {
            Role::Apiserver => "apiserver",
            Role::Control => "control",
            Role::Agent => "agent",
            Role::Proxy => "proxy",
            Role::App => "app",
        };
        self.logs().join(format!("{name}.log"))
    }

    /// Whether a process of the cluster's own runs.
    #[must_use]
    pub fn runs(&self, role: Role) -> bool {
        let pid = self.processes.lock().get(&role).map(|process| process.pid);
        pid.is_some_and(procfs::alive)
    }

    async fn wait_for(&self, role: Role, ready: impl AsyncFn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let Err(error) = ready().await else {
                return Ok(());
            };
            if !self.runs(role) {
                bail!(
                    "the {role:?} of {} ended: {}",
                    self.plan.name,
                    last_line(&self.log(role))
                );
            }
            if Instant::now() > deadline {
                let log = self.log(role);
                return Err(error).with_context(|| {
                    format!(
                        "the {role:?} of {} is not ready; see {}",
                        self.plan.name,
                        log.display()
                    )
                });
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// A client with an administrator's rights.
    ///
    /// # Errors
    /// The API server has not written its kubeconfig yet.
    pub async fn client(&self) -> Result<kube::Client> {
        let client = self.client.get_or_try_init(async || {
            let path = self.kubeconfig();
            let name = || format!("use {}", path.display());
            let file = kube::config::Kubeconfig::read_from(&path).with_context(name)?;
            let options = kube::config::KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(name)?;
            config.connect_timeout = Some(Duration::from_secs(2));
            config.read_timeout = Some(Duration::from_secs(10));
            kube::Client::try_from(config).with_context(name)
        });
        Ok(client.await?.clone())
    }

    /// The ids of the processes that this cluster consists of.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let roots: Vec<u32> = self
            .processes
            .lock()
            .values()
            .map(|process| process.pid)
            .collect();
        let tree = Tree::read();
        let below = roots.iter().flat_map(|root| tree.below(*root));
        let mut all: Vec<u32> = roots.iter().copied().chain(below).collect();
        all.retain(|pid| procfs::alive(*pid));
        all
    }

    /// The processes, as the agent last listed them.
    #[must_use]
    pub fn list(&self) -> Vec<ProcessInfo> {
        let mut all = Vec::new();
        let address = |role: Role| match role {
            Role::Apiserver => self.plan.api().to_string(),
            Role::Control => self.plan.control().to_string(),
            Role::Agent | Role::Proxy | Role::App => self.plan.node_address().to_string(),
        };
        let mut agent = None;
        for (role, process) in self.processes.lock().iter() {
            if *role == Role::Agent {
                agent = Some(process.pid);
            }
            let name = match role {
                Role::Apiserver => "apiserver",
                Role::Control => "control",
                Role::Agent | Role::Proxy | Role::App => "agent",
            };
            all.push(info(process.pid, *role, name, &address(*role)));
        }
        let entries = match processes::read(&self.agent_dir()) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot list the processes");
                Vec::new()
            }
        };
        for entry in entries {
            // A pid may be somebody else's by now.
            let ours = procfs::stat_of(entry.pid).is_some_and(|stat| Some(stat.parent) == agent);
            if ours {
                let role = if entry.role == "proxy" {
                    Role::Proxy
                } else {
                    Role::App
                };
                all.push(info(entry.pid, role, &entry.name, &entry.address));
            }
        }
        all
    }

    /// Kills one of the cluster's own processes, and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub async fn kill(&self, role: Role) -> Result<()> {
        let Some(mut process) = self.processes.lock().remove(&role) else {
            return Ok(());
        };
        process
            .child
            .kill()
            .await
            .with_context(|| format!("kill the {role:?} of {}", self.plan.name))
    }

    /// Kills every process at once, and waits until none is left.
    ///
    /// # Errors
    /// One does not end.
    pub async fn kill_all(&self) -> Result<()> {
        let all: Vec<(u32, Signaller)> = self
            .pids()
            .into_iter()
            .filter_map(|pid| Some((pid, Signaller::open(pid)?)))
            .collect();
        for (pid, signaller) in &all {
            if !signaller.signal(Signal::KILL) {
                tracing::debug!(pid, "ended before it was killed");
            }
        }
        let roots = std::mem::take(&mut *self.processes.lock());
        for (role, mut process) in roots {
            let name = || format!("kill the {role:?} of {}", self.plan.name);
            process.child.kill().await.with_context(name)?;
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while let Some((pid, _)) = all.iter().find(|(pid, _)| procfs::alive(*pid)) {
            anyhow::ensure!(Instant::now() < deadline, "process {pid} does not end");
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    /// Ends every process in good order: the agent ends its pods itself, so that nothing is left of them.
    ///
    /// # Errors
    /// One does not end.
    pub async fn end(&self) -> Result<()> {
        let agent = self.processes.lock().remove(&Role::Agent);
        if let Some(mut agent) = agent
            && agent.signaller.signal(Signal::TERM)
            && tokio::time::timeout(AGENT_END_TIMEOUT, agent.child.wait())
                .await
                .is_err()
        {
            tracing::warn!(
                cluster = self.plan.name,
                "the agent does not end and is killed"
            );
            self.processes.lock().insert(Role::Agent, agent);
        }
        self.kill_all().await
    }

    /// Stops every process; its connections stay open and hang.
    pub fn stop_all(&self) {
        // The agent first: what it has started by then is all that there is.
        let roots: Vec<Signaller> = self
            .processes
            .lock()
            .values()
            .map(|process| process.signaller.clone())
            .collect();
        let signal = |signaller: &Signaller| {
            if !signaller.signal(Signal::STOP) {
                tracing::debug!(
                    cluster = self.plan.name,
                    "a process ended before it was stopped"
                );
            }
        };
        roots.iter().for_each(signal);
        self.pids()
            .into_iter()
            .filter_map(Signaller::open)
            .for_each(|signaller| signal(&signaller));
    }

    /// Lets every process go on.
    pub fn continue_all(&self) {
        for signaller in self.pids().into_iter().filter_map(Signaller::open) {
            if !signaller.signal(Signal::CONT) {
                tracing::debug!(
                    cluster = self.plan.name,
                    "a process ended before it went on"
                );
            }
        }
    }
}

fn info(pid: u32, role: Role, name: &str, address: &str) -> ProcessInfo {
    let state = match procfs::stat_of(pid).map(|stat| stat.state) {
        None | Some('Z' | 'X') => ProcessState::Ended,
        Some('T' | 't') => ProcessState::Stopped,
        Some(_) => ProcessState::Running,
    };
    ProcessInfo {
        pid,
        role,
        name: name.to_owned(),
        address: address.to_owned(),
        state,
    }
}

/// The end of a log, for an error.
fn last_line(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    match line {
        Some(line) => format!("{} (see {})", line.trim(), log.display()),
        None => format!("it left no message in {}", log.display()),
    }
}
