//! A file of records: each is appended with one write and one fsync, and read back whole or not at all.
//!
//! Two slots with what the file is, then the records, then zeros that are on disk already, so that an fsync writes data and
//! no metadata. At most the last record can be torn by a crash: it was never acknowledged, and is not shown. Anything else
//! that does not read as it was written is damage, and the file is refused.
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _};

/// The layout of the file; another one is refused.
pub(super) const LAYOUT: u32 = 4;
const MAGIC: &[u8; 8] = b"TOMBOLO\n";
/// The slots lie apart, so that a write to one cannot harm the other.
const SLOT: u64 = 4096;
const SLOT_BYTES: usize = 64;
/// What a slot says, in numbers of 8 bytes.
const FACTS: usize = 6;
/// No number in a file is as large: sums with them do not overflow.
pub(super) const FACT_MAX: u64 = u64::MAX / 4;
/// Where the records begin.
const BEGIN: u64 = 2 * SLOT;
/// Records begin at multiples of it.
const ALIGN: usize = 64;
/// Identity of the file, length and checksum of what follows.
const HEADER: usize = 16;
/// The file grows by at least so much at once.
const GROWTH: u64 = 1024 * 1024;
/// A buffer that was needed once for a larger record is given back.
const BUFFER_KEPT: usize = 1024 * 1024;

/// What a slot says of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    /// Of this file and no other; every record carries it.
    id: u64,
    /// The slot with the larger one holds.
    generation: u64,
    floor: u64,
    /// The file is at least this long, and zero beyond its records.
    allocated: u64,
    /// Where the records ended when the file was closed; 0 while it is open.
    closed: u64,
    /// The records reach here at least.
    least: u64,
}

/// An open file of records, that nobody else writes to.
#[derive(Debug)]
pub(super) struct Records {
    file: File,
    head: Head,
    end: u64,
    buffer: Vec<u8>,
    broken: bool,
}

impl Records {
    /// Makes a file that must not exist yet; it is on disk after [`Records::settle`] only. The floor is what the caller likes.
    pub(super) fn create(path: &Path, floor: u64) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            // Secrets are in it.
            .mode(0o600)
            .open(path)?;
        let mut records = Self {
            file,
            head: Head {
                id: rand::random(),
                generation: 0,
                floor,
                allocated: BEGIN,
                closed: 0,
                least: BEGIN,
            },
            end: BEGIN,
            buffer: Vec::new(),
            broken: false,
        };
        records.grow(0)?;
        Ok(records)
    }

    /// Opens a file and shows each of its records. Nothing is written before all of them have been shown.
    pub(super) fn open(
        path: &Path,
        each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        anyhow::ensure!(length > 0, "it is empty: what was in it is lost");
        let head = head(&file)?;
        let allocated = head.allocated;
        anyhow::ensure!(
            length >= allocated,
            "it is damaged: {allocated} bytes were written, and {length} are there"
        );
        let end = scan(&file, head, each)?;
        check_end(&file, head, (end, length))?;
        Ok(Self {
            file,
            head,
            end,
            buffer: Vec::new(),
            broken: false,
        })
    }

    /// Whether it was closed in good order. If not, its last record may be torn, or in memory only: it has to be written
    /// anew.
    pub(super) fn is_closed(&self) -> bool {
        self.head.closed != 0
    }

    /// Says that the file, which was closed, is in use.
    pub(super) fn reopen(&mut self) -> anyhow::Result<()> {
        self.say(Head {
            closed: 0,
            least: self.end,
            ..self.head
        })
    }

    /// What the file was made with.
    pub(super) fn floor(&self) -> u64 {
        self.head.floor
    }

    /// How far the records go, in bytes from the beginning of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether a write failed after which nobody can say what is in the file.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Appends a record; when this returns it is on disk. After an error it is not, unless the file is broken.
    pub(super) fn append(&mut self, record: &[u8]) -> anyhow::Result<()> {
        let at = self.end;
        let appended = self.write(record).and_then(|()| self.sync());
        if self.broken {
            // It was refused, so it had better not be there after a crash.
            let erased = self.file.write_all_at(&[0; ALIGN], at);
            erased.and_then(|()| self.file.sync_data()).ok();
        }
        appended
    }

    /// Appends a record that is on disk after the next [`Records::settle`].
    pub(super) fn write(&mut self, record: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.broken, "an earlier write failed");
        let length = u32::try_from(record.len()).context("a record of 4 GiB")?;
        let size = aligned(HEADER + record.len());
        if self.end + size > self.head.allocated {
            self.grow(size)?;
        }
        self.buffer.clear();
        self.buffer.put_u64_le(self.head.id);
        self.buffer.put_u32_le(length);
        self.buffer.put_u32_le(checksum(self.end, record));
        self.buffer.put_slice(record);
        let written = self.file.write_all_at(&self.buffer, self.end);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        self.note(written)?;
        self.end += size;
        Ok(())
    }

    /// Waits until everything that was written is on disk, and has the file say so.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        self.sync()?;
        let least = self.end;
        self.say(Head { least, ..self.head })
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        let synced = self.file.sync_data();
        self.note(synced)
    }

    /// Notes where the records end: from now on any damage to them is found.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.broken, "an earlier write failed");
        let (closed, least) = (self.end, self.end);
        self.say(Head {
            closed,
            least,
            ..self.head
        })
    }

    /// Makes room for so many bytes more. Where there is none, the file is as good as before.
    fn grow(&mut self, size: u64) -> anyhow::Result<()> {
        let allocated = (self.end + size).next_multiple_of(GROWTH) + GROWTH;
        if let Err(error) = fill(&self.file, self.head.allocated..allocated) {
            // What could be had of the room is given back.
            self.file.set_len(self.head.allocated).ok();
            return Err(error.into());
        }
        // The length of the file is metadata.
        let synced = self.file.sync_all();
        self.note(synced)?;
        let least = self.end;
        self.say(Head {
            allocated,
            least,
            ..self.head
        })
    }

    /// Writes to the slot that does not hold, which then holds.
    fn say(&mut self, head: Head) -> anyhow::Result<()> {
        let generation = self.head.generation + 1;
        self.head = Head { generation, ..head };
        let at = generation % 2 * SLOT;
        let written = self.file.write_all_at(&encode(&self.head), at);
        self.note(written)?;
        self.sync()
    }

    fn note(&mut self, done: std::io::Result<()>) -> anyhow::Result<()> {
        self.broken |= done.is_err();
        done.map_err(Into::into)
    }
}

/// Writes zeros.
fn fill(file: &File, range: Range<u64>) -> std::io::Result<()> {
    let zeros = [0; 64 * 1024];
    let pieces = range.clone().step_by(zeros.len());
    for at in pieces {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        file.write_all_at(&zeros[..zeros.len().min(left)], at)?;
    }
    Ok(())
}

/// What follows the last whole record is nothing, or one record that a crash has torn.
fn check_end(file: &File, head: Head, (end, length): (u64, u64)) -> anyhow::Result<()> {
    let is_closed = head.closed != 0;
    let mut fine = end >= head.least && !(is_closed && end != head.closed);
    let mut rest = BufReader::with_capacity(256 * 1024, file);
    rest.seek(SeekFrom::Start(end))?;
    let mut piece = [0; ALIGN];
    let mut torn = false;
    for at in (end..length - length % ALIGN as u64).step_by(ALIGN) {
        rest.read_exact(&mut piece)?;
        // A record that was begun after this one says that this one had been on disk.
        let another = at != end && piece.starts_with(&head.id.to_le_bytes());
        let beyond = at >= head.allocated && piece != [0; ALIGN];
        fine &= !another && !beyond;
        torn |= piece != [0; ALIGN];
    }
    anyhow::ensure!(fine, "it is damaged at byte {end}");
    if torn {
        tracing::info!("a write that had not ended when the store's process did is dropped");
    }
    Ok(())
}

/// Shows each whole record, and says where they end.
fn scan(
    file: &File,
    head: Head,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut file = BufReader::with_capacity(256 * 1024, file);
    file.seek(SeekFrom::Start(BEGIN))?;
    let mut end = BEGIN;
    let mut record = Vec::new();
    while end + HEADER as u64 <= head.allocated {
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        let mut header = &header[..];
        let (id, length, sum) = (
            header.get_u64_le(),
            header.get_u32_le(),
            header.get_u32_le(),
        );
        let size = aligned(HEADER + length as usize);
        if id != head.id || end + size > head.allocated {
            break;
        }
        record.resize(length as usize, 0);
        file.read_exact(&mut record)?;
        if sum != checksum(end, &record) {
            break;
        }
        each(&record).with_context(|| format!("it is damaged: the record at byte {end}"))?;
        let padding = size - HEADER as u64 - u64::from(length);
        file.seek_relative(i64::try_from(padding)?)?;
        end += size;
    }
    Ok(end)
}

/// The newest of the two slots.
fn head(file: &File) -> anyhow::Result<Head> {
    let mut newest: Option<Head> = None;
    for slot in [0, SLOT] {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_exact_at(&mut bytes, slot) {
            // Of a file that is too short for it, nothing is known.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        let Some(found) = decode(&bytes)? else {
            continue;
        };
        if newest.is_none_or(|newest| newest.generation < found.generation) {
            newest = Some(found);
        }
    }
    newest.context("it is damaged or no store")
}

fn encode(head: &Head) -> [u8; SLOT_BYTES] {
    let mut facts = Vec::with_capacity(SLOT_BYTES);
    for fact in [
        head.id,
        head.generation,
        head.floor,
        head.allocated,
        head.closed,
        head.least,
    ] {
        facts.put_u64_le(fact);
    }
    let mut bytes = [0; SLOT_BYTES];
    let mut slot = &mut bytes[..];
    slot.put_slice(MAGIC);
    slot.put_u32_le(LAYOUT);
    slot.put_u32_le(crc32fast::hash(&facts));
    slot.put_slice(&facts);
    bytes
}

/// What a slot says; none if it says nothing.
fn decode(bytes: &[u8; SLOT_BYTES]) -> anyhow::Result<Option<Head>> {
    let Some(mut slot) = bytes.strip_prefix(MAGIC) else {
        return Ok(None);
    };
    let (layout, sum) = (slot.get_u32_le(), slot.get_u32_le());
    anyhow::ensure!(
        layout == LAYOUT,
        "its layout is {layout}, and {LAYOUT} is wanted"
    );
    if crc32fast::hash(&slot[..FACTS * size_of::<u64>()]) != sum {
        return Ok(None);
    }
    let head = Head {
        id: slot.get_u64_le(),
        generation: slot.get_u64_le(),
        floor: slot.get_u64_le(),
        allocated: slot.get_u64_le(),
        closed: slot.get_u64_le(),
        least: slot.get_u64_le(),
    };
    let records = BEGIN..=head.allocated;
    let is_sound = records.contains(&head.least)
        && (head.closed == 0 || records.contains(&head.closed))
        && head.allocated.is_multiple_of(ALIGN as u64)
        && head.allocated < FACT_MAX
        && head.generation < FACT_MAX
        && head.floor < FACT_MAX;
    anyhow::ensure!(is_sound, "it is damaged: what it says of itself is wrong");
    Ok(Some(head))
}

fn aligned(size: usize) -> u64 {
    size.next_multiple_of(ALIGN) as u64
}

/// Of a record where it lies: elsewhere it is none.
fn checksum(at: u64, record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&at.to_le_bytes());
    sum.update(record);
    sum.finalize()
}
