//! Tasks and signals of the lab's processes.
//!
//! The one place of this crate that spawns; it decides nothing.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Runs `future` on its own. The name is for the reader of the code and of a task dump.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that spawns"
)]
pub(crate) fn spawn<T: Send + 'static>(
    _name: &'static str,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(future)
}

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn terminated() -> Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
