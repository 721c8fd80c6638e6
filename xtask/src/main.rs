//! The project's own chores: `cargo xtask <chore>`. Without an argument it lists them.
//!
//! Depends on little, so that `cargo demo` in a fresh clone begins with the build that matters.
mod cargo;
mod check;
mod demo;
mod kinds;
mod kube;
mod say;
mod suite;
mod tidy;

use std::process::ExitCode;

use crate::say::say;
use crate::suite::Real;

const CHORES: &str = "\
cargo xtask demo [OPTIONS]     build what the demo needs and run it; `demo --help` lists its options
cargo xtask test [--real]      format, lints, tidiness and all tests, with everything they need; those against the
                               real Kubernetes if it is at hand, or in any case
cargo xtask kube               finds, fetches or builds the real etcd, kube-apiserver and kube-controller-manager
cargo xtask tidy               only what `tidy` checks: sizes, crate arrows, words, links
cargo xtask kinds              ask a real Kubernetes which kinds there are, and keep the answer (needs go, kubectl, xz)
cargo xtask check-demo FILE    whether the JSON of a demo shows that every promise held
cargo xtask ci                 test, then the demo, then check-demo";

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
        ["kinds"] => kinds::run().map(|()| ExitCode::SUCCESS),
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
