//! `cargo xtask test` and `cargo xtask ci`: every check, in the order in which they fail soonest.
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{cargo, root, step, step_with};
use crate::kube::Assets;
use crate::{check, demo, kube, say, tidy};

/// Makes a run without the real Kubernetes a failure.
const REAL: &str = "TOMBOLO_REAL";
const REQUIRED: &str = "required";

/// Whether the real Kubernetes is obtained if it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Real {
    /// Its tests run if it is at hand.
    IfAtHand,
    /// It is fetched or built, and a run without it fails.
    Required,
}

impl Real {
    /// Required if the environment says so.
    pub(crate) fn from_environment() -> Self {
        match std::env::var_os(REAL) {
            Some(value) if value == REQUIRED => Self::Required,
            _ => Self::IfAtHand,
        }
    }
}

/// Format, tidiness, lints, the programs that tests start, all tests.
pub(crate) fn run(real: Real) -> Result<()> {
    step("format", &["fmt", "--all", "--check"])?;
    say("\n==> tidiness: sizes, crate arrows, words, links");
    tidy::run()?;
    let assets = match real {
        Real::Required => Some(kube::obtain()?),
        Real::IfAtHand => kube::at_hand(),
    };
    let lints = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    step("lints", &lints)?;
    // Tests start the programs as processes; building them here keeps that out of the tests.
    step("programs", &["build", "--locked", "--workspace", "--bins"])?;
    let variables = variables(assets.as_ref(), real)?;
    step_with("tests", &["test", "--locked", "--workspace"], &variables)?;
    say("\nAll checks passed.");
    if assets.is_none() {
        say(not_run()?);
    }
    Ok(())
}

/// What the tests are told of the real Kubernetes.
fn variables(assets: Option<&Assets>, real: Real) -> Result<Vec<(&'static str, String)>> {
    let mut variables = Vec::new();
    if real == Real::Required {
        variables.push((REAL, REQUIRED.to_owned()));
    }
    let Some(assets) = assets else {
        return Ok(variables);
    };
    variables.push(("KUBEBUILDER_ASSETS", assets.dir.display().to_string()));
    if let Some(dir) = &assets.kubectl {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain([dir.clone()]).collect();
        let path = std::env::join_paths(dirs).context("add kubectl to PATH")?;
        variables.push(("PATH", path.to_string_lossy().into_owned()));
    }
    Ok(variables)
}

/// How many tests were counted as ignored because the real Kubernetes is not there.
fn not_run() -> Result<String> {
    let output = cargo()
        .args([
            "test",
            "--locked",
            "--workspace",
            "--quiet",
            "--",
            "--list",
            "--ignored",
        ])
        .output()
        .context("list the tests that did not run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.lines().filter(|line| line.ends_with(": test")).count();
    Ok(format!(
        "NOT RUN: {count} tests that need the real Kubernetes and kubectl, which are not on this machine.\n\
         cargo xtask test --real obtains them (15 minutes, once) and runs everything."
    ))
}

/// What a merge must pass: the tests, then a demo whose promises all held.
pub(crate) fn ci() -> Result<()> {
    run(Real::Required)?;
    let program = demo::build()?;
    let json = root().join(".tombolo-ci.json");
    let report = File::create(&json).with_context(|| format!("write {}", json.display()))?;
    let status = Command::new(program)
        .args(["demo", "--output", "json"])
        .stdout(report)
        .status();
    let status = status.context("start the demo")?;
    check::run(&json)?;
    ensure!(
        status.success(),
        "every promise held, and yet the demo says that it failed: {status}"
    );
    std::fs::remove_file(&json).context("remove the demo's JSON")
}
