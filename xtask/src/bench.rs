//! `cargo xtask bench apiserver`: builds with optimization what is measured and what measures, and runs it.
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::cargo::{built, step};
use crate::say;

/// The figures' program, and the program that it starts beside the real Kubernetes.
const BUILD: [&str; 7] = [
    "build",
    "--locked",
    "--release",
    "--package=tombolo",
    "--package=tombolo-judge",
    "--bin=tombolo",
    "--bin=tombolo-bench",
];

/// Builds and measures. Its arguments are those of `tombolo-bench`.
pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    step("build", &BUILD)?;
    let program = built("release")?.join("tombolo-bench");
    let status = Command::new(&program)
        .args(arguments)
        .status()
        .with_context(|| format!("start {}", program.display()))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    say(format!("the measurement ended: {status}"));
    Ok(ExitCode::FAILURE)
}
