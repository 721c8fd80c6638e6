//! Where tasks are spawned: each has a name, belongs to a tree, and ends with its parent.
//!
//! Two kinds: a *vital* task must not panic, and when it does the whole tree is cancelled, so that
//! the process ends instead of limping; a task that serves *one* connection or request only ends
//! itself. Either way the panic is logged with the task's name.
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A tree of tasks. Clones share the node; [`Tasks::child`] makes a new one below it.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    failed: Arc<OnceLock<&'static str>>,
    root: CancellationToken,
}

/// Whether all tasks ended by themselves before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All had ended.
    Complete,
    /// Some had to be cancelled.
    Forced {
        /// How many.
        tasks: usize,
    },
}

impl Tasks {
    /// The root of a new tree.
    #[must_use]
    pub fn new() -> Self {
        let root = CancellationToken::new();
        Self {
            token: root.clone(),
            root,
            ..Self::default()
        }
    }

    /// A node below this one: cancelled with it, and waited for separately.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tracker: TaskTracker::new(),
            failed: self.failed.clone(),
            root: self.root.clone(),
        }
    }

    /// Runs a task without which the process is of no use. If it panics, the whole tree is
    /// cancelled and [`Tasks::failed`] names it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (token, failed, root) = (self.token.clone(), self.failed.clone(), self.root.clone());
        tokio::spawn(self.tracker.track_future(async move {
            let run = AssertUnwindSafe(future).catch_unwind();
            if let Some(Err(panic)) = token.run_until_cancelled(run).await {
                tracing::error!(
                    task = name,
                    panic = panic_text(&*panic),
                    "a vital task panicked"
                );
                failed.set(name).ok();
                root.cancel();
            }
        }))
    }

    /// Runs a task that serves one connection or request: if it panics, only it ends.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    pub fn spawn_one<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        tokio::spawn(self.tracker.track_future(async move {
            let run = AssertUnwindSafe(future).catch_unwind();
            if let Some(Err(panic)) = token.run_until_cancelled(run).await {
                tracing::error!(task = name, panic = panic_text(&*panic), "a task panicked");
            }
        }))
    }

    /// How many tasks of this node (not of its children) are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Cancels this node and all below it.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Ends when this node has been cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Whether this node has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The vital task whose panic ended the tree, if one did.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }

    /// Waits for this node's tasks to end by themselves, and cancels what is left at the deadline.
    pub async fn finish(&self, deadline: Duration) -> Finish {
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_ok()
        {
            self.token.cancel();
            return Finish::Complete;
        }
        let tasks = self.tracker.len();
        self.token.cancel();
        self.tracker.wait().await;
        Finish::Forced { tasks }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else {
        panic
            .downcast_ref::<String>()
            .map_or("(not a text)", String::as_str)
    }
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("all tasks ended"),
            Self::Forced { tasks } => write!(f, "{tasks} tasks were cut off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_vital_task_ends_the_tree() {
        let tasks = Tasks::new();
        let child = tasks.child();
        child.spawn("doomed", async { panic!("as the test wants") });
        tokio::time::timeout(Duration::from_secs(30), tasks.cancelled())
            .await
            .unwrap();
        assert_eq!(tasks.failed(), Some("doomed"));
    }

    #[tokio::test]
    async fn panic_of_one_connection_ends_only_it() {
        let tasks = Tasks::new();
        tasks
            .spawn_one("doomed", async { panic!("as the test wants") })
            .await
            .unwrap();
        assert!(!tasks.is_cancelled());
        assert_eq!(
            tasks.finish(Duration::from_secs(30)).await,
            Finish::Complete
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off_at_the_deadline() {
        let tasks = Tasks::new();
        tasks.spawn("endless", std::future::pending());
        assert_eq!(
            tasks.finish(Duration::from_secs(1)).await,
            Finish::Forced { tasks: 1 }
        );
    }

    #[tokio::test]
    async fn children_end_with_their_parent() {
        let tasks = Tasks::new();
        let child = tasks.child();
        let handle = child.spawn("endless", std::future::pending());
        tasks.cancel();
        tokio::time::timeout(Duration::from_secs(30), handle)
            .await
            .unwrap()
            .unwrap();
    }
}
