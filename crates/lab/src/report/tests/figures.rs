//! The figures of a way are those of its records.
use super::*;

#[test]
fn the_figures_are_those_of_the_records() {
    let report = Report::of(lab(), &[good(Way::Freeze)]);
    let way = &report.ways[0];
    assert_eq!(
        (way.break_took_ms, way.away_ms, way.heal_took_ms),
        (100.0, 4_900.0, 1_000.0)
    );
    let figures = &way.services[0];
    assert_eq!((figures.requests, figures.failed), (20_000, 0));
    assert_eq!(
        (figures.p50_ms, figures.p99_ms, figures.worst_ms),
        (2.0, 2.0, 320.0)
    );
    // The last request that hung was due 298 ms after the break and took 320 ms.
    assert_eq!(figures.shifted_ms, Some(616.0));
    // A window of 10 s bears 1 s without east, and east was away for 1.5 s after the return began.
    let even_again = figures.even_again_ms.unwrap();
    assert!((300.0..700.0).contains(&even_again), "{even_again}");
    assert!((0.332..0.335).contains(&figures.share.before["east"]));
    assert_eq!(
        figures.share.during.keys().collect::<Vec<_>>(),
        ["north", "west"]
    );
    assert!((0.332..0.335).contains(&figures.share.after["east"]));
    let mirror = &way.services[1];
    assert_eq!((mirror.requests, mirror.failed), (2_000, 325));
    assert_eq!(
        mirror.failures.clone().into_iter().collect::<Vec<_>>(),
        [("503".into(), 325)]
    );
    assert_eq!((mirror.shifted_ms, mirror.even_again_ms), (None, None));
    // The last refusal was due 1,480 ms after the return began and took 3 ms.
    assert_eq!(mirror.works_again_ms, Some(1_483.0));
}

#[test]
fn nothing_shifts_while_the_cluster_goes_on_serving() {
    let report = Report::of(lab(), &[good(Way::D)]);
    let figures = &report.ways[0].services[0];
    assert_eq!(
        (figures.shifted_ms, figures.even_again_ms),
        (None, Some(0.0))
    );
}

#[test]
fn what_never_shifts_or_evens_out_has_no_time() {
    let mut way = good(Way::B);
    set(&mut way, "frontend-federated", 16_500..16_510, &ok("east"));
    set(&mut way, "frontend-federated", 38_000..40_000, &ok("west"));
    let figures = &Report::of(lab(), &[way]).ways[0].services[0];
    // A straggler from the lost cluster sets the time, however calm it had been before.
    assert_eq!(figures.shifted_ms, Some(4_510.0));
    assert_eq!(figures.even_again_ms, None);
    let mut way = good(Way::B);
    set(&mut way, "frontend-federated", 12_000..17_000, &ok("east"));
    assert_eq!(
        Report::of(lab(), &[way]).ways[0].services[0].shifted_ms,
        None
    );
}
