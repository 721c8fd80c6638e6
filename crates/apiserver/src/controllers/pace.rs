//! How fast the controllers work.
//!
//! Whoever asks for billions of Pods gets them, but at a pace: in every namespace a burst, then so
//! many a second. One that wants more than there is room for takes only a part of it, so that none
//! starves beside it, and other writes come in between. And what takes long to look at, for it has
//! many Pods already, rests after each look for some times as long.
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Key;

/// Pods that are made at once in a namespace where none was made for a while.
const BURST: usize = 500;
/// Pods that one makes in one step.
const STEP: usize = 100;
/// Pods that are made each second after that burst.
const PER_SECOND: usize = 50;
/// After what time there is room again.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that takes less long is not followed by a rest.
const LONG: Duration = Duration::from_millis(20);
/// How many times as long as the look a rest is.
const REST: u32 = 4;

/// How many Pods a planner may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Pods that may be made now.
    pub(super) pods: usize,
}

impl Allowance {
    /// After what time there is more.
    pub(super) const MORE_IN: Duration = PAUSE;

    /// What one of several may take of what is left.
    pub(super) fn share(left: usize) -> Self {
        Self {
            pods: left.div_ceil(2).min(STEP),
        }
    }
}

/// What was left of a namespace's room then.
#[derive(Debug)]
struct Bucket {
    left: usize,
    since: Instant,
}

impl Bucket {
    fn left(&self, now: Instant) -> usize {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
        let more = seconds.saturating_mul(PER_SECOND);
        self.left.saturating_add(more).min(BURST)
    }
}

/// Who has made how much, and who rests.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// By namespace; one that is not there has all its room.
    buckets: BTreeMap<String, Bucket>,
    rests: BTreeMap<Key, Instant>,
}

impl Pace {
    /// How many Pods may be made in a namespace, all in all.
    pub(super) fn left(&self, namespace: &str, now: Instant) -> usize {
        let bucket = self.buckets.get(namespace);
        bucket.map_or(BURST, |bucket| bucket.left(now))
    }

    /// Notes that Pods were made in a namespace.
    pub(super) fn take(&mut self, namespace: &str, made: usize, now: Instant) {
        self.buckets.retain(|_, bucket| bucket.left(now) < BURST);
        let bucket = self.buckets.entry(namespace.to_owned()).or_insert(Bucket {
            left: BURST,
            since: now,
        });
        let left = bucket.left(now);
        if left != bucket.left || left <= made {
            // However long the last ones took to make: now comes a pause.
            bucket.since = now;
        }
        bucket.left = left.saturating_sub(made);
    }

    /// Notes how long something took to look at.
    pub(super) fn took(&mut self, key: &Key, time: Duration, now: Instant) {
        self.rests.retain(|_, until| *until > now);
        if time >= LONG {
            let until = self.rests.entry(key.clone()).or_insert(now);
            *until += time.saturating_mul(REST);
        }
    }

    /// Until when something rests.
    pub(super) fn rests(&self, key: &Key, now: Instant) -> Option<Instant> {
        self.rests.get(key).copied().filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::What;

    #[test]
    fn after_a_burst_there_is_room_for_so_many_a_second() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.left("a", start), 500);
        pace.take("a", 100, start);
        pace.take("a", 400, start);
        assert_eq!(pace.left("a", start + Duration::from_millis(900)), 0);
        assert_eq!(pace.left("a", after(2)), 100);
        assert_eq!(pace.left("b", start), 500, "of another namespace");
        pace.take("a", 90, after(2));
        assert_eq!(pace.left("a", after(2)), 10);
        assert_eq!(pace.left("a", after(3)), 60);
        assert_eq!(pace.left("a", after(63)), 500, "never more than a burst");
        pace.take("b", 1, after(63));
        assert_eq!(pace.buckets.len(), 1, "who has all room is forgotten");
    }

    #[test]
    fn one_takes_a_part_of_what_is_left() {
        let shares = [500, 50, 1, 0].map(|left| Allowance::share(left).pods);
        assert_eq!(shares, [100, 25, 1, 0]);
    }

    #[test]
    fn what_takes_long_rests_for_some_times_as_long() {
        let start = Instant::now();
        let key = |name: &str| Key::Of(What::Job, "a".to_owned(), name.to_owned());
        let mut pace = Pace::default();
        pace.took(&key("short"), Duration::from_millis(1), start);
        assert_eq!(pace.rests(&key("short"), start), None);
        pace.took(&key("long"), Duration::from_secs(1), start);
        pace.took(&key("long"), Duration::from_secs(2), start);
        let end = start + Duration::from_secs(12);
        assert_eq!(pace.rests(&key("long"), start), Some(end));
        assert_eq!(pace.rests(&key("long"), end), None);
        pace.took(&key("short"), Duration::from_millis(1), end);
        assert_eq!(pace.rests.len(), 0, "rests are forgotten");
    }
}
