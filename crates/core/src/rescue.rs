//! Whether a request whose path or endpoint failed may run again elsewhere.
//!
//! Never twice what must not be: a request that is not idempotent runs again only if not one byte of
//! it was written, or the peer says that it did not process it. What a frozen host holds in its
//! socket buffer it executes after the thaw. Attempts are bounded, age is not: a late success beats a
//! failure.
use std::fmt;

/// How often one request is sent at most.
pub const ATTEMPTS_MAX: u32 = 4;

/// How far the failed attempt got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not one byte of it was written, or the peer's application never saw one.
    Unsent,
    /// The peer refused it unprocessed (`REFUSED_STREAM`, or above the last stream of a GOAWAY).
    Refused,
    /// A byte of it may have been written.
    Sent,
    /// Its response has begun.
    Answering,
}

/// Whether running it twice is the same as running it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
    Idempotent,
    /// It is not.
    Once,
}

impl Kind {
    /// The kind of a request with this method (RFC 9110, 9.2.2).
    #[must_use]
    pub fn of_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Self::Idempotent,
            _ => Self::Once,
        }
    }
}

/// Whether the request's body can be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All of it that was read is still here.
    Complete,
    /// It was too large to keep.
    Lost,
}

/// What is known about a failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Idempotent or not.
    pub kind: Kind,
    /// How far it got.
    pub progress: Progress,
    /// Its body.
    pub body: Replay,
    /// How many times the request has been sent, this attempt included.
    pub attempts: u32,
}

/// Why a request may not run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may have been executed, and must not be twice.
    NotIdempotent,
    /// Its response has begun.
    Answering,
    /// Its body was too large to keep.
    BodyTooLarge,
    /// It has been tried often enough.
    Attempts,
    /// Too many requests are being rescued.
    Budget,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotIdempotent => "it may have been executed and is not idempotent",
            Self::Answering => "its response had begun",
            Self::BodyTooLarge => "its body is too large to be kept for a second attempt",
            Self::Attempts => "it was tried often enough",
            Self::Budget => "too many requests are being rescued",
        })
    }
}

/// Whether a failed attempt may be followed by another.
///
/// # Errors
/// Says why not.
pub fn may_run_again(failed: &Failed) -> Result<(), Refusal> {
    match (failed.progress, failed.kind) {
        (Progress::Answering, _) => return Err(Refusal::Answering),
        (Progress::Sent, Kind::Once) => return Err(Refusal::NotIdempotent),
        (Progress::Sent, Kind::Idempotent) | (Progress::Unsent | Progress::Refused, _) => {}
    }
    if failed.body == Replay::Lost {
        return Err(Refusal::BodyTooLarge);
    }
    if failed.attempts >= ATTEMPTS_MAX {
        return Err(Refusal::Attempts);
    }
    Ok(())
}

/// Bounds how much rescues add to the load: a reserve for the moment when a cluster dies, refilled by
/// a fifth of the requests.
#[derive(Clone, Debug)]
pub struct Budget {
    fifths: u64,
    requests_seen: u64,
}

impl Budget {
    /// Rescues in reserve.
    pub const RESERVE: u64 = 4_096;

    /// A full reserve.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fifths: Self::RESERVE * 5,
            requests_seen: 0,
        }
    }

    /// Takes one rescue, if there is one; `requests` counts all requests ever.
    ///
    /// # Errors
    /// When the budget is spent.
    pub fn take(&mut self, requests: u64) -> Result<(), Refusal> {
        let fresh = requests.saturating_sub(self.requests_seen);
        self.requests_seen = requests.max(self.requests_seen);
        self.fifths = self.fifths.saturating_add(fresh).min(Self::RESERVE * 5);
        self.fifths = self.fifths.checked_sub(5).ok_or(Refusal::Budget)?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed(kind: Kind, progress: Progress) -> Failed {
        Failed {
            kind,
            progress,
            body: Replay::Complete,
            attempts: 1,
        }
    }

    #[test]
    fn what_may_run_again() {
        use Kind::{Idempotent, Once};
        for (kind, progress, want) in [
            (Idempotent, Progress::Unsent, Ok(())),
            (Idempotent, Progress::Refused, Ok(())),
            (Idempotent, Progress::Sent, Ok(())),
            (Idempotent, Progress::Answering, Err(Refusal::Answering)),
            (Once, Progress::Unsent, Ok(())),
            (Once, Progress::Refused, Ok(())),
            (Once, Progress::Sent, Err(Refusal::NotIdempotent)),
            (Once, Progress::Answering, Err(Refusal::Answering)),
        ] {
            assert_eq!(
                may_run_again(&failed(kind, progress)),
                want,
                "{kind:?} {progress:?}"
            );
        }
    }

    #[test]
    fn bounds_hold_for_every_kind() {
        let base = failed(Kind::Idempotent, Progress::Sent);
        let lost = Failed {
            body: Replay::Lost,
            ..base
        };
        assert_eq!(may_run_again(&lost), Err(Refusal::BodyTooLarge));
        let often = Failed {
            attempts: ATTEMPTS_MAX,
            ..base
        };
        assert_eq!(may_run_again(&often), Err(Refusal::Attempts));
    }

    #[test]
    fn methods_follow_rfc_9110() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert_eq!(Kind::of_method(method), Kind::Idempotent, "{method}");
        }
        for method in ["POST", "PATCH", "CONNECT", "get", ""] {
            assert_eq!(Kind::of_method(method), Kind::Once, "{method:?}");
        }
    }

    proptest! {
        #[test]
        fn sent_and_not_idempotent_never_runs_again(attempts: u32, lost: bool) {
            let body = if lost { Replay::Lost } else { Replay::Complete };
            let failed = Failed { attempts, body, ..failed(Kind::Once, Progress::Sent) };
            prop_assert!(may_run_again(&failed).is_err());
        }

        #[test]
        fn rescues_never_exceed_reserve_and_a_fifth(steps in proptest::collection::vec((0_u64..5_000, 0_u64..3_000), 1..30)) {
            let (mut budget, mut requests, mut rescued) = (Budget::new(), 0, 0);
            for (more, rescues) in steps {
                requests += more;
                rescued += (0..rescues).filter(|_| budget.take(requests).is_ok()).count() as u64;
                prop_assert!(rescued <= Budget::RESERVE + requests / 5 + 1);
            }
        }
    }
}
