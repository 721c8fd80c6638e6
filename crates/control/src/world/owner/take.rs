//! What reaches the owner, put where it belongs. Decides only what has to be looked at because of it.
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Event;
use tokio::time::Instant;
use tombolo_core::cluster::{Change, Observation};
use tombolo_core::name;
use tombolo_core::service::{Readiness, ServiceKey};
use tombolo_core::world::{ClusterUid, Export};

use super::Owner;
use crate::discovery::directory::PeerId;
use crate::discovery::model::Key;
use crate::world::Input;
use crate::world::feed::{Source, What};
use crate::world::intake::Heard;
use crate::world::trim;

impl Owner {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Cluster(Source::Local, what) => self.take_local(*what),
            Input::Cluster(Source::Peer(id), what) => self.take_peer(id, *what),
            Input::Probed(link, observation) => {
                let change = self.parts.links.probed(&link, observation);
                self.turned(change);
            }
            Input::Resolved(link, addresses) => {
                let change = self.parts.links.resolved(&link, addresses);
                self.turned(change);
            }
            Input::Carried(carried) => self.carried(carried),
        }
    }

    fn take_local(&mut self, what: What) {
        let source = Source::Local;
        let inventory = &mut self.directory.local;
        match what {
            What::Service(event) => {
                self.note_local_service(&event);
                let inventory = &mut self.directory.local;
                let done = matches!(event, Event::InitDone);
                self.listings.take(source, event, inventory);
                if done {
                    let known = |key: &ServiceKey| inventory.service(&model_key(key)).is_some();
                    self.world.local.services.retain(|key, _| known(key));
                }
                self.due.plan = true;
            }
            What::Slice(event) => {
                self.note_local_slice(&event);
                let inventory = &mut self.directory.local;
                let done = matches!(event, Event::InitDone);
                self.listings.take(source, event, inventory);
                if done {
                    let slices = &mut self.world.local.slices;
                    slices.retain(|key, _| {
                        let namespace = key.service.namespace.as_str();
                        inventory.has_slice(&Key::new(namespace, &key.name()))
                    });
                }
                self.due.plan = true;
            }
            What::Pod(event) => {
                self.listings.take(source, event, inventory);
            }
            What::Namespace(event) => {
                self.namespaces.take(event, |namespace: Namespace| {
                    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
                    let active = namespace.metadata.deletion_timestamp.is_none()
                        && phase.is_none_or(|phase| phase == "Active");
                    Some((trim::key(&namespace.metadata)?, active.then_some(())))
                });
                self.due.plan = true;
            }
            What::Link(event) => {
                self.links.take(event, |object| {
                    let key = trim::key(&object.metadata)?;
                    let value = serde_json::to_value(&object).unwrap_or_default();
                    Some((key, tombolo_k8s::link::read(&value)))
                });
                self.due.attend = true;
            }
            What::Secret(event) => {
                self.secrets.take(event, |mut secret| {
                    secret.metadata.managed_fields = None;
                    let key = trim::key(&secret.metadata)?;
                    let kind = secret.type_.as_deref();
                    let ours = kind == Some(tombolo_k8s::names::CREDENTIALS_TYPE);
                    Some((key, ours.then(|| Arc::new(secret))))
                });
                self.due.attend = true;
            }
            What::Answered(uid) => {
                if self.own_api.on(Observation::Passed) == Change::Turned {
                    tracing::info!("the API server of this cluster answers");
                }
                if uid.is_some() && self.own_uid != uid {
                    self.world.local.uid = uid.as_deref().map(|uid| ClusterUid(uid.into()));
                    self.own_uid = uid;
                    self.due.judge = true;
                    self.due.plan = true;
                }
            }
            What::Failed(why) => {
                if self.complaint != why {
                    tracing::warn!(why, "a watch of this cluster failed");
                    self.complaint = why;
                }
            }
            What::Silent(why) => {
                if self.own_api.on(Observation::Failed(why.clone())) == Change::Turned {
                    tracing::warn!(
                        why,
                        "the API server of this cluster is silent: what it said last is served"
                    );
                }
            }
        }
    }

    fn note_local_service(&mut self, event: &Event<Service>) {
        let services = &mut self.world.local.services;
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let Some((key, service)) = tombolo_k8s::service::local(object) {
                    services.insert(key, service);
                }
            }
            Event::Delete(object) => {
                if let Some(key) = tombolo_k8s::service::key(&object.metadata) {
                    services.remove(&key);
                }
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn note_local_slice(&mut self, event: &Event<EndpointSlice>) {
        let slices = &mut self.world.local.slices;
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let Some((key, slice)) = tombolo_k8s::slice::local(object) {
                    slices.insert(key, slice);
                }
            }
            Event::Delete(object) => {
                if let Some((key, _)) = tombolo_k8s::slice::local(object) {
                    slices.remove(&key);
                }
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn take_peer(&mut self, id: PeerId, what: What) {
        // What a watch had under way when its peer was dropped.
        if self.parts.links.peers.get(id).is_none() {
            return;
        }
        let source = Source::Peer(id);
        let inventory = self.directory.peer_mut(id);
        let heard = match what {
            What::Service(event) => {
                self.note_export(id, &event);
                let done = matches!(event, Event::InitDone);
                let inventory = self.directory.peer_mut(id);
                let heard = self.listings.take(source, event, inventory);
                if done {
                    self.drop_exports(id);
                }
                heard
            }
            What::Slice(event) => self.listings.take(source, event, inventory),
            What::Pod(event) => self.listings.take(source, event, inventory),
            What::Answered(uid) => return self.answered(id, uid),
            What::Silent(why) => return self.silent(id, why),
            What::Failed(why) => return self.trouble(id, why),
            What::Namespace(_) | What::Link(_) | What::Secret(_) => return,
        };
        self.note_readiness(id);
        if heard == Heard::CompleteNow && self.directory.peer_mut(id).is_complete() {
            tracing::info!(peer = id, "another cluster was heard completely");
            self.directory.touch_peer(id);
            self.due.judge = true;
        }
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
        let readiness = self.readiness(id, &key);
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        let wanted = present && peer.wants(&service);
        let changed = if wanted {
            let export = Export {
                service,
                resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
                readiness,
            };
            peer.exports.insert(key.clone(), export.clone()) != Some(export)
        } else {
            peer.exports.remove(&key).is_some()
        };
        if changed {
            self.show_export(id, &key);
        }
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
            if let Some(peer) = self.parts.links.peers.get_mut(id) {
                peer.exports.remove(&key);
            }
            self.show_export(id, &key);
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
            let readiness = self.readiness(id, &key);
            let peer = self.parts.links.peers.get_mut(id);
            if peer.is_some_and(|peer| peer.set_readiness(&key, readiness)) {
                self.show_export(id, &key);
            }
        }
    }

    fn readiness(&self, id: PeerId, key: &ServiceKey) -> Readiness {
        let key = model_key(key);
        let inventory = self.directory.peer(id);
        let served = inventory
            .is_some_and(|inventory| inventory.slices(&key).any(|s| !s.endpoints.is_empty()));
        if served {
            Readiness::Ready
        } else {
            Readiness::NotReady
        }
    }

    fn answered(&mut self, id: PeerId, uid: Option<String>) {
        let Some(peer) = self.parts.links.peers.get_mut(id) else {
            return;
        };
        peer.answered_at = Some(Instant::now());
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

    fn trouble(&mut self, id: PeerId, why: String) {
        tracing::debug!(peer = id, why, "a watch failed");
        let complete = self.directory.peer_mut(id).is_complete();
        if let Some(peer) = self.parts.links.peers.get_mut(id)
            && peer.trouble != why
        {
            peer.trouble = why;
            // Until it was heard, that is all there is to say of it.
            self.due.judge |= !complete;
        }
    }
}

fn model_key(key: &ServiceKey) -> Key {
    Key::new(key.namespace.as_str(), key.name.as_str())
}

fn service_key(key: &Key) -> Option<ServiceKey> {
    Some(ServiceKey {
        namespace: name::Namespace::parse(&key.namespace).ok()?,
        name: name::ServiceName::parse(&key.name).ok()?,
    })
}
