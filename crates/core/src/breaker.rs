//! Whether a cluster is in or out, as this proxy's own traffic sees it: one machine per cluster.
//!
//! Failures correlate. One dead path is a dead pod; two, and no sign of life since, are a dead
//! cluster: it is out for all its endpoints at once, and one probe at a time, not the users'
//! requests, finds out when it is back. A cluster that keeps returning and dying waits longer each
//! time. It knows no connection: paths report how they ended and the shell carries out [`Effects`].
use std::fmt;
use std::time::{Duration, Instant};

/// The breaker's times.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between probes of a cluster that is out.
    pub probe_every: Duration,
    /// The longest time between probes, reached by flapping.
    pub probe_every_max: Duration,
    /// A cluster that stays in for this long has not flapped.
    pub calm_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_millis(500),
            probe_every_max: Duration::from_secs(4),
            calm_after: Duration::from_secs(8),
        }
    }
}

/// Dead paths without a sign of life in between that mean a dead cluster.
const DEATHS_MAX: u32 = 2;

/// How a path ended, or did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It was asked and said nothing for this long.
    Silent(Duration),
    /// The connection was reset or ended in the middle of a request.
    Reset,
    /// The peer's host refused the connection.
    Refused,
    /// No connection, or no handshake, within the deadline.
    NoHandshake(Duration),
    /// The connection could not be made for another reason: unreachable, wrong identity.
    Unusable,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(silence) => write!(f, "silent for {} ms", silence.as_millis()),
            Self::Reset => f.write_str("connection reset"),
            Self::Refused => f.write_str("connection refused"),
            Self::NoHandshake(wait) => write!(f, "no handshake within {} ms", wait.as_millis()),
            Self::Unusable => f.write_str("no usable connection"),
        }
    }
}

/// What happened in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A path died, or could not be opened for the first time in a row.
    Died {
        /// How.
        death: Death,
        /// When anything was last heard from the cluster, on any path.
        heard_at: Option<Instant>,
        /// How many of its other paths are up.
        others_up: usize,
    },
    /// An established path was heard.
    Heard,
    /// The probe connected and was answered.
    ProbeSucceeded,
    /// The probe failed.
    ProbeFailed,
    /// No endpoint of the cluster is known any more.
    Emptied,
}

/// What the shell shall do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Ask all established paths of the cluster now.
    pub ask_all: bool,
    /// Start one probe: connect to one endpoint, and ask.
    pub probe: bool,
    /// The verdict is another one: tell the balancers.
    pub changed: bool,
}

/// In or out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its endpoints take requests.
    In,
    /// None of its endpoints takes a request.
    Out,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// No path died lately.
    NothingWrong,
    /// One path died; the others decide.
    OnePathDied(Death),
    /// So many paths died with no sign of life since, the last of them like this.
    PathsDied(u32, Death),
    /// No path is left, the last died like this.
    NoPathLeft(Death),
    /// The probe came through.
    ProbeSucceeded,
    /// It was heard after all.
    HeardAgain,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingWrong => f.write_str("no path died lately"),
            Self::OnePathDied(death) => write!(f, "one path died ({death}), others are up"),
            Self::PathsDied(count, death) => {
                write!(
                    f,
                    "{count} paths died and nothing was heard since, the last: {death}"
                )
            }
            Self::NoPathLeft(death) => write!(f, "no path is left, the last: {death}"),
            Self::ProbeSucceeded => f.write_str("the probe came through"),
            Self::HeardAgain => f.write_str("it was heard again"),
        }
    }
}

/// The verdict and its evidence, one value for metric, log and error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// In or out.
    pub verdict: Verdict,
    /// Why.
    pub because: Because,
}

/// The breaker of one cluster.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    because: Because,
    /// How many times in a row the cluster came back and soon died again.
    flaps: u32,
    returned_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    In { deaths: u32, since: Option<Instant> },
    Waiting { probe_at: Instant },
    Probing,
}

impl Breaker {
    /// A cluster of which nothing bad is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::In {
                deaths: 0,
                since: None,
            },
            because: Because::NothingWrong,
            flaps: 0,
            returned_at: None,
        }
    }

    /// The verdict and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        let verdict = match self.state {
            State::In { .. } => Verdict::In,
            State::Waiting { .. } | State::Probing => Verdict::Out,
        };
        Decision {
            verdict,
            because: self.because,
        }
    }

    /// Takes an event.
    pub fn on(&mut self, now: Instant, event: Event) -> Effects {
        match (self.state, event) {
            (
                State::In { deaths, since },
                Event::Died {
                    death,
                    heard_at,
                    others_up,
                },
            ) => {
                let alive =
                    matches!((heard_at, since), (Some(heard), Some(since)) if heard > since);
                let before = if alive { 0 } else { deaths };
                let since = since.filter(|_| !alive).unwrap_or(now);
                self.died(now, before + 1, since, (death, others_up))
            }
            (State::In { deaths: 1.., .. }, Event::Heard) => {
                self.state = State::In {
                    deaths: 0,
                    since: None,
                };
                Effects::default()
            }
            (State::Waiting { .. } | State::Probing, Event::Heard) => {
                self.back(Because::HeardAgain)
            }
            (State::Waiting { .. } | State::Probing, Event::ProbeSucceeded) => {
                self.returned_at = Some(now);
                self.back(Because::ProbeSucceeded)
            }
            (State::Probing, Event::ProbeFailed) => {
                self.state = State::Waiting {
                    probe_at: now + self.probe_wait(),
                };
                Effects::default()
            }
            (State::Waiting { .. } | State::Probing, Event::Emptied) => {
                self.back(Because::NothingWrong)
            }
            (State::In { .. }, Event::Emptied) => {
                self.state = State::In {
                    deaths: 0,
                    since: None,
                };
                Effects::default()
            }
            (State::In { deaths: 0, .. }, Event::Heard)
            | (State::In { .. }, Event::ProbeSucceeded | Event::ProbeFailed)
            | (State::Waiting { .. }, Event::Died { .. } | Event::ProbeFailed)
            | (State::Probing, Event::Died { .. }) => Effects::default(),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { probe_at } => Some(probe_at),
            State::In { .. } | State::Probing => None,
        }
    }

    /// Time has passed: perhaps it is time for a probe.
    pub fn handle_timeout(&mut self, now: Instant) -> Effects {
        match self.state {
            State::Waiting { probe_at } if probe_at <= now => {
                self.state = State::Probing;
                Effects {
                    probe: true,
                    ..Effects::default()
                }
            }
            State::Waiting { .. } | State::In { .. } | State::Probing => Effects::default(),
        }
    }

    fn died(
        &mut self,
        now: Instant,
        deaths: u32,
        since: Instant,
        (death, others_up): (Death, usize),
    ) -> Effects {
        if deaths < DEATHS_MAX && others_up > 0 {
            self.state = State::In {
                deaths,
                since: Some(since),
            };
            self.because = Because::OnePathDied(death);
            return Effects {
                ask_all: true,
                ..Effects::default()
            };
        }
        self.because = match others_up {
            0 => Because::NoPathLeft(death),
            _ => Because::PathsDied(deaths, death),
        };
        let stable = |at: Instant| now.saturating_duration_since(at) >= self.settings.calm_after;
        self.flaps = match self.returned_at {
            Some(at) if !stable(at) => self.flaps.saturating_add(1),
            Some(_) | None => 0,
        };
        self.state = State::Waiting {
            probe_at: now + self.probe_wait(),
        };
        Effects {
            ask_all: others_up > 0,
            probe: false,
            changed: true,
        }
    }

    fn back(&mut self, because: Because) -> Effects {
        self.state = State::In {
            deaths: 0,
            since: None,
        };
        self.because = because;
        Effects {
            changed: true,
            ..Effects::default()
        }
    }

    fn probe_wait(&self) -> Duration {
        let wait = self
            .settings
            .probe_every
            .saturating_mul(1 << self.flaps.min(8));
        wait.min(self.settings.probe_every_max)
    }
}

#[cfg(test)]
mod tests;
