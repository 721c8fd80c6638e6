//! What a process owes its parent and its supervisor: die with the one, stop when the other asks.
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

/// The parent's process id, set by a parent that wants its child to die with it.
pub const PARENT_VARIABLE: &str = "TOMBOLO_PARENT_PID";

/// Why a process cannot be bound to its parent.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The variable holds no process id.
    #[error("{PARENT_VARIABLE}={0:?} is no process id")]
    Variable(String),
    /// The kernel refused.
    #[error("cannot ask for a signal at the parent's death")]
    Kernel(#[source] rustix::io::Errno),
    /// The parent had died before this process could ask.
    #[error("the parent, process {0}, is gone")]
    Gone(i32),
}

/// Asks the kernel to kill this process when its parent dies, if the parent set
/// [`PARENT_VARIABLE`]; a process started by hand outlives its shell.
///
/// To be called from the main thread before anything else: the parent may die at any moment, which
/// is why it is looked at once more after asking.
///
/// # Errors
/// When the parent is gone already, or cannot be known.
pub fn die_with_parent() -> Result<(), ParentError> {
    let Some(value) = std::env::var_os(PARENT_VARIABLE) else {
        return Ok(());
    };
    let text = value.to_string_lossy();
    let parent = text
        .parse::<i32>()
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| ParentError::Variable(text.clone().into_owned()))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(ParentError::Kernel)?;
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(ParentError::Gone(parent.as_raw_nonzero().get()))
    }
}

/// Ends when the process is asked to stop, and says by which signal. From the first call on,
/// neither SIGTERM nor SIGINT kills the process.
///
/// # Errors
/// When the signals cannot be watched.
pub async fn asked_to_stop() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
