//! Reports of made-up records: a good run keeps every promise, and each promise breaks on the
//! records that break it, and on nothing else.
mod figures;
mod printed;

use std::time::Duration;

use super::*;
use crate::load::{FailureKind, Outcome};

const CLUSTERS: [&str; 3] = ["west", "east", "north"];
const MARKS: Marks = Marks {
    break_begun: Duration::from_millis(12_000),
    broken: Duration::from_millis(12_100),
    heal_begun: Duration::from_millis(17_000),
    healed: Duration::from_millis(18_000),
};
const END: Duration = Duration::from_secs(40);

pub(super) fn answered(intended_at: Duration, cluster: &str) -> Record {
    record(
        intended_at,
        2,
        Outcome::Ok {
            cluster: cluster.into(),
        },
    )
}

pub(super) fn failed(intended_at: Duration) -> Record {
    record(intended_at, 10_000, Outcome::failed(FailureKind::Timeout))
}

fn unavailable(intended_at: Duration, latency_ms: u64) -> Record {
    record(
        intended_at,
        latency_ms,
        status(503, Some("no endpoint of east is alive")),
    )
}

fn status(status: u16, proxy_error: Option<&str>) -> Outcome {
    let (kind, proxy_error) = (FailureKind::Status, proxy_error.map(Into::into));
    Outcome::Failed {
        kind,
        status: Some(status),
        proxy_error,
    }
}

fn record(intended_at: Duration, latency_ms: u64, outcome: Outcome) -> Record {
    let latency = Duration::from_millis(latency_ms);
    Record {
        intended_at,
        sent_late: Duration::ZERO,
        latency,
        outcome,
    }
}

fn service(service: &str, role: Role, records: Vec<Record>) -> ServiceRecords {
    ServiceRecords {
        service: service.into(),
        client: "north".into(),
        role,
        records,
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Every `every_ms` a request, until the end.
fn each(every_ms: u64, of: impl Fn(usize, Duration) -> Record) -> Vec<Record> {
    let end = END.as_millis() as u64;
    (0..end)
        .step_by(every_ms as usize)
        .enumerate()
        .map(|(n, at)| of(n, ms(at)))
        .collect()
}

/// A way in which all went well: found within 300 ms, rescued, even 500 ms after the return.
fn good(way: Way) -> WayRecords {
    let serving = way.goes_on_serving();
    let lost = |at: Duration| !serving && at >= MARKS.break_begun && at < MARKS.healed + ms(500);
    let noticed = MARKS.break_begun + ms(300);
    let federated = each(2, |n, at| match CLUSTERS[n % 3] {
        "east" if lost(at) && at < noticed => record(
            at,
            320,
            Outcome::Ok {
                cluster: "west".into(),
            },
        ),
        "east" if lost(at) => answered(at, CLUSTERS[n % 2 * 2]),
        cluster => answered(at, cluster),
    });
    let mirror = |every| {
        each(every, |_, at| match lost(at) {
            true => unavailable(at, if at < noticed { 300 } else { 3 }),
            false => answered(at, "east"),
        })
    };
    let of_east = || Role::Mirror {
        cluster: "east".into(),
    };
    let services = vec![
        service("frontend-federated", Role::Federated, federated),
        service("api-east", of_east(), mirror(20)),
        service("analytics-east-gw", of_east(), mirror(20)),
        service(
            "api-west",
            Role::Mirror {
                cluster: "west".into(),
            },
            each(20, |_, at| answered(at, "west")),
        ),
    ];
    WayRecords {
        way,
        lost: "east".into(),
        marks: MARKS,
        services,
    }
}

fn lab() -> Setup {
    Setup {
        up: ms(7_300),
        late: ms(10),
        links_working: 8,
        links: 8,
        memory_bytes: 600 << 20,
    }
}

/// The names of the promises that the records break.
fn broken(report: &Report) -> Vec<&str> {
    let broken = report.promises.iter().filter(|promise| !promise.ok);
    broken.map(|promise| promise.name.as_str()).collect()
}

/// Overwrites the requests of a service that were due within a span.
fn set(way: &mut WayRecords, name: &str, span: std::ops::Range<u64>, outcome: &Outcome) {
    let service = way
        .services
        .iter_mut()
        .find(|service| service.service == name)
        .unwrap();
    for record in &mut service.records {
        if (ms(span.start)..ms(span.end)).contains(&record.intended_at) {
            record.outcome = outcome.clone();
        }
    }
}

fn slow(way: &mut WayRecords, name: &str, at: u64, latency_ms: u64) {
    let service = way
        .services
        .iter_mut()
        .find(|service| service.service == name)
        .unwrap();
    let record = service
        .records
        .iter_mut()
        .find(|r| r.intended_at >= ms(at))
        .unwrap();
    record.latency = ms(latency_ms);
}

fn ok(cluster: &str) -> Outcome {
    Outcome::Ok {
        cluster: cluster.into(),
    }
}

#[test]
fn a_good_run_keeps_every_promise() {
    let report = Report::of(lab(), &Way::ALL.map(good));
    assert_eq!(broken(&report), [""; 0]);
    assert!(report.ok);
    assert_eq!(
        report.promises.len(),
        2 + 3 * (5 + 3 + 3 + 2) + (3 + 2 + 2 + 2)
    );
    assert_eq!(
        report.sentence,
        "Every promise held: 50 promises, 104000 requests, ways a, b, freeze, d."
    );
}

/// What one row does to a good way, and which promise of that way must be broken by it.
type Row = (Way, fn(&mut WayRecords), &'static [&'static str]);

const FEDERATED: &str = "frontend-federated";

const BREACHES: &[Row] = &[
    (
        Way::A,
        |way| set(way, FEDERATED, 12_200..12_201, &status(503, Some("why"))),
        &["frontend-federated: no request fails"],
    ),
    (
        Way::B,
        |way| {
            set(
                way,
                FEDERATED,
                39_000..39_001,
                &Outcome::failed(FailureKind::Lost),
            )
        },
        &["frontend-federated: no request fails"],
    ),
    (
        Way::Freeze,
        |way| slow(way, FEDERATED, 12_100, 1_001),
        &["frontend-federated: no request takes longer than 1 s"],
    ),
    (Way::Freeze, |way| slow(way, FEDERATED, 12_100, 1_000), &[]),
    (
        Way::B,
        |way| set(way, FEDERATED, 13_200..13_201, &ok("east")),
        &["frontend-federated: the lost cluster gets nothing from 1 s after"],
    ),
    (
        Way::B,
        |way| set(way, FEDERATED, 12_900..12_910, &ok("east")),
        &[],
    ),
    (
        Way::B,
        |way| set(way, FEDERATED, 5_000..6_000, &ok("east")),
        &["frontend-federated: the share is even before the loss"],
    ),
    (
        Way::A,
        |way| set(way, FEDERATED, 30_000..31_500, &ok("north")),
        &["frontend-federated: the share is even from 10 s after the return"],
    ),
    // Off balance for a while right after the return is what the 10 s are for.
    (
        Way::A,
        |way| set(way, FEDERATED, 19_000..27_900, &ok("north")),
        &[],
    ),
    (
        Way::D,
        |way| set(way, FEDERATED, 13_000..14_500, &ok("north")),
        &["frontend-federated: the lost API server's cluster keeps its share"],
    ),
    (
        Way::D,
        |way| set(way, "api-east", 14_000..14_001, &status(503, Some("why"))),
        &["api-east: no request fails"],
    ),
    (
        Way::D,
        |way| slow(way, "analytics-east-gw", 14_000, 1_200),
        &["analytics-east-gw: no request takes longer than 1 s"],
    ),
    (
        Way::B,
        |way| set(way, "api-east", 13_100..13_101, &ok("east")),
        &["api-east: requests fail at once and say why"],
    ),
    (
        Way::A,
        |way| set(way, "api-east", 12_200..12_260, &ok("east")),
        &[],
    ),
    (
        Way::B,
        |way| set(way, "api-east", 14_000..14_001, &status(503, None)),
        &["api-east: requests fail at once and say why"],
    ),
    (
        Way::B,
        |way| set(way, "api-east", 14_000..14_001, &status(503, Some(""))),
        &["api-east: requests fail at once and say why"],
    ),
    (
        Way::B,
        |way| set(way, "api-east", 12_000..12_001, &status(500, Some("why"))),
        &["api-east: requests fail at once and say why"],
    ),
    (
        Way::Freeze,
        |way| slow(way, "analytics-east-gw", 12_000, 1_100),
        &["analytics-east-gw: requests fail at once and say why"],
    ),
    (
        Way::Freeze,
        |way| {
            set(
                way,
                "api-east",
                12_100..12_101,
                &Outcome::failed(FailureKind::Timeout),
            )
        },
        &["api-east: requests fail at once and say why"],
    ),
    (
        Way::A,
        |way| set(way, "api-east", 8_000..8_001, &status(503, Some("why"))),
        &["api-east: no request fails before the loss"],
    ),
    (
        Way::A,
        |way| set(way, "api-east", 28_000..28_001, &status(503, Some("why"))),
        &["api-east: no request fails from 10 s after the return"],
    ),
    (
        Way::B,
        |way| set(way, "api-west", 14_000..14_001, &status(503, Some("why"))),
        &["api-west: no request fails"],
    ),
    (
        Way::B,
        |way| slow(way, "api-west", 14_000, 1_300),
        &["api-west: no request takes longer than 1 s"],
    ),
    (
        Way::D,
        |way| way.services[0].records.clear(),
        &[
            "frontend-federated: no request fails",
            "frontend-federated: no request takes longer than 1 s",
            "frontend-federated: the lost API server's cluster keeps its share",
        ],
    ),
    (
        Way::B,
        |way| way.services[1].records.clear(),
        &[
            "api-east: no request fails before the loss",
            "api-east: requests fail at once and say why",
            "api-east: no request fails from 10 s after the return",
        ],
    ),
];

#[test]
fn each_promise_is_broken_by_the_records_that_break_it() {
    for (n, (way, breach, want)) in BREACHES.iter().enumerate() {
        let mut records = good(*way);
        breach(&mut records);
        let report = Report::of(lab(), &[records]);
        let want: Vec<_> = want.iter().map(|name| format!("{way}: {name}")).collect();
        assert_eq!(broken(&report), want, "row {n}");
        assert_eq!(report.ok, want.is_empty(), "row {n}");
    }
}

#[test]
fn the_lab_itself_is_held_to_its_promises() {
    let up = "the lab is up with all its Links";
    let memory = "the lab's memory is bounded";
    let rows = [
        (
            Setup {
                up: ms(10_000),
                ..lab()
            },
            vec![],
        ),
        (
            Setup {
                up: ms(10_001),
                ..lab()
            },
            vec![up],
        ),
        (
            Setup {
                links_working: 7,
                ..lab()
            },
            vec![up],
        ),
        (
            Setup {
                links: 0,
                links_working: 0,
                ..lab()
            },
            vec![up],
        ),
        (
            Setup {
                memory_bytes: 1 << 30,
                ..lab()
            },
            vec![],
        ),
        (
            Setup {
                memory_bytes: (1 << 30) + 1,
                ..lab()
            },
            vec![memory],
        ),
        (
            Setup {
                memory_bytes: 0,
                ..lab()
            },
            vec![memory],
        ),
    ];
    for (lab, want) in rows {
        assert_eq!(broken(&Report::of(lab, &[good(Way::B)])), want, "{lab:?}");
    }
}

/// The generator is so late with one request.
fn late(way: &mut WayRecords, late_ms: u64) {
    way.services[1].records[9].sent_late = ms(late_ms);
}

#[test]
fn a_promise_of_times_is_not_judged_if_the_machine_stalled_and_another_is() {
    type Breach = fn(&mut WayRecords);
    let shifts: Breach = |way| set(way, FEDERATED, 13_200..13_201, &ok("east"));
    let uneven: Breach = |way| set(way, FEDERATED, 5_000..6_000, &ok("east"));
    let slow_one: Breach = |way| slow(way, FEDERATED, 12_100, 1_001);
    let unclear: Breach = |way| slow(way, "api-east", 12_000, 1_100);
    let fails: Breach = |way| {
        let outcome = Outcome::failed(FailureKind::Lost);
        set(way, FEDERATED, 39_000..39_001, &outcome);
    };
    let mut both = good(Way::B);
    late(&mut both, 500);
    slow_one(&mut both);
    fails(&mut both);
    assert!(!both.stalled(), "a request that fails is judged");
    let sentence = Report::of(lab(), &[both]).sentence;
    let wanted = "2 of 15 promises were broken, the first: b: frontend-federated: no request fails";
    assert!(sentence.starts_with(wanted), "{sentence}");
    for (n, (breach, timed)) in [
        (shifts, true),
        (uneven, true),
        (slow_one, true),
        (unclear, true),
        (fails, false),
    ]
    .into_iter()
    .enumerate()
    {
        for (late_ms, stalled) in [(100, false), (101, true)] {
            let mut way = good(Way::B);
            late(&mut way, late_ms);
            assert!(
                !way.stalled(),
                "a good way is judged whatever the machine did"
            );
            breach(&mut way);
            let report = Report::of(lab(), &[way.clone()]);
            let broken: Vec<_> = report.promises.iter().filter(|p| !p.ok).collect();
            assert_eq!(broken.len(), 1, "row {n}: a breach stays one");
            assert_eq!(
                broken[0].judged,
                !(timed && stalled),
                "row {n}, {late_ms} ms"
            );
            assert_eq!(way.stalled(), timed && stalled, "row {n}, {late_ms} ms");
        }
    }
    for (up, late, stalled) in [
        (10_001, 101, true),
        (10_001, 100, false),
        (9_000, 500, false),
    ] {
        let (up, late) = (ms(up), ms(late));
        let setup = Setup { up, late, ..lab() };
        assert_eq!(setup.stalled(), stalled, "{setup:?}");
    }
}

#[test]
fn a_demo_that_showed_nothing_kept_nothing() {
    let report = Report::of(lab(), &[]);
    assert!(!report.ok);
    assert_eq!(
        report.sentence,
        "No way to lose a cluster was shown, so no promise was kept."
    );
}

#[test]
fn the_ways_are_known_by_name() {
    for way in Way::ALL {
        assert_eq!(way.as_str().parse(), Ok(way));
    }
    let error = "c".parse::<Way>().unwrap_err().to_string();
    assert_eq!(
        error,
        "\"c\" is no way to lose a cluster: there are a, b, freeze and d"
    );
}
