//! Picks the endpoint for one attempt, and waits only while nothing is known or connected yet.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::uri::Authority;
use rand::{Rng, RngExt};
use tombolo_core::balance::{self, Candidate, Choice, Set, Standing, Tried};
use tombolo_core::{limits, rescue};

use super::balancer::{Balancer, Group, Member, State};
use super::path::{Line, Path, PathKind};
use super::respond::Failure;
use super::shared::Shared;

/// In panic mode, so long is one endpoint given to connect.
const PANIC_WAIT: Duration = Duration::from_millis(250);
/// And so long a request waits in panic mode altogether.
const PANIC_MAX: Duration = Duration::from_millis(700);
/// So many paths of a large set are woken when none is up.
const WAKE_MAX: usize = 4;
/// Of so many requests to a large set, one has a further endpoint connected.
const WIDEN_EVERY: u32 = 16;

/// What earlier attempts of a request were sent to.
#[derive(Default)]
pub(super) struct Attempts {
    paths: [Option<Arc<Path>>; rescue::ATTEMPTS_MAX as usize],
    count: usize,
}

impl Attempts {
    pub(super) fn push(&mut self, path: Arc<Path>) {
        if let Some(slot) = self.paths.get_mut(self.count) {
            *slot = Some(path);
            self.count += 1;
        }
    }

    fn tried(&self, path: &Path) -> Tried {
        let mut tried = Tried::No;
        for earlier in self.paths[..self.count].iter().flatten() {
            if earlier.id == path.id {
                return Tried::Endpoint;
            }
            if Arc::ptr_eq(&earlier.cluster, &path.cluster) {
                tried = Tried::Cluster;
            }
        }
        tried
    }
}

/// The endpoint of an attempt.
pub(super) struct Picked {
    pub(super) path: Arc<Path>,
    /// The HTTP/2 connection; none for an application without a proxy.
    pub(super) line: Option<Arc<Line>>,
    pub(super) authority: Option<Authority>,
}

enum Step {
    Done(Picked),
    Fail(Failure),
    /// Nothing can be said yet.
    Wait,
    /// All look dead: this one is connected now.
    Try(Arc<Path>),
}

/// Picks, for a request that arrived at `start`.
pub(super) async fn pick(
    shared: &Shared,
    balancer: &Balancer,
    attempts: &mut Attempts,
    start: Instant,
) -> Result<Picked, Failure> {
    match look(shared, balancer, attempts, start) {
        Step::Done(picked) => return Ok(picked),
        Step::Fail(failure) => return Err(failure),
        Step::Wait | Step::Try(_) => {}
    }
    let _waiting = Waiting::begin(&shared.waiting)?;
    let mut panic: Option<(Arc<Path>, Instant)> = None;
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some((path, until)) = &panic
            && !path.is_up()
            && path.death().is_some()
            && Instant::now() >= *until
        {
            attempts.push(path.clone());
            panic = None;
            if start.elapsed() >= PANIC_MAX {
                return Err(all_down(balancer));
            }
        }
        let mut until = start + limits::OUTBOUND_WAIT;
        match look(shared, balancer, attempts, Instant::now()) {
            Step::Done(picked) => return Ok(picked),
            Step::Fail(failure) => return Err(failure),
            Step::Wait => {}
            Step::Try(path) => {
                let (path, give_up) = panic.get_or_insert_with(|| {
                    path.want();
                    wake_across(balancer);
                    (path, Instant::now() + PANIC_WAIT)
                });
                if path.is_up() {
                    return Ok(picked_for(balancer, path));
                }
                until = *give_up;
            }
        }
        let timeout = tokio::time::timeout_at(until.into(), changed).await;
        if timeout.is_err() && start.elapsed() >= limits::OUTBOUND_WAIT {
            return Err(late(balancer));
        }
    }
}

fn look(shared: &Shared, balancer: &Balancer, attempts: &Attempts, now: Instant) -> Step {
    let state = balancer.state.load();
    let group = match &**state {
        State::Unknown => return Step::Wait,
        State::Absent => return Step::Fail(Failure::Absent),
        State::Present(group) if group.members.is_empty() => {
            return Step::Fail(Failure::NoEndpoints);
        }
        State::Present(group) => group,
    };
    let now_ms = shared.ms(now);
    let view = View {
        group,
        attempts,
        now_ms,
    };
    let mut rng = rand::rng();
    match balance::choose(&view, group.round.load(Relaxed), &mut rng) {
        Choice::Use { index, round, turn } => {
            let member = &group.members[index];
            member.turn.store(turn, Relaxed);
            group.round.store(round, Relaxed);
            widen(group, &mut rng);
            match picked(member) {
                Some(picked) => Step::Done(picked),
                None => Step::Wait,
            }
        }
        Choice::Wait => {
            wake(group, now_ms);
            Step::Wait
        }
        Choice::Panic(index) => Step::Try(group.members[index].handle.path.clone()),
        Choice::Nothing => Step::Fail(Failure::AllDown(why_down(group))),
    }
}

fn picked(member: &Member) -> Option<Picked> {
    let path = &member.handle.path;
    let line = path.line.load_full();
    if line.is_none() && path.key.kind != PathKind::Plain {
        return None;
    }
    Some(Picked {
        path: path.clone(),
        line,
        authority: member.authority.clone(),
    })
}

fn picked_for(balancer: &Balancer, path: &Arc<Path>) -> Picked {
    let state = balancer.state.load();
    let member = match &**state {
        State::Present(group) => group.members.iter().find(|m| m.handle.path.id == path.id),
        State::Unknown | State::Absent => None,
    };
    let authority = member.and_then(|member| member.authority.clone());
    Picked {
        path: path.clone(),
        line: path.line.load_full(),
        authority,
    }
}

/// Has several paths connected that lie far apart in the set, and so in different clusters.
fn wake_across(balancer: &Balancer) {
    let State::Present(group) = &**balancer.state.load() else {
        return;
    };
    let step = group.members.len().div_ceil(WAKE_MAX).max(1);
    for member in group.members.iter().step_by(step) {
        member.handle.path.want();
    }
}

/// A large set is connected little by little, as requests come.
fn widen(group: &Group, rng: &mut impl Rng) {
    let count = group.members.len();
    if count > limits::OUTBOUND_WARM_MAX && rng.random_ratio(1, WIDEN_EVERY) {
        let path = &group.members[rng.random_range(0..count)].handle.path;
        if !path.eager.load(Relaxed) {
            path.want();
        }
    }
}

/// Wakes some of the paths that nobody has connected yet.
fn wake(group: &Group, now_ms: u64) {
    let coming = group.members.iter().map(|member| &member.handle.path);
    let coming = coming.filter(|path| path.standing(now_ms) == Standing::Coming);
    coming
        .take(WAKE_MAX)
        .filter(|path| !path.eager.load(Relaxed))
        .for_each(|path| path.want());
}

/// Each cluster, or endpoint, and what is wrong with it.
fn why_down(group: &Group) -> String {
    let mut reasons = BTreeMap::new();
    for member in &group.members {
        let path = &member.handle.path;
        let (addr, cluster) = (path.key.addr, &path.cluster);
        if cluster.is_out() && !cluster.name.is_empty() {
            let because = cluster.decision().because;
            reasons.insert(
                cluster.name.clone(),
                format!("cluster {} is out: {because}", cluster.name),
            );
        } else if let Some(death) = path.death() {
            let text = match &*cluster.name {
                "" => format!("endpoint {addr}: {death}"),
                name => format!("cluster {name}, endpoint {addr}: {death}"),
            };
            reasons.entry(cluster.name.clone()).or_insert(text);
        }
    }
    let mut text = String::new();
    for reason in reasons.values() {
        let separator = if text.is_empty() { "" } else { "; " };
        let done = write!(text, "{separator}{reason}");
        debug_assert!(done.is_ok(), "a String takes everything");
    }
    if text.is_empty() {
        "no endpoint is left to try".into()
    } else {
        text
    }
}

fn all_down(balancer: &Balancer) -> Failure {
    match &**balancer.state.load() {
        State::Present(group) => Failure::AllDown(why_down(group)),
        State::Unknown | State::Absent => Failure::Absent,
    }
}

fn late(balancer: &Balancer) -> Failure {
    match &**balancer.state.load() {
        State::Unknown => Failure::Undiscovered(limits::OUTBOUND_WAIT),
        State::Absent | State::Present(_) => Failure::NotConnected(limits::OUTBOUND_WAIT),
    }
}

struct View<'a> {
    group: &'a Group,
    attempts: &'a Attempts,
    now_ms: u64,
}

impl Set for View<'_> {
    fn len(&self) -> usize {
        self.group.members.len()
    }

    fn candidate(&self, index: usize) -> Candidate {
        let member = &self.group.members[index];
        let path = &member.handle.path;
        Candidate {
            standing: path.standing(self.now_ms),
            tried: self.attempts.tried(path),
            pending: path.pending.load(Relaxed),
            latency_us: path.latency_us(self.now_ms),
            weight: path.ramped(member.weight, self.now_ms),
            turn: member.turn.load(Relaxed),
        }
    }

    fn spans_clusters(&self) -> bool {
        self.group.spans_clusters
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Result<Self, Failure> {
        let before = count.fetch_add(1, Relaxed);
        let waiting = Self(count);
        if before >= limits::OUTBOUND_WAITING_MAX {
            Err(Failure::Busy)
        } else {
            Ok(waiting)
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
