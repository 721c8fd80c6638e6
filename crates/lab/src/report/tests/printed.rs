//! What is printed: as a table, and as JSON.
use super::*;

#[test]
fn the_json_is_as_documented() {
    let mut way = good(Way::B);
    way.services.truncate(1);
    let mut json = serde_json::to_value(Report::of(lab(), &[way])).unwrap();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&json), ["lab", "ok", "promises", "sentence", "ways"]);
    assert_eq!(
        keys(&json["promises"][0]),
        ["got", "judged", "name", "ok", "want"]
    );
    assert_eq!(json["ways"][0]["way"], "b");
    let service = json["ways"][0]["services"][0].take();
    for key in [
        "service", "client", "requests", "failed", "p50_ms", "p99_ms", "worst_ms",
    ] {
        assert!(!service[key].is_null(), "{key}");
    }
    for phase in ["before", "during", "after"] {
        assert!(service["share"][phase]["west"].is_f64(), "{phase}");
    }
    assert!(service["shifted_ms"].is_f64() && service["even_again_ms"].is_f64());
}

#[test]
fn the_closing_lines_show_every_service_and_every_promise() {
    let mut way = good(Way::B);
    set(
        &mut way,
        "frontend-federated",
        12_200..12_201,
        &status(503, Some("why")),
    );
    let report = Report::of(lab(), &[way]);
    let text = anstream::adapter::strip_str(&closing::render(&report)).to_string();
    for wanted in [
        "share of the answers, west/east/north in per cent.",
        "even again: milliseconds from the return until",
        "33/33/33  50/0/50  33/33/33",
        "frontend-federated     20000       1",
        "BROKEN  b: frontend-federated: no request fails",
        "1 of 20000 failed: 1 503",
        "kept    b: api-east: requests fail at once and say why",
        "1 of 15 promises was broken, the first: b: frontend-federated: no request fails \
         (wanted 0 failed, saw 1 of 20000 failed: 1 503).",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
}

#[test]
fn what_was_not_judged_is_said_and_does_not_hold() {
    let mut way = good(Way::B);
    slow(&mut way, FEDERATED, 14_000, 1_200);
    late(&mut way, 101);
    let report = Report::of(lab(), &[way]);
    assert!(!report.ok);
    let text = anstream::adapter::strip_str(&closing::render(&report)).to_string();
    for wanted in [
        "NOT JUDGED  b: frontend-federated: no request takes longer than 1 s",
        "1 of 15 promises was not judged, the first: b: frontend-federated: no request takes longer \
         than 1 s (wanted at most 1000 ms, saw not judged: the machine stalled for 101 ms; 1200 ms).",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
}
