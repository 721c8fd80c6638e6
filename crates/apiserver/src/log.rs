//! The store on disk: every state is written once, and kept while it is current or in the history.
//!
//! Four tables in one redb file: the states by version, which version each object is at, the
//! events of the retained history, and the two versions between which the history lies. A commit
//! is one transaction with one fsync; after a crash the file is at the last commit.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::snapshot::Snapshot;
use crate::store::{Change, Removed};

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "store.redb";
/// What redb may hold in memory; reads come from the snapshot, so little is enough.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// After what time a file that could not be written is tried again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// The layout of the tables; another one is refused.
const LAYOUT: u64 = 1;

const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
const LIVE: TableDefinition<'_, &[u8], u64> = TableDefinition::new("live");
/// Version to (version of the state before or 0, whether it was removed, collection).
const EVENTS: TableDefinition<'_, u64, (u64, bool, &str)> = TableDefinition::new("events");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");

/// The file of a store.
#[derive(Debug)]
pub(crate) struct Log {
    /// None after a commit that failed, until the file could be opened again.
    database: Option<Database>,
    path: PathBuf,
    events_max: u64,
    events: u64,
    /// The version of the newest commit.
    version: u64,
    /// When the file was last found to be of no use.
    failed: Option<Instant>,
}

/// What a file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Everything that exists.
    pub(crate) snapshot: Snapshot,
    /// The retained history, oldest first.
    pub(crate) events: Vec<Change>,
    /// Versions up to this one are not in the history.
    pub(crate) floor: u64,
}

impl Log {
    /// Opens or creates the file in a directory.
    pub(crate) fn open(dir: &Path, events_max: usize) -> anyhow::Result<(Self, Loaded)> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
        let path = dir.join(FILE);
        let database = open_file(&path)?;
        let damaged = || format!("the store {} cannot be read", path.display());
        prepare(&database).with_context(damaged)?;
        let loaded = load(&database).with_context(damaged)?;
        let log = Self {
            database: Some(database),
            events_max: events_max.max(1) as u64,
            events: loaded.events.len() as u64,
            version: loaded.snapshot.version,
            failed: None,
            path,
        };
        Ok((log, loaded))
    }

    /// Writes changes, all or none; when this returns they are on disk.
    ///
    /// After a failure the file is closed, and opened again by a commit that comes a while later: only then is it known
    /// what is in it.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        if self.failed.is_some_and(|at| at.elapsed() < REOPEN_AFTER) {
            anyhow::bail!("{}: a write has just failed", self.path.display());
        }
        let committed = self.try_commit(changes);
        if committed.is_err() {
            self.database = None;
            self.failed = Some(Instant::now());
        }
        committed.with_context(|| self.path.display().to_string())
    }

    fn try_commit(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        if self.database.is_none() {
            self.reopen()?;
        }
        let database = self.database.as_ref().context("the file is closed")?;
        let transaction = database.begin_write()?;
        let events = write(&transaction, changes, self.events, self.events_max)?;
        transaction.commit()?;
        self.events = events;
        if let Some(newest) = changes.last() {
            self.version = newest.new.resource_version();
        }
        Ok(())
    }

    /// Opens the file again after a failed commit.
    fn reopen(&mut self) -> anyhow::Result<()> {
        let database = open_file(&self.path)?;
        let transaction = database.begin_read()?;
        let found = fact(&transaction.open_table(FACTS)?, "version")?;
        anyhow::ensure!(
            found == self.version,
            "a write that failed is in the file all the same: it must be read anew, by a restart"
        );
        drop(transaction);
        self.database = Some(database);
        self.failed = None;
        Ok(())
    }
}

fn open_file(path: &Path) -> anyhow::Result<Database> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map_err(|error| explain(path, error))
}

fn fact(facts: &impl ReadableTable<&'static str, u64>, name: &str) -> anyhow::Result<u64> {
    Ok(facts.get(name)?.map_or(0, |found| found.value()))
}

/// Creates the tables, and refuses a file of another layout.
fn prepare(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(STATES)?;
        transaction.open_table(LIVE)?;
        transaction.open_table(EVENTS)?;
        let mut facts = transaction.open_table(FACTS)?;
        let layout = facts.get("layout")?.map(|found| found.value());
        match layout {
            None => {
                facts.insert("layout", LAYOUT)?;
            }
            Some(LAYOUT) => {}
            Some(other) => anyhow::bail!("its layout is {other}, and {LAYOUT} is wanted"),
        }
    }
    transaction.commit()?;
    Ok(())
}

fn load(database: &Database) -> anyhow::Result<Loaded> {
    let transaction = database.begin_read()?;
    let states = transaction.open_table(STATES)?;
    let facts = transaction.open_table(FACTS)?;
    // Current states, events and the states before them share their objects.
    let mut decoded: BTreeMap<u64, Arc<Object>> = BTreeMap::new();
    let mut state = |version: u64| -> anyhow::Result<Arc<Object>> {
        if let Some(object) = decoded.get(&version) {
            return Ok(Arc::clone(object));
        }
        let found = states.get(version)?;
        let found = found.with_context(|| format!("the state at version {version} is missing"))?;
        let object = Object::decode(Bytes::copy_from_slice(found.value()))
            .with_context(|| format!("the state at version {version} is no object"))?;
        let object = Arc::new(object);
        decoded.insert(version, Arc::clone(&object));
        Ok(object)
    };
    let mut loaded = Loaded {
        floor: fact(&facts, "floor")?,
        ..Loaded::default()
    };
    loaded.snapshot.version = fact(&facts, "version")?;
    for entry in transaction.open_table(LIVE)?.iter()? {
        let (key, version) = entry?;
        let collection = collection_of(key.value())?;
        loaded.snapshot.put(&collection, state(version.value())?);
    }
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (version, event) = entry?;
        let (before, removed, collection) = event.value();
        let new = state(version.value())?;
        let old = if before == 0 {
            None
        } else {
            Some(state(before)?)
        };
        let removed = if removed { Removed::Yes } else { Removed::No };
        let collection = parse_collection(collection)?;
        loaded.events.push(Change {
            collection,
            old,
            new,
            removed,
        });
    }
    Ok(loaded)
}

/// Adds changes and drops what falls out of the history; answers how many events there are.
fn write(
    transaction: &WriteTransaction,
    changes: &[Change],
    mut count: u64,
    max: u64,
) -> anyhow::Result<u64> {
    let mut states = transaction.open_table(STATES)?;
    let mut live = transaction.open_table(LIVE)?;
    let mut events = transaction.open_table(EVENTS)?;
    let mut facts = transaction.open_table(FACTS)?;
    for change in changes {
        let version = change.new.resource_version();
        let before = change.old.as_ref().map_or(0, |old| old.resource_version());
        states.insert(version, change.new.bytes().as_ref())?;
        let key = key_of(change);
        match change.removed {
            Removed::No => live.insert(key.as_slice(), version)?,
            Removed::Yes => live.remove(key.as_slice())?,
        };
        let removed = change.removed == Removed::Yes;
        events.insert(
            version,
            (
                before,
                removed,
                collection_text(&change.collection).as_str(),
            ),
        )?;
        facts.insert("version", version)?;
        count += 1;
    }
    while count > max {
        let Some(floor) = drop_oldest(&mut events, &mut states)? else {
            break;
        };
        facts.insert("floor", floor)?;
        count -= 1;
    }
    Ok(count)
}

/// Drops the oldest event, and the states that only it needed.
fn drop_oldest(
    events: &mut Table<'_, u64, (u64, bool, &'static str)>,
    states: &mut Table<'_, u64, &'static [u8]>,
) -> anyhow::Result<Option<u64>> {
    let Some((version, event)) = events.pop_first()? else {
        return Ok(None);
    };
    let version = version.value();
    let (before, removed, _) = event.value();
    if before != 0 {
        states.remove(before)?;
    }
    if removed {
        states.remove(version)?;
    }
    Ok(Some(version))
}

fn collection_text(collection: &StorageKey) -> String {
    format!("{}/{}", collection.group, collection.plural)
}

fn parse_collection(text: &str) -> anyhow::Result<StorageKey> {
    let (group, plural) = text
        .split_once('/')
        .with_context(|| format!("{text:?} names no collection"))?;
    Ok(StorageKey::new(group, plural))
}

/// `group/plural`, namespace and name, with zero bytes between them.
fn key_of(change: &Change) -> Vec<u8> {
    let (namespace, name) = change.new.key();
    let collection = collection_text(&change.collection);
    [collection.as_bytes(), namespace.as_bytes(), name.as_bytes()].join(&0)
}

fn collection_of(key: &[u8]) -> anyhow::Result<StorageKey> {
    let first = key.split(|byte| *byte == 0).next().unwrap_or_default();
    parse_collection(std::str::from_utf8(first).context("a key is no text")?)
}

/// Says of a file that cannot be opened what is the matter with it.
fn explain(path: &Path, error: redb::DatabaseError) -> anyhow::Error {
    let path = path.display();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            anyhow::anyhow!("the store {path} is in use by another process")
        }
        error => anyhow::Error::new(error).context(format!(
            "the store {path} cannot be opened: it is damaged or no store"
        )),
    }
}

#[cfg(test)]
mod tests;
