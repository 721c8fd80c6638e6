//! What a file holds: everything that exists, and the changes that led there for as long as they are remembered.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyhow::Context as _;

use super::records::FACT_MAX;
use super::row::Row;
use crate::db::HISTORY_BYTES_MAX;
use crate::object::Object;
use crate::store::snapshot::Snapshot;
use crate::store::{Change, Removed};

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Everything that exists.
    pub(crate) snapshot: Snapshot,
    /// The history, oldest first, without a gap up to the version of the snapshot.
    pub(crate) events: Vec<Change>,
    /// Versions up to this one are not in the history.
    pub(crate) floor: u64,
}

impl Content {
    /// The rows that say it, in the order of their versions.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let mut rows = BTreeMap::new();
        for (collection, shelf) in self.snapshot.collections() {
            for object in shelf.within(None) {
                let row = Row {
                    version: object.resource_version(),
                    before: 0,
                    removed: Removed::No,
                    collection: collection.clone(),
                    state: object.bytes().clone(),
                };
                rows.insert(row.version, row);
            }
        }
        for event in &self.events {
            if let Some(old) = &event.old {
                rows.entry(old.resource_version()).or_insert_with(|| Row {
                    version: old.resource_version(),
                    before: 0,
                    removed: Removed::No,
                    collection: event.collection.clone(),
                    state: old.bytes().clone(),
                });
            }
            let row = Row::of(event);
            rows.insert(row.version, row);
        }
        rows.into_values()
    }
}

/// Makes a content of rows, and keeps no row for longer than it is needed.
#[derive(Debug)]
pub(super) struct Loading {
    rows: BTreeMap<u64, Row>,
    /// The versions that may be in the history, with the bytes of their states.
    history: VecDeque<(u64, usize)>,
    events_max: u64,
    bytes: usize,
    /// The version of the newest row.
    version: u64,
    /// The newest version that is not in the history any more.
    floor: u64,
}

impl Loading {
    /// Begins; the history will have so many events at most.
    pub(super) fn new(events_max: u64) -> Self {
        Self {
            rows: BTreeMap::new(),
            history: VecDeque::new(),
            events_max,
            bytes: 0,
            version: 0,
            floor: 0,
        }
    }

    /// Adds the rows of a record.
    pub(super) fn add(&mut self, mut record: &[u8]) -> anyhow::Result<()> {
        while !record.is_empty() {
            let row = Row::take(&mut record)?;
            let (version, newest) = (row.version, self.version);
            anyhow::ensure!(
                version > newest && version < FACT_MAX,
                "version {version} comes after version {newest}"
            );
            self.version = version;
            self.bytes += row.state.len();
            self.history.push_back((version, row.state.len()));
            self.rows.insert(version, row);
            self.forget();
        }
        Ok(())
    }

    /// Drops what was replaced by changes that are not in the history any more.
    fn forget(&mut self) {
        let kept = (self.version + 1).saturating_sub(self.events_max);
        while let Some(&(version, bytes)) = self.history.front() {
            let is_newest = version == self.version;
            if version >= kept && (self.bytes <= HISTORY_BYTES_MAX || is_newest) {
                return;
            }
            self.history.pop_front();
            self.bytes -= bytes;
            self.floor = version;
            let Some(row) = self.rows.get(&version) else {
                continue;
            };
            let (before, removed) = (row.before, row.removed);
            self.rows.remove(&before);
            if removed == Removed::Yes {
                self.rows.remove(&version);
            }
        }
    }

    /// What the rows come to.
    pub(super) fn finish(self, floor: u64) -> anyhow::Result<Content> {
        let mut snapshot = Snapshot::default();
        let mut states: BTreeMap<u64, Arc<Object>> = BTreeMap::new();
        for (version, row) in &self.rows {
            let object = Object::decode(row.state.clone())
                .with_context(|| format!("the state at version {version} is no object"))?;
            let object = Arc::new(object);
            anyhow::ensure!(
                object.resource_version() == *version,
                "the state at version {version} is another's"
            );
            match row.removed {
                Removed::No => snapshot.put(&row.collection, Arc::clone(&object)),
                Removed::Yes => {
                    let (namespace, name) = object.key();
                    snapshot.remove(&row.collection, namespace, name);
                }
            }
            states.insert(*version, object);
        }
        snapshot.version = self.version.max(floor);
        let mut floor = floor
            .max(self.floor)
            .max(snapshot.version.saturating_sub(self.events_max));
        let mut events = Vec::new();
        for version in floor + 1..=snapshot.version {
            let missing = || format!("the change to version {version} is missing");
            let row = self.rows.get(&version).with_context(missing)?;
            let old = match row.before {
                0 => None,
                before => states.get(&before).map(Arc::clone),
            };
            if old.is_none() && row.before != 0 {
                // Nobody can follow this change: the history begins after it.
                events.clear();
                floor = version;
                continue;
            }
            events.push(Change {
                collection: row.collection.clone(),
                old,
                new: Arc::clone(states.get(&version).with_context(missing)?),
                removed: row.removed,
            });
        }
        Ok(Content {
            snapshot,
            events,
            floor,
        })
    }
}
