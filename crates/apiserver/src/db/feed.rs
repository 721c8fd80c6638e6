//! The recent history of each collection, from which all its watches read.
//!
//! A feed is a ring of events that all watchers share; a watcher is a position in it. One that is
//! slower than the ring is long loses its place (410) and costs nothing. An event appears here
//! after the snapshot with it was published. One more feed has the changes of all collections.
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::json::child;
use crate::store::{Change, Removed};

/// The encoded objects that one collection's history holds at most, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same of the history of all collections: a whole commit of large objects finds room in it.
pub(crate) const HISTORY_BYTES_MAX: usize = 4 * BYTES_MAX;

/// Events from the end of a feed that are looked at one by one.
const NEAR: usize = 8;

/// What a feed says instead of a version when the store has closed.
pub(crate) const CLOSED: u64 = u64::MAX;

/// One change, as watchers see it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    left: OnceLock<Arc<Object>>,
}

impl Event {
    pub(crate) fn new(change: Change) -> Self {
        Self {
            change,
            left: OnceLock::new(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.change.new.resource_version()
    }

    /// What a watcher is sent whose selector the object has left: the old state, with the version
    /// of this change.
    pub(crate) fn left(&self) -> Arc<Object> {
        let made = self.left.get_or_init(|| {
            let new = &self.change.new;
            if self.change.removed == Removed::Yes {
                return Arc::clone(new);
            }
            let Some(old) = &self.change.old else {
                return Arc::clone(new);
            };
            let mut value = old.value();
            let version = self.version().to_string();
            child(&mut value, "metadata").insert("resourceVersion".to_owned(), version.into());
            Object::new(&value).map_or_else(|_| Arc::clone(new), Arc::new)
        });
        Arc::clone(made)
    }
}

/// The events of one collection.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: RwLock<Ring>,
    bytes_max: usize,
    wake: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Events up to this version may be missing.
    floor: u64,
}

/// What a watcher gets when it asks for what came after its position.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The next events, perhaps none.
    Events(Vec<Arc<Event>>),
    /// Events are missing: the oldest version from which nothing is.
    Lost(u64),
}

impl Feed {
    fn new(floor: u64, bytes_max: usize) -> Self {
        let ring = Ring {
            events: VecDeque::new(),
            bytes: 0,
            floor,
        };
        Self {
            ring: RwLock::new(ring),
            bytes_max,
            wake: watch::Sender::new(0),
        }
    }

    /// At most `max` events after a version.
    pub(crate) fn after(&self, version: u64, max: usize) -> Batch {
        let ring = self.ring.read();
        if version < ring.floor {
            return Batch::Lost(ring.floor);
        }
        let len = ring.events.len();
        let newer = ring.events.iter().rev().take(NEAR);
        let newer = newer.take_while(|event| event.version() > version).count();
        // Who follows is near the end, and older events are not in the processor's cache.
        let first = if newer < NEAR {
            len - newer
        } else {
            ring.events
                .partition_point(|event| event.version() <= version)
        };
        Batch::Events(ring.events.range(first..).take(max).cloned().collect())
    }

    /// Wakes at every new event.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    fn push(&self, event: Arc<Event>, events_max: usize) {
        let mut ring = self.ring.write();
        ring.bytes += event.change.new.bytes().len();
        ring.events.push_back(event);
        while ring.events.len() > events_max || ring.bytes > self.bytes_max {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.bytes -= oldest.change.new.bytes().len();
            ring.floor = oldest.version();
        }
    }
}

/// The feeds of all collections.
#[derive(Debug)]
pub(crate) struct Feeds {
    feeds: RwLock<BTreeMap<StorageKey, Arc<Feed>>>,
    all: Feed,
    /// Every event up to this version is in its feed.
    settled: Arc<AtomicU64>,
    floor: u64,
    events_max: usize,
}

impl Feeds {
    /// Feeds whose history begins after a version.
    pub(crate) fn new(floor: u64, events_max: usize) -> Self {
        Self {
            feeds: RwLock::new(BTreeMap::new()),
            all: Feed::new(floor, HISTORY_BYTES_MAX),
            settled: Arc::new(AtomicU64::new(floor)),
            floor,
            events_max: events_max.max(1),
        }
    }

    /// The feed of a collection.
    pub(crate) fn of(&self, collection: &StorageKey) -> Arc<Feed> {
        if let Some(feed) = self.feeds.read().get(collection) {
            return Arc::clone(feed);
        }
        let mut feeds = self.feeds.write();
        let feed = feeds
            .entry(collection.clone())
            .or_insert_with(|| Arc::new(Feed::new(self.floor, BYTES_MAX)));
        Arc::clone(feed)
    }

    /// The feed of the changes of all collections. Nobody is woken by it.
    pub(crate) fn all(&self) -> &Feed {
        &self.all
    }

    /// The changes of all collections that are remembered, oldest first, and the version that they follow.
    pub(crate) fn history(&self) -> (Vec<Change>, u64) {
        let ring = self.all.ring.read();
        let changes = ring.events.iter().map(|event| event.change.clone());
        (changes.collect(), ring.floor)
    }

    /// The version up to which every event is in its feed, kept up to date.
    pub(crate) fn settled(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.settled)
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        for feed in self.feeds.read().values() {
            feed.wake.send_replace(CLOSED);
        }
    }

    /// Adds the events of a commit, in order, and wakes the watchers.
    pub(crate) fn publish(&self, events: Vec<Event>, version: u64) {
        let mut touched: BTreeMap<StorageKey, Arc<Feed>> = BTreeMap::new();
        for event in events {
            let collection = event.change.collection.clone();
            let feed = touched
                .entry(collection)
                .or_insert_with_key(|key| self.of(key));
            let event = Arc::new(event);
            feed.push(Arc::clone(&event), self.events_max);
            self.all.push(event, self.events_max);
        }
        self.settled.store(version, Ordering::Release);
        for feed in touched.values() {
            feed.wake.send_replace(version);
        }
    }
}
