//! Events do not stay: an hour after their last write they go. That is the API server's own work.
use jiff::{SignedDuration, Timestamp};

use super::action::Action;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::store::json::text;
use crate::store::request::Propagation;

/// How long an event stays.
const SECONDS: i64 = 3600;

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let events = StorageKey::new("", "events");
    let Some(object) = view.state.get(&events, namespace, name) else {
        return plan;
    };
    let event = object.value();
    let times = [
        text(&event["metadata"], "creationTimestamp"),
        text(&event, "lastTimestamp"),
        text(&event, "eventTime"),
        text(&event["series"], "lastObservedTime"),
    ];
    // A time that lies ahead does not make an event stay.
    let last = times
        .iter()
        .filter_map(|time| time.parse::<Timestamp>().ok())
        .filter(|time| *time <= view.now)
        .max()
        .unwrap_or(view.now);
    match last.checked_add(SignedDuration::from_secs(SECONDS)) {
        Ok(end) if end > view.now => plan.look_at(end),
        _ => {
            let how = Propagation::Background;
            plan.actions.push(Action::delete(&events, &event, how));
        }
    }
    plan
}
