//! Which endpoint the next request goes to.
//!
//! The least loaded one of the best class: up and not yet tried before doubtful, another cluster
//! before the one that just failed. Load is what is pending, times latency only where that exceeds a
//! floor and twice the best one's: below, latency is noise, and raw latency gives equal replicas
//! unequal shares. Ties go round by weight, so equal replicas get equal shares. Dead endpoints are no
//! choice at all, unless a set that spans clusters has nothing else: then the detector is more likely
//! wrong than the world (panic mode). It knows no connection: a [`Set`] answers for each candidate.
use std::time::Duration;

use rand::{Rng, RngExt};

/// Sets up to this size are scanned; of larger ones two are drawn and compared.
pub const SCAN_MAX: usize = 16;
/// The weight of one whole endpoint.
pub const WHOLE: u32 = 10_000;
/// A turn of an endpoint of whole weight.
const TURN: u64 = 1 << 20;
/// How far in the round an endpoint that sat out may catch up: moments in which it was held up shall
/// not cost it its share, but a return shall not bring a burst.
const LAG: u64 = 16 * TURN;
/// The least weight that counts, so that a turn always comes.
const WEIGHT_MIN: u32 = WHOLE / 100;
/// Below this, latency says nothing about an endpoint: a loaded machine makes as much noise.
const LATENCY_FLOOR_US: u32 = 50_000;
/// Draws from a large set before it is scanned.
const DRAWS: usize = 8;
/// In this time after its return, an endpoint's weight grows to the whole.
const RAMP: Duration = Duration::from_millis(2_500);
/// The share of its weight with which a returning endpoint starts, in percent.
const RAMP_START_PERCENT: u32 = 10;
/// A latency that is not renewed loses half its weight in this time.
const LATENCY_HALF_LIFE_MS: u32 = 2_000;

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Connected and answering.
    Up,
    /// Connected, but an answer is overdue, or its application refused lately.
    Doubtful,
    /// Being connected for the first time: nothing is known against it.
    Coming,
    /// Dead, or its cluster is out.
    Down,
}

/// What this request has already tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tried {
    /// Neither the endpoint nor its cluster.
    No,
    /// Another endpoint of its cluster.
    Cluster,
    /// The endpoint itself.
    Endpoint,
}

/// One endpoint at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// How it stands.
    pub standing: Standing,
    /// What this request has tried.
    pub tried: Tried,
    /// Requests on their way to it.
    pub pending: u32,
    /// Its latency now, from [`Latency::at`].
    pub latency_us: u32,
    /// Its weight now, ramp included; [`WHOLE`] is one whole endpoint.
    pub weight: u32,
    /// Its place in the round: what [`Choice::Use`] gave for it last.
    pub turn: u64,
}

/// The endpoints to choose from.
pub trait Set {
    /// How many there are.
    fn len(&self) -> usize;
    /// The one at `index`, which is below `len`.
    fn candidate(&self, index: usize) -> Candidate;
    /// Whether there are endpoints of more than one cluster.
    fn spans_clusters(&self) -> bool;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Send it there.
    Use {
        /// Which.
        index: usize,
        /// Where the round now stands; keep it as the set's.
        round: u64,
        /// The endpoint's next place in the round; keep it as the endpoint's.
        turn: u64,
    },
    /// None is up, but some are coming: wait for a change.
    Wait,
    /// All look dead, in more than one cluster: try this one all the same.
    Panic(usize),
    /// There is none that may be tried.
    Nothing,
}

/// Chooses one endpoint; `round` is the place in the round that the last choice in this set gave.
pub fn choose(set: &impl Set, round: u64, rng: &mut impl Rng) -> Choice {
    let drawn = if set.len() > SCAN_MAX {
        draw_two(set, rng)
    } else {
        None
    };
    let best = match drawn {
        Some((a, b)) => {
            let floor = floor(a.1.latency_us.min(b.1.latency_us));
            better(Ranked::new(a, floor, round), Ranked::new(b, floor, round))
        }
        None => match scan(set, round, rng) {
            Some(best) => best,
            None => return without_any(set, rng),
        },
    };
    Choice::Use {
        index: best.index,
        round: best.turn.max(round),
        turn: best.turn + stride(&best.candidate),
    }
}

/// The weight of an endpoint that returned `age` ago (slow start).
#[must_use]
pub fn ramped(weight: u32, age: Duration) -> u32 {
    if age >= RAMP {
        return weight;
    }
    let grown = u32::try_from(age.as_millis() * 100 / RAMP.as_millis()).unwrap_or(100);
    let percent = RAMP_START_PERCENT + grown * (100 - RAMP_START_PERCENT) / 100;
    u32::try_from(u64::from(weight) * u64::from(percent) / 100).unwrap_or(weight)
}

/// An endpoint's latency: a moving average that fades while nothing renews it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    average_us: u32,
    at_ms: u32,
}

impl Latency {
    /// The average with one more sample; `now_ms` counts from any common moment.
    #[must_use]
    pub fn with(self, now_ms: u32, sample: Duration) -> Self {
        let sample_us = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        let old = u64::from(self.at(now_ms));
        let average = (old * 15 + u64::from(sample_us)) / 16;
        Self {
            average_us: u32::try_from(average).unwrap_or(u32::MAX),
            at_ms: now_ms,
        }
    }

    /// The latency now, in microseconds.
    #[must_use]
    pub fn at(self, now_ms: u32) -> u32 {
        let age = now_ms.wrapping_sub(self.at_ms);
        let age = if age > u32::MAX / 2 { 0 } else { age };
        let halved = self
            .average_us
            .checked_shr(age / LATENCY_HALF_LIFE_MS)
            .unwrap_or(0);
        let rest = u64::from(age % LATENCY_HALF_LIFE_MS);
        let faded = u64::from(halved) * rest / u64::from(2 * LATENCY_HALF_LIFE_MS);
        halved - u32::try_from(faded).unwrap_or(halved)
    }

    /// As one word, for an atomic cell.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        (u64::from(self.average_us) << 32) | u64::from(self.at_ms)
    }

    /// From [`Self::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let low = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Self {
            average_us: u32::try_from(bits >> 32).unwrap_or(u32::MAX),
            at_ms: low,
        }
    }
}

#[derive(Clone, Copy)]
struct Ranked {
    index: usize,
    candidate: Candidate,
    class: u8,
    load: u64,
    turn: u64,
}

/// A candidate and its index.
type Indexed = (usize, Candidate);

impl Ranked {
    fn new((index, candidate): Indexed, floor_us: u32, round: u64) -> Self {
        let excess = u64::from(candidate.latency_us.max(floor_us)) * 256 / u64::from(floor_us);
        let load = (u64::from(candidate.pending) + 1) * excess;
        let class = class(&candidate);
        let turn = candidate.turn.max(round.saturating_sub(LAG));
        Self {
            index,
            candidate,
            class,
            load,
            turn,
        }
    }
}

fn better(a: Ranked, b: Ranked) -> Ranked {
    if (b.class, b.load, b.turn) < (a.class, a.load, a.turn) {
        b
    } else {
        a
    }
}

/// Usable candidates have a class, the lower the better.
fn class(candidate: &Candidate) -> u8 {
    match (candidate.tried, candidate.standing) {
        (Tried::Endpoint, _) | (_, Standing::Coming | Standing::Down) => UNUSABLE,
        (Tried::No, Standing::Up) => 0,
        (Tried::No, Standing::Doubtful) => 1,
        (Tried::Cluster, Standing::Up) => 2,
        (Tried::Cluster, Standing::Doubtful) => 3,
    }
}

/// How far one use moves an endpoint back in the round.
fn stride(candidate: &Candidate) -> u64 {
    TURN * u64::from(WHOLE) / u64::from(candidate.weight.clamp(WEIGHT_MIN, WHOLE * 100))
}

const UNUSABLE: u8 = u8::MAX;

/// Latency counts above the floor, and above twice the best one's.
fn floor(best_us: u32) -> u32 {
    LATENCY_FLOOR_US.max(best_us.saturating_mul(2))
}

fn draw_two(set: &impl Set, rng: &mut impl Rng) -> Option<(Indexed, Indexed)> {
    let mut first: Option<Indexed> = None;
    for _ in 0..DRAWS {
        let index = rng.random_range(0..set.len());
        let candidate = set.candidate(index);
        let again = first.is_some_and(|(first, _)| first == index);
        if class(&candidate) != 0 || again || !takes_part(&candidate, rng) {
            continue;
        }
        match first {
            Some(first) => return Some((first, (index, candidate))),
            None => first = Some((index, candidate)),
        }
    }
    None
}

/// Looks at all; each candidate of a small set is asked for once.
fn scan(set: &impl Set, round: u64, rng: &mut impl Rng) -> Option<Ranked> {
    let mut seen: [Option<Candidate>; SCAN_MAX] = [None; SCAN_MAX];
    let mut best_us = None;
    for index in 0..set.len() {
        let candidate = set.candidate(index);
        if class(&candidate) == UNUSABLE {
            continue;
        }
        let latency_us = candidate.latency_us;
        best_us = Some(best_us.map_or(latency_us, |best: u32| best.min(latency_us)));
        if let Some(slot) = seen.get_mut(index) {
            *slot = Some(candidate);
        }
    }
    let floor = floor(best_us?);
    let mut best: Option<Ranked> = None;
    let mut sitting_out: Option<Ranked> = None;
    for index in 0..set.len() {
        let candidate = match seen.get(index) {
            Some(Some(candidate)) => *candidate,
            Some(None) => continue,
            None => set.candidate(index),
        };
        let ranked = Ranked::new((index, candidate), floor, round);
        if ranked.class == UNUSABLE {
            continue;
        }
        let slot = if takes_part(&candidate, rng) {
            &mut best
        } else {
            &mut sitting_out
        };
        *slot = Some(slot.map_or(ranked, |slot| better(slot, ranked)));
    }
    match (best, sitting_out) {
        (Some(best), Some(other)) if other.class < best.class => Some(other),
        (best, other) => best.or(other),
    }
}

/// One with less than whole weight takes part in so many choices, however idle it is.
fn takes_part(candidate: &Candidate, rng: &mut impl Rng) -> bool {
    candidate.weight >= WHOLE || rng.random_range(0..WHOLE) < candidate.weight.max(WEIGHT_MIN)
}

fn without_any(set: &impl Set, rng: &mut impl Rng) -> Choice {
    let untried = |index: &usize| set.candidate(*index).tried != Tried::Endpoint;
    let mut left = (0..set.len()).filter(untried).peekable();
    if left.peek().is_none() {
        return Choice::Nothing;
    }
    if (0..set.len())
        .filter(untried)
        .any(|i| set.candidate(i).standing == Standing::Coming)
    {
        return Choice::Wait;
    }
    if !set.spans_clusters() {
        return Choice::Nothing;
    }
    let count = (0..set.len()).filter(untried).count();
    left.nth(rng.random_range(0..count))
        .map_or(Choice::Nothing, Choice::Panic)
}

#[cfg(test)]
mod tests;
