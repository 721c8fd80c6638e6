//! One signal that says: take nothing new, finish what you have.
//!
//! Who accepts stops accepting, who speaks HTTP says so to its peer; then [`crate::task::Tasks::finish`]
//! waits to a deadline.
use tokio_util::sync::CancellationToken;

/// The drain signal. Clones share it. It starts once and never ends.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    token: CancellationToken,
}

impl Drain {
    /// A signal that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the drain.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when the drain starts.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }
}
