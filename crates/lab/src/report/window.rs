//! A cluster's share over sliding windows, and what still counts as an even third.
use std::ops::Range;
use std::time::Duration;

use super::EVEN_WINDOW;
use crate::load::Record;

/// A phase that is shorter than a window counts as one window, down to this length.
const WINDOW_MIN: Duration = Duration::from_secs(2);
/// Answers in a window from which on the promised bounds are used as they are.
const ANSWERS_FOR_BOUNDS: u64 = 4_500;
/// How many standard deviations of pure chance are granted where there are fewer.
const SCATTER: f64 = 4.0;
const THIRD: f64 = 1.0 / 3.0;

/// The share of one cluster in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// When the window begins.
    pub(super) start: Duration,
    /// The answers in it.
    pub(super) answers: u64,
    /// Those of the cluster.
    pub(super) own: u64,
}

impl Window {
    /// From 0 to 1. Nobody's share of nothing is none.
    pub(super) fn share(self) -> f64 {
        if self.answers == 0 {
            0.0
        } else {
            self.own as f64 / self.answers as f64
        }
    }

    pub(super) fn is_even(self) -> bool {
        self.answers > 0 && even(self.answers).contains(&self.share())
    }
}

/// The windows of a phase, one beginning at each request.
#[derive(Debug)]
pub(super) struct Windows {
    /// How long each is.
    pub(super) length: Duration,
    /// None, if the phase was too short to say anything.
    pub(super) all: Vec<Window>,
}

/// What counts as even over so many answers: 30 to 36 %. At a low rate chance alone leaves these
/// bounds (a window of 500 answers scatters by 2 points), so they widen with it.
pub(super) fn even(answers: u64) -> Range<f64> {
    let promised = 0.30..0.36;
    if answers >= ANSWERS_FOR_BOUNDS {
        return promised.start..promised.end + f64::EPSILON;
    }
    let deviation = (THIRD * (1.0 - THIRD) / answers.max(1) as f64).sqrt();
    let low = (THIRD - SCATTER * deviation).clamp(0.0, promised.start);
    low..(THIRD + SCATTER * deviation).clamp(promised.end, 1.0) + f64::EPSILON
}

/// A cluster's share in every window of 10 s within `phase`. The records are in due order.
pub(super) fn windows(records: &[Record], phase: &Range<Duration>, cluster: &str) -> Windows {
    let begin = records.partition_point(|record| record.intended_at < phase.start);
    let end = records.partition_point(|record| record.intended_at < phase.end);
    let records = records.get(begin..end).unwrap_or_default();
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Windows {
            length: EVEN_WINDOW,
            all: Vec::new(),
        };
    };
    let covered = last.intended_at - first.intended_at;
    let length = EVEN_WINDOW.min(covered);
    let all = if covered < WINDOW_MIN {
        Vec::new()
    } else {
        slide(records, length, cluster)
    };
    Windows { length, all }
}

fn slide(records: &[Record], length: Duration, cluster: &str) -> Vec<Window> {
    let end = records
        .last()
        .map_or(Duration::ZERO, |record| record.intended_at);
    let (mut next, mut answers, mut own) = (0, 0, 0);
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let start = record.intended_at;
        if start + length > end {
            break;
        }
        while let Some(entering) = records.get(next).filter(|r| r.intended_at < start + length) {
            answers += u64::from(!entering.failed());
            own += u64::from(entering.cluster() == Some(cluster));
            next += 1;
        }
        all.push(Window {
            start,
            answers,
            own,
        });
        answers -= u64::from(!record.failed());
        own -= u64::from(record.cluster() == Some(cluster));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answered, failed};
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_promised_bounds_hold_from_450_requests_a_second_and_widen_below() {
        for (answers, low, high) in [
            (5000, 0.30, 0.36),
            (4500, 0.30, 0.36),
            (500, 0.249, 0.418),
            (10, 0.0, 0.93),
            (0, 0.0, 1.0),
        ] {
            let even = even(answers);
            assert!((even.start - low).abs() < 0.001, "{answers}: {even:?}");
            assert!((even.end - high).abs() < 0.001, "{answers}: {even:?}");
        }
    }

    #[test]
    fn every_window_within_the_phase_is_seen_and_none_beyond() {
        // One request a second for 30 s; east answers those of seconds 12 and 13.
        let records: Vec<_> = (0..30)
            .map(|n| answered(secs(n), if n == 12 || n == 13 { "east" } else { "west" }))
            .collect();
        let seen = windows(&records, &(secs(2)..secs(25)), "east");
        assert_eq!(seen.length, secs(10));
        assert_eq!(seen.all.first().map(|w| w.start), Some(secs(2)));
        assert_eq!(seen.all.last().map(|w| w.start), Some(secs(14)));
        let own: Vec<u64> = seen.all.iter().map(|window| window.own).collect();
        assert_eq!(own, [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0]);
        assert!(seen.all.iter().all(|window| window.answers == 10));
    }

    #[test]
    fn a_short_phase_is_one_window_and_a_very_short_one_is_none() {
        let records: Vec<_> = (0..30).map(|n| answered(secs(n), "east")).collect();
        let seen = windows(&records, &(secs(0)..secs(6)), "east");
        assert_eq!((seen.length, seen.all.len()), (secs(5), 1));
        assert_eq!(windows(&records, &(secs(0)..secs(2)), "east").all, []);
        assert_eq!(windows(&[], &(secs(0)..secs(9)), "east").all, []);
    }

    #[test]
    fn failures_are_nobodys_answers() {
        let records: Vec<_> = (0..30).map(|n| failed(secs(n))).collect();
        let seen = windows(&records, &(secs(0)..secs(30)), "east");
        assert!(
            seen.all
                .iter()
                .all(|window| window.answers == 0 && !window.is_even())
        );
    }
}
