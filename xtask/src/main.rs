//! The project's own chores: `cargo xtask <chore>`. Without an argument it lists them.
//!
//! Depends on little, so that `cargo demo` in a fresh clone begins with the build that matters.
mod bench;
mod cargo;
mod check;
mod demo;
mod kinds;
mod kube;
mod say;
mod suite;
mod tidy;
mod usage;

use std::process::ExitCode;

use crate::kinds::Then;
use crate::say::say;
use crate::suite::Real;
use crate::usage::CHORES;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["demo", rest @ ..] => demo::run(rest),
        ["test"] => suite::run(Real::from_environment()).map(|()| ExitCode::SUCCESS),
        ["test", "--real"] => suite::run(Real::Required).map(|()| ExitCode::SUCCESS),
        ["kube"] => kube::run().map(|()| ExitCode::SUCCESS),
        ["kinds"] => kinds::run(Then::Write).map(|()| ExitCode::SUCCESS),
        ["kinds", "--check"] => kinds::run(Then::Compare).map(|()| ExitCode::SUCCESS),
        ["bench", "apiserver", rest @ ..] => bench::run(rest),
        ["tidy"] => tidy::run().map(|()| ExitCode::SUCCESS),
        ["check-demo", file] => check::run(file.as_ref()).map(|()| ExitCode::SUCCESS),
        ["ci"] => suite::ci().map(|()| ExitCode::SUCCESS),
        [] | ["help" | "--help" | "-h"] => {
            say(CHORES);
            Ok(ExitCode::SUCCESS)
        }
        other => anyhow::bail!(
            "there is no chore {:?}; there are:\n{CHORES}",
            other.join(" ")
        ),
    }
}
