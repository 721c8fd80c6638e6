//! Admission policies: what of a write their expressions change, refuse, or warn of.
//!
//! Policies and bindings are compiled when they change, and looked at with every write; a store that has none pays
//! nothing. [`compiled`] makes a policy ready, [`matching`] says whom it concerns, [`question`] is what all of them can
//! see of a write, [`verdict`] is what they say of it, [`mutation`] what they make of it. What has been spent on one
//! request is counted over all of its policies.
pub(super) mod asked;
pub(super) mod compiled;
pub(super) mod matching;
mod mutation;
pub(super) mod question;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::json::text;
use super::request::Subresource;
use super::snapshot::Snapshot;
use crate::registry::{Resource, StorageKey};
pub(super) use compiled::OnFailure;
use compiled::{Binding, Policy};
pub(super) use mutation::Again;

/// The group of policies, bindings and webhooks.
const GROUP: &str = "admissionregistration.k8s.io";

/// What a policy does with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Refuses it, or warns.
    Validate,
    /// Changes it.
    Mutate,
}

impl Does {
    /// How the names of its kinds begin.
    fn word(self) -> &'static str {
        match self {
            Self::Validate => "validating",
            Self::Mutate => "mutating",
        }
    }

    fn policies(self) -> StorageKey {
        StorageKey::new(GROUP, &format!("{}admissionpolicies", self.word()))
    }

    fn bindings(self) -> StorageKey {
        StorageKey::new(GROUP, &format!("{}admissionpolicybindings", self.word()))
    }

    /// What the policies and bindings of a collection do.
    fn of(collection: &StorageKey) -> Option<(Self, Part)> {
        if *collection.group != *GROUP {
            return None;
        }
        let known = [Self::Validate, Self::Mutate].into_iter();
        let mut parts = known.flat_map(|does| {
            [
                (does.policies(), (does, Part::Policy)),
                (does.bindings(), (does, Part::Binding)),
            ]
        });
        parts.find_map(|(key, part)| (key == *collection).then_some(part))
    }
}

#[derive(Clone, Copy)]
enum Part {
    Policy,
    Binding,
}

/// Every policy and binding, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    validating: Policed,
    mutating: Policed,
}

impl Policies {
    /// What a snapshot holds.
    pub(super) fn of(head: &Snapshot) -> Self {
        let mut all = Self::default();
        for does in [Does::Validate, Does::Mutate] {
            for key in [does.policies(), does.bindings()] {
                for object in head.within(&key, None) {
                    let value = object.value();
                    all.put(&key, text(&value["metadata"], "name"), Some(&value));
                }
            }
        }
        all
    }

    /// Whether a collection is of those that are kept here.
    pub(super) fn follow(collection: &StorageKey) -> bool {
        Does::of(collection).is_some()
    }

    /// Takes over a new state of a policy or binding; none if it is gone.
    pub(super) fn put(&mut self, key: &StorageKey, name: &str, value: Option<&Value>) {
        let Some((does, part)) = Does::of(key) else {
            return;
        };
        let kept = match does {
            Does::Validate => &mut self.validating,
            Does::Mutate => &mut self.mutating,
        };
        match (part, value) {
            (Part::Policy, Some(value)) => {
                let policy = Arc::new(Policy::new(value));
                kept.policies.insert(name.to_owned(), policy);
            }
            (Part::Binding, Some(value)) => {
                let binding = Arc::new(Binding::new(value));
                kept.bindings.insert(name.to_owned(), binding);
            }
            (Part::Policy, None) => {
                kept.policies.remove(name);
            }
            (Part::Binding, None) => {
                kept.bindings.remove(name);
            }
        }
    }

    /// Those that do this.
    pub(super) fn that(&self, does: Does) -> &Policed {
        match does {
            Does::Validate => &self.validating,
            Does::Mutate => &self.mutating,
        }
    }
}

/// The policies and bindings of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Policed {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

impl Policed {
    /// Whether nothing can come of them.
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
    pub(super) fn is_exempt(&self) -> bool {
        self.res.group == GROUP && self.res.plural.contains("admissionpolic")
    }
}
