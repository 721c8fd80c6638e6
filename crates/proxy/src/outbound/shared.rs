//! What all of one process's outbound shares: the paths and clusters by name, the bounds, the times.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tombolo_core::limits;
use tombolo_core::rescue::{Budget, Refusal};
use tombolo_shell::task::Tasks;

use super::Connector;
use super::cluster::{Cluster, ClusterReport};
use super::path::{Path, PathHandle, PathKey};

pub(super) struct Shared {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) tasks: Tasks,
    /// All times below are counted from here.
    pub(super) start: Instant,
    /// A path, a cluster or a set of endpoints changed; who waits for one looks again.
    pub(super) changed: Notify,
    /// When anything was last heard, on any path.
    pub(super) heard_ms: AtomicU64,
    /// The slowest handshake of late, and when.
    handshake: Mutex<(Duration, Instant)>,
    clusters: Mutex<BTreeMap<Arc<str>, Arc<Cluster>>>,
    paths: Mutex<BTreeMap<PathKey, Weak<PathHandle>>>,
    next_path: AtomicU64,
    budget: Mutex<Budget>,
    pub(super) requests: AtomicU64,
    pub(super) in_flight: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    pub(super) replay_bytes: AtomicUsize,
}

/// A handshake's deadline is so many times the slowest of late.
const HANDSHAKE_TIMES: u32 = 4;
/// But at least this.
const HANDSHAKE_MIN: Duration = Duration::from_millis(300);
/// And at most this.
const HANDSHAKE_MAX: Duration = Duration::from_millis(1_500);
/// The slowest handshake is forgotten by halves.
const HANDSHAKE_HALF_LIFE_S: f64 = 20.0;

impl Shared {
    pub(super) fn new(connector: Arc<dyn Connector>, tasks: Tasks) -> Self {
        let start = Instant::now();
        Self {
            connector,
            tasks,
            start,
            changed: Notify::new(),
            heard_ms: AtomicU64::new(0),
            handshake: Mutex::new((HANDSHAKE_MAX, start)),
            clusters: Mutex::new(BTreeMap::new()),
            paths: Mutex::new(BTreeMap::new()),
            next_path: AtomicU64::new(1),
            budget: Mutex::new(Budget::new()),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            replay_bytes: AtomicUsize::new(0),
        }
    }

    /// Milliseconds since the start, at least 1.
    pub(super) fn ms(&self, now: Instant) -> u64 {
        let ms = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX).max(1)
    }

    /// The path to an endpoint, shared by all sets that hold it; new ones start their task.
    pub(super) fn path(self: &Arc<Self>, key: &PathKey, cluster: &Arc<str>) -> Arc<PathHandle> {
        let mut paths = self.paths.lock();
        let known = paths.get(key).and_then(Weak::upgrade);
        if let Some(handle) = known.filter(|handle| handle.path.cluster.name == *cluster) {
            return handle;
        }
        let cluster = self.cluster(cluster);
        let id = self.next_path.fetch_add(1, Relaxed);
        let path = Arc::new(Path::new(id, key.clone(), cluster.clone()));
        cluster.join(&path);
        let handle = Arc::new(PathHandle { path: path.clone() });
        if paths.len().is_power_of_two() {
            paths.retain(|_, handle| handle.strong_count() > 0);
        }
        paths.insert(key.clone(), Arc::downgrade(&handle));
        self.tasks
            .spawn_one("outbound-path", super::connect::keep(self.clone(), path));
        handle
    }

    /// The cluster of that name. Endpoints without one share no fate: each gets a cluster of its own.
    fn cluster(&self, name: &Arc<str>) -> Arc<Cluster> {
        let mut clusters = self.clusters.lock();
        if let Some(cluster) = clusters.get(name) {
            return cluster.clone();
        }
        let cluster = Arc::new(Cluster::new(name.clone()));
        if !name.is_empty() && clusters.len() < limits::OUTBOUND_CLUSTERS_MAX {
            clusters.insert(name.clone(), cluster.clone());
        }
        cluster
    }

    pub(super) fn reports(&self) -> Vec<ClusterReport> {
        self.clusters
            .lock()
            .values()
            .map(|cluster| cluster.report())
            .collect()
    }

    /// How long a connection and its handshake may take.
    pub(super) fn handshake_deadline(&self, now: Instant) -> Duration {
        let (slowest, at) = *self.handshake.lock();
        let age = now.saturating_duration_since(at).as_secs_f64();
        let faded = slowest.mul_f64(0.5_f64.powf((age / HANDSHAKE_HALF_LIFE_S).min(64.0)));
        (faded * HANDSHAKE_TIMES).clamp(HANDSHAKE_MIN, HANDSHAKE_MAX)
    }

    pub(super) fn handshake_took(&self, now: Instant, took: Duration) {
        let mut handshake = self.handshake.lock();
        let age = now.saturating_duration_since(handshake.1).as_secs_f64();
        let faded = handshake
            .0
            .mul_f64(0.5_f64.powf((age / HANDSHAKE_HALF_LIFE_S).min(64.0)));
        *handshake = (faded.max(took), now);
    }

    /// Takes one rescue from the budget.
    pub(super) fn budget(&self) -> Result<(), Refusal> {
        self.budget.lock().take(self.requests.load(Relaxed))
    }
}
