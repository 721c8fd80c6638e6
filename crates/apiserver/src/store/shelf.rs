//! A sorted map of objects that is cheap to copy: what the store publishes as a snapshot.
//!
//! Objects lie in chunks behind `Arc`s, sorted by namespace and name. A copy shares all chunks;
//! a write copies one chunk (and only if a snapshot still holds it). The objects are their own
//! keys, so a stored object costs one pointer here.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::object::Object;

/// A chunk is split in two when it has this many objects.
const CHUNK_MAX: usize = 64;

/// Objects of one collection, sorted by namespace and name.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    chunks: Vec<Arc<Vec<Arc<Object>>>>,
    count: usize,
}

impl Shelf {
    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        let chunk = self.chunks.get(self.chunk_of((namespace, name))?)?;
        let at = chunk
            .binary_search_by(|object| object.key().cmp(&(namespace, name)))
            .ok()?;
        chunk.get(at)
    }

    /// Adds an object, or replaces the one with its namespace and name.
    pub fn put(&mut self, object: Arc<Object>) {
        let Some(at_chunk) = self.chunk_of(object.key()) else {
            self.chunks.push(Arc::new(vec![object]));
            self.count = 1;
            return;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at_chunk]);
        match chunk.binary_search_by(|other| other.key().cmp(&object.key())) {
            Ok(at) => chunk[at] = object,
            Err(at) => {
                chunk.insert(at, object);
                self.count += 1;
            }
        }
        if chunk.len() > CHUNK_MAX {
            let tail = chunk.split_off(CHUNK_MAX / 2);
            self.chunks.insert(at_chunk + 1, Arc::new(tail));
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let at_chunk = self.chunk_of((namespace, name))?;
        let found = self.chunks[at_chunk]
            .binary_search_by(|object| object.key().cmp(&(namespace, name)))
            .ok()?;
        let chunk = Arc::make_mut(&mut self.chunks[at_chunk]);
        let object = chunk.remove(found);
        if chunk.is_empty() {
            self.chunks.remove(at_chunk);
        }
        self.count -= 1;
        Some(object)
    }

    /// All objects in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The objects of one namespace in order (of all, without one).
    pub fn within<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let first = namespace.map_or(0, |namespace| self.chunk_of((namespace, "")).unwrap_or(0));
        self.chunks[first.min(self.chunks.len())..]
            .iter()
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |object| namespace.is_some_and(|wanted| object.namespace() < wanted))
            .take_while(move |object| namespace.is_none_or(|wanted| object.namespace() == wanted))
    }

    /// The chunk in which a key is or would be; none if there are no chunks.
    fn chunk_of(&self, key: (&str, &str)) -> Option<usize> {
        let later = self.chunks.partition_point(|chunk| {
            chunk
                .first()
                .is_some_and(|first| first.key().cmp(&key) != Ordering::Greater)
        });
        (!self.chunks.is_empty()).then(|| later.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str, version: u64) -> Arc<Object> {
        let value = json!({"metadata": {
            "namespace": namespace, "name": name, "resourceVersion": version.to_string()}});
        Arc::new(Object::new(&value).unwrap())
    }

    proptest! {
        #[test]
        fn a_shelf_is_a_sorted_map_and_copies_do_not_change(
            steps in prop::collection::vec((0u8..3, 0u8..120, prop::bool::ANY), 1..400)
        ) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (version, (namespace, name, put)) in steps.into_iter().enumerate() {
                let (namespace, name) = (format!("ns{namespace}"), format!("n{name}"));
                if put {
                    shelf.put(object(&namespace, &name, version as u64));
                    model.insert((namespace, name), version as u64);
                } else {
                    let gone = shelf.remove(&namespace, &name).map(|old| old.resource_version());
                    prop_assert_eq!(gone, model.remove(&(namespace, name)));
                }
                if version % 50 == 0 {
                    copies.push((shelf.clone(), model.clone()));
                }
            }
            copies.push((shelf, model));
            for (shelf, model) in copies {
                let all = |found: &Arc<Object>| {
                    let key = (found.namespace().to_owned(), found.name().to_owned());
                    (key, found.resource_version())
                };
                let found: Vec<_> = shelf.iter().map(all).collect();
                let wanted: Vec<_> = model.clone().into_iter().collect();
                prop_assert_eq!(&found, &wanted);
                prop_assert_eq!(shelf.len(), model.len());
                let found: Vec<_> = shelf.within(Some("ns1")).map(all).collect();
                let wanted: Vec<_> =
                    wanted.into_iter().filter(|((namespace, _), _)| namespace == "ns1").collect();
                prop_assert_eq!(found, wanted);
                for ((namespace, name), version) in &model {
                    let found = shelf.get(namespace, name).map(|found| found.resource_version());
                    prop_assert_eq!(found, Some(*version));
                }
            }
        }
    }
}
