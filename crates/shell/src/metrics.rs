//! One registry of metrics per process, passed in, never global; written as OpenMetrics text.
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Clock;

/// The content type of the text form.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a process. Clones share it.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers what `register` adds; done at start, not per request.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock())
    }

    /// Adds the time at which this process started (now).
    pub fn register_process(&self, clock: &Clock) {
        let started: Gauge = Gauge::default();
        started.set(clock.now().as_second());
        self.register(|registry| {
            registry.register(
                "process_start_time_seconds",
                "Time at which the process started, in seconds since the epoch",
                started,
            );
        });
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric refuses to be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Bounds of a latency histogram in seconds: fine where a local answer lies, coarse to a minute.
pub const LATENCY_BUCKETS_S: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 60.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_metrics_are_in_the_text() {
        let metrics = Metrics::new();
        metrics.register_process(&Clock::system());
        let text = metrics.text().unwrap();
        assert!(text.contains("process_start_time_seconds 1"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
