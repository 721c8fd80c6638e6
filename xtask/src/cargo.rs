//! Cargo, as the chores call it.
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::say;

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR");
    let own = own.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The cargo that runs us, in the root of the work tree.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs cargo with its own output, after saying what for.
pub(crate) fn step(what: &str, arguments: &[&str]) -> Result<()> {
    step_with(what, arguments, &[])
}

/// As [`step`], with variables beside those of the environment.
pub(crate) fn step_with(
    what: &str,
    arguments: &[&str],
    variables: &[(&'static str, String)],
) -> Result<()> {
    say(format!("\n==> {what}: cargo {}", arguments.join(" ")));
    let mut command = cargo();
    command.args(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    let status = command.status().context("start cargo")?;
    ensure!(
        status.success(),
        "{what}: cargo {} failed",
        arguments.join(" ")
    );
    Ok(())
}

/// The workspace's own packages, without their dependencies' packages.
pub(crate) fn metadata() -> Result<Value> {
    let output = cargo()
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .output()
        .context("start cargo metadata")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed: {stderr}");
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

/// Where cargo puts what it builds in a profile.
pub(crate) fn built(profile: &str) -> Result<PathBuf> {
    let metadata = metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target")?;
    Ok(Path::new(target).join(profile))
}
