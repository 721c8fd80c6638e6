//! Everything that exists, at one version. Copies are cheap and never change.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::shelf::Shelf;
use crate::object::Object;
use crate::registry::StorageKey;

/// The state of the store at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The version of the newest write in it.
    pub version: u64,
    shelves: BTreeMap<StorageKey, Arc<Shelf>>,
}

impl Snapshot {
    /// One collection; none if nothing was ever stored in it.
    pub fn shelf(&self, key: &StorageKey) -> Option<&Shelf> {
        self.shelves.get(key).map(|shelf| &**shelf)
    }

    /// One object.
    pub fn get(&self, key: &StorageKey, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.shelves.get(key)?.get(namespace, name)
    }

    /// The objects of one namespace (of all, without one), in order.
    pub fn within<'a>(
        &'a self,
        key: &StorageKey,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.shelves
            .get(key)
            .into_iter()
            .flat_map(move |shelf| shelf.within(namespace))
    }

    /// All collections that have objects.
    pub fn collections(&self) -> impl Iterator<Item = (&StorageKey, &Shelf)> {
        self.shelves
            .iter()
            .filter(|(_, shelf)| !shelf.is_empty())
            .map(|(key, shelf)| (key, &**shelf))
    }

    /// Adds or replaces an object.
    pub fn put(&mut self, key: &StorageKey, object: Arc<Object>) {
        if let Some(shelf) = self.shelves.get_mut(key) {
            Arc::make_mut(shelf).put(object);
        } else {
            Arc::make_mut(self.shelves.entry(key.clone()).or_default()).put(object);
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &StorageKey, namespace: &str, name: &str) {
        if let Some(shelf) = self.shelves.get_mut(key) {
            Arc::make_mut(shelf).remove(namespace, name);
        }
    }
}
