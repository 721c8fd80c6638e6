//! What reaches the owner from other clusters: trimmed on arrival to what is exported or referred to here,
//! and to the namespaces in which something is.
//!
//! Decides what is kept. An export in a namespace that had none opens the watches anew, because what was
//! passed over there is wanted now.
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::time::Instant;
use tombolo_core::cluster::{Change, Observation};
use tombolo_core::name::{self, Hostname};
use tombolo_core::service::{Readiness, ServiceKey, ServiceKind};
use tombolo_core::world::{ClusterUid, Export, Host, Hosts};

use super::{Owner, model_key};
use crate::discovery::directory::{Asks, PeerId};
use crate::discovery::inventory::{Inventory, Kind, OBJECTS_MAX};
use crate::discovery::model::Key;
use crate::world::feed::{Denied, Source, What};
use crate::world::intake::Heard;
use crate::world::peers::{Entry, Trouble};

impl Owner {
    pub(super) fn take_peer(&mut self, id: PeerId, what: What) {
        // What a watch had under way when its peer was dropped.
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        if let Some(watch) = what.listed() {
            let before = (peer.denied().is_some(), peer.hides_pods().is_some());
            peer.trouble.remove(watch);
            self.due.judge |= before != (peer.denied().is_some(), peer.hides_pods().is_some());
        }
        let source = Source::Peer(id);
        let heard = match what {
            What::Service(event) => self.take_service(id, event),
            What::Slice(event) => {
                let event = only(event, |slice| self.looks_into(id, slice.meta()));
                let inventory = self.directory.peer_mut(id);
                event.map(|event| self.listings.take(source, event, inventory))
            }
            What::Pod(event) => {
                let event = only(event, |pod| self.looks_into(id, pod.meta()));
                let inventory = self.directory.peer_mut(id);
                event.map(|event| self.listings.take(source, event, inventory))
            }
            What::Server(event) => {
                let inventory = self.directory.peer_mut(id);
                Some(self.listings.take(source, event, inventory))
            }
            What::Answered(uid) => return self.answered(id, uid),
            What::Silent(why) => return self.silent(id, why),
            What::Refused => return self.refused(id),
            What::Failed { watch, why, denied } => {
                return self.trouble(id, (watch, why), denied);
            }
            What::Node(_) | What::Namespace(_) | What::Link(_) | What::Secret(_) => return,
        };
        self.note_readiness(id);
        if heard == Some(Heard::CompleteNow) {
            self.due.judge = true;
            if self.directory.peer_mut(id).is_complete() {
                tracing::info!(peer = id, "another cluster was heard completely");
                self.directory.touch_peer(id);
            }
        }
    }

    fn take_service(&mut self, id: PeerId, event: Event<Service>) -> Option<Heard> {
        self.note_export(id, &event);
        let peers = &self.parts.links.peers;
        let exported = |object: &Service| {
            let key = tombolo_k8s::service::key(&object.metadata);
            key.is_some_and(|key| peers.get(id).is_some_and(|p| p.keeps(&key)))
        };
        let event = only(event, exported)?;
        let done = matches!(event, Event::InitDone);
        let inventory = self.directory.peer_mut(id);
        let heard = self.listings.take(Source::Peer(id), event, inventory);
        if done {
            self.drop_exports(id);
            self.prune(id);
        }
        Some(heard)
    }

    /// Whether anything of this namespace is wanted; until all exports were heard, nobody can say.
    fn looks_into(&self, id: PeerId, meta: &kube::core::ObjectMeta) -> bool {
        let heard = self.directory.peer(id);
        let heard = heard.is_some_and(|inventory| inventory.is_kind_complete(Kind::Services));
        let peer = self.parts.links.peers.get(id);
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        !heard || peer.is_some_and(|peer| peer.namespaces.contains_key(namespace))
    }

    /// Drops what was kept of namespaces in which nothing is exported.
    fn prune(&mut self, id: PeerId) {
        if let Some(peer) = self.parts.links.peers.get(id) {
            let inventory = self.directory.peer_mut(id);
            inventory.keep_namespaces(|namespace| peer.namespaces.contains_key(namespace));
        }
    }

    /// Looks at what Services of this cluster refer to, exported or not; true if answers may differ.
    pub(super) fn ask(&mut self) -> bool {
        let Asks { begun, ended } = self.directory.take_asks();
        let peers = &mut self.parts.links.peers;
        let mut anew = BTreeSet::new();
        for (id, key) in begun {
            let asked = service_key(&key).zip(peers.get_mut(id));
            if asked.is_some_and(|(service, peer)| peer.ask(&service)) {
                self.directory.peer_mut(id).expect(&key);
                anew.insert(id);
            }
        }
        for id in &anew {
            peers.listen_anew(*id);
        }
        let mut lost = BTreeSet::new();
        for (id, key) in ended {
            let asked = service_key(&key).zip(peers.get_mut(id));
            if asked.is_some_and(|(service, peer)| peer.unask(&service)) {
                self.directory.peer_mut(id).drop_service(&key);
                lost.insert(id);
            }
        }
        for id in &lost {
            self.prune(*id);
        }
        !anew.is_empty()
    }

    fn note_export(&mut self, id: PeerId, event: &Event<Service>) {
        let (object, present) = match event {
            Event::Apply(object) | Event::InitApply(object) => (object, true),
            Event::Delete(object) => (object, false),
            Event::Init | Event::InitDone => return,
        };
        let Some((key, service)) = tombolo_k8s::service::remote(object) else {
            return;
        };
        let (readiness, hosts) = self.endpoints(id, &key, service.kind);
        let Some(peer) = self.parts.links.peers.get(id) else {
            return;
        };
        let room = peer.exports.len() < OBJECTS_MAX || peer.exports.contains_key(&key);
        let export = (present && room && peer.wants(&service)).then(|| Export {
            service,
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            readiness,
            hosts,
        });
        self.set_export(id, &key, export);
    }

    fn set_export(&mut self, id: PeerId, key: &ServiceKey, export: Option<Export>) {
        let services = self.directory.peer(id);
        let heard = services.is_some_and(|inventory| inventory.is_kind_complete(Kind::Services));
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        if peer.exports.get(key) == export.as_ref() {
            return;
        }
        let news = peer.set_export(key, export);
        if news == Change::Turned && heard {
            if peer.namespaces.contains_key(key.namespace.as_str()) {
                self.parts.links.peers.listen_anew(id);
            } else {
                self.prune(id);
            }
        }
        self.show_export(id, key);
    }

    /// After a new listing: what it lacks is no longer exported.
    fn drop_exports(&mut self, id: PeerId) {
        let (Some(peer), Some(inventory)) =
            (self.parts.links.peers.get(id), self.directory.peer(id))
        else {
            return;
        };
        let gone: Vec<ServiceKey> = peer
            .exports
            .keys()
            .filter(|key| inventory.service(&model_key(key)).is_none())
            .cloned()
            .collect();
        for key in gone {
            self.set_export(id, &key, None);
        }
    }

    /// What changed may have gained its first endpoint, or lost its last.
    fn note_readiness(&mut self, id: PeerId) {
        let dirty: Vec<ServiceKey> = self
            .directory
            .peer_mut(id)
            .dirty()
            .filter_map(service_key)
            .collect();
        for key in dirty {
            let peer = self.parts.links.peers.get(id);
            let Some(export) = peer.and_then(|peer| peer.exports.get(&key)) else {
                continue;
            };
            let found = self.endpoints(id, &key, export.service.kind);
            let peer = self.parts.links.peers.get_mut(id);
            if peer.is_some_and(|peer| peer.set_endpoints(&key, found)) {
                self.show_export(id, &key);
            }
        }
    }

    /// Whether a Service has endpoints, and how they are named if it is headless.
    fn endpoints(&self, id: PeerId, key: &ServiceKey, kind: ServiceKind) -> (Readiness, Hosts) {
        let key = model_key(key);
        let Some(inventory) = self.directory.peer(id) else {
            return (Readiness::NotReady, Hosts::None);
        };
        let served = inventory.slices(&key).any(|s| !s.endpoints.is_empty());
        let readiness = if served {
            Readiness::Ready
        } else {
            Readiness::NotReady
        };
        let hosts = match kind {
            ServiceKind::Headless => hosts(inventory, &key),
            ServiceKind::ClusterIp | ServiceKind::ExternalName => Hosts::None,
        };
        (readiness, hosts)
    }

    fn answered(&mut self, id: PeerId, uid: Option<String>) {
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        peer.answered_at = Some(Instant::now());
        peer.entry = Entry::Given;
        let change = peer.control.on(Observation::Passed);
        let uid = uid.map(|uid| ClusterUid(uid.into()));
        let learned = uid.is_some() && peer.uid != uid;
        if learned {
            peer.uid = uid;
        }
        self.turned(if learned { Change::Turned } else { change });
    }

    fn silent(&mut self, id: PeerId, why: String) {
        if let Some(peer) = self.parts.links.peers.get_mut(id) {
            let change = peer.control.on(Observation::Failed(why));
            self.turned(change);
        }
    }

    /// Credentials that let nobody in tell as little as silence; what was heard before holds.
    fn refused(&mut self, id: PeerId) {
        if let Some(peer) = self.parts.links.peers.get_mut(id) {
            let entered = std::mem::replace(&mut peer.entry, Entry::Refused);
            let why = "the credentials are not accepted (401)".to_owned();
            let change = peer.control.on(Observation::Failed(why));
            self.due.judge |= entered != Entry::Refused;
            self.turned(change);
        }
    }

    fn trouble(&mut self, id: PeerId, (watch, why): (&'static str, String), denied: Denied) {
        tracing::debug!(peer = id, why, "a watch failed");
        let complete = self.directory.peer_mut(id).is_complete();
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        let known = peer.trouble.get(watch);
        let news = known.is_none_or(|known| known.why != why);
        let times = known.map_or(0, |known| known.times);
        let before = (peer.denied().is_some(), peer.hides_pods().is_some());
        let trouble = Trouble {
            times: if denied == Denied::Yes {
                times.saturating_add(1)
            } else {
                0
            },
            why,
        };
        peer.trouble.insert(watch, trouble);
        // Until it was heard, that is all there is to say of it.
        self.due.judge |=
            (news && !complete) || before != (peer.denied().is_some(), peer.hides_pods().is_some());
    }
}

/// A host that one slice lists as ready is ready.
fn hosts(inventory: &Inventory, service: &Key) -> Hosts {
    let mut found: BTreeMap<Hostname, Host> = BTreeMap::new();
    let mut some = false;
    for slice in inventory.slices(service) {
        some |= !slice.endpoints.is_empty() || !slice.unready.is_empty();
        let ready = slice
            .endpoints
            .iter()
            .map(|e| (&e.hostname, Readiness::Ready));
        let unready = slice.unready.iter().map(|name| (name, Readiness::NotReady));
        for (name, readiness) in ready.chain(unready) {
            let name = name.as_deref().and_then(|name| Hostname::parse(name).ok());
            let Some(name) = name else { continue };
            let host = Host {
                name: name.clone(),
                readiness,
                version: slice.version.as_deref().unwrap_or_default().to_owned(),
            };
            let known = found.entry(name).or_insert_with(|| host.clone());
            if readiness == Readiness::Ready && known.readiness == Readiness::NotReady {
                *known = host;
            }
        }
    }
    match (found.is_empty(), some) {
        (false, _) => Hosts::Named(found.into_values().collect()),
        (true, true) => Hosts::Nameless,
        (true, false) => Hosts::None,
    }
}

/// The event, as if there were only what is kept: a change of something else is its disappearance.
fn only<K>(event: Event<K>, keep: impl Fn(&K) -> bool) -> Option<Event<K>> {
    match event {
        Event::Apply(object) if !keep(&object) => Some(Event::Delete(object)),
        Event::InitApply(object) if !keep(&object) => None,
        other => Some(other),
    }
}

fn service_key(key: &Key) -> Option<ServiceKey> {
    Some(ServiceKey {
        namespace: name::Namespace::parse(&key.namespace).ok()?,
        name: name::ServiceName::parse(&key.name).ok()?,
    })
}
