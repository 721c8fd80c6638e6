//! Watches.
use std::sync::Arc;

use crate::error::StatusError;
use crate::object::Object;

/// One line of a watch.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// It is new, or new to the selector.
    Added(Arc<Object>),
    /// It changed.
    Modified(Arc<Object>),
    /// It is gone, or no longer selected.
    Deleted(Arc<Object>),
    /// Nothing happened up to this version.
    Bookmark {
        /// From here a watch may resume.
        resource_version: u64,
        /// Whether everything that existed has been sent now (`k8s.io/initial-events-end`).
        initial_events_end: bool,
    },
    /// The watch ends here; always the last.
    Error(StatusError),
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Waits for the next event; none after an [`WatchEvent::Error`] or when the store closes.
    #[expect(
        clippy::unused_async,
        clippy::needless_pass_by_ref_mut,
        reason = "being written"
    )]
    pub async fn next(&mut self) -> Option<WatchEvent> {
        None
    }

    /// The next event if it is there already.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "being written")]
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        None
    }
}
