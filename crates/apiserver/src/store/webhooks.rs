//! Webhooks: whom else a write has to be put to, and what becomes of the answers.
//!
//! Configurations are compiled when they change; a store that has none pays nothing. The store cannot wait for the
//! network: a write that lacks an answer changes nothing and notes in its [`Inquiry`] what there is to ask. Whoever
//! carries it out asks, and begins again. [`hook`] makes a webhook ready, [`ask`] puts a write to them, [`answer`] reads
//! what they say. Only requests carry an inquiry: what the cluster's own controllers write is put to nobody, because
//! they work inside the store, which would have to wait.
pub(crate) mod answer;
mod ask;
pub(crate) mod hook;
pub(crate) mod inquiry;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::json::{list, text};
use super::snapshot::Snapshot;
use crate::registry::StorageKey;
pub(super) use ask::Turned;
use hook::Hook;

const GROUP: &str = "admissionregistration.k8s.io";

/// What a webhook may do with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Change it, or refuse it.
    Mutate,
    /// Refuse it.
    Validate,
}

impl Does {
    fn collection(self) -> StorageKey {
        StorageKey::new(
            GROUP,
            match self {
                Self::Mutate => "mutatingwebhookconfigurations",
                Self::Validate => "validatingwebhookconfigurations",
            },
        )
    }

    fn of(collection: &StorageKey) -> Option<Self> {
        if *collection.group != *GROUP {
            return None;
        }
        [Self::Mutate, Self::Validate]
            .into_iter()
            .find(|does| does.collection() == *collection)
    }
}

/// Every webhook, ready to be asked: by the name of its configuration, in the order of that.
#[derive(Debug, Clone, Default)]
pub(super) struct Webhooks {
    mutating: BTreeMap<String, Vec<Arc<Hook>>>,
    validating: BTreeMap<String, Vec<Arc<Hook>>>,
}

impl Webhooks {
    /// What a snapshot holds.
    pub(super) fn of(head: &Snapshot) -> Self {
        let mut all = Self::default();
        for key in [Does::Mutate.collection(), Does::Validate.collection()] {
            for object in head.within(&key, None) {
                all.put(&key, object.name(), Some(&object.value()));
            }
        }
        all
    }

    /// Whether a collection is of those that are kept here.
    pub(super) fn follow(collection: &StorageKey) -> bool {
        Does::of(collection).is_some()
    }

    /// Takes over a new state of a configuration; none if it is gone.
    pub(super) fn put(&mut self, key: &StorageKey, name: &str, value: Option<&Value>) {
        let Some(does) = Does::of(key) else { return };
        let kept = match does {
            Does::Mutate => &mut self.mutating,
            Does::Validate => &mut self.validating,
        };
        match value {
            Some(value) => {
                let hooks = list(value, "webhooks").iter();
                let uid = text(&value["metadata"], "name");
                let hooks = hooks.map(|hook| Arc::new(Hook::new(does, uid, hook)));
                kept.insert(name.to_owned(), hooks.collect());
            }
            None => {
                kept.remove(name);
            }
        }
    }

    /// Whether nobody has to be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }

    /// Those that do this, in the order in which they are asked.
    fn that(&self, does: Does) -> impl Iterator<Item = &Arc<Hook>> {
        let kept = match does {
            Does::Mutate => &self.mutating,
            Does::Validate => &self.validating,
        };
        kept.values().flatten()
    }
}
