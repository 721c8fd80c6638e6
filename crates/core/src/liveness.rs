//! Whether the path to a peer is alive: one machine per connection.
//!
//! Silence is evidence only while an answer is due. So a busy connection that has heard nothing for
//! a while is asked (PING, which the peer's proxy answers however slow its application is), and only
//! an unanswered question ends it, sooner where the cluster's other paths are silent too. What it must not do is flap on a loaded machine: the patience
//! follows the worst answers of this path, and a timer that fires late, which means that this very
//! process was starved, does not count as the peer's silence.
//!
//! It knows no socket: the shell reports what was sent and heard, and carries out [`Effect`]s.
use std::time::{Duration, Instant};

/// The bounds within which a path's own measurements move its deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Silence after which a busy path is asked: at least this.
    pub quiet_min: Duration,
    /// And at most this.
    pub quiet_max: Duration,
    /// Silence after a question that means death: at least this, if the cluster's other paths are
    /// silent too.
    pub patience_min: Duration,
    /// And at most this; also if only this path is silent.
    pub patience_max: Duration,
    /// How often a path is asked at least while it is busy, to know its round trip.
    pub measure_every: Duration,
    /// A timer that fires later than this was held up by our own machine.
    pub slack: Duration,
    /// The time in which the worst measured round trip loses half its weight.
    pub half_life: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet_min: Duration::from_millis(50),
            quiet_max: Duration::from_millis(100),
            patience_min: Duration::from_millis(200),
            patience_max: Duration::from_millis(350),
            measure_every: Duration::from_secs(1),
            slack: Duration::from_millis(10),
            half_life: Duration::from_secs(10),
        }
    }
}

/// Late timers that are forgiven per question, so that a machine that is always late still decides.
const FORGIVEN_MAX: u32 = 3;
/// Answers without other traffic stretch the time to the next question by at most 2 to this.
const CALM_MAX: u32 = 4;
/// Quiet is this many round trips.
const QUIET_ROUND_TRIPS: u32 = 2;
/// Patience is this many round trips.
const PATIENCE_ROUND_TRIPS: u32 = 3;

/// What happened on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request was sent: from now on an answer is due.
    Sent,
    /// Bytes other than the answer to our question arrived.
    Heard,
    /// The answer to our question arrived.
    Answered,
    /// Nothing is in flight any more.
    Idle,
    /// Someone has reason to doubt this path: ask now.
    Doubted,
}

/// Who else is silent since the question was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Only this path, as far as is known: its peer may just be starved.
    Alone,
    /// All asked paths into the cluster, while others are heard: failures correlate.
    Cluster,
    /// Nobody at all is heard: it may be us.
    Everyone,
}

/// What the shell shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Send a question.
    Ask,
    /// The question is overdue: ask the other paths into the same cluster.
    AskSiblings,
    /// The path is dead; it was silent for this long.
    Dead(Duration),
}

/// The liveness of one connection.
#[derive(Clone, Debug)]
pub struct Liveness {
    settings: Settings,
    heard_at: Instant,
    answered_at: Instant,
    traffic: Traffic,
    question: Option<Question>,
    worst: Duration,
    worst_at: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Traffic {
    Idle,
    /// `since`: when it became busy. `due_since`: the first request sent after anything was last
    /// heard. `calm`: answers in a row between which nothing else was heard.
    Busy {
        since: Instant,
        due_since: Option<Instant>,
        calm: u32,
    },
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    asked_at: Instant,
    due: Instant,
    forgiven: u32,
    /// The siblings were asked.
    voiced: bool,
}

impl Liveness {
    /// A connection that has just been established; `round_trip` is what its handshake measured.
    #[must_use]
    pub fn new(settings: Settings, now: Instant, round_trip: Duration) -> Self {
        Self {
            settings,
            heard_at: now,
            answered_at: now,
            traffic: Traffic::Idle,
            question: None,
            worst: round_trip,
            worst_at: now,
        }
    }

    /// Takes an event.
    pub fn on(&mut self, now: Instant, event: Event) -> Effect {
        if matches!(self.traffic, Traffic::Dead) {
            return Effect::None;
        }
        match event {
            Event::Sent => self.sent(now),
            Event::Heard => self.heard(now, 0),
            Event::Answered => self.answered(now),
            Event::Idle => self.traffic = Traffic::Idle,
            Event::Doubted => return self.ask(now),
        }
        Effect::None
    }

    /// When [`Self::handle_timeout`] wants to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.traffic, self.question) {
            (Traffic::Dead, _) => None,
            (_, Some(question)) if question.voiced => Some(question.due),
            (_, Some(question)) => Some(question.asked_at + self.settings.patience_min / 2),
            (Traffic::Idle, None) => None,
            (
                Traffic::Busy {
                    since,
                    due_since,
                    calm,
                },
                None,
            ) => {
                let quiet = self.quiet();
                let stretched = (quiet * (1 << calm)).min(self.settings.measure_every);
                let routine = (self.heard_at.max(since) + stretched).min(self.measure_at());
                Some(due_since.map_or(routine, |since| routine.min(since + quiet)))
            }
        }
    }

    /// Time has passed. Call it only after everything that has arrived was read and reported.
    pub fn handle_timeout(&mut self, now: Instant, silence: Silence) -> Effect {
        let Some(due) = self.poll_timeout().filter(|due| *due <= now) else {
            return Effect::None;
        };
        let Some(question) = &mut self.question else {
            return self.ask(now);
        };
        if !question.voiced {
            question.voiced = true;
            question.due = question.due.max(now + self.settings.patience_min / 2);
            return Effect::AskSiblings;
        }
        let late = now - due;
        if late > self.settings.slack && question.forgiven < FORGIVEN_MAX {
            question.forgiven += 1;
            question.due = now + late.min(self.settings.patience_min);
            return Effect::None;
        }
        let longest = question.asked_at + self.settings.patience_max;
        if silence != Silence::Cluster && now < longest {
            question.due = longest;
            return Effect::None;
        }
        self.traffic = Traffic::Dead;
        self.question = None;
        Effect::Dead(now - self.heard_at)
    }

    /// Whether a question has been open for longer than this path usually takes: not dead, but
    /// another one is the better choice.
    #[must_use]
    pub fn doubtful(&self) -> bool {
        self.question.is_some()
            && matches!(
                self.traffic,
                Traffic::Busy {
                    due_since: Some(_),
                    ..
                }
            )
    }

    /// Silence after a question that now means death.
    #[must_use]
    pub fn patience(&self, now: Instant) -> Duration {
        let wanted = self.worst_now(now) * PATIENCE_ROUND_TRIPS;
        wanted.clamp(self.settings.patience_min, self.settings.patience_max)
    }

    fn sent(&mut self, now: Instant) {
        self.traffic = match self.traffic {
            Traffic::Idle => Traffic::Busy {
                since: now,
                due_since: Some(now),
                calm: 0,
            },
            Traffic::Busy {
                since,
                due_since,
                calm,
            } => Traffic::Busy {
                since,
                due_since: due_since.or(Some(now)),
                calm,
            },
            Traffic::Dead => Traffic::Dead,
        };
    }

    fn heard(&mut self, now: Instant, calm_after: u32) {
        self.heard_at = now;
        let patience = self.patience(now);
        if let Some(question) = &mut self.question {
            question.due = question.due.max(now + patience);
        }
        if let Traffic::Busy {
            due_since, calm, ..
        } = &mut self.traffic
        {
            *due_since = None;
            *calm = calm_after;
        }
    }

    fn answered(&mut self, now: Instant) {
        let calm = match self.traffic {
            Traffic::Busy { calm, .. } => (calm + 1).min(CALM_MAX),
            Traffic::Idle | Traffic::Dead => 0,
        };
        if let Some(question) = self.question.take() {
            self.worst = self
                .worst_now(now)
                .max(now.saturating_duration_since(question.asked_at));
            self.worst_at = now;
        }
        self.answered_at = now;
        self.heard(now, calm);
    }

    fn ask(&mut self, now: Instant) -> Effect {
        if self.question.is_some() {
            return Effect::None;
        }
        let due = now + self.patience(now);
        self.question = Some(Question {
            asked_at: now,
            due,
            forgiven: 0,
            voiced: false,
        });
        Effect::Ask
    }

    fn quiet(&self) -> Duration {
        let wanted = self.worst * QUIET_ROUND_TRIPS;
        wanted.clamp(self.settings.quiet_min, self.settings.quiet_max)
    }

    fn measure_at(&self) -> Instant {
        self.answered_at + self.settings.measure_every
    }

    /// The worst round trip, which fades.
    fn worst_now(&self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.worst_at).as_secs_f64();
        let lives = age / self.settings.half_life.as_secs_f64().max(0.001);
        self.worst.mul_f64(0.5_f64.powf(lives.min(64.0)))
    }
}

#[cfg(test)]
mod tests;
