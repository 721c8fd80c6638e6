//! `cargo demo`: builds the two programs with optimization and becomes the demo.
use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::{built, step};
use crate::say;

/// What is built, and by which packages.
pub(crate) const BUILD: [&str; 6] = [
    "build",
    "--locked",
    "--release",
    "--package=tombolo",
    "--package=tombolo-proxy",
    "--bins",
];

/// Builds, then replaces this process by the demo, so that Ctrl-C and signals reach it alone.
pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let program = build()?;
    let error = Command::new(&program).arg("demo").args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}

/// Builds what the demo needs and says where `tombolo` is.
pub(crate) fn build() -> Result<PathBuf> {
    ensure!(
        cfg!(target_os = "linux"),
        "the demo needs Linux: it gives each pod a loopback address"
    );
    compiler()?;
    if !built("release")?.join("tombolo").exists() {
        say("The first build compiles every dependency: a few minutes. Later ones take seconds.");
    }
    step("build", &BUILD)?;
    Ok(built("release")?.join("tombolo"))
}

/// The cryptography is C and assembly. Its build would end in pages of text where one line will do.
fn compiler() -> Result<()> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let child = Command::new(words.next().unwrap_or("cc"))
        .args(words)
        .args(["-x", "c", "-fsyntax-only", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        bail!("there is no C compiler `{compiler}`: on Debian, apt-get install gcc libc6-dev");
    };
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"#include <stdlib.h>\n#include <pthread.h>\n")?;
    }
    let works = child.wait().context("wait for the C compiler")?.success();
    ensure!(
        works,
        "the C compiler `{compiler}` lacks the C library's headers: on Debian, apt-get install libc6-dev"
    );
    Ok(())
}
