//! Programs of others that we start: each with a log of its own, and none outlives us.
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A program to start, and where to say what came of it.
type Launch = (Command, SyncSender<io::Result<Child>>);

/// The thread that starts all programs, and never ends: a program gets its signal when the thread that started it ends,
/// and those of tests end before the last test does.
static LAUNCHER: LazyLock<SyncSender<Launch>> = LazyLock::new(|| {
    let (sender, launches) = sync_channel::<Launch>(0);
    std::thread::spawn(move || {
        for (mut command, answer) in launches {
            // Whoever asked may have been given up.
            answer.send(command.spawn()).ok();
        }
    });
    sender
});

fn spawn(command: Command) -> io::Result<Child> {
    let (answer, answered) = sync_channel(1);
    LAUNCHER.send((command, answer)).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output in `log`.
    ///
    /// `setpriv` asks for the signal at our death that the program itself knows nothing of. It comes with every Debian,
    /// and becomes the program, so that the process id is the program's.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("create the log {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("share the log")?)
            .stderr(out);
        let child = spawn(command).with_context(|| format!("start {}", program.display()))?;
        Ok(Self {
            name: name.into_owned(),
            child,
            log: log.to_path_buf(),
        })
    }

    /// Fails, with the end of its log, if it has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("look at a child")? {
            bail!("{} ended: {status}\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        format!("{}:\n{}", self.log.display(), last.join("\n"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a child has a process id")?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Gone already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
