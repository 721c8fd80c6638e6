//! What time it is. Durations are measured with [`tokio::time::Instant`], which tests can pause;
//! this is the wall clock, by which certificates and tokens live, and which tests can move.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// A wall clock. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_s: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let ahead = jiff::SignedDuration::from_secs(self.ahead_s.load(Ordering::Relaxed));
        Timestamp::now()
            .saturating_add(ahead)
            .unwrap_or(Timestamp::MAX)
    }

    /// Seconds since the epoch, 0 before it.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        u64::try_from(self.now().as_second()).unwrap_or(0)
    }

    /// Moves this clock and all its clones ahead of the machine's, for tests of what expires.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        self.ahead_s.fetch_add(by, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_advance_together() {
        let clock = Clock::system();
        let other = clock.clone();
        let before = other.unix_seconds();
        clock.advance(Duration::from_secs(3600));
        assert!(other.unix_seconds() >= before + 3600);
    }
}
