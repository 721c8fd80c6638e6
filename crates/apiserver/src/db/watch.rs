//! Watches: a position in a feed, a filter, and what the filter makes of each event.
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::feed::{Batch, CLOSED, Event, Feed, Feeds};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::selector::Selectors;
use crate::store::request::{Bookmarks, From, WatchOptions};
use crate::store::snapshot::Snapshot;
use crate::store::{Removed, convert};

/// Events that a watch takes from its feed at once.
const BATCH_MAX: usize = 128;
/// How often an idle watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(50);

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

/// Which objects a watch is about.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    res: Arc<Resource>,
    namespace: Option<String>,
    selectors: Selectors,
}

impl Filter {
    pub(super) fn new(res: &Arc<Resource>, namespace: Option<&str>, sel: &Selectors) -> Self {
        let namespace = namespace.filter(|_| res.is_namespaced()).map(str::to_owned);
        Self {
            res: Arc::clone(res),
            namespace,
            selectors: sel.clone(),
        }
    }

    fn selects(&self, object: &Object) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == object.namespace())
            && self.selectors.matches(object)
    }

    /// What an event is to this watch; none if it is about other objects.
    fn translate(&self, event: &Event) -> Result<Option<WatchEvent>, StatusError> {
        let change = &event.change;
        let before = change.old.as_ref().is_some_and(|old| self.selects(old));
        let after = change.removed == Removed::No && self.selects(&change.new);
        let shown = |object: Arc<Object>| convert::shown(&self.res, object);
        Ok(match (before, after) {
            (false, true) => Some(WatchEvent::Added(shown(Arc::clone(&change.new))?)),
            (true, true) => Some(WatchEvent::Modified(shown(Arc::clone(&change.new))?)),
            (true, false) => Some(WatchEvent::Deleted(shown(event.left())?)),
            (false, false) => None,
        })
    }
}

/// All objects of a snapshot that are selected.
pub(super) fn selected(
    snapshot: &Snapshot,
    res: &Arc<Resource>,
    namespace: Option<&str>,
    sel: &Selectors,
) -> Vec<Arc<Object>> {
    let namespace = namespace.filter(|_| res.is_namespaced());
    let everything = sel.is_everything();
    let all = snapshot.within(&res.storage, namespace);
    let found = all
        .filter(|object| everything || sel.matches(object))
        .cloned();
    found
        .filter_map(|object| convert::shown(res, object).ok())
        .collect()
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    filter: Filter,
    feed: Arc<Feed>,
    wake: watch::Receiver<u64>,
    settled: Arc<AtomicU64>,
    /// Events up to this version have been looked at.
    position: u64,
    ready: VecDeque<WatchEvent>,
    next_bookmark: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Watch {
    pub(super) fn begin(
        feeds: &Feeds,
        snapshot: &Snapshot,
        filter: Filter,
        options: WatchOptions,
    ) -> Result<Self, StatusError> {
        let feed = feeds.of(&filter.res.storage);
        let wake = feed.subscribe();
        let mut ready = VecDeque::new();
        let position = match options.from {
            From::Version(version) => version,
            From::Now | From::InitialEvents => snapshot.version,
        };
        if let From::Version(version) = options.from {
            // A version that this store has not reached comes from another store's life.
            if version > snapshot.version {
                return Err(StatusError::expired(version, snapshot.version));
            }
            if let Batch::Lost(oldest) = feed.after(version, 0) {
                return Err(StatusError::expired(version, oldest));
            }
        } else {
            let (res, sel) = (&filter.res, &filter.selectors);
            let items = selected(snapshot, res, filter.namespace.as_deref(), sel);
            ready.extend(items.into_iter().map(WatchEvent::Added));
        }
        if options.from == From::InitialEvents {
            let end = WatchEvent::Bookmark {
                resource_version: position,
                initial_events_end: true,
            };
            ready.push_back(end);
        }
        let bookmarks = options.bookmarks == Bookmarks::On;
        let next_bookmark = bookmarks.then(|| Box::pin(sleep(BOOKMARK_EVERY)));
        let settled = feeds.settled();
        Ok(Self {
            filter,
            feed,
            wake,
            settled,
            position,
            ready,
            next_bookmark,
            ended: false,
        })
    }

    /// Waits for the next event; none after an [`WatchEvent::Error`] or when the store closes.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                changed = self.wake.changed() => {
                    if changed.is_err() || *self.wake.borrow() == CLOSED {
                        return None;
                    }
                }
                () = until(self.next_bookmark.as_mut()) => {
                    if let Some(bookmark) = self.bookmark() {
                        return Some(bookmark);
                    }
                }
            }
        }
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        while self.ready.is_empty() && !self.ended {
            if !self.refill() {
                return None;
            }
        }
        self.ready.pop_front()
    }

    /// Takes the next events from the feed; false if there are none.
    fn refill(&mut self) -> bool {
        let events = match self.feed.after(self.position, BATCH_MAX) {
            Batch::Events(events) => events,
            Batch::Lost(oldest) => {
                self.end(StatusError::expired(self.position, oldest));
                return true;
            }
        };
        for event in &events {
            match self.filter.translate(event) {
                Ok(Some(translated)) => self.ready.push_back(translated),
                Ok(None) => {}
                Err(error) => {
                    self.end(error);
                    return true;
                }
            }
            self.position = event.version();
        }
        !events.is_empty()
    }

    fn end(&mut self, error: StatusError) {
        self.ended = true;
        self.ready.push_back(WatchEvent::Error(error));
    }

    /// How far the watch is, if nothing is waiting to be sent.
    pub(super) fn bookmark(&mut self) -> Option<WatchEvent> {
        let settled = self.settled.load(Ordering::Acquire);
        if let Some(next) = &mut self.next_bookmark {
            next.as_mut().reset(Instant::now() + BOOKMARK_EVERY);
        }
        if self.refill() {
            return None;
        }
        self.position = self.position.max(settled);
        Some(WatchEvent::Bookmark {
            resource_version: self.position,
            initial_events_end: false,
        })
    }
}

async fn until(at: Option<&mut Pin<Box<Sleep>>>) {
    match at {
        Some(at) => at.await,
        None => std::future::pending().await,
    }
}
