//! Events: little is asked of those in the core group, more of those in `events.k8s.io`. Both are kept in the core form.
use serde_json::Value;

use super::at::{At, Causes};
use super::words;
use crate::registry::Resource;
use crate::store::json::text;

const REPORTER_CHARS_MAX: usize = 128;
const MESSAGE_CHARS_MAX: usize = 1024;

/// What must hold of an Event.
pub(super) fn check(
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    causes: &mut Causes,
) {
    let strict = res.group == "events.k8s.io";
    legacy(strict, object, causes);
    if !strict {
        return;
    }
    match before {
        Some(before) => unchanged(before, object, causes),
        None => complete(object, causes),
    }
}

fn at<'a>(object: &'a Value, name: &str) -> At<'a> {
    At::new(name, &object[name])
}

/// Of every Event: it lies where its object is, and one with a time says who reports what.
fn legacy(strict: bool, object: &Value, causes: &mut Causes) {
    let namespace = text(&object["metadata"], "namespace");
    let about = at(object, "involvedObject").get("namespace");
    let timed = at(object, "eventTime").is_set();
    let open: &[&str] = if timed {
        &["default", "kube-system"]
    } else {
        &["", "default"]
    };
    let fits = match (about.text(), timed) {
        ("", _) => open.contains(&namespace),
        (_, true) => true,
        (named, false) => named == namespace,
    };
    if !fits {
        let shown = Value::from(about.text());
        about.invalid_as(causes, &shown, "does not match event.namespace");
    }
    if !timed {
        return;
    }
    let reporter = at(object, "reportingComponent").named(if strict {
        "reportingController"
    } else {
        "reportingComponent"
    });
    if reporter.text().is_empty() {
        reporter.required(causes, "");
    }
    let shown = Value::from(reporter.text());
    for why in words::qualified(reporter.text()) {
        reporter.invalid_as(causes, &shown, &why);
    }
    for name in ["reportingInstance", "action", "reason"] {
        let field = at(object, name);
        if field.text().is_empty() {
            field.required(causes, "");
        }
        most(&field, REPORTER_CHARS_MAX, causes);
    }
    most(&at(object, "message"), MESSAGE_CHARS_MAX, causes);
}

fn most(field: &At<'_>, max: usize, causes: &mut Causes) {
    if field.text().len() > max {
        let why = format!("can have at most {max} characters");
        field.invalid_as(causes, &"".into(), &why);
    }
}

/// Of a new one in `events.k8s.io`: what old clients wrote is left out.
fn complete(object: &Value, causes: &mut Causes) {
    series(object, causes);
    let time = at(object, "eventTime");
    if !time.is_set() {
        time.required(causes, "");
    }
    let kind = at(object, "type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        let why = format!("has invalid value: {}", kind.text());
        kind.invalid_as(causes, &"".into(), &why);
    }
    let unset = "needs to be unset";
    for name in ["firstTimestamp", "lastTimestamp", "count"] {
        let field = at(object, name);
        if field.is_set() && *field.value != 0 {
            field.invalid_as(causes, &"".into(), unset);
        }
    }
    let source = at(object, "source");
    if !(source.get("component").is_empty() && source.get("host").is_empty()) {
        source.invalid_as(causes, &"".into(), unset);
    }
}

fn series(object: &Value, causes: &mut Causes) {
    let series = at(object, "series");
    if !series.is_set() {
        return;
    }
    let (count, time) = (series.get("count"), series.get("lastObservedTime"));
    if count.int() < 2 {
        count.invalid_as(causes, &"".into(), "should be at least 2");
    }
    if !time.is_set() {
        time.required(causes, "");
    }
}

/// Only the series of one in `events.k8s.io` goes on.
fn unchanged(before: &Value, object: &Value, causes: &mut Causes) {
    if before["series"] != object["series"] {
        series(object, causes);
    }
    for name in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingInstance",
    ] {
        at(object, name).immutable(causes, &at(before, name));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_new_event_says_when_and_who() {
        let registry = Registry::with_builtin();
        let of = |group: &str, event: &Value| {
            let res = registry.find(group, "v1", "events").unwrap();
            let mut causes = Causes::new();
            check(&res, (None, event), &mut causes);
            let fields = causes.into_iter().map(|cause| cause.field);
            fields.collect::<Vec<_>>()
        };
        let bare = json!({"metadata": {"namespace": "a"}});
        assert_eq!(of("", &bare), ["involvedObject.namespace"]);
        let wanted = ["involvedObject.namespace", "eventTime", "type"];
        assert_eq!(of("events.k8s.io", &bare), wanted);
        let whole = json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "r", "action": "a",
            "reportingComponent": "c", "reportingInstance": "i"});
        assert!(of("events.k8s.io", &whole).is_empty());
    }
}
