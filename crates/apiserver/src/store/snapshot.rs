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
    /// Where each collection's shelf is. Seldom grows, and never shrinks.
    places: Arc<BTreeMap<StorageKey, usize>>,
    shelves: Vec<Arc<Shelf>>,
}

impl Snapshot {
    /// One collection; none if nothing was ever stored in it.
    pub fn shelf(&self, key: &StorageKey) -> Option<&Shelf> {
        self.shelves
            .get(*self.places.get(key)?)
            .map(|shelf| &**shelf)
    }

    /// One object.
    pub fn get(&self, key: &StorageKey, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.shelf(key)?.get(namespace, name)
    }

    /// The objects of one namespace (of all, without one), in order.
    pub fn within<'a>(
        &'a self,
        key: &StorageKey,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.shelf(key)
            .into_iter()
            .flat_map(move |shelf| shelf.within(namespace))
    }

    /// All collections that have objects.
    pub fn collections(&self) -> impl Iterator<Item = (&StorageKey, &Shelf)> {
        self.places
            .iter()
            .map(|(key, &at)| (key, &*self.shelves[at]))
            .filter(|(_, shelf)| !shelf.is_empty())
    }

    /// Adds or replaces an object.
    pub fn put(&mut self, key: &StorageKey, object: Arc<Object>) {
        let at = self.places.get(key).copied().unwrap_or_else(|| {
            self.shelves.push(Arc::default());
            let at = self.shelves.len() - 1;
            Arc::make_mut(&mut self.places).insert(key.clone(), at);
            at
        });
        Arc::make_mut(&mut self.shelves[at]).put(object);
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &StorageKey, namespace: &str, name: &str) {
        if let Some(&at) = self.places.get(key) {
            Arc::make_mut(&mut self.shelves[at]).remove(namespace, name);
        }
    }
}
