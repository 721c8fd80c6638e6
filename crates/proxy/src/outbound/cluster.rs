//! One cluster as this proxy sees it: the owner of its breaker. Paths report here how they end;
//! balancers read one flag. The breaker is locked when something changes, never per request.
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tombolo_core::breaker::{Because, Breaker, Death, Decision, Effects, Event, Settings, Verdict};

use super::path::Path;
use super::shared::Shared;

/// A probe that has not ended by then has failed.
const PROBE_MAX: Duration = Duration::from_secs(4);

/// How attempts at a cluster's endpoints ended, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Answered,
    /// The attempt failed, and the request was sent elsewhere.
    Rescued,
    /// The attempt failed, and so did the request.
    Failed,
}

impl Outcome {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 3] = [Self::Answered, Self::Rescued, Self::Failed];

    /// The value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Rescued => "rescued",
            Self::Failed => "failed",
        }
    }
}

/// A cluster's verdict and counters at one moment, for metrics and explanations.
#[derive(Clone, Debug)]
pub struct ClusterReport {
    /// Its name; empty for endpoints of which discovery tells no cluster.
    pub name: Arc<str>,
    /// In or out, and why.
    pub decision: Decision,
    /// Its established paths.
    pub paths_up: usize,
    /// All its paths.
    pub paths: usize,
    /// Attempts by [`Outcome`], in the order of [`Outcome::ALL`].
    pub outcomes: [u64; 3],
}

/// Which of a cluster's paths may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// All.
    Open,
    /// Only the one that is the probe.
    Shut {
        /// Its id.
        probe: Option<u64>,
    },
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: Arc<str>,
    out: AtomicBool,
    /// A path died, or the cluster is out: whoever hears from it shall say so.
    suspected: AtomicBool,
    heard_ms: AtomicU64,
    breaker: Mutex<Breaker>,
    paths: Mutex<Vec<Weak<Path>>>,
    next_probe: AtomicUsize,
    probe_done: Notify,
    pub(super) gate: watch::Sender<Gate>,
    outcomes: [AtomicU64; 3],
}

impl Cluster {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            out: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            heard_ms: AtomicU64::new(0),
            breaker: Mutex::new(Breaker::new(Settings::default())),
            paths: Mutex::new(Vec::new()),
            next_probe: AtomicUsize::new(0),
            probe_done: Notify::new(),
            gate: watch::Sender::new(Gate::Open),
            outcomes: Default::default(),
        }
    }

    /// Whether its breaker is open.
    pub(super) fn is_out(&self) -> bool {
        self.out.load(Relaxed)
    }

    pub(super) fn decision(&self) -> Decision {
        self.breaker.lock().decision()
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn report(&self) -> ClusterReport {
        let (paths_up, paths) = self.count_paths(None);
        ClusterReport {
            name: self.name.clone(),
            decision: self.decision(),
            paths_up,
            paths,
            outcomes: std::array::from_fn(|i| self.outcomes[i].load(Relaxed)),
        }
    }

    pub(super) fn join(&self, path: &Arc<Path>) {
        let mut paths = self.paths.lock();
        if paths.len().is_power_of_two() {
            paths.retain(|path| path.strong_count() > 0);
        }
        paths.push(Arc::downgrade(path));
    }

    /// A path is not wanted any more.
    pub(super) fn left(self: &Arc<Self>, shared: &Arc<Shared>, path: &Path) {
        let emptied = {
            let mut paths = self.paths.lock();
            paths.retain(|other| other.upgrade().is_some_and(|other| other.id != path.id));
            paths.is_empty()
        };
        if emptied {
            self.on(shared, Event::Emptied);
        }
    }

    /// Bytes arrived from the cluster, on an established path.
    pub(super) fn heard(self: &Arc<Self>, shared: &Arc<Shared>, now: Instant) {
        self.heard_ms.store(shared.ms(now), Relaxed);
        if self.suspected.load(Relaxed) {
            self.on(shared, Event::Heard);
        }
    }

    /// A path died, or could not be opened for the first time in a row.
    pub(super) fn died(self: &Arc<Self>, shared: &Arc<Shared>, path: &Path, death: Death) {
        let (others_up, _) = self.count_paths(Some(path.id));
        let heard_ms = self.heard_ms.load(Relaxed);
        let heard_at = (heard_ms > 0).then(|| shared.start + Duration::from_millis(heard_ms));
        tracing::info!(
            cluster = %self.name, peer = %path.key.addr, %death, others_up, "a path died"
        );
        self.suspected.store(true, Relaxed);
        self.on(
            shared,
            Event::Died {
                death,
                heard_at,
                others_up,
            },
        );
    }

    /// Asks all established paths now.
    pub(super) fn ask_all(&self) {
        let paths: Vec<_> = self.paths.lock().iter().filter_map(Weak::upgrade).collect();
        paths.iter().for_each(|path| path.doubt());
    }

    /// When the cluster was last heard, on any path.
    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Relaxed)
    }

    /// Whether a path died, and nothing was heard since.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.load(Relaxed)
    }

    /// Whether another path than this one is up.
    pub(super) fn has_other_up(&self, id: u64) -> bool {
        self.count_paths(Some(id)).0 > 0
    }

    /// A path was connected, or not, while the cluster is out.
    pub(super) fn probed(self: &Arc<Self>, shared: &Arc<Shared>, path: &Path, event: Event) {
        let ours = *self.gate.borrow()
            == Gate::Shut {
                probe: Some(path.id),
            };
        if ours || event == Event::ProbeSucceeded {
            self.on(shared, event);
        }
        if ours {
            self.probe_done.notify_one();
        }
    }

    /// Established paths, but for one, and all paths.
    fn count_paths(&self, except: Option<u64>) -> (usize, usize) {
        let paths = self.paths.lock();
        let alive = paths.iter().filter_map(Weak::upgrade);
        alive.fold((0, 0), |(up, all), path| {
            let counts = path.is_up() && Some(path.id) != except;
            (up + usize::from(counts), all + 1)
        })
    }

    fn on(self: &Arc<Self>, shared: &Arc<Shared>, event: Event) {
        let (effects, decision) = {
            let mut breaker = self.breaker.lock();
            let effects = breaker.on(Instant::now(), event);
            let decision = breaker.decision();
            self.out.store(decision.verdict == Verdict::Out, Relaxed);
            let wrong = matches!(decision.because, Because::OnePathDied(_));
            let clear = decision.verdict == Verdict::In && (!wrong || event == Event::Heard);
            self.suspected.store(!clear, Relaxed);
            (effects, decision)
        };
        self.carry_out(shared, effects, decision);
    }

    fn carry_out(self: &Arc<Self>, shared: &Arc<Shared>, effects: Effects, decision: Decision) {
        if effects.ask_all {
            self.ask_all();
        }
        if !effects.changed {
            return;
        }
        let because = decision.because;
        match decision.verdict {
            Verdict::In => {
                tracing::info!(cluster = %self.name, %because, "cluster is in");
                self.gate.send_replace(Gate::Open);
            }
            Verdict::Out => {
                tracing::warn!(cluster = %self.name, %because, "cluster is out");
                self.gate.send_replace(Gate::Shut { probe: None });
                let (cluster, owner) = (self.clone(), shared.clone());
                shared
                    .tasks
                    .spawn_one("outbound-probe", cluster.probe(owner));
            }
        }
        shared.changed.notify_waiters();
    }

    /// Probes one path after the other until the cluster is back.
    async fn probe(self: Arc<Self>, shared: Arc<Shared>) {
        let mut gate = self.gate.subscribe();
        loop {
            let due = self.breaker.lock().poll_timeout();
            let Some(due) = due else { return };
            tokio::select! {
                biased;
                _ = gate.wait_for(|gate| *gate == Gate::Open) => return,
                () = tokio::time::sleep_until(due.into()) => {}
            }
            if !self.breaker.lock().handle_timeout(Instant::now()).probe {
                continue;
            }
            let Some(probe) = self.next_probe() else {
                self.on(&shared, Event::Emptied);
                return;
            };
            self.gate.send_replace(Gate::Shut { probe: Some(probe) });
            if tokio::time::timeout(PROBE_MAX, self.probe_done.notified())
                .await
                .is_err()
            {
                self.on(&shared, Event::ProbeFailed);
            }
            self.gate.send_if_modified(|gate| {
                let shut = *gate != Gate::Open;
                if shut {
                    *gate = Gate::Shut { probe: None };
                }
                shut
            });
        }
    }

    fn next_probe(&self) -> Option<u64> {
        let paths = self.paths.lock();
        let ids: Vec<u64> = paths
            .iter()
            .filter_map(Weak::upgrade)
            .map(|path| path.id)
            .collect();
        let turn = self.next_probe.fetch_add(1, Relaxed);
        ids.get(turn.checked_rem(ids.len())?).copied()
    }
}
