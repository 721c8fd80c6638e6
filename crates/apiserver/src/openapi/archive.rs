//! The OpenAPI documents of the built-in kinds, as a real server gives them: compressed, and unpacked when asked for.
//!
//! `data/openapi.lzma` is made by `cargo xtask kinds`: a line for each document, an empty line, and the documents.

use std::io::{self, Read};
use std::sync::LazyLock;

use lzma_rust2::LzmaReader;
use parking_lot::Mutex;

static PACKED: &[u8] = include_bytes!("../../data/openapi.lzma");

/// The decoder's window may take this much.
const MEMORY_KIB: u32 = 16 * 1024;
/// Longer first lines than these are none of ours.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One document, by its place in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `v3/apis/apps/v1`, `v2` or `v2-protobuf`.
    pub(super) path: String,
    /// Changes with the content.
    pub(super) hash: String,
    offset: u64,
    length: usize,
}

/// What there is.
pub(super) fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let mut reader = reader().expect("the archive is checked by a test of this module");
        read_head(&mut reader).expect("the archive is checked by a test of this module")
    });
    &ENTRIES
}

/// A document; nothing if there is none of that path.
pub(super) fn document(path: &str) -> Option<Vec<u8>> {
    // One at a time: unpacking takes a window of some MiB.
    static ONE: Mutex<()> = Mutex::new(());
    let entry = entries().iter().find(|entry| entry.path == path)?;
    let _one = ONE.lock();
    match unpack(entry) {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::error!(%error, path, "the archive of OpenAPI documents is damaged");
            None
        }
    }
}

fn unpack(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut reader = reader()?;
    read_head(&mut reader)?;
    let mut before = (&mut reader).take(entry.offset);
    io::copy(&mut before, &mut io::sink())?;
    let mut document = vec![0; entry.length];
    reader.read_exact(&mut document)?;
    Ok(document)
}

fn reader() -> io::Result<LzmaReader<&'static [u8]>> {
    LzmaReader::new_mem_limit(PACKED, MEMORY_KIB, None).map_err(io::Error::other)
}

/// The lines up to the empty one; the documents follow.
fn read_head(reader: &mut impl Read) -> io::Result<Vec<Entry>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\n\n") {
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("its head does not end"));
        }
        reader.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let mut offset = 0;
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let lines = head.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let (Some(path), Some(hash), Some(length)) = (words.next(), words.next(), words.next())
            else {
                return Err(io::Error::other("a line of its head is too short"));
            };
            let length: usize = length.parse().map_err(io::Error::other)?;
            let entry = Entry {
                path: path.to_owned(),
                hash: hash.to_owned(),
                offset,
                length,
            };
            offset += length as u64;
            Ok(entry)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::builtin_groups;

    #[test]
    fn every_document_can_be_unpacked() {
        let mut reader = reader().unwrap();
        let entries = read_head(&mut reader).unwrap();
        assert!(entries.len() > 40);
        for entry in &entries {
            let mut document = vec![0; entry.length];
            reader.read_exact(&mut document).unwrap();
            if entry.path == "v2-protobuf" {
                assert!(document.starts_with(b"\n\x032.0\x12"));
                continue;
            }
            let ends = (document.first(), document.last());
            assert_eq!(ends, (Some(&b'{'), Some(&b'}')), "{}", entry.path);
        }
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn every_version_of_discovery_has_its_document() {
        for group in builtin_groups() {
            for version in &group.versions {
                let path = match group.name {
                    "" => format!("v3/api/{version}"),
                    name => format!("v3/apis/{name}/{version}"),
                };
                assert!(entries().iter().any(|entry| entry.path == path), "{path}");
            }
        }
        assert_eq!(document("v3/apis/none/v1"), None);
    }
}
