//! The demo: builds the lab, verifies it with live traffic, takes a cluster away in every way, and reports.
//!
//! Uses the lab's verbs as anybody could by hand; the figures are those of the load generator alone.

mod chaos;
mod verify;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::UnixListener;

use crate::lab::{Lab, Options, Progress};
use crate::report::{self, Report, Setup, Way};
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
    /// Where the results go.
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
    let json = options.json.as_deref().map(writable).transpose()?;
    let lab = Lab::prepare(&options.lab, Arc::clone(&progress))?;
    let listener = supervisor::listen(lab.dir())?;
    let outcome = tokio::select! {
        biased;
        ended = supervisor::serve(&lab, &listener) => ended.map(|()| Outcome::Interrupted),
        outcome = steps(options, &lab, &progress, json) => outcome,
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            lab.stop().await?;
            let logs = lab.dir().path().display().to_string();
            return Err(error.context(format!("the demo failed; its logs are in {logs}")));
        }
    };
    if outcome != Outcome::Interrupted && options.afterwards == Afterwards::Keep {
        keep(&lab, &listener, &progress).await?;
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

/// The file for the results, opened before minutes are spent on them.
fn writable(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create(path).with_context(|| format!("write the results to {}", path.display()))
}

async fn steps(
    options: &DemoOptions,
    lab: &Lab,
    progress: &Progress,
    json: Option<std::fs::File>,
) -> Result<Outcome> {
    let up = lab.up().await?;
    progress("");
    progress("verify: live traffic from north");
    verify::modes(lab, progress).await?;
    let mut memory_bytes = lab.memory_bytes();
    let mut ways = Vec::new();
    for way in &options.ways {
        progress("");
        ways.push(chaos::run(options, lab, *way, progress).await?);
        memory_bytes = memory_bytes.max(lab.memory_bytes());
    }
    let setup = Setup {
        up: up.took,
        links_working: up.links_working,
        links: up.links,
        memory_bytes,
    };
    let report = Report::of(setup, &ways);
    progress("");
    report::print(&report).context("print the report")?;
    if let Some(mut file) = json {
        serde_json::to_writer_pretty(&mut file, &report).context("write the results")?;
        file.write_all(b"\n")
            .and_then(|()| file.flush())
            .context("write the results")?;
    }
    Ok(if report.ok {
        Outcome::Held
    } else {
        Outcome::Broken
    })
}
