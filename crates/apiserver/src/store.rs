//! The store: what objects exist, and what a write does to them. Pure: no clock, no disk, no task.
//!
//! A [`Store`] works ahead of what is published: the owner carries out a batch of writes on it,
//! commits the [`Change`]s, and publishes a copy of the head; or, if the commit fails, puts the
//! store back to the last published snapshot. Always holds: versions grow by one with each change,
//! no object exists without uid, name and version, and a write that changes nothing stores nothing.
mod admit;
pub mod convert;
pub mod delete;
pub mod edit;
pub mod facts;
pub(crate) mod json;
pub(crate) mod meta;
mod mutate;
mod policy;
pub mod request;
pub mod scale;
pub mod shelf;
pub mod snapshot;
pub(crate) mod webhooks;
mod write;

pub(crate) use admit::schedule;
use std::sync::Arc;

use jiff::Timestamp;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::error::StatusError;
use crate::object::Object;
use crate::registry::{Registry, StorageKey, resources_of_crd};
use admit::addresses::ServiceAddresses;
use facts::Facts;
use policy::Policies;
use snapshot::Snapshot;
use webhooks::Webhooks;

/// What a write may not find out by itself: the time, and randomness.
#[derive(Debug)]
pub struct Moment<'a> {
    /// The wall clock now.
    pub now: Timestamp,
    /// For uids, generated names and addresses.
    pub rng: &'a mut StdRng,
}

/// One committed step of the store's history.
#[derive(Debug, Clone)]
pub struct Change {
    /// The collection.
    pub collection: StorageKey,
    /// What was there before; none if the object is new.
    pub old: Option<Arc<Object>>,
    /// The new state; of a removed object its last state, with the version of the removal.
    pub new: Arc<Object>,
    /// Whether the object is gone now.
    pub removed: Removed,
}

/// Whether a change took the object away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is still there.
    No,
    /// It is gone.
    Yes,
}

/// All objects, ahead of what is published.
#[derive(Debug)]
pub struct Store {
    head: Snapshot,
    registry: Arc<Registry>,
    addresses: ServiceAddresses,
    facts: Facts,
    policies: Policies,
    webhooks: Webhooks,
    changes: Vec<Change>,
}

impl Store {
    /// A store that begins with what a snapshot holds.
    pub fn new(snapshot: Snapshot, facts: Facts) -> Self {
        let mut store = Self {
            head: Snapshot::default(),
            registry: Arc::new(Registry::with_builtin()),
            addresses: ServiceAddresses::new(facts.service_cidr),
            facts,
            policies: Policies::default(),
            webhooks: Webhooks::default(),
            changes: Vec::new(),
        };
        store.reset(snapshot);
        store
    }

    /// Puts everything back to a snapshot, as if the changes since had never been.
    pub fn reset(&mut self, snapshot: Snapshot) {
        self.changes.clear();
        self.head = snapshot;
        self.addresses = ServiceAddresses::new(self.facts.service_cidr);
        for service in self.head.within(&services(), None) {
            self.addresses.take_all(service);
        }
        let mut registry = Registry::with_builtin();
        for crd in self.head.within(&crds(), None) {
            for resource in resources_of_crd(&crd.value()) {
                registry.insert(resource);
            }
        }
        self.registry = Arc::new(registry);
        self.policies = Policies::of(&self.head);
        self.webhooks = Webhooks::of(&self.head);
    }

    /// The state with every write so far.
    pub fn head(&self) -> &Snapshot {
        &self.head
    }

    /// The resources that are served with every write so far.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Takes what has changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Gives a value the next version and stores it.
    fn put(
        &mut self,
        collection: &StorageKey,
        old: Option<Arc<Object>>,
        value: &mut Value,
    ) -> Result<Arc<Object>, StatusError> {
        let new = Arc::new(self.stamp_version(value)?);
        self.head.version = new.resource_version();
        self.head.put(collection, Arc::clone(&new));
        self.follow(collection, old.as_ref(), &new, Removed::No);
        self.changes.push(Change {
            collection: collection.clone(),
            old,
            new: Arc::clone(&new),
            removed: Removed::No,
        });
        self.settle_quotas(collection, &new)?;
        Ok(new)
    }

    /// Takes an object out; its last state gets the next version.
    fn take(
        &mut self,
        collection: &StorageKey,
        old: Arc<Object>,
        value: &mut Value,
    ) -> Result<Arc<Object>, StatusError> {
        let new = Arc::new(self.stamp_version(value)?);
        self.head.version = new.resource_version();
        self.head.remove(collection, old.namespace(), old.name());
        self.follow(collection, Some(&old), &new, Removed::Yes);
        self.changes.push(Change {
            collection: collection.clone(),
            old: Some(old),
            new: Arc::clone(&new),
            removed: Removed::Yes,
        });
        self.settle_quotas(collection, &new)?;
        Ok(new)
    }

    /// Keeps the status of the quotas of a namespace in step with a change in it.
    fn settle_quotas(
        &mut self,
        collection: &StorageKey,
        changed: &Object,
    ) -> Result<(), StatusError> {
        let quotas = StorageKey::new("", "resourcequotas");
        let namespace = changed.namespace();
        if namespace.is_empty() || self.head.within(&quotas, Some(namespace)).next().is_none() {
            return Ok(());
        }
        for (old, mut value) in admit::stale_quotas(self, collection, namespace) {
            let now = self.head.get(&quotas, namespace, old.name());
            // The status that is written is the one that is right, so this ends here; and a write to the quota
            // before may have written this one already.
            if now.is_some_and(|now| Arc::ptr_eq(now, &old)) {
                self.put(&quotas, Some(old), &mut value)?;
            }
        }
        Ok(())
    }

    fn stamp_version(&self, value: &mut Value) -> Result<Object, StatusError> {
        let version = (self.head.version + 1).to_string();
        json::child(value, "metadata").insert("resourceVersion".to_owned(), version.into());
        if json::is_deeper(value, facts::OBJECT_DEPTH_MAX) {
            return Err(StatusError::bad_request(format!(
                "the object nests more than {} levels deep",
                facts::OBJECT_DEPTH_MAX
            )));
        }
        let object = Object::new(value)?;
        if object.bytes().len() > facts::OBJECT_BYTES_MAX {
            let limit = facts::OBJECT_BYTES_MAX;
            return Err(StatusError::too_large(format!(
                "Request entity too large: limit is {limit}"
            )));
        }
        Ok(object)
    }

    /// Keeps what is derived from objects (addresses, resources) in step with a change.
    fn follow(
        &mut self,
        collection: &StorageKey,
        old: Option<&Arc<Object>>,
        new: &Arc<Object>,
        removed: Removed,
    ) {
        if *collection == services() {
            if let Some(old) = old {
                self.addresses.release_all(old);
            }
            if removed == Removed::No {
                self.addresses.take_all(new);
            }
        } else if *collection == crds() {
            let crd = new.value();
            let registry = Arc::make_mut(&mut self.registry);
            let group = json::text(&crd["spec"], "group");
            registry.remove_custom(group, json::text(&crd["spec"]["names"], "plural"));
            if removed == Removed::No {
                for resource in resources_of_crd(&crd) {
                    registry.insert(resource);
                }
            }
        } else if Policies::follow(collection) {
            let value = (removed == Removed::No).then(|| new.value());
            self.policies.put(collection, new.name(), value.as_ref());
        } else if Webhooks::follow(collection) {
            let value = (removed == Removed::No).then(|| new.value());
            self.webhooks.put(collection, new.name(), value.as_ref());
        }
    }
}

fn services() -> StorageKey {
    StorageKey::new("", "services")
}

fn crds() -> StorageKey {
    StorageKey::new("apiextensions.k8s.io", "customresourcedefinitions")
}

pub(crate) fn namespaces() -> StorageKey {
    StorageKey::new("", "namespaces")
}
