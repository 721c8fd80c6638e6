//! The endpoints of one destination, as requests choose among them: an immutable set that is replaced
//! when discovery publishes another, with counters that requests write.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::uri::Authority;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::watch;
use tombolo_core::limits;

use super::path::{PathHandle, PathKey, PathKind};
use super::shared::Shared;
use crate::endpoint::{Destination, Endpoint, EndpointSet, Peer};

/// How soon a follower finds out that nobody holds its destination any more.
const SWEEP: Duration = Duration::from_secs(5);

/// The balancers by the address of their destination, which they keep from being reused.
pub(super) struct Balancers {
    known: ArcSwap<HashMap<usize, Arc<Balancer>>>,
    /// Held while one is added or removed.
    change: Mutex<()>,
}

pub(super) struct Balancer {
    pub(super) name: Arc<str>,
    /// The name as the authority of requests that bring none.
    pub(super) authority: Authority,
    pub(super) canonical: HeaderValue,
    pub(super) state: ArcSwap<State>,
    destination: Weak<Destination>,
}

pub(super) enum State {
    Unknown,
    Absent,
    Present(Group),
}

pub(super) struct Group {
    pub(super) members: Box<[Member]>,
    pub(super) round: AtomicU64,
    pub(super) spans_clusters: bool,
}

pub(super) struct Member {
    pub(super) handle: Arc<PathHandle>,
    pub(super) weight: u32,
    pub(super) turn: AtomicU64,
    pub(super) authority: Option<Authority>,
}

impl Balancers {
    pub(super) fn new() -> Self {
        Self {
            known: ArcSwap::default(),
            change: Mutex::new(()),
        }
    }

    /// The balancer of a destination; a new one follows it from now on.
    pub(super) fn of(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        destination: &Arc<Destination>,
    ) -> Arc<Balancer> {
        let key = Arc::as_ptr(destination) as usize;
        if let Some(balancer) = self.known.load().get(&key) {
            return balancer.clone();
        }
        let _change = self.change.lock();
        if let Some(balancer) = self.known.load().get(&key) {
            return balancer.clone();
        }
        let balancer = Arc::new(Balancer::new(destination));
        let mut endpoints = destination.endpoints.clone();
        balancer.update(shared, &endpoints.borrow_and_update().clone());
        let mut known = HashMap::clone(&self.known.load());
        known.insert(key, balancer.clone());
        self.known.store(Arc::new(known));
        let follow = follow(shared.clone(), self.clone(), balancer.clone(), endpoints);
        shared.tasks.spawn_one("outbound-destination", follow);
        balancer
    }

    fn forget(&self, balancer: &Balancer) {
        let _change = self.change.lock();
        let mut known = HashMap::clone(&self.known.load());
        known.remove(&(balancer.destination.as_ptr() as usize));
        self.known.store(Arc::new(known));
    }
}

async fn follow(
    shared: Arc<Shared>,
    balancers: Arc<Balancers>,
    balancer: Arc<Balancer>,
    mut endpoints: watch::Receiver<EndpointSet>,
) {
    let mut open = true;
    while balancer.destination.strong_count() > 0 {
        tokio::select! {
            biased;
            changed = endpoints.changed(), if open => {
                open = changed.is_ok();
                let set = endpoints.borrow_and_update().clone();
                balancer.update(&shared, &set);
            }
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
    balancers.forget(&balancer);
}

impl Balancer {
    fn new(destination: &Arc<Destination>) -> Self {
        let name = destination.name.clone();
        let unnamed = || Authority::from_static("unnamed.invalid");
        Self {
            authority: Authority::try_from(&*name).unwrap_or_else(|_| unnamed()),
            canonical: HeaderValue::from_str(&name)
                .unwrap_or_else(|_| HeaderValue::from_static("unnamed.invalid")),
            name,
            state: ArcSwap::from_pointee(State::Unknown),
            destination: Arc::downgrade(destination),
        }
    }

    fn update(&self, shared: &Arc<Shared>, set: &EndpointSet) {
        let state = match set {
            EndpointSet::Unknown => State::Unknown,
            EndpointSet::Absent => State::Absent,
            EndpointSet::Present(endpoints) => State::Present(self.group(shared, endpoints)),
        };
        self.state.store(Arc::new(state));
        shared.changed.notify_waiters();
    }

    fn group(&self, shared: &Arc<Shared>, endpoints: &[Endpoint]) -> Group {
        let old = self.state.load();
        let (old_members, round): (&[Member], u64) = match &**old {
            State::Present(group) => (&group.members, group.round.load(Relaxed)),
            State::Unknown | State::Absent => (&[], 0),
        };
        let turns: HashMap<u64, u64> = old_members
            .iter()
            .map(|member| (member.handle.path.id, member.turn.load(Relaxed)))
            .collect();
        let members: Box<[Member]> = endpoints
            .iter()
            .map(|endpoint| {
                let handle = shared.path(&key(endpoint), &endpoint.cluster);
                let turn = turns.get(&handle.path.id).copied().unwrap_or(round);
                let authority = endpoint.authority.as_deref();
                Member {
                    handle,
                    weight: endpoint.weight,
                    turn: AtomicU64::new(turn),
                    authority: authority.and_then(|text| Authority::try_from(text).ok()),
                }
            })
            .collect();
        let first = endpoints.first().map(|endpoint| &endpoint.cluster);
        let spans_clusters = endpoints
            .iter()
            .any(|endpoint| Some(&endpoint.cluster) != first);
        let group = Group {
            members,
            round: AtomicU64::new(round),
            spans_clusters,
        };
        group.warm();
        group
    }
}

impl Group {
    /// Opens connections: to all endpoints of a small set, to some of a large one.
    pub(super) fn warm(&self) {
        let count = self.members.len();
        let offset = if count > limits::OUTBOUND_WARM_MAX {
            rand::rng().random_range(0..count)
        } else {
            0
        };
        for i in 0..count.min(limits::OUTBOUND_WARM_MAX) {
            let path = &self.members[(offset + i) % count].handle.path;
            if !path.eager.swap(true, Relaxed) {
                path.news.notify_one();
            }
        }
    }
}

fn key(endpoint: &Endpoint) -> PathKey {
    match &endpoint.peer {
        Peer::Plain => PathKey {
            addr: endpoint.addr,
            kind: PathKind::Plain,
        },
        Peer::Meshed {
            identity,
            inbound_port,
        } => {
            let mut addr = endpoint.addr;
            addr.set_port(*inbound_port);
            let named = endpoint
                .authority
                .as_deref()
                .and_then(|text| text.rsplit_once(':'));
            let named = named.and_then(|(name, port)| Some((name, port.parse().ok()?)));
            let (name, port) = named.unwrap_or_else(|| ("", endpoint.addr.port()));
            let kind = PathKind::Mesh {
                identity: identity.clone(),
                name: name.into(),
                port,
            };
            PathKey { addr, kind }
        }
    }
}
