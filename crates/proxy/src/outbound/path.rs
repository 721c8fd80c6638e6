//! The path to one endpoint: what balancers read about it, without a lock, and what its task, its
//! connection and its requests write. A path outlives its connections.
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tombolo_core::balance::{self, Latency, Standing};
use tombolo_core::breaker::Death;

use super::cluster::Cluster;
use super::meter::Meter;
use super::plain::Pool;
use super::shared::Shared;

/// What makes two endpoints the same path: one connection can serve both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PathKey {
    pub(super) addr: SocketAddr,
    pub(super) kind: PathKind,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathKind {
    /// To a peer proxy, with the transport header's name (empty: the peer itself) and port.
    Mesh {
        identity: Arc<str>,
        name: Arc<str>,
        port: u16,
    },
    /// To an application, HTTP/1.1 in plain text.
    Plain,
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) id: u64,
    pub(super) key: PathKey,
    pub(super) cluster: Arc<Cluster>,
    /// The connection that takes new requests.
    pub(super) line: ArcSwapOption<Line>,
    /// Idle connections to an application.
    pub(super) pool: Pool,
    condition: AtomicU8,
    doubtful: AtomicBool,
    pub(super) pending: AtomicU32,
    latency: AtomicU64,
    up_since_ms: AtomicU64,
    sick_until_ms: AtomicU64,
    sick_for_ms: AtomicU32,
    death: Mutex<Option<Death>>,
    /// Its task shall connect even if nothing else says so.
    wanted: Notify,
    /// Its task shall look: the connection ended, or no set holds the path any more.
    pub(super) news: Notify,
    pub(super) eager: AtomicBool,
    released: AtomicBool,
}

/// What the sets of endpoints hold: when the last one lets go, the path drains and ends.
#[derive(Debug)]
pub(super) struct PathHandle {
    pub(super) path: Arc<Path>,
}

/// One HTTP/2 connection that takes requests. When the last request lets go of it, it closes.
pub(super) struct Line {
    pub(super) send: SendRequest<Bytes>,
    pub(super) meter: Arc<Meter>,
}

const COMING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// For so long an endpoint whose application refused is avoided; doubled each time in a row.
const SICK_MIN_MS: u32 = 250;
const SICK_MAX_MS: u32 = 2_000;

impl Path {
    pub(super) fn new(id: u64, key: PathKey, cluster: Arc<Cluster>) -> Self {
        Self {
            id,
            key,
            cluster,
            line: ArcSwapOption::empty(),
            pool: Pool::default(),
            condition: AtomicU8::new(COMING),
            doubtful: AtomicBool::new(false),
            pending: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            up_since_ms: AtomicU64::new(0),
            sick_until_ms: AtomicU64::new(0),
            sick_for_ms: AtomicU32::new(0),
            death: Mutex::new(None),
            wanted: Notify::new(),
            news: Notify::new(),
            eager: AtomicBool::new(false),
            released: AtomicBool::new(false),
        }
    }

    pub(super) fn standing(&self, now_ms: u64) -> Standing {
        if self.cluster.is_out() {
            return Standing::Down;
        }
        match self.condition.load(Relaxed) {
            UP if self.doubtful.load(Relaxed) || now_ms < self.sick_until_ms.load(Relaxed) => {
                Standing::Doubtful
            }
            UP => Standing::Up,
            COMING => Standing::Coming,
            _ => Standing::Down,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.condition.load(Relaxed) == UP
    }

    /// The weight now: it grows after a return.
    pub(super) fn ramped(&self, weight: u32, now_ms: u64) -> u32 {
        let age = now_ms.saturating_sub(self.up_since_ms.load(Relaxed));
        balance::ramped(weight, Duration::from_millis(age))
    }

    pub(super) fn latency_us(&self, now_ms: u64) -> u32 {
        Latency::from_bits(self.latency.load(Relaxed)).at(wrap(now_ms))
    }

    pub(super) fn answered_within(&self, now_ms: u64, took: Duration) {
        let latency = Latency::from_bits(self.latency.load(Relaxed)).with(wrap(now_ms), took);
        self.latency.store(latency.to_bits(), Relaxed);
    }

    /// The application behind the path answers.
    pub(super) fn healthy(&self) {
        if self.sick_for_ms.load(Relaxed) != 0 {
            self.sick_for_ms.store(0, Relaxed);
            self.sick_until_ms.store(0, Relaxed);
        }
    }

    /// The peer answered that its application does not: avoid it for a while.
    pub(super) fn sick(&self, now_ms: u64) {
        if now_ms < self.sick_until_ms.load(Relaxed) {
            return;
        }
        let wait = (self.sick_for_ms.load(Relaxed) * 2).clamp(SICK_MIN_MS, SICK_MAX_MS);
        self.sick_for_ms.store(wait, Relaxed);
        self.sick_until_ms.store(now_ms + u64::from(wait), Relaxed);
    }

    pub(super) fn set_doubtful(&self, doubtful: bool) {
        if self.doubtful.load(Relaxed) != doubtful {
            self.doubtful.store(doubtful, Relaxed);
        }
    }

    pub(super) fn doubt(&self) {
        if let Some(line) = &*self.line.load() {
            line.meter.doubt();
        }
    }

    /// A connection is established (`line`: none for an application's).
    pub(super) fn up(&self, shared: &Shared, line: Option<Arc<Line>>) {
        let returned = self.death.lock().take().is_some();
        if returned || self.up_since_ms.load(Relaxed) == 0 {
            self.up_since_ms.store(shared.ms(Instant::now()), Relaxed);
            self.latency.store(0, Relaxed);
        }
        self.doubtful.store(false, Relaxed);
        self.line.store(line);
        self.condition.store(UP, Relaxed);
        shared.changed.notify_waiters();
    }

    /// The path is dead. The cluster is told if that is new; a path that never was up says nothing
    /// about it: its pod may just be starting.
    pub(super) fn down(self: &Arc<Self>, shared: &Arc<Shared>, death: Death) {
        let known = self.death.lock().replace(death).is_some();
        let served = self.up_since_ms.load(Relaxed) > 0;
        self.line.store(None);
        self.condition.store(DOWN, Relaxed);
        if served && !known {
            self.cluster.died(shared, self, death);
        }
        shared.changed.notify_waiters();
    }

    /// `meter`'s connection takes no new requests (GOAWAY, or it ended in peace): connect anew.
    pub(super) fn leave(&self, shared: &Shared, meter: &Arc<Meter>) {
        meter.leaving.store(true, Relaxed);
        let current = self.line.load();
        if current
            .as_ref()
            .is_some_and(|line| Arc::ptr_eq(&line.meter, meter))
        {
            self.line.store(None);
            self.condition.store(COMING, Relaxed);
            self.news.notify_one();
            shared.changed.notify_waiters();
        }
    }

    /// How the path died, while it is down.
    pub(super) fn death(&self) -> Option<Death> {
        *self.death.lock()
    }

    /// Someone needs the path now.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Relaxed)
    }
}

impl Drop for PathHandle {
    fn drop(&mut self) {
        self.path.released.store(true, Relaxed);
        self.path.news.notify_one();
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// The low 32 bits: latencies live with a clock that wraps.
fn wrap(now_ms: u64) -> u32 {
    u32::try_from(now_ms & u64::from(u32::MAX)).unwrap_or(0)
}
