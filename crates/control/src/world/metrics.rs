//! What the owner counts.
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tombolo_core::cluster::Verdict;
use tombolo_shell::metrics::{LATENCY_BUCKETS_S, Metrics};

use crate::server::Streams;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLink {
    link: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerdict {
    link: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

/// The owner's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    links: Gauge,
    silent_s: Family<OfLink, Gauge>,
    verdict: Family<OfVerdict, Gauge>,
    plans: Counter,
    writes: Family<OfOutcome, Counter>,
    changes: Counter,
    lag_s: Histogram,
}

impl Counts {
    /// Registers all of them, and those of streams.
    pub(crate) fn register(metrics: &Metrics, streams: &Streams) -> Self {
        let counts = Self {
            links: Gauge::default(),
            silent_s: Family::default(),
            verdict: Family::default(),
            plans: Counter::default(),
            writes: Family::default(),
            changes: Counter::default(),
            lag_s: Histogram::new(LATENCY_BUCKETS_S),
        };
        let by_kind: [(&'static str, &Gauge); 4] = [
            ("endpoints", &streams.endpoints.0),
            ("profiles", &streams.profiles.0),
            ("outbound", &streams.outbound.0),
            ("inbound", &streams.inbound.0),
        ];
        metrics.register(|registry| {
            let c = counts.clone();
            registry.register("control_links", "Links that exist", c.links);
            registry.register(
                "control_link_silent_seconds",
                "Time since the API of the cluster behind a Link answered last",
                c.silent_s,
            );
            registry.register(
                "control_link_verdict",
                "How the cluster behind a Link stands: 1 for its verdict, 0 for the others",
                c.verdict,
            );
            registry.register("control_plans", "Plans that were made", c.plans);
            registry.register(
                "control_writes",
                "Writes to the API server of this cluster",
                c.writes,
            );
            registry.register(
                "control_changes",
                "Services whose answer changed",
                c.changes,
            );
            registry.register(
                "control_lag_seconds",
                "From a change that was received to the answers that it changes",
                c.lag_s,
            );
            for (kind, gauge) in by_kind {
                let labels = [("kind".into(), kind.into())];
                registry
                    .sub_registry_with_labels(labels.into_iter())
                    .register("control_streams", "Streams that are open", gauge.clone());
            }
        });
        counts
    }

    /// How many Links there are.
    pub(crate) fn links(&self, count: usize) {
        self.links.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How the cluster behind a Link stands, and how long it has been silent.
    pub(crate) fn link(&self, link: &str, verdict: Verdict, silent: Option<Duration>) {
        for each in [Verdict::Alive, Verdict::Stale, Verdict::Dead] {
            let labels = OfVerdict {
                link: link.to_owned(),
                verdict: each.as_str(),
            };
            self.verdict
                .get_or_create(&labels)
                .set(i64::from(each == verdict));
        }
        let labels = OfLink {
            link: link.to_owned(),
        };
        let seconds = silent.map_or(-1, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        self.silent_s.get_or_create(&labels).set(seconds);
    }

    /// A Link is gone.
    pub(crate) fn forget(&self, link: &str) {
        self.silent_s.remove(&OfLink {
            link: link.to_owned(),
        });
        for each in [Verdict::Alive, Verdict::Stale, Verdict::Dead] {
            self.verdict.remove(&OfVerdict {
                link: link.to_owned(),
                verdict: each.as_str(),
            });
        }
    }

    /// A plan was made.
    pub(crate) fn planned(&self) {
        self.plans.inc();
    }

    /// Writes were made.
    pub(crate) fn wrote(&self, written: u64, failed: u64) {
        for (outcome, count) in [("written", written), ("failed", failed)] {
            self.writes
                .get_or_create(&OfOutcome { outcome })
                .inc_by(count);
        }
    }

    /// Answers about `services` changed, this long after the change was received.
    pub(crate) fn published(&self, services: usize, lag: Duration) {
        if services > 0 {
            self.changes.inc_by(services as u64);
            self.lag_s.observe(lag.as_secs_f64());
        }
    }
}
