//! Starting processes so that none outlives the process that started it.
//!
//! A child asks for a signal at its parent's death, and that signal follows the *thread* that forked. So
//! every child of a process is forked by one thread which lives as long as the process. What a child is for
//! is not known here. Signals go through a pidfd, so that a reused pid is never hit.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The variable that tells a child the pid of its parent. A role started by hand does not have it and
/// outlives its shell.
pub const PARENT_PID: &str = "TOMBOLO_PARENT_PID";

/// How many processes may wait to be forked.
const QUEUE_MAX: usize = 256;

/// What a child reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Null,
    /// What its parent writes.
    Piped,
}

/// A process to be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub exe: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, beside the few variables that pass through.
    pub env: Vec<(String, String)>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// What it reads.
    pub input: Input,
}

/// A started process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// For [`Signaller::signal`].
    pub signaller: Signaller,
    /// For waiting and for its input.
    pub child: Child,
}

/// Sends signals to one process, also after somebody else has waited for it.
#[derive(Clone, Debug)]
pub struct Signaller(Arc<OwnedFd>);

impl Signaller {
    /// For a process that need not be a child. `None` if it is gone.
    #[must_use]
    pub fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self(Arc::new(fd)))
    }

    /// Sends a signal. `false` if the process is gone.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.0, signal).is_ok()
    }
}

struct Job {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<std::io::Result<Child>>,
}

/// The thread that forks.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: SyncSender<Job>,
}

impl Spawner {
    /// Starts the thread. It ends with the process only: it holds its own end of the queue.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start() -> Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE_MAX);
        let alive = jobs.clone();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _alive = alive;
                while let Ok(mut job) = queue.recv() {
                    let entered = job.runtime.enter();
                    let child = job.command.spawn();
                    drop(entered);
                    // Nobody waits any more: the child is dropped, which kills it.
                    drop(job.reply.send(child));
                }
            })
            .context("start the thread that forks")?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// The file is missing or the log cannot be written; the error names it.
    pub async fn spawn(&self, program: &Program) -> Result<Process> {
        let output = log_file(&program.log)?;
        let errors = output.try_clone().context("share the log")?;
        let mut command = Command::new(&program.exe);
        command
            .args(&program.args)
            .env_clear()
            .envs(passed_through())
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .env(PARENT_PID, std::process::id().to_string())
            .stdin(match program.input {
                Input::Null => Stdio::null(),
                Input::Piped => Stdio::piped(),
            })
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        let (reply, spawned) = oneshot::channel();
        let job = Job {
            command,
            runtime: Handle::current(),
            reply,
        };
        self.jobs
            .try_send(job)
            .context("too many processes wait to be started")?;
        let child = spawned
            .await
            .context("the thread that forks is gone")?
            .with_context(|| format!("start {}", program.exe.display()))?;
        let pid = child
            .id()
            .context("the process ended before it was known")?;
        let signaller = Signaller::open(pid).context("the process ended before it was known")?;
        Ok(Process {
            pid,
            signaller,
            child,
        })
    }
}

/// The variables of this process that its children see too.
fn passed_through() -> impl Iterator<Item = (String, String)> {
    [
        "PATH",
        "HOME",
        "TMPDIR",
        "RUST_LOG",
        "RUST_BACKTRACE",
        "TOMBOLO_LOG",
    ]
    .into_iter()
    .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

fn log_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open the log {}", path.display()))
}

/// The program `name` that lies beside the running one.
///
/// # Errors
/// It is not there; the error says how to build it.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let dir = own
        .parent()
        .context("the running program lies in no directory")?;
    // A test's program lies one directory further down.
    let candidates = [dir.join(name), dir.join("..").join(name)];
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "{name} does not lie beside {}: build it with `cargo build -p {name}`",
                own.display()
            )
        })
}
