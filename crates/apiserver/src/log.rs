//! The store on disk: every state is written once, and kept while it is current or in the history.
//!
//! One table in one redb file: the changes by version, each with its state. What exists and what
//! the history holds follows from it, so that a commit touches few pages. A commit is one
//! transaction with one fsync; after a crash the file is at the last commit.
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::object::Object;
use crate::registry::StorageKey;
use crate::store::snapshot::Snapshot;
use crate::store::{Change, Removed};

/// The name of the file in the data directory.
const FILE: &str = "store.redb";
/// What redb may hold in memory; reads come from the snapshot, so little is enough.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// After what time a file that could not be written is tried again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Events that leave the history together, so that most commits only append.
const DROPPED_TOGETHER: u64 = 64;
/// The layout of the file; another one is refused.
const LAYOUT: u64 = 2;

const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
/// Version to version of the state before (or 0), whether the object was removed, collection, state.
const CHANGES: TableDefinition<'_, u64, Row> = TableDefinition::new("changes");
type Row = (u64, bool, &'static str, &'static [u8]);

/// The file of a store.
#[derive(Debug)]
pub(crate) struct Log {
    /// None after a commit that failed, until the file could be opened again.
    database: Option<Database>,
    path: PathBuf,
    events_max: u64,
    /// The version of the oldest event in the file.
    oldest: u64,
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
        let mut private = std::fs::DirBuilder::new();
        (private.recursive(true).mode(0o700).create(dir))
            .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
        let path = dir.join(FILE);
        if !path.exists() {
            begin(dir, &path)?;
        }
        let events_max = events_max.max(1) as u64;
        // Where a page is damaged, redb may find so by a panic.
        let read = std::panic::catch_unwind(|| read(&path, events_max));
        let (database, loaded, oldest) = read
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the store {} is damaged", path.display())))?;
        let log = Self {
            database: Some(database),
            events_max,
            oldest,
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
        let version = changes
            .last()
            .map_or(self.version, |newest| newest.new.resource_version());
        let mut oldest = self.oldest;
        {
            let mut table = transaction.open_table(CHANGES)?;
            append(&mut table, changes)?;
            if version.saturating_sub(oldest) >= self.events_max + DROPPED_TOGETHER {
                let kept = version + 1 - self.events_max;
                drop_events(&mut table, oldest..kept)?;
                oldest = kept;
            }
        }
        transaction.commit()?;
        (self.oldest, self.version) = (oldest, version);
        Ok(())
    }

    /// Opens the file again after a failed commit.
    fn reopen(&mut self) -> anyhow::Result<()> {
        let database = open_file(&self.path)?;
        let transaction = database.begin_read()?;
        let found = newest(&transaction.open_table(CHANGES)?)?;
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

/// Makes a file with nothing in it. It gets its name when it is complete, so that an empty one is a lost one.
fn begin(dir: &Path, path: &Path) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", new.display()));
        }
        _ => {}
    }
    prepare(&open_file(&new)?)?;
    std::fs::rename(&new, path).with_context(|| format!("cannot create {}", path.display()))?;
    let sync = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    sync.with_context(|| format!("cannot write the data directory {}", dir.display()))
}

/// Opens a file, and reads what is in it.
fn read(path: &Path, events_max: u64) -> anyhow::Result<(Database, Loaded, u64)> {
    let found = std::fs::metadata(path);
    let found = found.with_context(|| format!("the store {} cannot be opened", path.display()))?;
    anyhow::ensure!(
        found.len() > 0,
        "the store {} is empty: what was in it is lost",
        path.display()
    );
    let database = open_file(path)?;
    let (loaded, oldest) = load(&database, events_max)
        .with_context(|| format!("the store {} cannot be read", path.display()))?;
    Ok((database, loaded, oldest))
}

fn open_file(path: &Path) -> anyhow::Result<Database> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Secrets are in it.
        .mode(0o600)
        .open(path);
    let file = opened.with_context(|| format!("the store {} cannot be opened", path.display()))?;
    FileBackend::new(file)
        .and_then(|file| {
            let mut builder = Database::builder();
            builder
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(file)
        })
        .map_err(|error| explain(path, error))
}

/// The version of the newest change; 0 if there is none. The newest is always in the history, and never dropped.
fn newest(changes: &impl ReadableTable<u64, Row>) -> anyhow::Result<u64> {
    Ok(changes.last()?.map_or(0, |(version, _)| version.value()))
}

/// Creates the tables.
fn prepare(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    transaction.open_table(FACTS)?.insert("layout", LAYOUT)?;
    transaction.open_table(CHANGES)?;
    transaction.commit()?;
    Ok(())
}

/// What the file says of a change.
struct Found {
    before: u64,
    removed: Removed,
    collection: StorageKey,
    state: Arc<Object>,
}

/// What is in the file, with at most so many events, and the version of the oldest event in it.
fn load(database: &Database, events_max: u64) -> anyhow::Result<(Loaded, u64)> {
    let transaction = database.begin_read()?;
    let layout = transaction.open_table(FACTS)?.get("layout")?;
    let layout = layout.map_or(0, |found| found.value());
    anyhow::ensure!(
        layout == LAYOUT,
        "its layout is {layout}, and {LAYOUT} is wanted"
    );
    let table = transaction.open_table(CHANGES)?;
    let mut all: BTreeMap<u64, Found> = BTreeMap::new();
    let mut snapshot = Snapshot::default();
    for entry in table.iter()? {
        let (version, row) = entry?;
        let version = version.value();
        let found = decode(row.value())
            .with_context(|| format!("the state at version {version} is no object"))?;
        let (namespace, name) = found.state.key();
        match found.removed {
            Removed::No => snapshot.put(&found.collection, Arc::clone(&found.state)),
            Removed::Yes => snapshot.remove(&found.collection, namespace, name),
        }
        snapshot.version = version;
        all.insert(version, found);
    }
    let oldest = oldest(&all, snapshot.version);
    let floor = (oldest - 1).max(snapshot.version.saturating_sub(events_max));
    let state = |version: u64| all.get(&version).map(|found| Arc::clone(&found.state));
    let events = all.range(floor + 1..).map(|(_, found)| Change {
        collection: found.collection.clone(),
        old: state(found.before),
        new: Arc::clone(&found.state),
        removed: found.removed,
    });
    let loaded = Loaded {
        events: events.collect(),
        floor,
        snapshot,
    };
    Ok((loaded, oldest))
}

/// The version from which on every change is there, with the state that it replaced.
fn oldest(all: &BTreeMap<u64, Found>, newest: u64) -> u64 {
    let whole = |found: &Found| found.before == 0 || all.contains_key(&found.before);
    let mut oldest = newest + 1;
    while all.get(&(oldest - 1)).is_some_and(whole) {
        oldest -= 1;
    }
    oldest
}

fn decode((before, removed, collection, state): (u64, bool, &str, &[u8])) -> anyhow::Result<Found> {
    let (group, plural) = collection
        .split_once('/')
        .with_context(|| format!("{collection:?} names no collection"))?;
    Ok(Found {
        before,
        removed: if removed { Removed::Yes } else { Removed::No },
        collection: StorageKey::new(group, plural),
        state: Arc::new(Object::decode(Bytes::copy_from_slice(state))?),
    })
}

fn append(table: &mut Table<'_, u64, Row>, changes: &[Change]) -> anyhow::Result<()> {
    for change in changes {
        let before = change.old.as_ref().map_or(0, |old| old.resource_version());
        let collection = format!("{}/{}", change.collection.group, change.collection.plural);
        let row = (
            before,
            change.removed == Removed::Yes,
            collection.as_str(),
            change.new.bytes().as_ref(),
        );
        table.insert(change.new.resource_version(), row)?;
    }
    Ok(())
}

/// Drops events from the history: the states before them, and last states of what was removed.
fn drop_events(table: &mut Table<'_, u64, Row>, versions: Range<u64>) -> anyhow::Result<()> {
    for version in versions {
        let row = table
            .get(version)?
            .map(|row| (row.value().0, row.value().1));
        let (before, removed) =
            row.with_context(|| format!("the change to version {version} is missing"))?;
        if before != 0 {
            table.remove(before)?;
        }
        if removed {
            table.remove(version)?;
        }
    }
    Ok(())
}

/// Says of a file that cannot be opened what is the matter with it.
fn explain(path: &Path, error: redb::DatabaseError) -> anyhow::Error {
    let path = path.display();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            anyhow::anyhow!("the store {path} is in use by another process")
        }
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if !is_about_content(&error) =>
        {
            anyhow::Error::new(error).context(format!("the store {path} cannot be opened"))
        }
        error => anyhow::Error::new(error).context(format!(
            "the store {path} cannot be opened: it is damaged or no store"
        )),
    }
}

/// Whether an error is about what is in a file, and not about the disk.
fn is_about_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    [InvalidData, UnexpectedEof].contains(&error.kind())
}

#[cfg(test)]
mod tests;
