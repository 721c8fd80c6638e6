//! What the kernel says about processes: parents, memory.
//!
//! Reads only; a process that ends while it is read is as one that was never there.

use std::collections::BTreeMap;
use std::path::Path;

/// The parent of every process that can be seen.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    parents: BTreeMap<u32, u32>,
}

impl Tree {
    /// Reads the processes of the machine.
    #[must_use]
    pub fn read() -> Self {
        let mut parents = BTreeMap::new();
        if let Ok(entries) = std::fs::read_dir("/proc") {
            for entry in entries.flatten() {
                let pid = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                if let Some((pid, stat)) = pid.and_then(|pid: u32| Some((pid, stat_of(pid)?))) {
                    parents.insert(pid, stat.parent);
                }
            }
        }
        Self { parents }
    }

    /// The processes below `root`, without it, parents before children.
    #[must_use]
    pub fn below(&self, root: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = vec![root];
        while let Some(parent) = next.pop() {
            let children = self
                .parents
                .iter()
                .filter(|(_, of)| **of == parent)
                .map(|(pid, _)| *pid);
            let start = found.len();
            found.extend(children);
            next.extend(&found[start..]);
        }
        found
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The state's letter: `Z` is a process that has ended, `T` one that is stopped.
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// When it started, in ticks since the machine did: with the pid, its identity.
    pub started: u64,
}

/// Reads one process; `None` if it is gone.
#[must_use]
pub fn stat_of(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process runs: it exists, and is more than an entry that nobody has waited for.
#[must_use]
pub fn alive(pid: u32) -> bool {
    stat_of(pid).is_some_and(|stat| stat.state != 'Z')
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name, in parentheses, may contain anything, also a parenthesis.
    let rest = text.get(text.rfind(')')? + 1..)?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The proportional set size of a process in bytes: its memory, shared pages divided among their users.
#[must_use]
pub fn pss_bytes(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    parse_pss(&std::fs::read_to_string(Path::new(&path)).ok()?)
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "17 (a) b (c) T 5 17 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                state: 'T',
                parent: 5,
                started: 4711
            })
        );
        assert_eq!(parse_stat("17 (a"), None);
        assert_eq!(parse_pss("Rss:  10 kB\nPss:    4 kB\n"), Some(4096));
    }

    #[test]
    fn everything_below_a_process_is_found() {
        let parents = [(2, 1), (3, 2), (4, 2), (5, 4), (6, 1)]
            .into_iter()
            .collect();
        let mut below = Tree { parents }.below(2);
        below.sort_unstable();
        assert_eq!(below, [3, 4, 5]);
    }

    #[test]
    fn this_process_is_alive_and_has_memory() {
        let own = std::process::id();
        assert!(alive(own));
        assert!(pss_bytes(own).is_some_and(|bytes| bytes > 0));
        assert!(Tree::read().parents.contains_key(&own));
    }
}
