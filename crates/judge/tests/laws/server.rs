//! The server as a child: a short history, so that watchers are told to list anew, and nothing that writes by itself.
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use tombolo_apiserver::db::{Controllers, Storage};
use tombolo_apiserver::run::Config;

/// So many events back watches can go.
const HISTORY: usize = 12;

/// What the arguments say, if they ask for a server as [`tombolo_judge::Daemon`] does.
pub(crate) fn asked_for() -> Result<Option<Config>> {
    if std::env::args().nth(1).as_deref() != Some("apiserver") {
        return Ok(None);
    }
    let mut config = Config::memory();
    config.controllers = Controllers::Off;
    config.history_events = Some(HISTORY);
    for argument in std::env::args() {
        match argument.split_once('=') {
            Some(("--data", dir)) => config.storage = Storage::Dir(PathBuf::from(dir)),
            Some(("--listen", address)) => config.listen = address.parse()?,
            Some(("--kubeconfig", file)) => config.kubeconfig = Some(PathBuf::from(file)),
            _ => {}
        }
    }
    Ok(Some(config))
}

/// Serves until it is killed.
pub(crate) fn run(config: &Config) -> Result<ExitCode> {
    tombolo_shell::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let serving = tombolo_apiserver::run::run(config.clone(), std::future::pending());
    runtime.block_on(serving)?;
    Ok(ExitCode::SUCCESS)
}
