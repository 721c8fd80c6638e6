//! What a watch has said so far: the objects of one kind.
//!
//! After a watch had to start again, the new list replaces the old one as a whole, so that nothing stays that
//! was deleted meanwhile; until the list is complete, the old one is valid.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The objects of one kind, by namespace and name.
#[derive(Debug)]
pub(super) struct Cache<K> {
    objects: BTreeMap<(String, String), K>,
    incoming: Option<BTreeMap<(String, String), K>>,
    complete: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            incoming: None,
            complete: false,
        }
    }
}

impl<K: ResourceExt> Cache<K> {
    /// Takes in what the watch says.
    pub(super) fn on(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.incoming = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                self.incoming
                    .get_or_insert_default()
                    .insert(key(&object), object);
            }
            Event::InitDone => {
                self.objects = self.incoming.take().unwrap_or_default();
                self.complete = true;
            }
            Event::Apply(object) => {
                self.objects.insert(key(&object), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&key(&object));
            }
        }
    }

    /// Whether a list has been complete once.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// The objects, in order of namespace and name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &K> + Clone {
        self.objects.values()
    }

    /// One object.
    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<&K> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn key<K: ResourceExt>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let object = |name: &str| -> Namespace {
            serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
        };
        let mut cache = Cache::default();
        cache.on(Event::Init);
        cache.on(Event::InitApply(object("a")));
        assert!(!cache.complete());
        cache.on(Event::InitDone);
        cache.on(Event::Apply(object("b")));
        cache.on(Event::Init);
        cache.on(Event::InitApply(object("b")));
        assert_eq!(
            cache.iter().count(),
            2,
            "the old list is valid until the new one is complete"
        );
        cache.on(Event::InitDone);
        assert!(cache.find("", "a").is_none() && cache.find("", "b").is_some());
    }
}
