//! The owner task: wait, drain what is ready, refresh, publish.
use std::sync::Arc;

use tokio::sync::mpsc;
use tombolo_shell::ready::Condition;

use super::feed::{Fed, Source, What};
use super::intake::{Heard, Listings};
use crate::discovery::directory::Directory;
use crate::server::Shared;

/// Events that are taken in before the rest of the work gets its turn.
const DRAINED_MAX: usize = 1024;

/// Everything that this process knows.
pub(crate) struct Owner {
    directory: Directory,
    listings: Listings,
    shared: Arc<Shared>,
    heard: Condition,
}

impl Owner {
    /// Knows nothing yet.
    pub(crate) fn new(shared: Arc<Shared>, heard: Condition) -> Self {
        Self {
            directory: Directory::new(&shared.cluster, shared.scheme.clone()),
            listings: Listings::default(),
            shared,
            heard,
        }
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self, mut feed: mpsc::Receiver<Fed>) {
        let mut batch = Vec::new();
        while feed.recv_many(&mut batch, DRAINED_MAX).await > 0 {
            for fed in batch.drain(..) {
                self.take(fed);
            }
            self.publish();
        }
    }

    fn take(&mut self, Fed { source, what }: Fed) {
        let inventory = match source {
            Source::Local => &mut self.directory.local,
            Source::Peer(_) => return,
        };
        let heard = match what {
            What::Service(event) => self.listings.take(source, event, inventory),
            What::Slice(event) => self.listings.take(source, event, inventory),
            What::Pod(event) => self.listings.take(source, event, inventory),
            _ => return,
        };
        if heard == Heard::CompleteNow {
            tracing::debug!(?source, "one more kind was heard completely");
        }
    }

    fn publish(&mut self) {
        let delta = self.directory.refresh();
        self.shared.board.apply(delta);
        if self.directory.local.is_complete() {
            self.shared.board.know_everything();
            self.heard.met();
        }
    }
}
