//! What is known of one request when it is over. The only thing that reports are made from.
use std::sync::Arc;
use std::time::Duration;

/// One request, counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the request was due, since the epoch.
    pub intended_at: Duration,
    /// How long after that the generator took it up: whether it kept its own schedule.
    pub sent_late: Duration,
    /// From the moment it was due to the last byte of the answer, or to the failure.
    pub latency: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

impl Record {
    /// When the request was over, since the epoch.
    #[must_use]
    pub fn ended_at(&self) -> Duration {
        self.intended_at + self.latency
    }

    /// The cluster that answered, if the request did not fail.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Ok { cluster } => Some(cluster),
            Outcome::Failed { .. } => None,
        }
    }

    /// Whether the request failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.cluster().is_none()
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with status 200 by the right application.
    Ok {
        /// The cluster that answered, by its own word.
        cluster: Arc<str>,
    },
    /// Anything else.
    Failed {
        /// How.
        kind: FailureKind,
        /// The status, if there was an answer.
        status: Option<u16>,
        /// The header `l5d-proxy-error`, if there was one.
        proxy_error: Option<Box<str>>,
    },
}

impl Outcome {
    /// A failure without an answer.
    #[must_use]
    pub const fn failed(kind: FailureKind) -> Self {
        Self::Failed {
            kind,
            status: None,
            proxy_error: None,
        }
    }
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// No connection could be made.
    Connect,
    /// The connection was lost before the whole answer had come.
    Lost,
    /// There was no whole answer in time.
    Timeout,
    /// An answer with another status than 200.
    Status,
    /// Status 200, and yet not what the application answers.
    Answer,
}

impl FailureKind {
    /// One word for tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Answer => "answer",
        }
    }
}
