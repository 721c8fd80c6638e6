//! The objects of one cluster, indexed, and which Services a change touches.
//!
//! Decides nothing: it remembers, and says what became dirty. Knows nothing of other clusters.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Key, Pod, Service, Slice};
use super::servers::PolicyServer;

/// A kind of object, fed by one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Services.
    Services,
    /// EndpointSlices.
    Slices,
    /// Pods.
    Pods,
    /// Servers of Linkerd's policy, where there are any: nothing waits for them.
    Servers,
}

/// Objects of one kind that are kept of one cluster: several times what Kubernetes itself is made for.
pub(crate) const OBJECTS_MAX: usize = 500_000;

/// The objects of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    services: BTreeMap<Key, Arc<Service>>,
    slices: BTreeMap<Key, Arc<Slice>>,
    pods: BTreeMap<Key, Arc<Pod>>,
    servers: BTreeMap<Key, PolicyServer>,
    /// (service, slice)
    slices_of: BTreeSet<(Key, Key)>,
    /// (pod, slice)
    slices_on: BTreeSet<(Key, Key)>,
    complete: BTreeSet<Kind>,
    /// Services that were passed over so far, until each of these kinds was listed anew.
    awaited: BTreeMap<Key, BTreeSet<Kind>>,
    dirty: BTreeSet<Key>,
    dirty_pods: BTreeSet<Key>,
}

impl Inventory {
    /// Whether every kind was listed once: before that, absence means nothing.
    pub(crate) fn is_complete(&self) -> bool {
        let needed = [Kind::Services, Kind::Slices, Kind::Pods];
        needed.iter().all(|kind| self.is_kind_complete(*kind))
    }

    /// Whether all that mirrors are made of was listed once: they need no pods.
    pub(crate) fn tells_exports(&self) -> bool {
        self.is_kind_complete(Kind::Services) && self.is_kind_complete(Kind::Slices)
    }

    /// Whether there is no room for another object of `kind`; what is there already may change.
    pub(crate) fn is_full(&self, kind: Kind, key: &Key) -> bool {
        let (count, known) = match kind {
            Kind::Services => (self.services.len(), self.services.contains_key(key)),
            Kind::Slices => (self.slices.len(), self.slices.contains_key(key)),
            Kind::Pods => (self.pods.len(), self.pods.contains_key(key)),
            Kind::Servers => (self.servers.len(), self.servers.contains_key(key)),
        };
        count >= OBJECTS_MAX && !known
    }

    /// Whether all objects of `kind` were listed once.
    pub(crate) fn is_kind_complete(&self, kind: Kind) -> bool {
        self.complete.contains(&kind)
    }

    /// Drops slices and pods of other namespaces.
    pub(crate) fn keep_namespaces(&mut self, keep: impl Fn(&str) -> bool) {
        fn others<V>(map: &BTreeMap<Key, V>, keep: &impl Fn(&str) -> bool) -> Vec<Key> {
            map.keys()
                .filter(|k| !keep(&k.namespace))
                .cloned()
                .collect()
        }
        for key in others(&self.slices, &keep) {
            self.drop_slice(&key);
        }
        for key in others(&self.pods, &keep) {
            self.drop_pod(&key);
        }
    }

    /// Notes that all objects of `kind` were listed; true if that was news.
    pub(crate) fn complete(&mut self, kind: Kind) -> bool {
        let dirty = &mut self.dirty;
        self.awaited.retain(|service, kinds| {
            kinds.remove(&kind);
            if kinds.is_empty() {
                dirty.insert(service.clone());
            }
            !kinds.is_empty()
        });
        self.complete.insert(kind)
    }

    /// A Service was passed over so far: what there is of it is known after the next listing.
    pub(crate) fn expect(&mut self, service: &Key) {
        let kinds = BTreeSet::from([Kind::Services, Kind::Slices, Kind::Pods]);
        self.awaited.insert(service.clone(), kinds);
        self.dirty.insert(service.clone());
    }

    /// Whether what is known of a Service is all that there is.
    pub(crate) fn knows(&self, service: &Key) -> bool {
        !self.awaited.contains_key(service)
    }

    /// A Service was added or changed.
    pub(crate) fn put_service(&mut self, service: Service) {
        if self
            .services
            .get(&service.key)
            .is_some_and(|old| **old == service)
        {
            return;
        }
        self.dirty.insert(service.key.clone());
        self.services.insert(service.key.clone(), Arc::new(service));
    }

    /// A Service went away.
    pub(crate) fn drop_service(&mut self, key: &Key) {
        if self.services.remove(key).is_some() {
            self.dirty.insert(key.clone());
        }
    }

    /// A slice was added or changed.
    pub(crate) fn put_slice(&mut self, slice: Slice) {
        if self
            .slices
            .get(&slice.key)
            .is_some_and(|old| **old == slice)
        {
            return;
        }
        let key = slice.key.clone();
        self.drop_slice(&key);
        let service = key.sibling(&slice.service);
        for pod in slice.endpoints.iter().filter_map(|e| e.pod.clone()) {
            self.slices_on.insert((pod, key.clone()));
        }
        self.slices_of.insert((service.clone(), key.clone()));
        self.dirty.insert(service);
        self.slices.insert(key, Arc::new(slice));
    }

    /// A slice went away.
    pub(crate) fn drop_slice(&mut self, key: &Key) {
        let Some(old) = self.slices.remove(key) else {
            return;
        };
        let service = key.sibling(&old.service);
        for pod in old.endpoints.iter().filter_map(|e| e.pod.clone()) {
            self.slices_on.remove(&(pod, key.clone()));
        }
        self.slices_of.remove(&(service.clone(), key.clone()));
        self.dirty.insert(service);
    }

    /// A pod was added or changed.
    pub(crate) fn put_pod(&mut self, pod: Pod) {
        if self.pods.get(&pod.key).is_some_and(|old| **old == pod) {
            return;
        }
        self.touch_pod(&pod.key);
        self.pods.insert(pod.key.clone(), Arc::new(pod));
    }

    /// A pod went away.
    pub(crate) fn drop_pod(&mut self, key: &Key) {
        if self.pods.remove(key).is_some() {
            self.touch_pod(key);
        }
    }

    /// A Server was added or changed.
    pub(crate) fn put_server(&mut self, server: PolicyServer) {
        if self.servers.get(&server.key) == Some(&server) {
            return;
        }
        self.touch_pods_of(&server.key);
        self.servers.insert(server.key.clone(), server);
    }

    /// A Server went away.
    pub(crate) fn drop_server(&mut self, key: &Key) {
        if self.servers.remove(key).is_some() {
            self.touch_pods_of(key);
        }
    }

    /// Whether some Server says that this port of a pod is not looked into.
    pub(crate) fn is_opaque(&self, pod: &Pod, port: u16) -> bool {
        let from = first(&pod.key);
        let servers = self.servers.range(from..);
        let mut servers = servers.take_while(|(key, _)| key.namespace == pod.key.namespace);
        servers.any(|(_, server)| server.makes_opaque(pod, port))
    }

    /// After a new listing of `kind`: whatever is not in `listed` went away while nobody watched.
    pub(crate) fn retain(&mut self, kind: Kind, listed: &BTreeSet<Key>) {
        fn gone<V>(map: &BTreeMap<Key, V>, listed: &BTreeSet<Key>) -> Vec<Key> {
            map.keys()
                .filter(|k| !listed.contains(k))
                .cloned()
                .collect()
        }
        match kind {
            Kind::Services => {
                for key in gone(&self.services, listed) {
                    self.drop_service(&key);
                }
            }
            Kind::Slices => {
                for key in gone(&self.slices, listed) {
                    self.drop_slice(&key);
                }
            }
            Kind::Pods => {
                for key in gone(&self.pods, listed) {
                    self.drop_pod(&key);
                }
            }
            Kind::Servers => {
                for key in gone(&self.servers, listed) {
                    self.drop_server(&key);
                }
            }
        }
    }

    /// The Service of that key.
    pub(crate) fn service(&self, key: &Key) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// The pod of that key.
    pub(crate) fn pod(&self, key: &Key) -> Option<&Arc<Pod>> {
        self.pods.get(key)
    }

    /// The slices of a Service, in order of their names.
    pub(crate) fn slices<'a>(&'a self, service: &'a Key) -> impl Iterator<Item = &'a Arc<Slice>> {
        let from = (service.clone(), first(service));
        self.slices_of
            .range(from..)
            .take_while(move |(of, _)| of == service)
            .filter_map(|(_, slice)| self.slices.get(slice))
    }

    /// Whether there is a slice of that key.
    pub(crate) fn has_slice(&self, key: &Key) -> bool {
        self.slices.contains_key(key)
    }

    /// The Services whose answers may have changed since they were taken last.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &Key> {
        self.dirty.iter()
    }

    /// The Services whose answers may have changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.dirty)
    }

    /// The pods that changed since the last call.
    pub(crate) fn take_dirty_pods(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.dirty_pods)
    }

    /// All pods of the namespace of an object.
    fn touch_pods_of(&mut self, object: &Key) {
        let pods = self.pods.range(first(object)..);
        let pods = pods.take_while(|(key, _)| key.namespace == object.namespace);
        let pods: Vec<Key> = pods.map(|(key, _)| key.clone()).collect();
        for pod in pods {
            self.touch_pod(&pod);
        }
    }

    fn touch_pod(&mut self, pod: &Key) {
        self.dirty_pods.insert(pod.clone());
        let from = (pod.clone(), first(pod));
        for (of, slice) in self.slices_on.range(from..) {
            if of != pod {
                break;
            }
            if let Some(slice) = self.slices.get(slice) {
                self.dirty.insert(slice.key.sibling(&slice.service));
            }
        }
    }
}

/// Before every key of the namespace of `key`.
fn first(key: &Key) -> Key {
    key.sibling(&"".into())
}
