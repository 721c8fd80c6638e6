//! From changes of the store to the keys that they touch.
//!
//! It holds only what would be dear to look up: who depends on whom, and the Services' selectors.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Key, What};
use crate::db::Db;
use crate::object::Object;
use crate::registry::{Registry, StorageKey};
use crate::selector::LabelSelector;
use crate::store::json::{list, text};
use crate::store::snapshot::Snapshot;
use crate::store::{Change, Removed};

/// Changes that are looked at together.
const CHANGES_MAX: usize = 512;

type Place = (StorageKey, String, String);

/// What was derived from all changes so far.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// How far the changes have been followed; none before the beginning.
    position: Option<u64>,
    dependents: BTreeMap<Box<str>, BTreeSet<Place>>,
    /// By namespace: who selects Pods, and which.
    selectors: BTreeMap<String, BTreeMap<Key, LabelSelector>>,
}

impl Index {
    /// Takes in what has changed, and notes the keys that are due.
    pub(super) fn follow(&mut self, db: &Db, due: &mut BTreeSet<Key>) {
        loop {
            let known = self.position;
            let changes = known.and_then(|known| db.all_changes_after(known, CHANGES_MAX));
            let Some(changes) = changes else {
                // It begins, or fell behind the history: look at everything.
                return self.start_over(db, due);
            };
            let registry = db.registry();
            for event in &changes {
                self.take_in(&registry, &event.change, due);
                self.position = Some(event.version());
            }
            if changes.len() < CHANGES_MAX {
                return;
            }
        }
    }

    /// Derives everything from the present state.
    fn start_over(&mut self, db: &Db, due: &mut BTreeSet<Key>) {
        let (state, registry) = (db.snapshot(), db.registry());
        *self = Self {
            position: Some(state.version),
            ..Self::default()
        };
        for (collection, shelf) in state.collections() {
            for object in shelf.iter() {
                let change = Change {
                    collection: collection.clone(),
                    old: None,
                    new: Arc::clone(object),
                    removed: Removed::No,
                };
                self.take_in(&registry, &change, due);
            }
        }
    }

    /// Who names the object of a key as its owner.
    pub(super) fn dependents_of(&self, state: &Snapshot, key: &Key) -> Vec<Place> {
        let Key::Collect(collection, namespace, name) = key else {
            return Vec::new();
        };
        let Some(object) = state.get(collection, namespace, name) else {
            return Vec::new();
        };
        self.dependents
            .get(object.uid())
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn take_in(&mut self, registry: &Registry, change: &Change, due: &mut BTreeSet<Key>) {
        self.relate(change, due);
        let object = &change.new;
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let collection = (&*change.collection.group, &*change.collection.plural);
        if let Some(what) = what_of(collection) {
            let key = Key::Of(what, namespace.clone(), name);
            if selects_pods(what) {
                self.select(&key, change);
            }
            due.insert(key);
        }
        match collection {
            ("", "services" | "endpoints") => {
                let name = object.name().to_owned();
                due.insert(Key::Of(What::Mirror, namespace.clone(), name.clone()));
                due.insert(Key::Of(What::Endpoints, namespace, name));
            }
            ("", "pods") => {
                claims_of_pod(change, due);
                self.pod(change, due);
            }
            ("", "persistentvolumes" | "persistentvolumeclaims") => partners(change, due),
            ("", "nodes") => self.node(change, due),
            ("rbac.authorization.k8s.io", "clusterroles") => {
                due.insert(Key::Of(What::ClusterRoles, String::new(), String::new()));
            }
            ("", "serviceaccounts" | "configmaps") => {
                if matches!(object.name(), "default" | "kube-root-ca.crt") {
                    due.insert(namespace_key(&namespace));
                }
            }
            ("discovery.k8s.io", "endpointslices") => {
                if let Some(service) = object.label(super::slices::SERVICE_NAME) {
                    let name = service.to_owned();
                    due.insert(Key::Of(What::Mirror, namespace.clone(), name.clone()));
                    due.insert(Key::Of(What::Slices, namespace, name));
                }
            }
            _ => {}
        }
        for object in change.old.iter().chain([object]) {
            if object.owners().next().is_some() {
                owner_keys(registry, object, due);
            }
        }
        if change.removed == Removed::Yes {
            if !object.namespace().is_empty() {
                due.insert(namespace_key(object.namespace()));
            }
            let crd = format!("{}.{}", change.collection.plural, change.collection.group);
            due.insert(Key::Of(What::Crd, String::new(), crd));
        }
    }

    /// Owners and dependents.
    fn relate(&mut self, change: &Change, due: &mut BTreeSet<Key>) {
        let object = &change.new;
        let place = (
            change.collection.clone(),
            object.namespace().to_owned(),
            object.name().to_owned(),
        );
        for uid in change.old.iter().flat_map(|old| old.owners()) {
            if let Some(places) = self.dependents.get_mut(uid) {
                places.remove(&place);
                if places.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        if change.removed == Removed::Yes {
            let orphans = self.dependents.get(object.uid()).into_iter().flatten();
            due.extend(orphans.cloned().map(collect));
        } else {
            for uid in object.owners() {
                self.dependents
                    .entry(uid.into())
                    .or_default()
                    .insert(place.clone());
            }
            if object.owners().next().is_some() || object.is_terminating() {
                due.insert(collect(place));
            }
        }
    }

    /// Keeps the selector of whoever selects Pods.
    fn select(&mut self, key: &Key, change: &Change) {
        let Key::Of(what, namespace, _) = key else {
            return;
        };
        let selector = change.new.value()["spec"]["selector"].take();
        let selects = change.removed == Removed::No
            && selector
                .as_object()
                .is_some_and(|selector| !selector.is_empty());
        let selectors = self.selectors.entry(namespace.clone()).or_default();
        if selects {
            let selector = match what {
                What::Slices | What::ReplicationController => LabelSelector::from_map(&selector),
                _ => LabelSelector::from_object(&selector),
            };
            selectors.insert(key.clone(), selector);
        } else {
            selectors.remove(key);
            if selectors.is_empty() {
                self.selectors.remove(namespace);
            }
        }
    }

    /// A Pod concerns whoever selects it; those who would adopt it only if nobody owns it.
    fn pod(&self, change: &Change, due: &mut BTreeSet<Key>) {
        let object = &change.new;
        let Some(selectors) = self.selectors.get(object.namespace()) else {
            return;
        };
        let owned = object.owners().next().is_some();
        for (key, selector) in selectors {
            if owned && !matches!(key, Key::Of(What::Slices | What::Budget, _, _)) {
                continue;
            }
            let selected = |pod: &Arc<Object>| selector.matches(|key| pod.label(key));
            if selected(object) || change.old.as_ref().is_some_and(selected) {
                due.insert(key.clone());
                if let Key::Of(What::Slices, namespace, name) = key {
                    let (namespace, name) = (namespace.clone(), name.clone());
                    due.insert(Key::Of(What::Endpoints, namespace, name));
                }
            }
        }
    }

    /// A node's zone is written into the slices, and daemons come to nodes.
    fn node(&self, change: &Change, due: &mut BTreeSet<Key>) {
        let keys = self.selectors.values().flat_map(BTreeMap::keys);
        let daemons = keys.filter(|key| matches!(key, Key::Of(What::DaemonSet, _, _)));
        due.extend(daemons.cloned());
        let zone = |node: &Arc<Object>| node.label(super::slices::ZONE).map(str::to_owned);
        let stays = change.old.is_some() && change.removed == Removed::No;
        if stays && change.old.as_ref().and_then(zone) == zone(&change.new) {
            return;
        }
        let keys = self.selectors.values().flat_map(BTreeMap::keys);
        due.extend(
            keys.filter(|key| matches!(key, Key::Of(What::Slices, _, _)))
                .cloned(),
        );
    }
}

/// A volume concerns its claim, and the other way round.
fn partners(change: &Change, due: &mut BTreeSet<Key>) {
    for object in change.old.iter().chain([&change.new]) {
        let value = object.value();
        let (spec, reference) = (&value["spec"], &value["spec"]["claimRef"]);
        let volume = text(spec, "volumeName");
        if !volume.is_empty() {
            due.insert(Key::Of(What::Volume, String::new(), volume.to_owned()));
        }
        let (namespace, name) = (text(reference, "namespace"), text(reference, "name"));
        if !name.is_empty() {
            due.insert(Key::Of(What::Claim, namespace.to_owned(), name.to_owned()));
        }
    }
}

/// A Pod concerns the claims that it uses.
fn claims_of_pod(change: &Change, due: &mut BTreeSet<Key>) {
    let object = &change.new;
    let word = b"persistentVolumeClaim";
    if !object.bytes().windows(word.len()).any(|part| part == word) {
        return;
    }
    for volume in list(&object.value()["spec"], "volumes") {
        let name = text(&volume["persistentVolumeClaim"], "claimName");
        if !name.is_empty() {
            let namespace = object.namespace().to_owned();
            due.insert(Key::Of(What::Claim, namespace, name.to_owned()));
        }
    }
}

/// Who looks after the objects of a collection.
fn what_of((group, plural): (&str, &str)) -> Option<What> {
    Some(match (group, plural) {
        ("", "namespaces") => What::Namespace,
        ("", "secrets") => What::Secret,
        ("", "serviceaccounts") => What::Account,
        ("", "services") => What::Slices,
        ("", "nodes") => What::Node,
        ("", "events") => What::Event,
        ("", "persistentvolumes") => What::Volume,
        ("", "persistentvolumeclaims") => What::Claim,
        ("", "replicationcontrollers") => What::ReplicationController,
        ("apps", "deployments") => What::Deployment,
        ("apps", "replicasets") => What::ReplicaSet,
        ("apps", "statefulsets") => What::StatefulSet,
        ("apps", "daemonsets") => What::DaemonSet,
        ("batch", "jobs") => What::Job,
        ("batch", "cronjobs") => What::CronJob,
        ("autoscaling", "horizontalpodautoscalers") => What::Autoscaler,
        ("policy", "poddisruptionbudgets") => What::Budget,
        ("apiextensions.k8s.io", "customresourcedefinitions") => What::Crd,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => What::Policy,
        _ => return None,
    })
}

/// The other way round, for kinds that own others.
fn owner_of(kind: &str) -> Option<What> {
    Some(match kind {
        "ReplicaSet" => What::ReplicaSet,
        "ReplicationController" => What::ReplicationController,
        "Deployment" => What::Deployment,
        "StatefulSet" => What::StatefulSet,
        "DaemonSet" => What::DaemonSet,
        "Job" => What::Job,
        "CronJob" => What::CronJob,
        _ => return None,
    })
}

fn selects_pods(what: What) -> bool {
    matches!(
        what,
        What::Slices
            | What::ReplicaSet
            | What::ReplicationController
            | What::StatefulSet
            | What::DaemonSet
            | What::Job
            | What::Budget
    )
}

fn namespace_key(name: &str) -> Key {
    Key::Of(What::Namespace, String::new(), name.to_owned())
}

/// The owners of an object, which its references name: they count, or wait for, their dependents.
fn owner_keys(registry: &Registry, object: &Object, due: &mut BTreeSet<Key>) {
    let value = object.value();
    let namespace = object.namespace().to_owned();
    for owner in list(&value["metadata"], "ownerReferences") {
        if let Some(what) = owner_of(text(owner, "kind")) {
            let name = text(owner, "name").to_owned();
            due.insert(Key::Of(what, namespace.clone(), name));
        }
        if let Some(place) = super::collect::place_of(registry, owner, &namespace) {
            due.insert(collect(place));
        }
    }
}

fn collect((collection, namespace, name): Place) -> Key {
    Key::Collect(collection, namespace, name)
}
