//! How a change is written.
use anyhow::Context as _;
use bytes::{Buf, BufMut as _, Bytes};

use crate::registry::StorageKey;
use crate::store::{Change, Removed};

/// A change as it lies in the file.
#[derive(Debug)]
pub(super) struct Row {
    /// The version that it made.
    pub(super) version: u64,
    /// The version of the state that it replaced; 0 if there was none, or if nobody needs to know.
    pub(super) before: u64,
    /// Whether the object was taken away.
    pub(super) removed: Removed,
    /// The collection.
    pub(super) collection: StorageKey,
    /// The encoded object.
    pub(super) state: Bytes,
}

impl Row {
    /// The row of a change.
    pub(super) fn of(change: &Change) -> Self {
        let before = change.old.as_ref().map_or(0, |old| old.resource_version());
        Self {
            version: change.new.resource_version(),
            before,
            removed: change.removed,
            collection: change.collection.clone(),
            state: change.new.bytes().clone(),
        }
    }

    /// Appends it to a record.
    pub(super) fn put(&self, record: &mut Vec<u8>) -> anyhow::Result<()> {
        record.put_u64_le(self.version);
        record.put_u64_le(self.before);
        record.put_u8(u8::from(self.removed == Removed::Yes));
        for part in [&self.collection.group, &self.collection.plural] {
            record.put_u16_le(u16::try_from(part.len()).context("the name of a collection")?);
            record.put_slice(part.as_bytes());
        }
        record.put_u32_le(u32::try_from(self.state.len()).context("an object")?);
        record.put_slice(&self.state);
        Ok(())
    }

    /// Takes the next one from a record.
    pub(super) fn take(record: &mut &[u8]) -> anyhow::Result<Self> {
        let version = record.try_get_u64_le()?;
        let before = record.try_get_u64_le()?;
        let removed = match record.try_get_u8()? {
            0 => Removed::No,
            1 => Removed::Yes,
            other => anyhow::bail!("{other} is no kind of change"),
        };
        let (group, plural) = (name(record)?, name(record)?);
        let length = record.try_get_u32_le()?;
        let state = Bytes::copy_from_slice(part(record, length as usize)?);
        Ok(Self {
            version,
            before,
            removed,
            collection: StorageKey::new(&group, &plural),
            state,
        })
    }
}

fn name(record: &mut &[u8]) -> anyhow::Result<String> {
    let length = record.try_get_u16_le()?;
    let name = part(record, usize::from(length))?;
    Ok(str::from_utf8(name)?.to_owned())
}

fn part<'a>(record: &mut &'a [u8], length: usize) -> anyhow::Result<&'a [u8]> {
    let (part, rest) = record.split_at_checked(length).context("it is cut off")?;
    *record = rest;
    Ok(part)
}
