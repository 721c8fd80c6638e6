//! Admission policies: what of a write their expressions refuse, or warn of.
//!
//! Policies and bindings are compiled when they change, and looked at with every write; a store that has none pays
//! nothing. [`compiled`] makes a policy ready, [`matching`] says whom it concerns, [`verdict`] runs it. What has been
//! spent on one request is counted over all of its policies.
mod asked;
pub(super) mod compiled;
mod matching;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::json::text;
use super::request::Subresource;
use super::snapshot::Snapshot;
use crate::registry::{Resource, StorageKey};
use compiled::{Binding, Policy};

/// The group of policies, bindings and webhooks.
const GROUP: &str = "admissionregistration.k8s.io";

/// Every policy and binding, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

impl Policies {
    /// What a snapshot holds.
    pub(super) fn of(head: &Snapshot) -> Self {
        let mut all = Self::default();
        for key in [policies(), bindings()] {
            for object in head.within(&key, None) {
                all.insert(&key, &object.value());
            }
        }
        all
    }

    fn insert(&mut self, key: &StorageKey, value: &Value) {
        let name = text(&value["metadata"], "name").to_owned();
        if *key == policies() {
            self.policies.insert(name, Arc::new(Policy::new(value)));
        } else {
            self.bindings.insert(name, Arc::new(Binding::new(value)));
        }
    }

    /// Whether a collection is of those that are kept here.
    pub(super) fn follow(collection: &StorageKey) -> bool {
        *collection.group == *GROUP && (*collection == policies() || *collection == bindings())
    }

    /// Takes over a new state of a policy or binding; none if it is gone.
    pub(super) fn put(&mut self, key: &StorageKey, name: &str, value: Option<&Value>) {
        match value {
            Some(value) => self.insert(key, value),
            None if *key == policies() => {
                self.policies.remove(name);
            }
            None => {
                self.bindings.remove(name);
            }
        }
    }

    /// Whether nothing can be refused.
    pub(super) fn is_empty(&self) -> bool {
        self.policies.is_empty() || self.bindings.is_empty()
    }

    /// The policies with those that bind them.
    fn bound(&self) -> impl Iterator<Item = (&str, &Policy, Vec<(&str, &Binding)>)> {
        self.policies.iter().map(|(name, policy)| {
            let bindings = self
                .bindings
                .iter()
                .filter(|(_, binding)| binding.policy == *name)
                .map(|(name, binding)| (name.as_str(), &**binding));
            (name.as_str(), &**policy, bindings.collect())
        })
    }
}

/// What is asked of the policies: one write, as it would be stored.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) res: &'a Arc<Resource>,
    pub(super) sub: Subresource,
    /// As requests name it: `CREATE` and so on.
    pub(super) operation: &'static str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) object: Option<&'a Value>,
    pub(super) before: Option<&'a Value>,
}

impl Attempt<'_> {
    /// How the request names what is below the object.
    fn subresource(&self) -> &'static str {
        match self.sub {
            Subresource::None => "",
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Binding => "binding",
            Subresource::Approval => "approval",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
        }
    }

    fn is_namespace(&self) -> bool {
        self.res.kind == "Namespace" && self.res.group.is_empty()
    }

    /// Whether policies have no say: nobody could repair a policy that refuses to be repaired.
    fn is_exempt(&self) -> bool {
        self.res.group == GROUP && self.res.plural.contains("admissionpolic")
    }
}

fn policies() -> StorageKey {
    StorageKey::new(GROUP, "validatingadmissionpolicies")
}

fn bindings() -> StorageKey {
    StorageKey::new(GROUP, "validatingadmissionpolicybindings")
}
