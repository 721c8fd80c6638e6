//! Whether the machine keeps up: a thread that sleeps, and sees how late it wakes.
//!
//! What a thread with nothing to do is late by, everything else here was held up by as well. Decides
//! nothing; `report` does.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the thread sleeps.
const TICK: Duration = Duration::from_millis(5);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Starts the thread.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let worst = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&worst);
        let watch = move || {
            while let Some(worst) = watched.upgrade() {
                let due = Instant::now() + TICK;
                std::thread::park_timeout(TICK);
                let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                worst.fetch_max(late, Ordering::Relaxed);
            }
        };
        std::thread::Builder::new()
            .name("pulse".into())
            .spawn(watch)?;
        Ok(Self(worst))
    }

    /// The latest that it ever was.
    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
