//! What watches hand over, put into the directory: upserts, deletions, and what a new listing lacks.
//!
//! Decides when a kind has been heard completely. Knows nothing of time or of writing.
use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use super::feed::Source;
use crate::discovery::inventory::{Inventory, Kind};
use crate::discovery::model::Key;

/// Listings that are under way: what was listed so far, per cluster and kind.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    open: BTreeMap<(Source, Kind), BTreeSet<Key>>,
}

/// How one kind of object gets in and out of an inventory.
pub(crate) trait Stored: Sized {
    /// Which kind.
    const KIND: Kind;
    /// Puts it in; gives its key. `None`: it is of no interest.
    fn put(self, inventory: &mut Inventory) -> Option<Key>;
    /// Takes it out.
    fn drop(&self, inventory: &mut Inventory);
}

/// Whether a kind has now been heard completely for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has.
    CompleteNow,
    /// It had been before, or is not yet.
    AsBefore,
}

impl Listings {
    /// Puts one event into `inventory`.
    pub(crate) fn take<K: Stored>(
        &mut self,
        source: Source,
        event: Event<K>,
        inventory: &mut Inventory,
    ) -> Heard {
        let slot = (source, K::KIND);
        match event {
            Event::Init => {
                self.open.insert(slot, BTreeSet::new());
            }
            Event::InitApply(object) => {
                if let Some(key) = object.put(inventory) {
                    self.open.entry(slot).or_default().insert(key);
                }
            }
            Event::InitDone => {
                let listed = self.open.remove(&slot).unwrap_or_default();
                inventory.retain(K::KIND, &listed);
                if inventory.complete(K::KIND) {
                    return Heard::CompleteNow;
                }
            }
            Event::Apply(object) => {
                object.put(inventory);
            }
            Event::Delete(object) => object.drop(inventory),
        }
        Heard::AsBefore
    }

    /// Forgets what a cluster that is gone was listing.
    pub(crate) fn forget(&mut self, source: Source) {
        self.open.retain(|(of, _), _| *of != source);
    }
}

macro_rules! stored {
    ($object:ty, $kind:ident, $trim:path, $put:ident, $drop:ident) => {
        impl Stored for $object {
            const KIND: Kind = Kind::$kind;

            fn put(self, inventory: &mut Inventory) -> Option<Key> {
                match $trim(&self) {
                    Some(trimmed) if inventory.is_full(Kind::$kind, &trimmed.key) => {
                        tracing::warn!(object = %trimmed.key, "is passed over: there are too many of its kind");
                        None
                    }
                    Some(trimmed) => {
                        let key = trimmed.key.clone();
                        inventory.$put(trimmed);
                        Some(key)
                    }
                    None => {
                        self.drop(inventory);
                        None
                    }
                }
            }

            fn drop(&self, inventory: &mut Inventory) {
                if let Some(key) = super::trim::key(&self.metadata) {
                    inventory.$drop(&key);
                }
            }
        }
    };
}

stored!(
    k8s_openapi::api::core::v1::Service,
    Services,
    super::trim::service,
    put_service,
    drop_service
);
stored!(
    k8s_openapi::api::discovery::v1::EndpointSlice,
    Slices,
    super::trim::slice,
    put_slice,
    drop_slice
);
stored!(
    kube::api::DynamicObject,
    Servers,
    super::trim::server,
    put_server,
    drop_server
);
stored!(
    k8s_openapi::api::core::v1::Pod,
    Pods,
    super::trim::pod,
    put_pod,
    drop_pod
);
