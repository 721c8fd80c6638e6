//! The store on disk: a file to which each commit is appended, and which is written anew when most of it is of no use any
//! more.
//!
//! A commit is one record with one fsync. The store is in memory, so the file is read at the start only. It is written anew
//! beside the commits, under another name, and takes the place of the old one when it is complete.
mod content;
mod records;
mod row;

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub(crate) use content::Content;
use content::Loading;
use records::Records;
use row::Row;

use crate::store::Change;

/// The name of the file in the data directory.
const FILE: &str = "store.log";
/// The name of the file that takes its place.
const NEW: &str = "store.new";
/// What the file was called when it was a database.
const FORMER: &str = "store.redb";
/// A file is written anew when it is twice as long as what was needed of it, and so much longer, in bytes.
const SLACK: u64 = 8 * 1024 * 1024;
/// A file that is written anew is written in records of this size, in bytes.
const PIECE: usize = 1024 * 1024;
/// After what time it is tried to write a file anew of which a write failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The file of a store.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    /// The directory, locked: whoever has it may give files their names.
    lock: File,
    path: PathBuf,
    records: Records,
    /// How long the file was when it held nothing but what is needed, about.
    needed: u64,
    rewriting: Option<Rewriting>,
    /// When a write failed last of which nobody knows how far it came.
    failed: Option<Instant>,
}

/// A file that is being written anew.
#[derive(Debug)]
struct Rewriting {
    thread: JoinHandle<anyhow::Result<Records>>,
    /// What was committed since it began.
    since: Vec<Vec<u8>>,
}

impl Log {
    /// Opens or creates the file in a directory.
    pub(crate) fn open(dir: &Path, events_max: usize) -> anyhow::Result<(Self, Content)> {
        let mut private = std::fs::DirBuilder::new();
        (private.recursive(true).mode(0o700).create(dir))
            .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
        let path = dir.join(FILE);
        let former = dir.join(FORMER);
        anyhow::ensure!(
            !is_there(&former)?,
            "the store {} cannot be opened: it is of an earlier layout",
            former.display()
        );
        let opened = lock(dir).and_then(|lock| {
            // One that was being written anew when its process ended.
            remove_new(dir)?;
            // Nobody else makes one from here on.
            let is_new = !is_there(&path)?;
            let (records, content) = if is_new {
                begin(dir, &lock)?
            } else {
                read(&path, events_max)?
            };
            Ok((lock, records, content, is_new))
        });
        let (lock, records, content, is_new) =
            opened.with_context(|| format!("the store {} cannot be opened", path.display()))?;
        let rows = content.rows().map(|row| row.state.len() as u64);
        let mut log = Self {
            dir: dir.to_owned(),
            lock,
            path,
            records,
            needed: rows.sum(),
            rewriting: None,
            failed: None,
        };
        if !is_new {
            log.take_up(&content)?;
        }
        Ok((log, content))
    }

    /// Begins to use the file. One that was not closed may have a record that is torn, or that is not on disk yet: it is
    /// written anew, now or, where there is no room, before the next commit.
    fn take_up(&mut self, content: &Content) -> anyhow::Result<()> {
        if self.records.is_closed() {
            let reopened = self.records.reopen();
            return reopened.with_context(|| format!("the store {}", self.path.display()));
        }
        if let Err(error) = self.heal(content) {
            tracing::warn!(store = %self.path.display(), "cannot be written anew: {error:#}");
            self.failed = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes changes, all or none; when this returns they are on disk. The content is what is there before them.
    ///
    /// After a write that failed nobody can say what is in the file, so none is tried until it has been written anew.
    pub(crate) fn commit(
        &mut self,
        changes: &[Change],
        content: impl FnOnce() -> Content,
    ) -> anyhow::Result<()> {
        let committed = self.try_commit(changes, content);
        committed.with_context(|| self.path.display().to_string())
    }

    fn try_commit(
        &mut self,
        changes: &[Change],
        content: impl FnOnce() -> Content,
    ) -> anyhow::Result<()> {
        if let Some(at) = self.failed {
            anyhow::ensure!(at.elapsed() >= RETRY_AFTER, "a write has just failed");
            self.failed = Some(Instant::now());
            self.end_rewriting();
            self.heal(&content())?;
        } else if self.rewriting.as_ref().is_some_and(Rewriting::is_done) {
            self.finish_rewriting()?;
        } else if self.rewriting.is_none() && self.records.end() > 2 * self.needed + SLACK {
            match Rewriting::begin(&self.dir, &self.lock, content()) {
                Ok(rewriting) => self.rewriting = Some(rewriting),
                Err(error) => self.put_off(&error),
            }
        }
        let mut record = Vec::new();
        for change in changes {
            Row::of(change).put(&mut record)?;
        }
        let appended = self.records.append(&record);
        if self.records.is_broken() {
            self.failed = Some(Instant::now());
        }
        appended?;
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.since.push(record);
        }
        Ok(())
    }

    /// Brings the new file up to date and puts it in the place of the old one. If that fails, the old one goes on.
    fn finish_rewriting(&mut self) -> anyhow::Result<()> {
        let Some(rewriting) = self.rewriting.take() else {
            return Ok(());
        };
        match rewriting.finish() {
            Ok(records) => self.replace(records),
            Err(error) => {
                // It may be that the disk is full.
                remove_new(&self.dir).ok();
                self.put_off(&error);
                Ok(())
            }
        }
    }

    /// Writes the file anew later: when it is longer by the slack.
    fn put_off(&mut self, error: &anyhow::Error) {
        tracing::warn!(store = %self.path.display(), "cannot be written anew: {error:#}");
        self.needed = self.records.end() / 2;
    }

    /// Writes anew a file of which nobody can say what is in it.
    fn heal(&mut self, content: &Content) -> anyhow::Result<()> {
        let records = write_anew(&self.dir, content)?;
        self.replace(records)?;
        self.failed = None;
        Ok(())
    }

    /// Waits until nobody writes a new file any more.
    fn end_rewriting(&mut self) {
        if let Some(rewriting) = self.rewriting.take() {
            rewriting.thread.join().ok();
        }
    }

    /// Takes a new file as the store.
    fn replace(&mut self, records: Records) -> anyhow::Result<()> {
        let named = rename(&self.dir, &self.lock);
        if named.is_err() {
            // Which of the two has the name is not known.
            self.failed = Some(Instant::now());
        }
        named?;
        self.needed = records.end();
        self.records = records;
        Ok(())
    }

    /// Ends in good order: from then on any damage to the file is found. The content is what was committed.
    pub(crate) fn close(mut self, content: impl FnOnce() -> Content) {
        self.end_rewriting();
        let whole = match self.failed {
            // What was refused must not be found again.
            Some(_) => self.heal(&content()),
            None => remove_new(&self.dir),
        };
        if let Err(error) = whole.and_then(|()| self.records.close()) {
            tracing::warn!(store = %self.path.display(), "was not closed: {error:#}");
        }
    }
}

impl Rewriting {
    fn begin(dir: &Path, lock: &File, content: Content) -> anyhow::Result<Self> {
        let thread = std::thread::Builder::new().name("store-anew".to_owned());
        let (dir, lock) = (dir.to_owned(), lock.try_clone()?);
        let write = move || {
            // Nobody else gets the directory while it writes there.
            let _lock = lock;
            write_anew(&dir, &content)
        };
        Ok(Self {
            thread: thread.spawn(write)?,
            since: Vec::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    fn finish(self) -> anyhow::Result<Records> {
        let written = self.thread.join();
        let mut records = written.map_err(|_panic| anyhow::anyhow!("its thread ended"))??;
        for record in &self.since {
            records.write(record)?;
        }
        records.settle()?;
        Ok(records)
    }
}

/// Makes a file with nothing in it. It gets its name when it is complete, so that an empty one is a lost one.
fn begin(dir: &Path, lock: &File) -> anyhow::Result<(Records, Content)> {
    let content = Content::default();
    let records = write_anew(dir, &content)?;
    rename(dir, lock)?;
    Ok((records, content))
}

/// Writes a file that holds a content, under the new name.
fn write_anew(dir: &Path, content: &Content) -> anyhow::Result<Records> {
    remove_new(dir)?;
    let path = dir.join(NEW);
    let written = fill(&path, content);
    if written.is_err() {
        // It may be that the disk is full.
        remove_new(dir).ok();
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn remove_new(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(NEW);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes sure that nobody else has the directory.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let dir = File::open(dir)?;
    match dir.try_lock() {
        Ok(()) => Ok(dir),
        Err(TryLockError::WouldBlock) => anyhow::bail!("it is in use by another process"),
        Err(TryLockError::Error(error)) => Err(error).context("it cannot be locked"),
    }
}

fn fill(path: &Path, content: &Content) -> anyhow::Result<Records> {
    let mut records = Records::create(path, content.floor)?;
    let mut record = Vec::new();
    for row in content.rows() {
        row.put(&mut record)?;
        if record.len() >= PIECE {
            records.write(&record)?;
            record.clear();
        }
    }
    if !record.is_empty() {
        records.write(&record)?;
    }
    records.settle()?;
    Ok(records)
}

/// Gives a new file the name of the store; the lock is the directory.
fn rename(dir: &Path, lock: &File) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    let renamed = std::fs::rename(dir.join(NEW), &path);
    renamed.with_context(|| format!("cannot create {}", path.display()))?;
    let synced = lock.sync_all();
    synced.with_context(|| format!("cannot write the data directory {}", dir.display()))
}

/// Opens a file, and reads what is in it.
fn read(path: &Path, events_max: usize) -> anyhow::Result<(Records, Content)> {
    let mut loading = Loading::new(events_max.max(1) as u64);
    let records = Records::open(path, |record| loading.add(record))?;
    let content = loading.finish(records.floor()).context("it is damaged")?;
    Ok((records, content))
}

/// Whether a file exists; not to know it is no reason to make another.
fn is_there(path: &Path) -> anyhow::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look for {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
