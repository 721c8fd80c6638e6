//! The demo: builds the lab, verifies it with live traffic, takes a cluster away in every way, and reports.
//!
//! Uses the lab's verbs as anybody could by hand; the figures are those of the load generator alone.

mod chaos;
mod verify;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::poll_immediate;
use tokio::net::UnixListener;
use tombolo_shell::process;

use crate::lab::{Lab, Options, Progress};
use crate::report::{self, Form, Report, Setup, Way};
use crate::supervisor;

/// What the demo shall do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The lab.
    pub lab: Options,
    /// The ways to lose a cluster, in order.
    pub ways: Vec<Way>,
    /// What becomes of the lab at the end.
    pub afterwards: Afterwards,
    /// Requests per second to the federated service.
    pub rate: u32,
    /// How long the load runs in each way, beside what breaking and healing take.
    pub duration: Duration,
    /// How the results are printed.
    pub form: Form,
    /// Where else the results go, as JSON.
    pub json: Option<PathBuf>,
}

/// What becomes of the lab at the end of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It ends.
    Down,
    /// It stays until Ctrl-C.
    Keep,
}

/// How a demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise held.
    Held,
    /// At least one did not.
    Broken,
    /// The user ended it before it was through.
    Interrupted,
}

/// The load that is usual in each way, the least that the promises can be judged by.
pub const DURATION_DEFAULT: Duration = Duration::from_secs(41);
/// See [`DURATION_DEFAULT`].
pub const DURATION_MIN: Duration = Duration::from_secs(36);

/// Runs the demo.
///
/// # Errors
/// The lab did not come up, or a step failed; its logs stay where the error says.
pub async fn run(options: &DemoOptions, progress: Progress) -> Result<Outcome> {
    anyhow::ensure!(
        options.duration >= DURATION_MIN,
        "--duration is too short to judge: at least {} s",
        DURATION_MIN.as_secs()
    );
    options.json.as_deref().map(writable).transpose()?;
    // Whoever ends the demo between its turns is heard, too.
    let mut stop = std::pin::pin!(process::asked_to_stop());
    let mut asked = async || poll_immediate(&mut stop).await.is_some();
    asked().await;
    let first = turn(options, &progress, Turn::First).await?;
    if let Some(outcome) = first {
        return Ok(outcome);
    }
    if asked().await {
        return Ok(Outcome::Interrupted);
    }
    let last = turn(options, &progress, Turn::Last).await?;
    last.context("the demo did not end")
}

/// Whether a lab that was not up in time because the machine stalled may be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Last,
}

/// One lab, from its beginning to its end. No outcome, if it has to be started again.
async fn turn(options: &DemoOptions, progress: &Progress, turn: Turn) -> Result<Option<Outcome>> {
    let lab = Lab::prepare(&options.lab, Arc::clone(progress))?;
    let listener = supervisor::listen(lab.dir())?;
    let outcome = tokio::select! {
        biased;
        ended = supervisor::serve(&lab, &listener) => ended.map(|()| Some(Outcome::Interrupted)),
        outcome = steps(options, &lab, progress, turn) => outcome,
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            lab.stop().await?;
            let logs = lab.dir().path().display().to_string();
            return Err(error.context(format!("the demo failed; its logs are in {logs}")));
        }
    };
    let ended = matches!(outcome, Some(Outcome::Held | Outcome::Broken));
    if ended && options.afterwards == Afterwards::Keep {
        keep(&lab, &listener, progress).await?;
    }
    drop(listener);
    lab.down().await?;
    Ok(outcome)
}

async fn keep(lab: &Lab, listener: &UnixListener, progress: &Progress) -> Result<()> {
    progress("");
    progress("the clusters keep running: Ctrl-C ends them");
    progress(&format!(
        "  kubectl --kubeconfig {} --context north get services -n mc-demo",
        lab.kubeconfig().display()
    ));
    progress(&format!(
        "  tombolo lab status --dir {}",
        lab.dir().path().display()
    ));
    supervisor::serve(lab, listener).await
}

/// Whether the results can be written, found out before minutes are spent on them. What an earlier run has
/// written stays until there is something newer.
fn writable(path: &Path) -> Result<()> {
    let name = || format!("write the results to {}", path.display());
    let before = path.exists();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(name)?;
    if !before {
        std::fs::remove_file(path).with_context(name)?;
    }
    Ok(())
}

fn write(path: &Path, report: &Report) -> Result<()> {
    let name = || format!("write the results to {}", path.display());
    let mut text = serde_json::to_vec_pretty(report).with_context(name)?;
    text.push(b'\n');
    std::fs::write(path, text).with_context(name)
}

async fn steps(
    options: &DemoOptions,
    lab: &Lab,
    progress: &Progress,
    turn: Turn,
) -> Result<Option<Outcome>> {
    let up = lab.up().await?;
    let mut setup = Setup {
        up: up.took,
        late: up.late,
        links_working: up.links_working,
        links: up.links,
        memory_bytes: lab.memory_bytes(),
    };
    progress("");
    if turn == Turn::First && setup.stalled() {
        progress("not judged: the machine stalled; the lab is started once more");
        return Ok(None);
    }
    progress("verify: live traffic from north");
    verify::modes(lab, progress).await?;
    let mut ways = Vec::new();
    for way in &options.ways {
        progress("");
        let mut records = chaos::run(options, lab, *way, progress).await?;
        if records.stalled() {
            progress("  not judged: the machine stalled; once more");
            records = chaos::run(options, lab, *way, progress).await?;
        }
        ways.push(records);
        setup.memory_bytes = setup.memory_bytes.max(lab.memory_bytes());
    }
    let report = Report::of(setup, &ways);
    progress("");
    report::print(&report, options.form).context("print the report")?;
    if let Some(path) = &options.json {
        write(path, &report)?;
    }
    Ok(Some(if report.ok {
        Outcome::Held
    } else {
        Outcome::Broken
    }))
}
