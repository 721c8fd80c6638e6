//! How another cluster stands: alive, stale or dead, and why.
//!
//! Two signals per cluster decide together: the control path (does its API answer?) and the data path
//! (do probes of its gateways get through?). Each is a small machine that counts failures in a row; the
//! verdict is a function of both. Silence of one alone never removes an endpoint: a dead API server
//! does not stop pods, and a dead gateway does not stop a cluster whose pods are reached directly.
//! Nothing here knows sockets or time: a failure is counted when the shell reports it.
use std::fmt;

/// What one signal says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Nothing was heard of it yet.
    Unheard {
        /// Failures in a row so far; below the threshold.
        failures: u32,
    },
    /// It got through, or failed too few times to count.
    Up {
        /// Failures in a row since it last got through; below the threshold.
        failures: u32,
    },
    /// It failed too often in a row.
    Down {
        /// How it failed when it was found to be down: stable while it stays down.
        because: String,
    },
}

/// One observation of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It got through.
    Passed,
    /// It did not.
    Failed(String),
}

/// Whether an observation changed what a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It did: came up for the first time or again, or went down.
    Turned,
    /// It did not.
    Same,
}

/// A signal that counts failures in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    signal: Signal,
    failures_max: u32,
}

impl Path {
    /// A path that goes down at the `threshold`th failure in a row (at least one).
    #[must_use]
    pub const fn new(threshold: u32) -> Self {
        let failures_max = if threshold == 0 { 1 } else { threshold };
        Self {
            signal: Signal::Unheard { failures: 0 },
            failures_max,
        }
    }

    /// What it says now.
    #[must_use]
    pub const fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Takes in one observation.
    pub fn on(&mut self, observation: Observation) -> Change {
        let before = std::mem::replace(&mut self.signal, Signal::Up { failures: 0 });
        let (after, change) = match (before, observation) {
            (Signal::Up { .. }, Observation::Passed) => (Signal::Up { failures: 0 }, Change::Same),
            (Signal::Unheard { .. } | Signal::Down { .. }, Observation::Passed) => {
                (Signal::Up { failures: 0 }, Change::Turned)
            }
            (Signal::Down { because }, Observation::Failed(_)) => {
                (Signal::Down { because }, Change::Same)
            }
            (Signal::Unheard { failures }, Observation::Failed(because)) => {
                let counting = |failures| Signal::Unheard { failures };
                self.count(failures, because, counting)
            }
            (Signal::Up { failures }, Observation::Failed(because)) => {
                self.count(failures, because, |failures| Signal::Up { failures })
            }
        };
        self.signal = after;
        change
    }

    fn count(
        &self,
        failures: u32,
        because: String,
        counting: impl FnOnce(u32) -> Signal,
    ) -> (Signal, Change) {
        let failures = failures.saturating_add(1);
        if failures >= self.failures_max {
            (Signal::Down { because }, Change::Turned)
        } else {
            (counting(failures), Change::Same)
        }
    }
}

/// How a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It answers: what it says holds.
    Alive,
    /// It is silent, but nothing says that its pods are gone: what it said last holds.
    Stale,
    /// Neither its API nor any of its gateways answers: its endpoints are not used.
    Dead,
}

impl Verdict {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "Alive",
            Self::Stale => "Stale",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict and its evidence: what status, metrics and logs print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How the cluster stands.
    pub verdict: Verdict,
    /// Why, in one sentence that stays the same while nothing changes.
    pub because: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict, self.because)
    }
}

/// Judges a cluster by every control path and every gateway that leads to it, whichever Links they
/// belong to. One that gets through is enough for its kind.
#[must_use]
pub fn judge<'a>(
    control: impl IntoIterator<Item = &'a Signal>,
    data: impl IntoIterator<Item = &'a Signal>,
) -> Decision {
    let control = Summary::of(control);
    let data = Summary::of(data);
    let (verdict, because) = match (control, data) {
        (Summary::Up, Summary::Down(why)) => (
            Verdict::Alive,
            format!("its API answers; no gateway does: {why}"),
        ),
        (Summary::Up, _) => (Verdict::Alive, "its API answers".to_owned()),
        (Summary::Down(why), Summary::Down(gateway)) => (
            Verdict::Dead,
            format!("its API does not answer ({why}), nor does any gateway ({gateway})"),
        ),
        (Summary::Down(why), Summary::Up) => (
            Verdict::Stale,
            format!("its API does not answer ({why}), but traffic gets through"),
        ),
        (Summary::Down(why), Summary::Nothing) => (
            Verdict::Stale,
            format!("its API does not answer ({why}); no gateway is probed"),
        ),
        (Summary::Nothing, _) => (Verdict::Stale, "its API was not heard yet".to_owned()),
    };
    Decision { verdict, because }
}

enum Summary<'a> {
    Up,
    Down(&'a str),
    Nothing,
}

impl<'a> Summary<'a> {
    fn of(signals: impl IntoIterator<Item = &'a Signal>) -> Self {
        let mut summary = Self::Nothing;
        let mut undecided = false;
        for signal in signals {
            match signal {
                Signal::Up { .. } => return Self::Up,
                Signal::Unheard { .. } => undecided = true,
                Signal::Down { because } => {
                    if let Self::Nothing = summary {
                        summary = Self::Down(because);
                    }
                }
            }
        }
        if undecided { Self::Nothing } else { summary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(why: &str) -> Observation {
        Observation::Failed(why.to_owned())
    }

    #[test]
    fn a_path_goes_down_at_its_threshold_and_up_at_once() {
        let mut path = Path::new(3);
        assert_eq!(path.on(Observation::Passed), Change::Turned);
        for want in [Change::Same, Change::Same, Change::Turned, Change::Same] {
            assert_eq!(path.on(failed("refused")), want);
        }
        assert_eq!(path.on(Observation::Passed), Change::Turned);
        assert_eq!(path.on(Observation::Passed), Change::Same);
    }

    #[test]
    fn a_path_that_was_never_up_goes_down_too() {
        let mut path = Path::new(2);
        assert_eq!(path.on(failed("a")), Change::Same);
        assert_eq!(path.on(failed("b")), Change::Turned);
        let because = "b".to_owned();
        assert_eq!(*path.signal(), Signal::Down { because });
    }

    #[test]
    fn a_success_forgets_failures() {
        let mut path = Path::new(2);
        for _ in 0..5 {
            assert_ne!(path.on(failed("x")), Change::Turned);
            path.on(Observation::Passed);
        }
    }

    #[test]
    fn the_reason_stays_the_same_while_a_path_is_down() {
        let mut path = Path::new(1);
        path.on(failed("first"));
        path.on(failed("second"));
        let because = "first".to_owned();
        assert_eq!(*path.signal(), Signal::Down { because });
    }

    #[test]
    fn only_silence_on_both_paths_is_death() {
        let up = Signal::Up { failures: 0 };
        let new = Signal::Unheard { failures: 1 };
        let down = Signal::Down {
            because: "refused".to_owned(),
        };
        let (up, new, down) = (&up, &new, &down);
        let rows: [(&[&Signal], &[&Signal], Verdict); 12] = [
            (&[up], &[up], Verdict::Alive),
            (&[up], &[], Verdict::Alive),
            (&[up], &[down], Verdict::Alive),
            (&[down], &[up], Verdict::Stale),
            (&[down], &[], Verdict::Stale),
            (&[down], &[down], Verdict::Dead),
            (&[down], &[new], Verdict::Stale),
            (&[down], &[down, up], Verdict::Stale),
            (&[down, up], &[down], Verdict::Alive),
            (&[down, down], &[down, down], Verdict::Dead),
            (&[new], &[down], Verdict::Stale),
            (&[], &[], Verdict::Stale),
        ];
        for (control, data, want) in rows {
            let decision = judge(control.iter().copied(), data.iter().copied());
            assert_eq!(decision.verdict, want, "{control:?} {data:?}: {decision}");
        }
    }
}
