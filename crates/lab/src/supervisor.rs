//! The supervisor: keeps a lab running in the background, and does what the other commands ask for.
//!
//! One JSON line per question on a unix socket in the lab's directory; lines of progress come back, and one
//! final line. Whoever can open the socket is the user himself: the directory is his alone.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tombolo_shell::process;

use crate::dir::LabDir;
use crate::lab::{Lab, Options, Progress, Status};
use crate::report::Way;
use crate::spawn::Signaller;

/// The longest question.
const QUESTION_BYTES_MAX: u64 = 4096;
/// How many questions are answered at once.
const QUESTIONS_MAX: usize = 16;
/// How long a client may take to say what it wants.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Question {
    /// What runs.
    Status,
    /// Take a cluster away.
    Break {
        /// Its name.
        cluster: String,
        /// How, as `--way` takes it.
        way: String,
    },
    /// Bring it back.
    Heal {
        /// Its name.
        cluster: String,
    },
    /// End everything.
    Down,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// What is being done.
    Progress(String),
    /// It is done.
    Done(Option<Box<Status>>),
    /// It failed.
    Error(String),
}

/// Brings a lab up and keeps it until it is asked to end. Says on standard output how it goes, one [`Line`]
/// each, until it is up.
///
/// # Errors
/// The lab did not come up (which has been said), or its end failed.
pub async fn run(options: Options) -> Result<()> {
    // A session of its own: the terminal's Ctrl-C and its end are not for this process.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "leads a session already");
    }
    let made = Lab::prepare(&options, printed()).and_then(|lab| {
        let listener = listen(lab.dir())?;
        Ok((lab, listener))
    });
    let (lab, listener) = match made {
        Ok(made) => made,
        Err(error) => return said(error),
    };
    let up = async {
        lab.up().await?;
        // Without this, whoever wanted the lab is gone, and it ends.
        print(&Line::Done(None))?;
        std::future::pending().await
    };
    let ended: Result<()> = tokio::select! {
        biased;
        served = serve(&lab, &listener) => served,
        failed = up => failed,
    };
    drop(listener);
    match ended {
        Ok(()) => lab.down().await,
        Err(error) => {
            // Its logs stay.
            lab.stop().await?;
            said(error)
        }
    }
}

/// An error that the command which started us shall print.
fn said(error: anyhow::Error) -> Result<()> {
    if let Err(unread) = print(&Line::Error(format!("{error:#}"))) {
        tracing::debug!(error = format!("{unread:#}"), "nobody reads the error");
    }
    Err(error)
}

fn printed() -> Progress {
    Arc::new(|text| {
        if let Err(error) = print(&Line::Progress(text.to_owned())) {
            tracing::debug!(%error, "nobody reads the progress");
        }
    })
}

fn print(line: &Line) -> Result<()> {
    let mut text = serde_json::to_string(line).context("encode")?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("say how it goes")
}

pub(crate) fn listen(dir: &LabDir) -> Result<UnixListener> {
    let path = dir.socket();
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, "no old socket");
    }
    UnixListener::bind(&path).context("listen on the lab's socket")
}

/// Answers questions until one asks for the end, or a signal does.
///
/// # Errors
/// Signals cannot be watched.
pub async fn serve(lab: &Lab, listener: &UnixListener) -> Result<()> {
    let end = Notify::new();
    let mut stop = std::pin::pin!(process::asked_to_stop());
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            asked = &mut stop => return asked.map(drop).context("watch for signals"),
            () = end.notified() => return Ok(()),
            Some(answered) = answers.next(), if !answers.is_empty() => {
                if let Err(error) = answered {
                    let error: anyhow::Error = error;
                    tracing::debug!(error = format!("{error:#}"), "a question was not answered");
                }
            }
            accepted = listener.accept(), if answers.len() < QUESTIONS_MAX => match accepted {
                Ok((stream, _)) => answers.push(answer(lab, stream, &end)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn answer(lab: &Lab, stream: UnixStream, end: &Notify) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut text = String::new();
    let mut reader = BufReader::new(reader.take(QUESTION_BYTES_MAX));
    tokio::time::timeout(QUESTION_TIMEOUT, reader.read_line(&mut text)).await??;
    let asked = serde_json::from_str::<Question>(&text);
    let line = match &asked {
        Err(error) => Line::Error(format!("this is no question: {error}")),
        Ok(Question::Down) => done(lab.stop().await),
        Ok(Question::Status) => Line::Done(Some(Box::new(lab.status().await))),
        Ok(Question::Break { cluster, way }) => match way.parse::<Way>() {
            Ok(way) => done(lab.break_cluster(cluster, way).await),
            Err(error) => Line::Error(error.to_string()),
        },
        Ok(Question::Heal { cluster }) => done(lab.heal(cluster).await),
    };
    let mut out = serde_json::to_string(&line)?;
    out.push('\n');
    let written = writer.write_all(out.as_bytes()).await;
    if matches!(asked, Ok(Question::Down)) {
        end.notify_one();
    }
    Ok(written?)
}

fn done(result: Result<()>) -> Line {
    match result {
        Ok(()) => Line::Done(None),
        Err(error) => Line::Error(format!("{error:#}")),
    }
}

/// Asks the lab in `dir`.
///
/// # Errors
/// No lab runs there, or it refuses.
pub async fn ask(dir: &LabDir, question: &Question) -> Result<Option<Box<Status>>> {
    let no_lab = || {
        format!(
            "no lab runs in {}: start one with `tombolo lab up`",
            dir.path().display()
        )
    };
    let Ok(stream) = UnixStream::connect(dir.socket()).await else {
        bail!("{}", no_lab());
    };
    let (reader, mut writer) = stream.into_split();
    let mut text = serde_json::to_string(question)?;
    text.push('\n');
    writer
        .write_all(text.as_bytes())
        .await
        .with_context(no_lab)?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await.context("the lab went away")? {
        match serde_json::from_str(&line).context("the lab's answer")? {
            Line::Progress(_) => {}
            Line::Done(status) => return Ok(status),
            Line::Error(error) => bail!("{error}"),
        }
    }
    // The answer to `down` may be lost with the process that gives it.
    if *question == Question::Down {
        Ok(None)
    } else {
        bail!("the lab ended without an answer")
    }
}

/// Starts a supervisor in the background and stays until its lab is up.
///
/// # Errors
/// The lab did not come up, or the user ended it before it had.
pub async fn start(options: &Options, progress: &Progress) -> Result<()> {
    let dir = LabDir::create(&options.dir)?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(dir.log())
        .with_context(|| format!("open {}", dir.log().display()))?;
    let exe = std::env::current_exe().context("find the running program")?;
    let mut child = tokio::process::Command::new(exe)
        .arg("supervisor")
        .arg("--dir")
        .arg(dir.path())
        .arg("--port")
        .arg(options.port.to_string())
        .env_remove(crate::spawn::PARENT_PID)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the supervisor")?;
    let out = child
        .stdout
        .take()
        .context("the supervisor has no output")?;
    let mut lines = BufReader::new(out).lines();
    let mut stop = std::pin::pin!(process::asked_to_stop());
    loop {
        let line = tokio::select! {
            biased;
            asked = &mut stop => {
                asked.context("watch for signals")?;
                if let Some(signaller) = child.id().and_then(Signaller::open) {
                    // It ends its lab before it ends.
                    anyhow::ensure!(signaller.signal(Signal::TERM), "the lab ended already");
                }
                child.wait().await.context("wait for the end of the lab")?;
                bail!("interrupted: the lab has ended");
            }
            line = lines.next_line() => line.context("the supervisor went away")?,
        };
        let Some(line) = line else {
            bail!(
                "the supervisor ended without a word; see {}",
                dir.log().display()
            );
        };
        match serde_json::from_str(&line).context("what the supervisor says")? {
            Line::Progress(text) => progress(&text),
            Line::Done(_) => return Ok(()),
            Line::Error(error) => {
                child.wait().await.context("wait for the end of the lab")?;
                bail!("{error}");
            }
        }
    }
}

/// When a lab ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// When it was asked to.
    Now,
    /// Long before: it was killed.
    Before,
}

/// Ends the lab in `dir` and waits until it is gone; deletes what a killed one has left.
///
/// # Errors
/// It does not end, or a file cannot be deleted.
pub async fn down(dir: LabDir) -> Result<Ended> {
    // Whoever can lock the directory knows that no lab runs in it.
    if let Ok(lock) = dir.lock() {
        dir.remove(lock)?;
        return Ok(Ended::Before);
    }
    ask(&dir, &Question::Down).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while dir.path().join("lock").exists() {
        let late = tokio::time::Instant::now() > deadline;
        anyhow::ensure!(!late, "the lab in {} does not end", dir.path().display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Ended::Now)
}
