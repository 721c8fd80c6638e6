//! Clusters that a Secret in the namespace of a control plane makes known to discovery, with or without a Link.
//!
//! Decides which Secret counts where several name one cluster, and keeps what serves until what replaces it
//! has told all. Nothing is mirrored because of them.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::super::peers::Peers;
use super::super::roll::Roll;
use crate::discovery::directory::PeerId;
use crate::discovery::model::Key;

/// Clusters by the name that their Secret gives them.
#[derive(Debug)]
pub(crate) struct Introduced {
    /// Where such Secrets count; the first that has one for a cluster wins.
    namespaces: [String; 2],
    clusters: BTreeMap<Arc<str>, Known>,
    /// What was complained about, to be said once.
    complaints: BTreeMap<String, String>,
}

/// One cluster.
#[derive(Debug)]
pub(super) struct Known {
    /// Its trust domain.
    pub(super) trust_domain: Arc<str>,
    pub(super) current: Option<PeerId>,
    pub(super) next: Option<PeerId>,
}

impl Introduced {
    /// None yet.
    pub(crate) fn in_namespaces(namespaces: [String; 2]) -> Self {
        Self {
            namespaces,
            clusters: BTreeMap::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// Brings everything in line with the Secrets that there are.
    pub(super) fn attend(&mut self, secrets: &Roll<Arc<Secret>>, peers: &mut Peers) {
        let mut seen = BTreeSet::new();
        let mut complaints = BTreeMap::new();
        for (key, name, secret) in self.candidates(secrets) {
            if seen.contains(name) {
                continue;
            }
            match tombolo_k8s::introduction::read(secret, Timestamp::now()) {
                Ok(read) => {
                    seen.insert(name);
                    // Nothing is exported because of it: what is referred to is asked for.
                    let peer = peers.with(&read.credentials.kubeconfig, &[]);
                    self.lead(name, (peer, read.trust_domain.as_str().into()), peers);
                }
                Err(faults) => {
                    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                    complaints.insert(key.to_string(), faults.join("; "));
                    // What was read before holds.
                    if self.clusters.contains_key(name) {
                        seen.insert(name);
                    }
                }
            }
        }
        for (secret, why) in &complaints {
            if self.complaints.get(secret) != Some(why) {
                tracing::warn!(secret, why, "a Secret makes no cluster known");
            }
        }
        self.complaints = complaints;
        self.clusters.retain(|name, _| seen.contains(&**name));
    }

    /// Secrets that name a cluster, in the order in which they count.
    fn candidates<'s>(
        &self,
        secrets: &'s Roll<Arc<Secret>>,
    ) -> Vec<(&'s Key, &'s str, &'s Secret)> {
        let in_it = |namespace: &String| {
            let of_it = secrets.iter();
            let of_it = of_it.filter(|(key, _)| *key.namespace == **namespace);
            let named = of_it.filter_map(|(key, secret)| {
                Some((key, tombolo_k8s::introduction::cluster(secret)?, &**secret))
            });
            named.collect::<Vec<_>>()
        };
        self.namespaces.iter().flat_map(in_it).collect()
    }

    fn lead(&mut self, name: &str, (peer, trust_domain): (PeerId, Arc<str>), peers: &mut Peers) {
        let known = self.clusters.entry(name.into()).or_insert_with(|| Known {
            trust_domain: Arc::clone(&trust_domain),
            current: None,
            next: None,
        });
        known.trust_domain = trust_domain;
        known.next = (known.current != Some(peer)).then_some(peer);
        if let (Some(from), Some(to)) = (known.current, known.next) {
            peers.hand_on(from, to);
        }
    }

    /// Changes over where new credentials have told all; gives all peers that are still needed.
    pub(super) fn change_over(&mut self, complete: impl Fn(PeerId) -> bool) -> BTreeSet<PeerId> {
        let mut wanted = BTreeSet::new();
        for known in self.clusters.values_mut() {
            if let Some(next) = known.next
                && (known.current.is_none() || complete(next))
            {
                known.current = Some(next);
                known.next = None;
            }
            wanted.extend(known.current.iter().chain(&known.next).copied());
        }
        wanted
    }

    /// The cluster of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Known> {
        self.clusters.get(name)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Known)> {
        self.clusters.iter()
    }
}
