//! The command `tombolo`: parses, starts the role that was asked for, prints an error once.
//!
//! Every role but the proxy's is in here. What a role does is in its library.

mod args;
mod failure;
mod lab;
mod roles;

use std::process::ExitCode;

use clap::Parser as _;
use tombolo_shell::{log, process, tls};

use crate::args::{Cli, Command};
use crate::failure::failed;

fn main() -> ExitCode {
    // Before anything else: a child whose parent has died must not live on.
    if let Err(error) = process::die_with_parent() {
        return failed(&error.into());
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let quiet = matches!(cli.command, Command::Demo(_) | Command::Lab(_));
    // The Kubernetes client calls every refused connection an error; here a cluster is often away. What its watches
    // are refused is said once by whoever watches.
    let level = if quiet { "warn" } else { "info" };
    let filter = cli
        .log
        .unwrap_or_else(|| format!("{level},kube_client=off,kube_runtime=off"));
    log::init(&filter, cli.log_format)?;
    tls::install_provider();
    match cli.command {
        Command::Demo(args) => lab::demo(args),
        Command::Lab(command) => lab::lab(command),
        Command::Supervisor(args) => lab::supervisor(args),
        Command::Apiserver(args) => roles::apiserver(args),
        Command::Control(args) => roles::control(args),
        Command::Manifests(args) => roles::manifests(&args),
        Command::Agent(args) => roles::agent(args),
        Command::Echo(args) => roles::echo(args),
        Command::Version => roles::version(),
        Command::Completions { shell } => roles::completions(shell),
    }
}
