//! What reaches the owner, put where it belongs. Decides only what has to be looked at because of it.
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::runtime::watcher::Event;
use tombolo_core::cluster::{Change, Observation};
use tombolo_core::service::{ServiceKey, SliceKey};
use tombolo_core::world::ClusterUid;

use super::Owner;
use super::model_key;
use crate::discovery::model::Key;
use crate::world::Input;
use crate::world::feed::{Source, What};
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
        match what {
            What::Service(event) => self.take_local_service(event),
            What::Slice(event) => self.take_local_slice(event),
            What::Pod(event) => {
                let inventory = &mut self.directory.local;
                self.listings.take(Source::Local, event, inventory);
            }
            What::Server(event) => {
                let inventory = &mut self.directory.local;
                self.listings.take(Source::Local, event, inventory);
            }
            What::Node(event) => {
                self.nodes.take(event, |node| trim::node(&node.metadata));
                let zones = self.nodes.iter();
                let zones = zones.map(|(key, zone)| (Arc::clone(&key.name), Arc::clone(zone)));
                self.parts.shared.board.put_zones(zones.collect());
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
            What::Answered(uid) => self.own_api_answered(uid),
            What::Failed { watch, why, .. } => {
                if self.complaints.get(watch) != Some(&why) {
                    tracing::warn!(why, "a watch of this cluster failed");
                    self.complaints.insert(watch, why);
                }
            }
            What::Silent(why) => self.own_api_silent(&why),
            What::Refused => self.own_api_silent("the credentials are not accepted (401)"),
        }
    }

    fn own_api_silent(&mut self, why: &str) {
        if self.own_api.on(Observation::Failed(why.to_owned())) == Change::Turned {
            tracing::warn!(why, "the API server of this cluster is silent");
        }
    }

    fn own_api_answered(&mut self, uid: Option<String>) {
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

    fn take_local_service(&mut self, event: Event<Service>) {
        self.note_local_service(&event);
        let done = matches!(event, Event::InitDone);
        let inventory = &mut self.directory.local;
        self.listings.take(Source::Local, event, inventory);
        if done {
            let known = |key: &ServiceKey| inventory.service(&model_key(key)).is_some();
            self.world.local.services.retain(|key, _| known(key));
            self.world.local.taken_over.retain(|key| known(key));
            self.world.local.going.retain(|key| known(key));
            self.world.unlinked.retain(|(key, _)| known(key));
        }
        self.due.plan = true;
    }

    fn take_local_slice(&mut self, event: Event<EndpointSlice>) {
        self.note_local_slice(&event);
        let done = matches!(event, Event::InitDone);
        let inventory = &mut self.directory.local;
        self.listings.take(Source::Local, event, inventory);
        if done {
            let local = &mut self.world.local;
            let known = |key: &SliceKey| {
                let namespace = key.service.namespace.as_str();
                inventory.has_slice(&Key::new(namespace, &key.name()))
            };
            local.slices.retain(|key, _| known(key));
            local.going_slices.retain(known);
            local.old_slices.retain(|service, names| {
                let namespace = service.namespace.as_str();
                names.retain(|name| inventory.has_slice(&Key::new(namespace, name)));
                !names.is_empty()
            });
        }
        self.due.plan = true;
    }

    fn note_local_service(&mut self, event: &Event<Service>) {
        let local = &mut self.world.local;
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let Some((key, service)) = tombolo_k8s::service::local(object) {
                    note(&mut local.going, &key, is_going(object));
                    if tombolo_k8s::service::was_taken_over(object) {
                        local.taken_over.insert(key.clone());
                    } else {
                        local.taken_over.remove(&key);
                    }
                    local.services.insert(key, service);
                }
            }
            Event::Delete(object) => {
                if let Some(key) = tombolo_k8s::service::key(&object.metadata) {
                    local.services.remove(&key);
                    local.taken_over.remove(&key);
                    local.going.remove(&key);
                    self.world.unlinked.retain(|(of, _)| *of != key);
                }
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn note_local_slice(&mut self, event: &Event<EndpointSlice>) {
        self.note_old_slice(event);
        let local = &mut self.world.local;
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let Some((key, slice)) = tombolo_k8s::slice::local(object) {
                    note(&mut local.going_slices, &key, is_going(object));
                    local.slices.insert(key, slice);
                }
            }
            Event::Delete(object) => {
                if let Some((key, _)) = tombolo_k8s::slice::local(object) {
                    local.going_slices.remove(&key);
                    local.slices.remove(&key);
                }
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn note_old_slice(&mut self, event: &Event<EndpointSlice>) {
        let (object, present) = match event {
            Event::Apply(object) | Event::InitApply(object) => (object, true),
            Event::Delete(object) => (object, false),
            Event::Init | Event::InitDone => return,
        };
        let Some((service, name)) = tombolo_k8s::slice::of_old_endpoints(object) else {
            return;
        };
        let old = &mut self.world.local.old_slices;
        if present {
            old.entry(service).or_default().insert(name);
        } else if let Some(names) = old.get_mut(&service) {
            names.remove(&name);
            if names.is_empty() {
                old.remove(&service);
            }
        }
    }
}

/// Whether an object is deleted, and waits for somebody's finalizer.
fn is_going<K: Resource>(object: &K) -> Going {
    match object.meta().deletion_timestamp {
        Some(_) => Going::Yes,
        None => Going::No,
    }
}

enum Going {
    Yes,
    No,
}

fn note<K: Ord + Clone>(set: &mut BTreeSet<K>, key: &K, going: Going) {
    match going {
        Going::Yes => set.insert(key.clone()),
        Going::No => set.remove(key),
    };
}
