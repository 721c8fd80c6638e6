//! Where answers hang: one topic per Service, address or pod that somebody asks about.
//!
//! A stream sees the newest answer, never a queue of them; a change wakes only those whom it concerns.
//! Knows nothing of how answers are made.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::directory::{Delta, Holder};
use super::model::{Key, Pod};
use super::view::View;

/// What is known, and who listens.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    zones: watch::Sender<Arc<Zones>>,
}

/// The zone of each node that has one, by the node's name.
pub(crate) type Zones = BTreeMap<Arc<str>, Arc<str>>;

#[derive(Debug, Default)]
struct State {
    knowledge: Knowledge,
    services: Topics<Key, Option<Arc<View>>>,
    addresses: Topics<IpAddr, Holder>,
    pods: Topics<Key, Option<Arc<Pod>>>,
}

/// Whether the local cluster was heard at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Not since this process started: absence means nothing.
    #[default]
    Nothing,
    /// It was: what is not here does not exist.
    Everything,
}

#[derive(Debug)]
struct Topics<K, V> {
    known: BTreeMap<K, V>,
    asked: BTreeMap<K, watch::Sender<V>>,
    sweep_at: usize,
}

/// Topics are swept of those without listeners when there are this many, and at each doubling.
const SWEEP_AT_LEAST: usize = 1024;

impl<K, V> Default for Topics<K, V> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            sweep_at: SWEEP_AT_LEAST,
        }
    }
}

impl<K: Ord + Clone, V: Clone + Default> Topics<K, V> {
    fn subscribe(&mut self, key: &K) -> watch::Receiver<V> {
        if let Some(sender) = self.asked.get(key) {
            return sender.subscribe();
        }
        if self.asked.len() >= self.sweep_at {
            self.asked.retain(|_, sender| sender.receiver_count() > 0);
            self.sweep_at = SWEEP_AT_LEAST.max(self.asked.len() * 2);
        }
        let value = self.known.get(key).cloned().unwrap_or_default();
        let (sender, receiver) = watch::channel(value);
        self.asked.insert(key.clone(), sender);
        receiver
    }

    fn put(&mut self, key: K, value: Option<V>) {
        if let Some(sender) = self.asked.get(&key) {
            if sender.receiver_count() == 0 {
                self.asked.remove(&key);
            } else {
                sender.send_replace(value.clone().unwrap_or_default());
            }
        }
        match value {
            Some(value) => self.known.insert(key, value),
            None => self.known.remove(&key),
        };
    }
}

impl Board {
    /// Hangs up what changed.
    pub(crate) fn apply(&self, delta: Delta) {
        let mut state = self.state.lock();
        for (key, view) in delta.services {
            state.services.put(key, view.map(Some));
        }
        for (ip, holder) in delta.addresses {
            let known = (holder != Holder::Nobody).then_some(holder);
            state.addresses.put(ip, known);
        }
        for (key, pod) in delta.pods {
            state.pods.put(key, pod.map(Some));
        }
    }

    /// From now on, what is not here does not exist.
    pub(crate) fn know_everything(&self) {
        self.state.lock().knowledge = Knowledge::Everything;
    }

    /// Whether absence means anything yet.
    pub(crate) fn knowledge(&self) -> Knowledge {
        self.state.lock().knowledge
    }

    /// The view of a Service, and its changes.
    pub(crate) fn service(&self, key: &Key) -> watch::Receiver<Option<Arc<View>>> {
        self.state.lock().services.subscribe(key)
    }

    /// Who has an address, and its changes.
    pub(crate) fn address(&self, ip: IpAddr) -> watch::Receiver<Holder> {
        self.state.lock().addresses.subscribe(&ip)
    }

    /// Hangs up in which zones nodes are, if that is news.
    pub(crate) fn put_zones(&self, zones: Zones) {
        self.zones.send_if_modified(|known| {
            let news = **known != zones;
            if news {
                *known = Arc::new(zones);
            }
            news
        });
    }

    /// In which zones nodes are, and changes of that.
    pub(crate) fn zones(&self) -> watch::Receiver<Arc<Zones>> {
        self.zones.subscribe()
    }

    /// A pod, and its changes.
    pub(crate) fn pod(&self, key: &Key) -> watch::Receiver<Option<Arc<Pod>>> {
        self.state.lock().pods.subscribe(key)
    }
}
