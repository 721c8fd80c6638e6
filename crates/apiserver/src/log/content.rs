//! What a file holds: everything that exists, and the changes that led there for as long as they are remembered.
use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;

use super::row::Row;
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
    events_max: u64,
    /// The version of the newest row.
    version: u64,
    /// The oldest change that is in the history.
    oldest: u64,
}

impl Loading {
    /// Begins; versions up to the floor are not in the history, and neither are more than so many.
    pub(super) fn new(events_max: u64) -> Self {
        Self {
            rows: BTreeMap::new(),
            events_max,
            version: 0,
            oldest: 0,
        }
    }

    /// Adds the rows of a record.
    pub(super) fn add(&mut self, mut record: &[u8]) -> anyhow::Result<()> {
        while !record.is_empty() {
            let row = Row::take(&mut record)?;
            let (version, newest) = (row.version, self.version);
            anyhow::ensure!(
                version > newest,
                "version {version} comes after version {newest}"
            );
            self.version = version;
            self.rows.insert(version, row);
            self.forget();
        }
        Ok(())
    }

    /// Drops what was replaced by changes that are not in the history any more.
    fn forget(&mut self) {
        let kept = (self.version + 1).saturating_sub(self.events_max);
        while self.oldest < kept {
            let next = self.rows.range(self.oldest..kept).next();
            let Some((&version, row)) = next else { break };
            let (before, removed) = (row.before, row.removed);
            self.rows.remove(&before);
            if removed == Removed::Yes {
                self.rows.remove(&version);
            }
            self.oldest = version + 1;
        }
        self.oldest = self.oldest.max(kept);
    }

    /// What the rows come to.
    pub(super) fn finish(self, floor: u64) -> anyhow::Result<Content> {
        let mut snapshot = Snapshot::default();
        let mut states: BTreeMap<u64, Arc<Object>> = BTreeMap::new();
        for (version, row) in &self.rows {
            let object = Object::decode(row.state.clone())
                .with_context(|| format!("the state at version {version} is no object"))?;
            let object = Arc::new(object);
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
        let floor = floor.max(snapshot.version.saturating_sub(self.events_max));
        let mut events = Vec::new();
        for version in floor + 1..=snapshot.version {
            let missing = || format!("the change to version {version} is missing");
            let row = self.rows.get(&version).with_context(missing)?;
            let old = match row.before {
                0 => None,
                before => Some(Arc::clone(states.get(&before).with_context(missing)?)),
            };
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
