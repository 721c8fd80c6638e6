//! Objects of one kind, by key, kept in step with a watch.
use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use crate::discovery::model::Key;

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Roll<V> {
    items: BTreeMap<Key, V>,
    listing: Option<BTreeSet<Key>>,
    heard: bool,
}

impl<V> Default for Roll<V> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            listing: None,
            heard: false,
        }
    }
}

impl<V> Roll<V> {
    /// Takes one event in; `read` gives the key, and what is kept (`None`: it is of no interest).
    pub(crate) fn take<K>(
        &mut self,
        event: Event<K>,
        read: impl Fn(K) -> Option<(Key, Option<V>)>,
    ) {
        match event {
            Event::Init => self.listing = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                if let Some((key, value)) = read(object) {
                    if let Some(listing) = &mut self.listing {
                        listing.insert(key.clone());
                    }
                    self.put(key, value);
                }
            }
            Event::InitDone => {
                if let Some(listed) = self.listing.take() {
                    self.items.retain(|key, _| listed.contains(key));
                }
                self.heard = true;
            }
            Event::Apply(object) => {
                if let Some((key, value)) = read(object) {
                    self.put(key, value);
                }
            }
            Event::Delete(object) => {
                if let Some((key, _)) = read(object) {
                    self.items.remove(&key);
                }
            }
        }
    }

    fn put(&mut self, key: Key, value: Option<V>) {
        match value {
            Some(value) => self.items.insert(key, value),
            None => self.items.remove(&key),
        };
    }

    /// Whether all were listed once.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    /// The object of that key.
    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        self.items.get(key)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_listing_drops_what_it_lacks_and_only_at_its_end() {
        let mut roll: Roll<u8> = Roll::default();
        let read = |n: u8| Some((Key::new("", &n.to_string()), (n < 9).then_some(n)));
        for event in [Event::Init, Event::InitApply(1), Event::InitApply(2)] {
            roll.take(event, read);
        }
        assert!(!roll.was_heard());
        roll.take(Event::InitDone, read);
        assert!(roll.was_heard());
        roll.take(Event::Init, read);
        roll.take(Event::InitApply(2), read);
        assert_eq!(roll.iter().count(), 2);
        roll.take(Event::InitDone, read);
        assert_eq!(roll.iter().map(|(_, v)| *v).collect::<Vec<_>>(), [2]);
        roll.take(Event::Apply(9), read);
        roll.take(Event::Delete(2), read);
        assert_eq!(roll.iter().count(), 0);
    }
}
