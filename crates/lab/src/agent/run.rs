//! One container's process: its start, its probes, its token, its end.
//!
//! Decides nothing about restarts (see `machine`); it reports what happened to the node's owner.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

use super::inject::Mesh;
use super::machine::{Answer, Event};
use super::node::Input;
use super::pod::{Check, ContainerSpec, Facts, Kind, PodSpec, Probe};
use super::token::Tokens;
use crate::spawn::{Input as Stdin, Process, Program, Signaller, Spawner};

/// How often a container that is not ready is asked.
const PROBE_PERIOD_UNREADY: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the size of a log is looked at.
const LOG_PERIOD: Duration = Duration::from_secs(30);
/// A log that is longer starts again.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What every container of the node needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) spawner: Spawner,
    pub(super) mesh: Mesh,
    pub(super) tokens: Tokens,
    pub(super) cluster: String,
    pub(super) node_address: Ipv4Addr,
    /// This program, and the proxy beside it.
    pub(super) own_exe: PathBuf,
    pub(super) proxy_exe: PathBuf,
    /// What the node's own proxy listens on, one line of JSON.
    pub(super) listeners: watch::Receiver<Arc<str>>,
}

/// One container of one pod.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) pod: Arc<PodSpec>,
    pub(super) index: usize,
    pub(super) address: Ipv4Addr,
    /// Where the pod's files are.
    pub(super) dir: PathBuf,
    /// Whether the process is the node's own proxy, which is told its listeners.
    pub(super) is_node_proxy: bool,
}

/// A process that runs, for the owner.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) signaller: Signaller,
}

impl Job {
    /// Where the container's output goes.
    pub(super) fn log(&self, container: &ContainerSpec) -> PathBuf {
        self.dir.join(format!("{}.log", container.name))
    }
}

/// Tells the owner what happened to one container.
struct Report<'a> {
    owner: &'a mpsc::Sender<Input>,
    uid: &'a str,
    container: usize,
}

impl Report<'_> {
    /// The owner is gone only when the process ends; then there is nobody to tell.
    async fn send(&self, event: Event) {
        let input = Input::Pod {
            uid: self.uid.to_owned(),
            event,
        };
        if self.owner.send(input).await.is_err() {
            tracing::debug!("the node has ended");
        }
    }
}

/// Starts the container and stays with it until it has ended.
pub(super) async fn run(shared: Arc<Shared>, job: Job, owner: mpsc::Sender<Input>) {
    let (uid, container) = (job.pod.uid.as_str(), job.index);
    let report = Report {
        owner: &owner,
        uid,
        container,
    };
    let Some(spec) = job.pod.containers.get(container) else {
        return;
    };
    let (pod, name) = (job.pod.key(), spec.name.as_str());
    let mut process = match start(&shared, &job, spec).await {
        Ok(process) => process,
        Err(error) => {
            let why = format!("{error:#}");
            tracing::warn!(pod, container = name, error = why, "cannot start");
            report.send(Event::NotStarted { container, why }).await;
            return;
        }
    };
    let (pid, signaller) = (process.pid, process.signaller.clone());
    let running = Running { pid, signaller };
    let input = Input::Started {
        uid: uid.to_owned(),
        container,
        running,
    };
    if owner.send(input).await.is_err() {
        return;
    }
    let stdin = process.child.stdin.take();
    let side = async {
        tokio::join!(
            probes(&report, pid, (job.address, spec.probe.as_ref())),
            renew(&shared, &job, spec),
            feed(&shared, stdin),
            keep_short(job.log(spec)),
        );
    };
    tokio::select! {
        biased;
        status = process.child.wait() => {
            let code = status.map_or(-1, code_of);
            tracing::info!(pod, container = name, pid, code, "ended");
            report.send(Event::Exited { container, code }).await;
        }
        () = side => {}
    }
}

/// Asks a container again and again, for ever.
async fn probes(report: &Report<'_>, pid: u32, (address, probe): (Ipv4Addr, Option<&Probe>)) {
    let Some(probe) = probe else {
        return std::future::pending().await;
    };
    let container = report.container;
    let mut last = None;
    loop {
        let answer = ask(address, probe).await;
        // While it stays ready, the owner has nothing to decide; each failure counts.
        if last != Some(answer) || answer == Answer::Unready {
            report
                .send(Event::Probed {
                    container,
                    pid,
                    answer,
                })
                .await;
        }
        last = Some(answer);
        let period = if answer == Answer::Ready {
            probe.period
        } else {
            PROBE_PERIOD_UNREADY
        };
        tokio::time::sleep(period).await;
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

async fn start(shared: &Shared, job: &Job, spec: &ContainerSpec) -> Result<Process> {
    let program = match spec.kind {
        Kind::Echo => echo(shared, job, spec),
        Kind::Proxy => proxy(shared, job, spec).await?,
        Kind::Pause | Kind::Unknown => anyhow::bail!("image {:?} has no program", spec.image),
    };
    shared.spawner.spawn(&program).await
}

fn facts<'a>(shared: &'a Shared, job: &'a Job) -> Facts<'a> {
    Facts {
        pod: &job.pod,
        address: job.address,
        node_name: &shared.mesh.node_name,
        node_address: shared.node_address,
    }
}

fn echo(shared: &Shared, job: &Job, spec: &ContainerSpec) -> Program {
    let (mut env, args) = facts(shared, job).resolve(spec);
    let port = spec.port.unwrap_or(crate::topology::SERVICE_PORT);
    let defaults = [
        (
            "TOMBOLO_ECHO_LISTEN",
            SocketAddr::new(IpAddr::V4(job.address), port).to_string(),
        ),
        (
            "TOMBOLO_ECHO_TEXT",
            format!("{} from {}", spec.name, shared.cluster),
        ),
        ("TOMBOLO_ECHO_CLUSTER", shared.cluster.clone()),
        ("TOMBOLO_ECHO_POD", job.pod.name.clone()),
    ];
    for (name, value) in defaults {
        env.entry(name.to_owned()).or_insert(value);
    }
    Program {
        exe: shared.own_exe.clone(),
        args: std::iter::once("echo".into())
            .chain(args.into_iter().map(Into::into))
            .collect(),
        env: env.into_iter().collect(),
        log: job.log(spec),
        input: Stdin::Null,
    }
}

async fn proxy(shared: &Shared, job: &Job, spec: &ContainerSpec) -> Result<Program> {
    let identity = job.dir.join("identity");
    shared.tokens.write(&job.pod, &identity).await?;
    let (mut env, args) = facts(shared, job).resolve(spec);
    // What the object says of addresses is for its readers; the process binds the pod's own.
    env.extend(shared.mesh.proxy_env(&job.pod, job.address, &identity));
    if job.is_node_proxy {
        env.insert("TOMBOLO_PROXY_LISTENERS".to_owned(), "stdin".to_owned());
    }
    Ok(Program {
        exe: shared.proxy_exe.clone(),
        args: args.into_iter().map(Into::into).collect(),
        env: env.into_iter().collect(),
        log: job.log(spec),
        input: if job.is_node_proxy {
            Stdin::Piped
        } else {
            Stdin::Null
        },
    })
}

async fn renew(shared: &Shared, job: &Job, spec: &ContainerSpec) {
    if spec.kind == Kind::Proxy {
        shared
            .tokens
            .renew(&job.pod, &job.dir.join("identity"))
            .await;
    }
}

/// Writes every change of the listeners to the node's own proxy.
async fn feed(shared: &Shared, stdin: Option<ChildStdin>) {
    let Some(mut stdin) = stdin else { return };
    let mut listeners = shared.listeners.clone();
    loop {
        let line = format!("{}\n", &**listeners.borrow_and_update());
        if let Err(error) = stdin.write_all(line.as_bytes()).await {
            tracing::warn!(%error, "the node's proxy does not read its listeners");
            return;
        }
        if listeners.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_short(log: PathBuf) {
    loop {
        tokio::time::sleep(LOG_PERIOD).await;
        if let Err(error) = cut(&log) {
            tracing::debug!(log = %log.display(), %error, "cannot cut the log");
        }
    }
}

/// The process appends, so it goes on at the new end.
fn cut(log: &Path) -> std::io::Result<()> {
    if std::fs::metadata(log)?.len() > LOG_BYTES_MAX {
        std::fs::OpenOptions::new()
            .write(true)
            .open(log)?
            .set_len(0)?;
    }
    Ok(())
}

async fn ask(address: Ipv4Addr, probe: &Probe) -> Answer {
    match tokio::time::timeout(PROBE_TIMEOUT, check(address, &probe.check)).await {
        Ok(Ok(())) => Answer::Ready,
        Ok(Err(_)) | Err(_) => Answer::Unready,
    }
}

async fn check(address: Ipv4Addr, check: &Check) -> Result<()> {
    let (port, path) = match check {
        Check::Http { port, path } => (*port, Some(path)),
        Check::Tcp { port } => (*port, None),
    };
    let mut stream = TcpStream::connect((address, port)).await?;
    let Some(path) = path else { return Ok(()) };
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}:{port}\r\nuser-agent: tombolo-probe\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // `HTTP/1.1 200`
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status = std::str::from_utf8(&line[9..])
        .ok()
        .and_then(|text| text.parse::<u16>().ok());
    let status = status.context("the answer is no HTTP")?;
    anyhow::ensure!((200..400).contains(&status), "status {status}");
    Ok(())
}
