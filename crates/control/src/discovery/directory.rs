//! All Services of this cluster, what they resolve to, and what a change means for whom.
//!
//! One owner feeds it objects and asks for the difference; it decides which views are made anew.
//! Cost grows with what changed and what depends on it. Knows nothing of streams or time.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::{self, Endpoints, Origin, Side};
use super::inventory::Inventory;
use super::model::{Gateway, Key, Pod, Reach, Resolution, Service};
use super::view::{Completeness, EndpointSet, Refusal, Source, View};
use crate::identity::name::Scheme;

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

    fn make(&self, key: &Key) -> Option<View> {
        let service = self.local.service(key)?;
        let mut view = View {
            service: Arc::clone(service),
            refusal: None,
            completeness: Completeness::Complete,
            ports: BTreeMap::new(),
            sources: BTreeSet::new(),
        };
        let members = self.members(service, &mut view);
        for port in service.ports.keys() {
            let set = self.endpoint_set(service, &members, *port);
            let known = self.views.get(key).and_then(|old| old.port(*port));
            let set = match known {
                Some(old) if **old == set => Arc::clone(old),
                _ => Arc::new(set),
            };
            view.ports.insert(*port, set);
        }
        Some(view)
    }

    /// The Services that `service` stands for, local ones first, then by cluster.
    fn members<'a>(
        &'a self,
        service: &'a Arc<Service>,
        view: &mut View,
    ) -> Vec<(Origin<'a>, &'a Arc<Service>)> {
        let key = &service.key;
        let mut members = Vec::new();
        match &service.resolution {
            Resolution::Local => {
                self.local_member(key, view, &mut members);
                self.note_gateways(key, view);
                if service.reach == Reach::ExternalName {
                    view.refusal = Some(Refusal::ExternalName(key.clone()));
                }
            }
            Resolution::Remote {
                cluster,
                service: None,
            } => {
                view.refusal = Some(Refusal::NoRemoteService(key.clone()));
                note_cluster(cluster, view);
            }
            Resolution::Remote {
                cluster,
                service: Some(name),
            } => {
                if !self.remote_member(cluster, &key.sibling(name), view, &mut members) {
                    view.refusal = Some(Refusal::UnknownCluster {
                        service: key.clone(),
                        cluster: Arc::clone(cluster),
                    });
                }
                let external = members.iter().any(|(_, s)| s.reach == Reach::ExternalName);
                if external {
                    view.refusal = Some(Refusal::ExternalName(key.clone()));
                }
            }
            Resolution::Federated { local, remote } => {
                if let Some(name) = local {
                    self.local_member(&key.sibling(name), view, &mut members);
                }
                for (cluster, name) in remote {
                    self.remote_member(cluster, &key.sibling(name), view, &mut members);
                }
            }
        }
        members
    }

    fn local_member<'a>(
        &'a self,
        key: &Key,
        view: &mut View,
        members: &mut Vec<(Origin<'a>, &'a Arc<Service>)>,
    ) {
        view.sources.insert(Source {
            cluster: None,
            service: key.clone(),
        });
        if let Some(service) = self.local.service(key) {
            members.push((self.origin(), service));
        }
    }

    /// False if no Link leads to that cluster.
    fn remote_member<'a>(
        &'a self,
        cluster: &Arc<str>,
        key: &Key,
        view: &mut View,
        members: &mut Vec<(Origin<'a>, &'a Arc<Service>)>,
    ) -> bool {
        view.sources.insert(Source {
            cluster: Some(Arc::clone(cluster)),
            service: key.clone(),
        });
        let Some(remote) = self.remotes.get(cluster) else {
            return false;
        };
        let inventory = remote.peer.and_then(|peer| self.peers.get(&peer));
        let Some(inventory) = inventory.filter(|inventory| inventory.is_complete()) else {
            view.completeness = Completeness::Partial;
            return true;
        };
        if !inventory.knows(key) {
            view.completeness = Completeness::Partial;
        }
        if let Some(service) = inventory.service(key)
            && remote.standing.use_of == UseOf::Given
        {
            let origin = Origin {
                inventory,
                cluster: &remote.standing.domain,
                scheme: self.scheme_of(remote),
                side: Side::Other,
            };
            members.push((origin, service));
        }
        true
    }

    fn scheme_of(&self, remote: &Remote) -> &Scheme {
        let other = remote.trust_domain.as_ref();
        let other = other.and_then(|domain| self.schemes.get(domain));
        other.unwrap_or(&self.scheme)
    }

    /// A gateway mirror depends on how the cluster behind the gateway stands.
    fn note_gateways(&self, key: &Key, view: &mut View) {
        for slice in self.local.slices(key) {
            let cluster = slice.gateway.as_ref().and_then(|g| g.cluster.as_ref());
            if let Some(cluster) = cluster {
                note_cluster(cluster, view);
            }
        }
    }

    fn endpoint_set(
        &self,
        service: &Service,
        members: &[(Origin<'_>, &Arc<Service>)],
        port: u16,
    ) -> EndpointSet {
        let mut found = Endpoints::new();
        let far_side = |name: &str| match self.remotes.get(name) {
            Some(remote) => match remote.standing.use_of {
                UseOf::Given => Some(Arc::clone(&remote.standing.domain)),
                UseOf::Withheld => None,
            },
            None => Some(Arc::from(name)),
        };
        for (origin, member) in members {
            endpoints::collect(*origin, member, port, &far_side, &mut found);
        }
        endpoints::one_per_pod(&mut found);
        let mut labels = BTreeMap::from([
            ("service".to_owned(), service.key.name.to_string()),
            ("namespace".to_owned(), service.key.namespace.to_string()),
        ]);
        if service.resolution == Resolution::Local {
            let slices = self.local.slices(&service.key);
            if let Some(gateway) = slices.filter_map(|slice| slice.gateway.as_ref()).next() {
                target_labels(gateway, &mut labels);
            }
        }
        EndpointSet {
            endpoints: found,
            labels,
        }
    }

    fn install(
        &mut self,
        key: &Key,
        view: Option<View>,
        (delta, addresses): (&mut Delta, &mut BTreeSet<IpAddr>),
    ) {
        let old = self.views.remove(key);
        self.note_asks(key, (old.as_deref(), view.as_ref()));
        if let Some(old) = &old {
            for source in &old.sources {
                self.dependents.remove(&(source.clone(), key.clone()));
            }
            for ip in &old.service.ips {
                self.claims.remove(&(*ip, key.clone()));
            }
        }
        let view = match (view, old) {
            (Some(new), Some(old)) if new.says_the_same(&old) && new.sources == old.sources => {
                Some((old, false))
            }
            (Some(new), Some(old)) => {
                if new.service != old.service {
                    addresses.extend(old.service.ips.iter().chain(&new.service.ips));
                }
                Some((Arc::new(new), true))
            }
            (Some(new), None) => {
                addresses.extend(&new.service.ips);
                Some((Arc::new(new), true))
            }
            (None, Some(old)) => {
                addresses.extend(&old.service.ips);
                delta.services.push((key.clone(), None));
                None
            }
            (None, None) => None,
        };
        let Some((view, news)) = view else { return };
        for source in &view.sources {
            self.dependents.insert((source.clone(), key.clone()));
        }
        for ip in &view.service.ips {
            self.claims.insert((*ip, key.clone()));
        }
        if news {
            delta.services.push((key.clone(), Some(Arc::clone(&view))));
        }
        self.views.insert(key.clone(), view);
    }

    /// What a Service refers to now and did not before, and the other way round.
    fn note_asks(&mut self, by: &Key, (old, new): (Option<&View>, Option<&View>)) {
        let none = BTreeSet::new();
        let old = old.map_or(&none, |view| &view.sources);
        let new = new.map_or(&none, |view| &view.sources);
        let asked = |source: &Source| {
            let remote = self.remotes.get(source.cluster.as_ref()?)?;
            Some((remote.peer?, source.asks_for()?.clone()))
        };
        let begun: Vec<_> = new.difference(old).filter_map(asked).collect();
        let ended = old.difference(new).filter(|source| {
            let from = ((*source).clone(), Key::new("", ""));
            let others = self.dependents.range(from..);
            let mut others = others.take_while(|(of, _)| of == *source);
            others.all(|(_, key)| key == by)
        });
        let ended: Vec<_> = ended.filter_map(asked).collect();
        for ask in ended {
            self.asks.begun.remove(&ask);
            self.asks.ended.insert(ask);
        }
        for ask in begun {
            self.asks.ended.remove(&ask);
            self.asks.begun.insert(ask);
        }
    }

    fn install_pod(&mut self, key: &Key, (delta, addresses): (&mut Delta, &mut BTreeSet<IpAddr>)) {
        if let Some(old) = self.pods.remove(key) {
            for ip in &old.ips {
                if self.pod_ips.get(ip) == Some(key) {
                    self.pod_ips.remove(ip);
                }
                addresses.insert(*ip);
            }
        }
        let pod = self.local.pod(key).cloned();
        if let Some(pod) = &pod {
            for ip in &pod.ips {
                self.pod_ips.insert(*ip, key.clone());
                addresses.insert(*ip);
            }
            self.pods.insert(key.clone(), Arc::clone(pod));
        }
        delta.pods.push((key.clone(), pod));
    }

    fn holder(&self, ip: IpAddr) -> Holder {
        let from = (ip, Key::new("", ""));
        let claims = self.claims.range(from..).take_while(|(of, _)| *of == ip);
        let claimants: Vec<&Key> = claims.map(|(_, key)| key).collect();
        if let [only] = claimants.as_slice()
            && let Some(view) = self.views.get(*only)
        {
            return Holder::Service(Arc::clone(&view.service));
        }
        if !claimants.is_empty() {
            return Holder::Conflict(claimants.into_iter().cloned().collect());
        }
        let pod = self.pod_ips.get(&ip).and_then(|key| self.pods.get(key));
        pod.map_or(Holder::Nobody, |pod| Holder::Pod(Arc::clone(pod)))
    }

    /// The local cluster, as endpoints see it.
    fn origin(&self) -> Origin<'_> {
        Origin {
            inventory: &self.local,
            cluster: &self.cluster,
            scheme: &self.scheme,
            side: Side::Own,
        }
    }
}

/// What a Service resolves to depends on how a cluster stands, and on no Service there.
fn note_cluster(cluster: &Arc<str>, view: &mut View) {
    view.sources.insert(Source {
        cluster: Some(Arc::clone(cluster)),
        service: Key::new("", ""),
    });
}

/// Labels that a gateway mirror's endpoints share, from `<svc>.<ns>.svc.<domain>`.
fn target_labels(gateway: &Gateway, labels: &mut BTreeMap<String, String>) {
    let mut put = |key: &str, value: &str| {
        labels.insert(key.to_owned(), value.to_owned());
    };
    if let Some(cluster) = &gateway.cluster {
        put("target_cluster", cluster);
    }
    if let Some(name) = &gateway.fq_name {
        let mut parts = name.split('.');
        if let (Some(service), Some(namespace)) = (parts.next(), parts.next()) {
            put("target_service", service);
            put("target_service_namespace", namespace);
        }
    }
}

#[cfg(test)]
mod tests;
