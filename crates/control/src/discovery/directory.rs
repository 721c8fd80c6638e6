//! All Services of this cluster, what they resolve to, and what a change means for whom.
//!
//! One owner feeds it objects and asks for the difference; it decides which views are made anew.
//! Cost grows with what changed and what depends on it. Knows nothing of streams or time.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::inventory::Inventory;
use super::model::{Key, Pod, Service};
use super::view::{Source, View};
use crate::identity::name::Scheme;

mod install;
mod make;

/// Another cluster, as a Link calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Whose objects are behind that name; several names may share them.
    pub(crate) peer: Option<PeerId>,
    /// How it stands.
    pub(crate) standing: Standing,
    /// Its trust domain, where it is another than ours.
    pub(crate) trust_domain: Option<Arc<str>>,
}

/// Services of other clusters that Services of this one refer to: what changed since the last call.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// Referred to from now on.
    pub(crate) begun: BTreeSet<(PeerId, Key)>,
    /// No longer.
    pub(crate) ended: BTreeSet<(PeerId, Key)>,
}

/// A source of another cluster's objects.
pub(crate) type PeerId = u64;

/// How another cluster stands at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its name as failure domain: one name, however many Links lead there.
    pub(crate) domain: Arc<str>,
    /// Whether its endpoints are given out.
    pub(crate) use_of: UseOf,
}

/// Whether endpoints of a cluster are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UseOf {
    /// They are.
    Given,
    /// They are withheld: the cluster is dead on both paths.
    Withheld,
}

/// What changed, for whoever holds the answers.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Views by Service; `None`: the Service is gone.
    pub(crate) services: Vec<(Key, Option<Arc<View>>)>,
    /// Who has an address.
    pub(crate) addresses: Vec<(IpAddr, Holder)>,
    /// Pods by name; `None`: gone.
    pub(crate) pods: Vec<(Key, Option<Arc<Pod>>)>,
}

impl Delta {
    /// Both as one: nobody sees what holds only in between.
    pub(crate) fn then(mut self, later: Self) -> Self {
        let anew: BTreeSet<&Key> = later.services.iter().map(|(key, _)| key).collect();
        self.services.retain(|(key, _)| !anew.contains(key));
        self.services.extend(later.services);
        self.addresses.extend(later.addresses);
        self.pods.extend(later.pods);
        self
    }
}

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Holder {
    /// Nobody that we know.
    #[default]
    Nobody,
    /// A Service: it is one of its cluster addresses.
    Service(Arc<Service>),
    /// Several Services claim it.
    Conflict(Vec<Key>),
    /// A pod.
    Pod(Arc<Pod>),
}

/// All Services of this cluster and what they resolve to.
pub(crate) struct Directory {
    scheme: Scheme,
    cluster: Arc<str>,
    /// The local cluster's objects.
    pub(crate) local: Inventory,
    peers: BTreeMap<PeerId, Inventory>,
    remotes: BTreeMap<Arc<str>, Remote>,
    changed_remotes: BTreeSet<Arc<str>>,
    /// By trust domain, of clusters that have another than ours.
    schemes: BTreeMap<Arc<str>, Scheme>,
    asks: Asks,
    views: BTreeMap<Key, Arc<View>>,
    dependents: BTreeSet<(Source, Key)>,
    claims: BTreeSet<(IpAddr, Key)>,
    pods: BTreeMap<Key, Arc<Pod>>,
    pod_ips: BTreeMap<IpAddr, Key>,
}

impl Directory {
    /// Of a cluster called `cluster`, whose identities are formed by `scheme`.
    pub(crate) fn new(cluster: &str, scheme: Scheme) -> Self {
        Self {
            scheme,
            cluster: cluster.into(),
            local: Inventory::default(),
            peers: BTreeMap::new(),
            remotes: BTreeMap::new(),
            changed_remotes: BTreeSet::new(),
            schemes: BTreeMap::new(),
            asks: Asks::default(),
            views: BTreeMap::new(),
            dependents: BTreeSet::new(),
            claims: BTreeSet::new(),
            pods: BTreeMap::new(),
            pod_ips: BTreeMap::new(),
        }
    }

    /// The objects of a peer; made empty if it is new.
    pub(crate) fn peer_mut(&mut self, peer: PeerId) -> &mut Inventory {
        self.peers.entry(peer).or_default()
    }

    /// The objects of a peer.
    pub(crate) fn peer(&self, peer: PeerId) -> Option<&Inventory> {
        self.peers.get(&peer)
    }

    /// Forgets a peer that no name leads to any more.
    pub(crate) fn drop_peer(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// All that depends on a peer has to be looked at again: it was heard completely.
    pub(crate) fn touch_peer(&mut self, peer: PeerId) {
        for (name, remote) in &self.remotes {
            if remote.peer == Some(peer) {
                self.changed_remotes.insert(Arc::clone(name));
            }
        }
    }

    /// A Link leads to the cluster that it calls `name`.
    pub(crate) fn put_remote(&mut self, name: &Arc<str>, remote: Remote) {
        let old = self.remotes.get(name);
        if old == Some(&remote) {
            return;
        }
        if let Some(domain) = &remote.trust_domain {
            let scheme = || self.scheme.in_domain(domain);
            self.schemes
                .entry(Arc::clone(domain))
                .or_insert_with(scheme);
        }
        let another = old.and_then(|old| old.peer) != remote.peer;
        if let (Some(peer), true) = (remote.peer, another) {
            let of_it = self.dependents.iter().map(|(source, _)| source);
            let of_it = of_it.filter(|source| source.cluster.as_ref() == Some(name));
            let asked = of_it.filter_map(|source| source.asks_for());
            self.asks.begun.extend(asked.map(|key| (peer, key.clone())));
        }
        self.changed_remotes.insert(Arc::clone(name));
        self.remotes.insert(Arc::clone(name), remote);
    }

    /// Services of other clusters that are referred to, or no longer, since the last call.
    pub(crate) fn take_asks(&mut self) -> Asks {
        std::mem::take(&mut self.asks)
    }

    /// Only these names are led to by Links; others are gone.
    pub(crate) fn keep_remotes(&mut self, names: &BTreeSet<Arc<str>>) {
        let changed = &mut self.changed_remotes;
        self.remotes.retain(|name, _| {
            let kept = names.contains(name);
            if !kept {
                changed.insert(Arc::clone(name));
            }
            kept
        });
    }

    /// Makes anew what the changes since the last call touch, and says what differs.
    pub(crate) fn refresh(&mut self) -> Delta {
        let mut delta = Delta::default();
        let mut addresses = BTreeSet::new();
        for key in self.take_dirty() {
            let view = self.make(&key);
            self.install(&key, view, (&mut delta, &mut addresses));
        }
        for key in self.local.take_dirty_pods() {
            self.install_pod(&key, (&mut delta, &mut addresses));
        }
        for ip in addresses {
            delta.addresses.push((ip, self.holder(ip)));
        }
        delta
    }

    fn take_dirty(&mut self) -> BTreeSet<Key> {
        let mut dirty = self.local.take_dirty();
        let mut sources: Vec<Source> = dirty
            .iter()
            .map(|service| Source {
                cluster: None,
                service: service.clone(),
            })
            .collect();
        for (peer, inventory) in &mut self.peers {
            // Pods of others matter only through the Services that they are behind.
            inventory.take_dirty_pods();
            let touched = inventory.take_dirty();
            for (name, remote) in &self.remotes {
                if remote.peer == Some(*peer) {
                    sources.extend(touched.iter().map(|service| Source {
                        cluster: Some(Arc::clone(name)),
                        service: service.clone(),
                    }));
                }
            }
        }
        for source in sources {
            let from = (source.clone(), Key::new("", ""));
            let same = |entry: &&(Source, Key)| entry.0 == source;
            let hit = self.dependents.range(from..).take_while(same);
            dirty.extend(hit.map(|(_, key)| key.clone()));
        }
        for name in std::mem::take(&mut self.changed_remotes) {
            let hit = self
                .dependents
                .iter()
                .filter(|(source, _)| source.cluster.as_ref() == Some(&name));
            dirty.extend(hit.map(|(_, key)| key.clone()));
        }
        dirty
    }
}

#[cfg(test)]
mod tests;
