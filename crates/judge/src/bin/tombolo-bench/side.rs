//! One of the two servers, as processes: what it is asked with, and what it takes of the machine.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::Method;
use tombolo_judge::{Daemon, Fsync, Kind, Parts, Real, binaries};

use crate::client::{Connection, Target};

/// Where everything is made.
pub(crate) const NAMESPACE: &str = "bench";

enum Server {
    Ours(Daemon),
    Real(Real),
}

/// A running server with an empty namespace for the measurements.
pub(crate) struct Side {
    server: Server,
    pub(crate) target: Target,
    /// From its start to its first answer that it is ready.
    pub(crate) began_in: Duration,
}

impl Side {
    /// Starts one, with nothing in it.
    pub(crate) async fn start(kind: Kind) -> Result<Self> {
        let (server, target, began_in) = match kind {
            Kind::Ours => {
                let program = Daemon::program().context("the program tombolo is not built")?;
                let began = Instant::now();
                let mut daemon = Daemon::start(&program, &[])?;
                daemon.ready().await?;
                let took = began.elapsed();
                let target = Target::new(&daemon.kubeconfig(), daemon.address()).await?;
                (Server::Ours(daemon), target, took)
            }
            Kind::Real => {
                let binaries = binaries::find().context("the real Kubernetes is not here")?;
                let began = Instant::now();
                let real = Real::start_with(&binaries, "bench", Parts::ApiOnly, Fsync::Yes).await?;
                let took = began.elapsed();
                let target = Target::new(&real.kubeconfig(), real.address()).await?;
                (Server::Real(real), target, took)
            }
        };
        let side = Self {
            server,
            target,
            began_in,
        };
        let namespace = format!(r#"{{"metadata":{{"name":"{NAMESPACE}"}}}}"#);
        let mut connection = side.open().await?;
        connection
            .ask(Method::POST, "/api/v1/namespaces", namespace.into_bytes())
            .await?;
        Ok(side)
    }

    /// A new connection to it.
    pub(crate) async fn open(&self) -> Result<Connection> {
        self.target.open().await
    }

    /// So many new connections.
    pub(crate) async fn open_many(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(self.open().await?);
        }
        Ok(connections)
    }

    /// What all its processes hold in memory, in bytes: pages that others share count by their share.
    pub(crate) fn resident(&self) -> Result<u64> {
        let ids = match &self.server {
            Server::Ours(daemon) => vec![daemon.process_id()],
            Server::Real(real) => real.process_ids(),
        };
        ids.into_iter().map(pss).sum()
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.server, Server::Ours(_))
    }

    /// The end of ours' log, for what went wrong.
    pub(crate) fn tail(&self) -> String {
        match &self.server {
            Server::Ours(daemon) => daemon.tail(),
            Server::Real(_) => String::new(),
        }
    }

    /// Kills ours as a crash would, starts it again, and says how long until it was ready.
    pub(crate) async fn crash(&mut self) -> Result<Duration> {
        let Server::Ours(daemon) = &mut self.server else {
            anyhow::bail!("only ours is killed")
        };
        daemon.kill();
        self.began_again().await
    }

    /// From the start of the killed server to its first answer that it is ready.
    async fn began_again(&mut self) -> Result<Duration> {
        let Server::Ours(daemon) = &mut self.server else {
            anyhow::bail!("only ours is started again")
        };
        let began = Instant::now();
        daemon.restart()?;
        daemon.ready().await?;
        let took = began.elapsed();
        self.target = Target::new(&daemon.kubeconfig(), daemon.address()).await?;
        Ok(took)
    }
}

fn pss(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = kib
        .context("the kernel tells no Pss")?
        .parse()
        .context("read Pss")?;
    Ok(kib * 1024)
}
