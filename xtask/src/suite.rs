//! `cargo xtask test` and `cargo xtask ci`: every check, in the order in which they fail soonest.
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{root, step};
use crate::{check, demo, say, tidy};

/// Format, tidiness, lints, the programs that tests start, all tests.
pub(crate) fn run() -> Result<()> {
    step("format", &["fmt", "--all", "--check"])?;
    say("\n==> tidiness: sizes, crate arrows, words, links");
    tidy::run()?;
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
    step("tests", &["test", "--locked", "--workspace"])?;
    say("\nAll checks passed.");
    if Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_err()
    {
        say("NOT RUN: what drives a cluster with the real kubectl, which is not on this machine.");
    }
    Ok(())
}

/// What a merge must pass: the tests, then a demo whose promises all held.
pub(crate) fn ci() -> Result<()> {
    run()?;
    let program = demo::build()?;
    let json = root().join(".tombolo-ci.json");
    let status = Command::new(program)
        .args(["demo", "--json"])
        .arg(&json)
        .status();
    let status = status.context("start the demo")?;
    check::run(&json)?;
    ensure!(
        status.success(),
        "every promise held, and yet the demo says that it failed: {status}"
    );
    std::fs::remove_file(&json).context("remove the demo's JSON")
}
