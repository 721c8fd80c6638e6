//! How long to wait after failures in a row: exponential, capped, with jitter.
use std::time::Duration;

use rand::{Rng, RngExt};

/// Waits between attempts at one thing.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits about `first` after the first failure, twice as long after each further one, and never
    /// much longer than `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// One more failure: how long to wait now, spread by a fifth in either direction.
    pub fn failed(&mut self, rng: &mut impl Rng) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        wait.mul_f64(rng.random_range(0.8..1.2))
    }

    /// It worked: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures in a row there have been.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for want_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.failed(&mut rng).as_millis();
            assert!(
                wait >= want_ms * 8 / 10 && wait <= want_ms * 12 / 10,
                "{wait} for {want_ms}"
            );
        }
        backoff.succeeded();
        assert!(backoff.failed(&mut rng) <= Duration::from_millis(120));
    }

    #[test]
    fn endless_failure_never_overflows() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for _ in 0..100_000 {
            assert!(backoff.failed(&mut rng) <= Duration::from_secs(6));
        }
    }
}
