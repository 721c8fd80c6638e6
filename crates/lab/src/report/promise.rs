//! The promises, and whether the records show that they were kept.
//!
//! Decides nothing from what the lab believes: a promise without a request that shows it is broken.
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::figures::{Phases, due_within, failures, millis};
use super::window::{even, windows};
use super::{
    LATENCY_MAX, MEMORY_BYTES_MAX, Role, SETTLE_WITHIN, SHIFT_WITHIN, STALL, ServiceRecords, Setup,
    UP_WITHIN, WayRecords,
};
use crate::load::{Outcome, Record};

/// One promise, what was wanted and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Which: the way, the Service and what is promised of it.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
    /// Whether it could be judged. If not, it did not hold, but the machine stalled.
    pub judged: bool,
    /// What was wanted.
    pub want: String,
    /// What was seen.
    pub got: String,
}

/// What was seen, and whether it is what was wanted.
struct Verdict {
    ok: bool,
    judged: bool,
    want: String,
    got: String,
}

fn verdict(ok: bool, want: impl Into<String>, got: impl Into<String>) -> Verdict {
    Verdict {
        ok,
        judged: true,
        want: want.into(),
        got: got.into(),
    }
}

/// A promise of times says nothing of the product if it was not kept while the machine stalled.
fn timed(late: Duration, verdict: Verdict) -> Verdict {
    if verdict.ok || late <= STALL {
        return verdict;
    }
    let (late, got) = (millis(late), verdict.got);
    Verdict {
        judged: false,
        got: format!("not judged: the machine stalled for {late} ms; {got}"),
        ..verdict
    }
}

/// Every promise that the ways which were shown can keep or break.
pub(super) fn promises(lab: &Setup, ways: &[WayRecords]) -> Vec<Promise> {
    let mut promises = of_lab(lab);
    promises.extend(ways.iter().flat_map(of_way));
    promises
}

/// Whether something was not judged, and nothing is broken.
pub(super) fn stalled(promises: &[Promise]) -> bool {
    let mut missed = promises.iter().filter(|promise| !promise.ok).peekable();
    missed.peek().is_some() && missed.all(|promise| !promise.judged)
}

/// What is promised of the lab itself.
pub(super) fn of_lab(lab: &Setup) -> Vec<Promise> {
    vec![
        named("the lab is up with all its Links".into(), up(lab)),
        named("the lab's memory is bounded".into(), memory(lab)),
    ]
}

/// What is promised of one way.
pub(super) fn of_way(way: &WayRecords) -> Vec<Promise> {
    let mut promises = Vec::new();
    for service in &way.services {
        let of_service = match &service.role {
            Role::Federated => federated(way, service),
            Role::Mirror { cluster } if *cluster == way.lost && !way.way.goes_on_serving() => {
                lost_mirror(way, service)
            }
            Role::Mirror { .. } => vec![
                ("no request fails", none_fails(&service.records)),
                ("no request takes longer than 1 s", worst(way, service)),
            ],
        };
        promises.extend(of_service.into_iter().map(|(what, verdict)| {
            named(format!("{}: {}: {what}", way.way, service.service), verdict)
        }));
    }
    promises
}

fn named(name: String, verdict: Verdict) -> Promise {
    Promise {
        name,
        ok: verdict.ok,
        judged: verdict.judged,
        want: verdict.want,
        got: verdict.got,
    }
}

fn up(lab: &Setup) -> Verdict {
    let ok = lab.up <= UP_WITHIN && lab.links > 0 && lab.links_working == lab.links;
    let got = format!(
        "{:.1} s, {} of {} Links",
        lab.up.as_secs_f64(),
        lab.links_working,
        lab.links
    );
    let want = format!("at most {} s, all Links", UP_WITHIN.as_secs());
    timed(lab.late, verdict(ok, want, got))
}

fn memory(lab: &Setup) -> Verdict {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let ok = lab.memory_bytes > 0 && lab.memory_bytes <= MEMORY_BYTES_MAX;
    verdict(
        ok,
        format!("at most {}", mebibytes(MEMORY_BYTES_MAX)),
        mebibytes(lab.memory_bytes),
    )
}

type OfService = Vec<(&'static str, Verdict)>;

fn federated(way: &WayRecords, service: &ServiceRecords) -> OfService {
    let (records, phases) = (&service.records, Phases::of(&way.marks));
    let mut promises = vec![
        ("no request fails", none_fails(records)),
        ("no request takes longer than 1 s", worst(way, service)),
    ];
    if way.way.goes_on_serving() {
        let throughout = Duration::ZERO..Duration::MAX;
        promises.push((
            "the lost API server's cluster keeps its share",
            third(way, service, &throughout),
        ));
        return promises;
    }
    promises.push((
        "the share is even before the loss",
        third(way, service, &phases.before),
    ));
    promises.push((
        "the lost cluster gets nothing from 1 s after",
        nothing(way, records, &phases.during),
    ));
    promises.push((
        "the share is even from 10 s after the return",
        third(way, service, &phases.after),
    ));
    promises
}

fn lost_mirror(way: &WayRecords, service: &ServiceRecords) -> OfService {
    let (records, phases) = (&service.records, Phases::of(&way.marks));
    vec![
        (
            "no request fails before the loss",
            none_fails_within(records, &phases.before),
        ),
        (
            "requests fail at once and say why",
            clear(way, records, &phases.during),
        ),
        (
            "no request fails from 10 s after the return",
            none_fails_within(records, &phases.after),
        ),
    ]
}

/// Of requests that were under way when the break began, and none after, it cannot be said on
/// which side of it they fall: a mirror's failures among them belong to the loss.
fn none_fails_within(records: &[Record], phase: &Range<Duration>) -> Verdict {
    let settled = |record: &&Record| record.ended_at() < phase.end;
    none_of(due_within(records, phase).filter(settled))
}

fn none_fails(records: &[Record]) -> Verdict {
    none_of(records.iter())
}

fn none_of<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Verdict {
    let requests = records.clone().count();
    let failures = failures(records);
    let failed: u64 = failures.values().sum();
    let mut got = format!("{failed} of {requests} failed");
    if failed > 0 {
        let kinds: Vec<_> = failures
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        got = format!("{got}: {}", kinds.join(", "));
    }
    verdict(requests > 0 && failed == 0, "0 failed", got)
}

fn worst(way: &WayRecords, service: &ServiceRecords) -> Verdict {
    let worst = service.records.iter().map(|record| record.latency).max();
    let got = worst.map_or_else(
        || "no request".into(),
        |worst| format!("{} ms", millis(worst)),
    );
    let ok = worst.is_some_and(|worst| worst <= LATENCY_MAX);
    let want = format!("at most {} ms", LATENCY_MAX.as_millis());
    timed(way.late(), verdict(ok, want, got))
}

/// The lost cluster's share is even over every window of the phase.
fn third(way: &WayRecords, service: &ServiceRecords, phase: &Range<Duration>) -> Verdict {
    let windows = windows(&service.records, phase, &way.lost);
    let fewest = windows
        .all
        .iter()
        .map(|window| window.answers)
        .min()
        .unwrap_or(0);
    let even = even(fewest);
    let want = format!(
        "{:.0}-{:.0} % to {} over any {:.0} s",
        even.start * 100.0,
        even.end * 100.0,
        way.lost,
        windows.length.as_secs_f64(),
    );
    let shares = || windows.all.iter().map(|window| window.share() * 100.0);
    let (low, high) = (
        shares().fold(f64::MAX, f64::min),
        shares().fold(f64::MIN, f64::max),
    );
    if windows.all.is_empty() {
        return verdict(false, want, "too few requests to say");
    }
    let ok = windows.all.iter().all(|window| window.is_even());
    let got = format!("{low:.1}-{high:.1} %");
    timed(way.late(), verdict(ok, want, got))
}

/// The lost cluster answers nothing in the phase.
fn nothing(way: &WayRecords, records: &[Record], phase: &Range<Duration>) -> Verdict {
    let due = due_within(records, phase);
    let by_lost = |record: &&Record| record.cluster() == Some(way.lost.as_str());
    let (all, own) = (due.clone().count(), due.filter(by_lost).count());
    let want = format!("0 answers from {}", way.lost);
    let got = format!("{own} of {all} requests");
    timed(way.late(), verdict(all > 0 && own == 0, want, got))
}

/// While the cluster is lost its mirrors fail within 1 s, with a gateway status and a reason. For
/// 1 s after the loss an answer is no breach: a pod that is told to end may still finish its work.
fn clear(way: &WayRecords, records: &[Record], lost: &Range<Duration>) -> Verdict {
    let want = format!(
        "502, 503 or 504 with l5d-proxy-error within {} ms, each from {} s after the loss",
        LATENCY_MAX.as_millis(),
        SHIFT_WITHIN.as_secs(),
    );
    let until = way.marks.healed + SETTLE_WITHIN;
    let touched = records
        .iter()
        .filter(|record| record.ended_at() >= way.marks.break_begun && record.intended_at < until);
    let unclear = touched
        .filter(|record| record.failed() && !is_clear(record))
        .collect::<Vec<_>>();
    let due = due_within(records, lost);
    let (all, answered) = (
        due.clone().count(),
        due.clone().filter(|r| !r.failed()).count(),
    );
    let slowest = due.map(|record| record.latency).max().unwrap_or_default();
    let got = if let Some(first) = unclear.first() {
        format!(
            "{} unclear failures, the first: {}",
            unclear.len(),
            describe(first)
        )
    } else {
        format!(
            "{answered} of {all} answered, slowest failure {} ms",
            millis(slowest)
        )
    };
    let ok = all > 0 && answered == 0 && unclear.is_empty();
    timed(way.late(), verdict(ok, want, got))
}

fn is_clear(record: &Record) -> bool {
    let Outcome::Failed {
        status: Some(502..=504),
        proxy_error: Some(why),
        ..
    } = &record.outcome
    else {
        return false;
    };
    !why.is_empty() && record.latency <= LATENCY_MAX
}

fn describe(record: &Record) -> String {
    let Outcome::Failed {
        kind,
        status,
        proxy_error,
    } = &record.outcome
    else {
        return "an answer".to_owned();
    };
    let status = status.map_or(kind.as_str().to_owned(), |status| status.to_string());
    let why = proxy_error.as_deref().unwrap_or("no reason given");
    format!("{status} ({why}) after {} ms", millis(record.latency))
}
