//! The life of one pod on its node: which process starts, ends and starts again, and when.
//!
//! A machine: an event and the time go in, effects come out; no process, clock or API server is known here.
//! It always holds that a pod is gone only after each of its processes has ended.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::pod::{Kind, Life, PodSpec};

/// How long a container that ended waits before it starts again, the first time.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How long a container that could not be started waits: what it lacks (its account, say) may come any moment.
const NOT_STARTED_RETRY: Duration = Duration::from_millis(500);
/// A container that ran this long starts without a wait again.
const BACKOFF_RESET: Duration = Duration::from_secs(30);

/// What time it is, for waiting and for showing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For intervals.
    pub(crate) monotonic: Instant,
    /// For the status.
    pub(crate) wall: Timestamp,
}

/// What happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The object is as given.
    Object(PodSpec),
    /// The object no longer exists.
    Gone,
    /// A container's process runs.
    Started {
        /// Which.
        container: usize,
        /// Its process.
        pid: u32,
    },
    /// A container could not be started.
    NotStarted {
        /// Which.
        container: usize,
        /// Why.
        why: String,
    },
    /// A container's process ended.
    Exited {
        /// Which.
        container: usize,
        /// Its code, 128 + signal if a signal ended it.
        code: i32,
    },
    /// A container answered its probe, or not.
    Probed {
        /// Which.
        container: usize,
        /// The process that was asked.
        pid: u32,
        /// The answer.
        answer: Answer,
    },
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is ready.
    Ready,
    /// It is not, or does not answer.
    Unready,
}

/// What the shell shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start a container's process.
    Start {
        /// Which.
        container: usize,
    },
    /// Ask a container's process to end (SIGTERM).
    Terminate {
        /// Which.
        container: usize,
    },
    /// End a container's process (SIGKILL).
    Kill {
        /// Which.
        container: usize,
    },
    /// Every process has ended: the object can be deleted for good and the pod forgotten.
    Finished,
}

/// What a container does at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// It waits for its (next) start.
    Waiting {
        /// Until when.
        until: Instant,
        /// Why, as the status shows it.
        reason: &'static str,
        /// Why, in words.
        message: String,
    },
    /// Its start has been asked for.
    Starting,
    /// It runs. A container without a process has pid 0.
    Running {
        /// Its process.
        pid: u32,
        /// Since when, for the status.
        since: Timestamp,
        /// Since when, for the backoff.
        started: Instant,
    },
    /// It ended and will not start again.
    Ended {
        /// Its code.
        code: i32,
        /// When.
        at: Timestamp,
    },
}

/// One container of the pod.
#[derive(Clone, Debug)]
pub(crate) struct ContainerState {
    /// What it does.
    pub(crate) run: Run,
    /// How often it was started again.
    pub(crate) restarts: i32,
    /// The code of its last end, if it ever ended.
    pub(crate) last_code: Option<i32>,
    /// Whether its probe says that it is ready.
    pub(crate) ready: Answer,
    failures: u32,
    backoff: Duration,
    /// When its SIGTERM is due, once the pod ends; `None` when it was sent.
    term_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Ending { kill_at: Instant },
    Finished,
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct PodMachine {
    spec: PodSpec,
    address: Ipv4Addr,
    containers: Vec<ContainerState>,
    stage: Stage,
    /// When it was first seen.
    pub(super) since: Timestamp,
    /// Whether the pod is ready, and since when it has been so or not.
    pub(super) ready: (Answer, Timestamp),
}

impl PodMachine {
    /// A pod of which nothing runs yet. `restarts` are what its status counts from before, by container.
    #[must_use]
    pub(crate) fn new(spec: PodSpec, address: Ipv4Addr, restarts: &[i32], now: Now) -> Self {
        let containers = (0..spec.containers.len()).map(|index| ContainerState {
            run: waiting(now.monotonic, "ContainerCreating", String::new()),
            restarts: restarts.get(index).copied().unwrap_or(0),
            last_code: None,
            ready: Answer::Unready,
            failures: 0,
            backoff: BACKOFF_MIN,
            term_at: None,
        });
        Self {
            containers: containers.collect(),
            address,
            stage: Stage::Running,
            since: now.wall,
            ready: (Answer::Unready, now.wall),
            spec,
        }
    }

    /// The pod as its object has it.
    #[must_use]
    pub(crate) fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// Its address.
    #[must_use]
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its containers, in the order of the object.
    #[must_use]
    pub(crate) fn containers(&self) -> &[ContainerState] {
        &self.containers
    }

    /// Whether it has finished.
    #[must_use]
    pub(crate) fn finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running => self.containers.iter().filter_map(|c| c.waits_until()).min(),
            Stage::Ending { kill_at } => {
                let terms = self
                    .containers
                    .iter()
                    .filter(|c| c.has_process())
                    .filter_map(|c| c.term_at);
                Some(terms.min().map_or(kill_at, |term| term.min(kill_at)))
            }
            Stage::Finished => None,
        }
    }

    /// Takes in what happened.
    pub(crate) fn on(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match event {
            Event::Object(spec) => {
                self.spec.life = spec.life;
                self.spec.grace = spec.grace;
                if spec.life == Life::Ending {
                    self.end(now);
                }
            }
            Event::Gone => {
                // Deleted without grace: nothing is left that could be waited for.
                self.spec.grace = Duration::ZERO;
                self.end(now);
                self.stage = match self.stage {
                    Stage::Finished => Stage::Finished,
                    Stage::Running | Stage::Ending { .. } => Stage::Ending {
                        kill_at: now.monotonic,
                    },
                };
            }
            Event::Started { container, pid } => self.on_started(now, container, pid),
            Event::NotStarted { container, why } => self.on_not_started(now, container, why),
            Event::Exited { container, code } => self.on_exited(now, container, code),
            Event::Probed {
                container,
                pid,
                answer,
            } => self.on_probed(container, pid, answer),
        }
        self.handle_timeout(now)
    }

    /// Does what is due by now.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        let effects = match self.stage {
            Stage::Running => self.start_due(now),
            Stage::Ending { kill_at } => self.end_due(now, kill_at),
            Stage::Finished => Vec::new(),
        };
        let all = |state: &ContainerState| state.ready == Answer::Ready && state.is_running();
        let ready = self.stage == Stage::Running && self.containers.iter().all(all);
        let answer = if ready {
            Answer::Ready
        } else {
            Answer::Unready
        };
        if answer != self.ready.0 {
            self.ready = (answer, now.wall);
        }
        effects
    }

    fn start_due(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (index, state) in self.containers.iter_mut().enumerate() {
            if state
                .waits_until()
                .is_none_or(|until| until > now.monotonic)
            {
                continue;
            }
            let Some(spec) = self.spec.containers.get(index) else {
                continue;
            };
            match spec.kind {
                Kind::Pause => {
                    state.ready = Answer::Ready;
                    state.run = Run::Running {
                        pid: 0,
                        since: now.wall,
                        started: now.monotonic,
                    };
                }
                Kind::Unknown => {
                    let message = format!(
                        "image {:?}: this node runs tombolo/echo, tombolo/pause and tombolo/proxy",
                        spec.image
                    );
                    state.run = waiting(now.monotonic + BACKOFF_MAX, "ErrImagePull", message);
                }
                Kind::Echo | Kind::Proxy => {
                    state.run = Run::Starting;
                    effects.push(Effect::Start { container: index });
                }
            }
        }
        effects
    }

    fn end(&mut self, now: Now) {
        let longest = self
            .spec
            .containers
            .iter()
            .map(|c| c.pre_stop)
            .max()
            .unwrap_or_default();
        let grace = self.spec.grace;
        match self.stage {
            Stage::Finished => return,
            Stage::Ending { kill_at } => {
                // A second deletion can only shorten the time.
                self.stage = Stage::Ending {
                    kill_at: kill_at.min(now.monotonic + grace),
                };
                return;
            }
            Stage::Running => {}
        }
        self.stage = Stage::Ending {
            kill_at: now.monotonic + grace,
        };
        for (state, spec) in self.containers.iter_mut().zip(&self.spec.containers) {
            // The proxy serves until the application has had its time: it waits as long as the longest.
            let wait = if spec.kind == Kind::Proxy {
                longest
            } else {
                spec.pre_stop
            };
            state.term_at = Some(now.monotonic + wait.min(grace));
            if let Run::Waiting { .. } = state.run {
                state.run = Run::Ended {
                    code: state.last_code.unwrap_or(0),
                    at: now.wall,
                };
            }
            if let Run::Running { pid: 0, .. } = state.run {
                state.run = Run::Ended {
                    code: 0,
                    at: now.wall,
                };
            }
        }
    }

    fn end_due(&mut self, now: Now, kill_at: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (container, state) in self.containers.iter_mut().enumerate() {
            if !state.has_process() {
                continue;
            }
            if kill_at <= now.monotonic {
                effects.push(Effect::Kill { container });
            } else if state.term_at.is_some_and(|term| term <= now.monotonic) {
                state.term_at = None;
                effects.push(Effect::Terminate { container });
            }
        }
        if effects.is_empty()
            && self
                .containers
                .iter()
                .all(|c| matches!(c.run, Run::Ended { .. }))
        {
            self.stage = Stage::Finished;
            effects.push(Effect::Finished);
        } else if kill_at <= now.monotonic {
            // The kill is repeated for a process that was still starting, but not in a busy loop.
            self.stage = Stage::Ending {
                kill_at: now.monotonic + Duration::from_millis(500),
            };
        }
        effects
    }

    fn on_started(&mut self, now: Now, container: usize, pid: u32) {
        let Some(state) = self.containers.get_mut(container) else {
            return;
        };
        if state.last_code.is_some() {
            state.restarts = state.restarts.saturating_add(1);
        }
        state.failures = 0;
        state.run = Run::Running {
            pid,
            since: now.wall,
            started: now.monotonic,
        };
        let probed = self
            .spec
            .containers
            .get(container)
            .is_some_and(|c| c.probe.is_some());
        state.ready = if probed {
            Answer::Unready
        } else {
            Answer::Ready
        };
    }

    fn on_not_started(&mut self, now: Now, container: usize, why: String) {
        let ending = matches!(self.stage, Stage::Ending { .. });
        let Some(state) = self.containers.get_mut(container) else {
            return;
        };
        if ending {
            state.run = Run::Ended {
                code: state.last_code.unwrap_or(0),
                at: now.wall,
            };
            return;
        }
        state.run = waiting(
            now.monotonic + NOT_STARTED_RETRY,
            "CreateContainerError",
            why,
        );
    }

    fn on_exited(&mut self, now: Now, container: usize, code: i32) {
        let ending = matches!(self.stage, Stage::Ending { .. });
        let Some(state) = self.containers.get_mut(container) else {
            return;
        };
        if let Run::Running { started, .. } = state.run
            && now.monotonic.saturating_duration_since(started) >= BACKOFF_RESET
        {
            state.backoff = BACKOFF_MIN;
        }
        state.ready = Answer::Unready;
        state.last_code = Some(code);
        state.run = if ending {
            Run::Ended { code, at: now.wall }
        } else {
            let wait = state.next_backoff();
            waiting(
                now.monotonic + wait,
                "CrashLoopBackOff",
                format!("ended with code {code}"),
            )
        };
    }

    fn on_probed(&mut self, container: usize, asked: u32, answer: Answer) {
        let failures_max = self
            .spec
            .containers
            .get(container)
            .and_then(|c| c.probe.as_ref())
            .map_or(1, |probe| probe.failures_max);
        let Some(state) = self.containers.get_mut(container) else {
            return;
        };
        if !matches!(state.run, Run::Running { pid, .. } if pid == asked) {
            return;
        }
        match answer {
            Answer::Ready => {
                state.failures = 0;
                state.ready = Answer::Ready;
            }
            Answer::Unready => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= failures_max {
                    state.ready = Answer::Unready;
                }
            }
        }
    }
}

fn waiting(until: Instant, reason: &'static str, message: String) -> Run {
    Run::Waiting {
        until,
        reason,
        message,
    }
}

impl ContainerState {
    fn waits_until(&self) -> Option<Instant> {
        match &self.run {
            Run::Waiting { until, .. } => Some(*until),
            Run::Starting | Run::Running { .. } | Run::Ended { .. } => None,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    fn has_process(&self) -> bool {
        matches!(self.run, Run::Starting | Run::Running { .. })
    }

    fn next_backoff(&mut self) -> Duration {
        let wait = self.backoff;
        self.backoff = (wait * 2).min(BACKOFF_MAX);
        wait
    }
}

#[cfg(test)]
mod tests;
