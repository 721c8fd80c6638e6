//! The figures of one Service during one way.
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::window::windows;
use super::{Marks, Role, SETTLE_WITHIN, SHIFT_WITHIN, ServiceRecords, WayRecords};
use crate::load::{Outcome, Record};

/// A request that took longer than this was held up by the loss.
const HELD_UP: Duration = Duration::from_millis(100);
/// So long nothing must be held up before the survivors count as carrying everything.
const CALM: Duration = Duration::from_secs(1);

/// The figures of one Service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// The Service's name.
    pub service: String,
    /// The cluster from which the load came.
    pub client: String,
    /// Requests, each counted once.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that failed, by kind: a status, or `connect`, `lost`, `timeout`, `answer`.
    pub failures: BTreeMap<String, u64>,
    /// The median latency. All latencies run from when a request was due.
    pub p50_ms: f64,
    /// The latency that 99 of 100 requests did not exceed.
    pub p99_ms: f64,
    /// The longest latency, failures included.
    pub worst_ms: f64,
    /// How late the generator itself was at most: its part in the latencies.
    pub sent_late_worst_ms: f64,
    /// Each cluster's share of the answers.
    pub share: Share,
    /// From the beginning of the break until the survivors carried everything: the last answer
    /// that came from the lost cluster, the last failure, and the last request that was held up by
    /// more than 100 ms before a first second without any. None if that did not happen, or nothing
    /// had to shift.
    pub shifted_ms: Option<f64>,
    /// From the beginning of the return until the first moment from which on the lost cluster's
    /// share is even over every 10 s. None if that did not happen, or there is nothing to share.
    pub even_again_ms: Option<f64>,
    /// From the beginning of the return until the last failure. None if the last request failed.
    pub works_again_ms: Option<f64>,
}

/// Each cluster's share of the answers, from 0 to 1.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Until the break began.
    pub before: BTreeMap<String, f64>,
    /// From 1 s after the loss until the return began.
    pub during: BTreeMap<String, f64>,
    /// From 10 s after the return.
    pub after: BTreeMap<String, f64>,
}

/// The phases of a way, on the clock of the records.
#[derive(Clone, Debug)]
pub(super) struct Phases {
    /// Until the break began.
    pub(super) before: Range<Duration>,
    /// From 1 s after the loss until the return began.
    pub(super) during: Range<Duration>,
    /// From 10 s after the return.
    pub(super) after: Range<Duration>,
}

impl Phases {
    pub(super) fn of(marks: &Marks) -> Self {
        Self {
            before: Duration::ZERO..marks.break_begun,
            during: marks.broken + SHIFT_WITHIN..marks.heal_begun,
            after: marks.healed + SETTLE_WITHIN..Duration::MAX,
        }
    }
}

/// Milliseconds with two decimals.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

pub(super) fn as_millis<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(millis(*duration))
}

/// The records of the requests that were due within a phase.
pub(super) fn due_within<'a>(
    records: &'a [Record],
    phase: &Range<Duration>,
) -> impl Iterator<Item = &'a Record> + Clone {
    let phase = phase.clone();
    records
        .iter()
        .filter(move |record| phase.contains(&record.intended_at))
}

/// The failures by kind; an answer's kind is its status.
pub(super) fn failures<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for record in records {
        if let Outcome::Failed { kind, status, .. } = &record.outcome {
            let name = match status {
                Some(status) if *status != 200 => status.to_string(),
                _ => kind.as_str().to_owned(),
            };
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

impl ServiceReport {
    pub(super) fn of(way: &WayRecords, service: &ServiceRecords) -> Self {
        let records = &service.records;
        let failures = failures(records.iter());
        let mut latencies: Vec<_> = records.iter().map(|record| record.latency).collect();
        latencies.sort_unstable();
        let late = records
            .iter()
            .map(|record| record.sent_late)
            .max()
            .unwrap_or_default();
        let phases = Phases::of(&way.marks);
        let shares = service.role == Role::Federated;
        let loses = shares && !way.way.goes_on_serving();
        Self {
            service: service.service.clone(),
            client: service.client.clone(),
            requests: records.len() as u64,
            failed: failures.values().sum(),
            failures,
            p50_ms: millis(quantile(&latencies, 50)),
            p99_ms: millis(quantile(&latencies, 99)),
            worst_ms: millis(latencies.last().copied().unwrap_or_default()),
            sent_late_worst_ms: millis(late),
            share: Share {
                before: share(due_within(records, &phases.before)),
                during: share(due_within(records, &phases.during)),
                after: share(due_within(records, &phases.after)),
            },
            shifted_ms: loses.then(|| shifted(way, records)).flatten().map(millis),
            even_again_ms: shares
                .then(|| even_again(way, records))
                .flatten()
                .map(millis),
            works_again_ms: works_again(way, records).map(millis),
        }
    }
}

/// The smallest value that so many in a hundred do not exceed.
fn quantile(sorted: &[Duration], per_cent: usize) -> Duration {
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn share<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for cluster in records.filter_map(Record::cluster) {
        *counts.entry(cluster).or_insert(0) += 1;
    }
    let all = counts.values().sum::<u64>() as f64;
    let rounded = |count| (count as f64 / all * 10_000.0).round() / 10_000.0;
    counts
        .into_iter()
        .map(|(cluster, count)| (cluster.to_owned(), rounded(count)))
        .collect()
}

/// See [`ServiceReport::shifted_ms`].
fn shifted(way: &WayRecords, records: &[Record]) -> Option<Duration> {
    let Marks {
        break_begun,
        heal_begun,
        ..
    } = way.marks;
    let touched: Vec<_> = records
        .iter()
        .filter(|record| record.ended_at() >= break_begun && record.intended_at < heal_begun)
        .collect();
    let by_survivor = |record: &Record| record.cluster().is_some_and(|name| name != way.lost);
    let smooth = |record: &Record| by_survivor(record) && record.latency <= HELD_UP;
    let calm_from = calm_from(&touched, smooth).filter(|from| *from + CALM <= heal_begun)?;
    let ends = touched
        .iter()
        .filter(|record| {
            !by_survivor(record) || (!smooth(record) && record.intended_at < calm_from)
        })
        .map(|record| record.ended_at());
    Some(
        ends.max()
            .unwrap_or(break_begun)
            .saturating_sub(break_begun),
    )
}

/// When the first request was due after which all are smooth for a second.
fn calm_from(records: &[&Record], smooth: impl Fn(&Record) -> bool) -> Option<Duration> {
    let last = records.last()?.intended_at;
    let mut candidate: Option<Duration> = None;
    for record in records {
        if !smooth(record) {
            candidate = None;
            continue;
        }
        let from = *candidate.get_or_insert(record.intended_at);
        if record.intended_at >= from + CALM {
            return Some(from);
        }
    }
    candidate.filter(|from| *from + CALM <= last)
}

/// See [`ServiceReport::even_again_ms`].
fn even_again(way: &WayRecords, records: &[Record]) -> Option<Duration> {
    let heal_begun = way.marks.heal_begun;
    let all = windows(records, &(heal_begun..Duration::MAX), &way.lost).all;
    let first_even = all
        .iter()
        .rposition(|window| !window.is_even())
        .map_or(0, |bad| bad + 1);
    let from = all.get(first_even)?.start;
    Some(if first_even == 0 {
        Duration::ZERO
    } else {
        from - heal_begun
    })
}

/// See [`ServiceReport::works_again_ms`].
fn works_again(way: &WayRecords, records: &[Record]) -> Option<Duration> {
    if records.last().is_none_or(Record::failed) {
        return None;
    }
    let failures = records.iter().filter(|record| record.failed());
    let last = failures.map(Record::ended_at).max().unwrap_or_default();
    Some(last.saturating_sub(way.marks.heal_begun))
}
