//! Our own API server as a process: the program `tombolo apiserver`, with its objects on disk, that can be killed.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::process::Process;

const PORT: u16 = 6443;
const PATIENCE: Duration = Duration::from_secs(120);

/// A running process and its directory. It ends with this value.
#[derive(Debug)]
pub struct Daemon {
    dir: TempDir,
    program: PathBuf,
    address: SocketAddr,
    limits: Vec<String>,
    process: Process,
}

impl Daemon {
    /// The program: what `TOMBOLO_BIN` names, or the one that was built beside the program that asks.
    pub fn program() -> Option<PathBuf> {
        let named = std::env::var_os("TOMBOLO_BIN").map(PathBuf::from);
        let own = std::env::current_exe().ok();
        let beside = own.iter().flat_map(|own| own.ancestors().skip(1).take(2));
        named
            .into_iter()
            .chain(beside.map(|dir| dir.join("tombolo")))
            .find(|file| file.is_file())
    }

    /// Starts it, and does not wait. `limits` are arguments of `prlimit`, such as `--fsize=1000000`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, limits: &[&str]) -> Result<Self> {
        tombolo_shell::tls::install_provider();
        let dir = tempfile::Builder::new()
            .prefix("tombolo-daemon-")
            .tempdir()
            .context("create a directory for an API server")?;
        let address = SocketAddr::from((crate::real::free_address()?, PORT));
        let limits: Vec<String> = limits.iter().map(|&limit| limit.to_owned()).collect();
        let process = spawn(program, dir.path(), address, &limits)?;
        Ok(Self {
            dir,
            program: program.to_owned(),
            address,
            limits,
            process,
        })
    }

    /// The administrator's kubeconfig; there once the server answers.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Where the objects are.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where its API answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a crash would: `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on what it has on disk, and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = spawn(&self.program, self.dir.path(), self.address, &self.limits)?;
        Ok(())
    }

    /// Waits until `/readyz` says ok.
    ///
    /// # Errors
    /// When it ends, or does not answer in time: with the end of its log.
    pub async fn ready(&mut self) -> Result<kube::Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(client) = self.ask().await {
                return Ok(client);
            }
            self.process.alive()?;
            if Instant::now() > deadline {
                bail!("not ready within {PATIENCE:?}\n{}", self.process.tail());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Waits until the process has ended by itself, and gives the end of its log.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while self.process.alive().is_ok() {
            if Instant::now() > deadline {
                bail!("still running after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(self.process.tail())
    }

    async fn ask(&self) -> Result<kube::Client> {
        let client = crate::cluster::client(&self.kubeconfig()).await?;
        let request = http::Request::get("/readyz").body(Vec::new())?;
        client.request_text(request).await?;
        Ok(client)
    }
}

fn spawn(program: &Path, dir: &Path, address: SocketAddr, limits: &[String]) -> Result<Process> {
    let mut arguments = vec![
        "apiserver".to_owned(),
        format!("--data={}", dir.join("data").display()),
        format!("--listen={address}"),
        format!("--kubeconfig={}", dir.join("kubeconfig").display()),
    ];
    let log = dir.join("log");
    if limits.is_empty() {
        return Process::start(program, &arguments, &log);
    }
    let mut limited = limits.to_vec();
    limited.push(program.display().to_string());
    limited.append(&mut arguments);
    Process::start(Path::new("prlimit"), &limited, &log)
}
