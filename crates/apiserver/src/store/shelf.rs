//! A sorted map of objects that is cheap to copy: what the store publishes as a snapshot.
//!
//! Objects lie in chunks behind `Arc`s, sorted by namespace and name, and chunks in blocks behind
//! `Arc`s. A copy shares all blocks; a write copies one block and one chunk (and only if a
//! snapshot still holds them), so that its cost hardly grows with the number of objects. The
//! objects are their own keys, so a stored object costs one pointer here.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::object::Object;

/// A chunk, and a block, is split in two when it has so many entries.
const ENTRIES_MAX: usize = if cfg!(test) { 4 } else { 64 };

type Chunk = Vec<Arc<Object>>;
type Block = Vec<Arc<Chunk>>;

/// Objects of one collection, sorted by namespace and name.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Neither a block nor a chunk is empty.
    blocks: Vec<Arc<Block>>,
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
        let key = (namespace, name);
        let (block, chunk) = self.place_of(key)?;
        let chunk = &self.blocks[block][chunk];
        chunk.get(position(chunk, key).ok()?)
    }

    /// Adds an object, or replaces the one with its namespace and name.
    pub fn put(&mut self, object: Arc<Object>) {
        let Some((at_block, at_chunk)) = self.place_of(object.key()) else {
            self.blocks.push(Arc::new(vec![Arc::new(vec![object])]));
            self.count = 1;
            return;
        };
        let block = Arc::make_mut(&mut self.blocks[at_block]);
        let chunk = Arc::make_mut(&mut block[at_chunk]);
        match position(chunk, object.key()) {
            Ok(at) => chunk[at] = object,
            Err(at) => {
                chunk.insert(at, object);
                self.count += 1;
            }
        }
        if let Some(tail) = split(chunk) {
            block.insert(at_chunk + 1, Arc::new(tail));
        }
        if let Some(tail) = split(block) {
            self.blocks.insert(at_block + 1, Arc::new(tail));
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (namespace, name);
        let (at_block, at_chunk) = self.place_of(key)?;
        let found = position(&self.blocks[at_block][at_chunk], key).ok()?;
        let block = Arc::make_mut(&mut self.blocks[at_block]);
        let chunk = Arc::make_mut(&mut block[at_chunk]);
        let object = chunk.remove(found);
        if chunk.is_empty() {
            block.remove(at_chunk);
        }
        if block.is_empty() {
            self.blocks.remove(at_block);
        }
        self.count -= 1;
        Some(object)
    }

    /// All objects in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.within(None)
    }

    /// The objects of one namespace in order (of all, without one).
    pub fn within<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let first = namespace.and_then(|namespace| self.place_of((namespace, "")));
        let (at_block, at_chunk) = first.unwrap_or_default();
        let chunks = self.blocks[at_block..].iter().flat_map(|block| &**block);
        chunks
            .skip(at_chunk)
            .flat_map(|chunk| &**chunk)
            .skip_while(move |object| namespace.is_some_and(|wanted| object.namespace() < wanted))
            .take_while(move |object| namespace.is_none_or(|wanted| object.namespace() == wanted))
    }

    /// The block and the chunk in it where a key is or would be; none if there are no objects.
    fn place_of(&self, key: (&str, &str)) -> Option<(usize, usize)> {
        let begins = |chunk: &Arc<Chunk>| {
            let first = chunk.first();
            first.is_some_and(|first| first.key().cmp(&key) != Ordering::Greater)
        };
        let later = |block: &Arc<Block>| block.first().is_some_and(begins);
        let at_block = self.blocks.partition_point(later).saturating_sub(1);
        let block = self.blocks.get(at_block)?;
        Some((at_block, block.partition_point(begins).saturating_sub(1)))
    }
}

/// Where a key is in a chunk, or where it would be.
fn position(chunk: &Chunk, key: (&str, &str)) -> Result<usize, usize> {
    chunk.binary_search_by(|object| object.key().cmp(&key))
}

/// Takes the second half of what has become too long.
fn split<T>(entries: &mut Vec<T>) -> Option<Vec<T>> {
    (entries.len() > ENTRIES_MAX).then(|| entries.split_off(ENTRIES_MAX / 2))
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
