//! How much memory may be taken by what is on its way, bodies and questions to webhooks: by all together, and by each user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Memory that users share. One user gets half of it at most, so that nobody is kept out by another.
#[derive(Debug)]
pub(crate) struct Room {
    kib: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    kib: usize,
    by_user: HashMap<String, usize>,
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    user: String,
    kib: usize,
}

impl Room {
    /// A room of so many KiB.
    pub(crate) fn new(kib: usize) -> Arc<Self> {
        let used = Mutex::default();
        Arc::new(Self { kib, used })
    }

    /// A share for a user's body; none if there is no room for it. Who has none gets one of any size that is free, and
    /// what is larger than the room gets it alone.
    pub(crate) fn take(self: &Arc<Self>, user: &str, bytes: usize) -> Option<Share> {
        let kib = bytes.div_ceil(1024);
        let mut used = self.used.lock();
        let own = used.by_user.get(user).copied().unwrap_or_default();
        let is_free = used.kib == 0 || used.kib + kib <= self.kib;
        let is_fair = own == 0 || own + kib <= self.kib / 2;
        if !(is_free && is_fair) {
            return None;
        }
        used.kib += kib;
        used.by_user.insert(user.to_owned(), own + kib);
        drop(used);
        Some(Share {
            room: Arc::clone(self),
            user: user.to_owned(),
            kib,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.room.used.lock();
        used.kib -= self.kib;
        let left = used.by_user.get(&self.user).copied().unwrap_or_default();
        match left.saturating_sub(self.kib) {
            0 => drop(used.by_user.remove(&self.user)),
            left => drop(used.by_user.insert(self.user.clone(), left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_finds_room_whatever_another_takes() {
        let room = Room::new(100);
        let mut greedy = Vec::new();
        while let Some(share) = room.take("greedy", 10 * 1024) {
            greedy.push(share);
        }
        assert_eq!(greedy.len(), 5);
        let other = room.take("other", 50 * 1024);
        assert!(other.is_some());
        assert!(room.take("third", 1).is_none(), "the room is full");
        drop(other);
        assert!(room.take("greedy", 1).is_none());
        drop(greedy);
        assert!(room.take("greedy", 1024 * 1024).is_some(), "alone");
        assert_eq!(room.used.lock().kib, 0);
        assert!(room.used.lock().by_user.is_empty());
    }
}
