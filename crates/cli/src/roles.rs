//! The roles that run until they are asked to stop, each on the runtime that suits it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use tokio::runtime::{Builder, Runtime};

use crate::args::{AgentArgs, Cli, EchoArgs};

/// One thread: what a role does is little, and there are dozens of them on one machine.
fn one_thread() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

/// A few threads: requests of many clients are parsed, encrypted and compressed at once.
fn threads() -> Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

pub(crate) fn apiserver(args: tombolo_apiserver::run::Args) -> Result<ExitCode> {
    let config = tombolo_apiserver::run::Config::from(args);
    threads()?.block_on(async {
        let stop = async {
            if let Err(error) = tombolo_shell::process::asked_to_stop().await {
                // Without signals it can only be killed, which it survives.
                tracing::warn!(%error, "cannot watch for signals");
                std::future::pending::<()>().await;
            }
        };
        tombolo_apiserver::run::run(config, stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn control(args: tombolo_control::Args) -> Result<ExitCode> {
    one_thread()?.block_on(tombolo_control::run(args))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn agent(args: AgentArgs) -> Result<ExitCode> {
    one_thread()?.block_on(tombolo_lab::agent::run(args.into()))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn echo(args: EchoArgs) -> Result<ExitCode> {
    one_thread()?.block_on(tombolo_lab::echo::run(args.into()))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn manifests(args: &tombolo_control::ManifestsArgs) -> Result<ExitCode> {
    let text = tombolo_control::manifests(args)?;
    write!(std::io::stdout(), "{text}").context("print")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn version() -> Result<ExitCode> {
    writeln!(std::io::stdout(), "tombolo {}", env!("CARGO_PKG_VERSION")).context("print")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(shell: Shell) -> Result<ExitCode> {
    clap_complete::generate(
        shell,
        &mut Cli::command(),
        "tombolo",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
