//! What the proxy counts. Handles are looked up at start; a request only adds to them.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tombolo_shell::metrics::Metrics;

pub(crate) mod clusters;

type Labels = [(&'static str, &'static str); 1];

/// The counters of one side, inbound or outbound.
#[derive(Clone, Debug)]
pub(crate) struct SideStats {
    /// Connections that were taken.
    pub(crate) accepted: Counter,
    /// Connections that are open.
    pub(crate) open: Gauge,
    refused: Family<Labels, Counter>,
    responses: [Counter; 5],
    in_flight: Arc<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    now: AtomicUsize,
    most: usize,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Flight<'a>(&'a InFlight);

impl SideStats {
    /// Registers the counters of `side`, of which `requests_max` may be under way at a time.
    pub(crate) fn new(metrics: &Metrics, side: &'static str, requests_max: usize) -> Self {
        let (accepted, open) = (Counter::default(), Gauge::default());
        let (refused, responses) = (Family::default(), Family::<Labels, Counter>::default());
        metrics.register(|registry| {
            let side = registry.sub_registry_with_prefix(side);
            side.register(
                "connections",
                "Connections that were accepted",
                accepted.clone(),
            );
            side.register(
                "connections_open",
                "Connections that are open",
                open.clone(),
            );
            side.register(
                "connections_refused",
                "Connections that were refused",
                refused.clone(),
            );
            side.register(
                "responses",
                "Responses, by class of status",
                responses.clone(),
            );
        });
        let class = |class| responses.get_or_create_owned(&[("class", class)]);
        Self {
            accepted,
            open,
            refused,
            responses: [
                class("1xx"),
                class("2xx"),
                class("3xx"),
                class("4xx"),
                class("5xx"),
            ],
            in_flight: Arc::new(InFlight {
                now: AtomicUsize::new(0),
                most: requests_max,
            }),
        }
    }

    /// A connection was refused; per connection, not per request.
    pub(crate) fn refused(&self, why: &'static str) {
        self.refused.get_or_create(&[("why", why)]).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[class].inc();
    }

    /// Room for one more request, if there is any.
    pub(crate) fn begin(&self) -> Option<Flight<'_>> {
        if self.in_flight.now.fetch_add(1, Ordering::Relaxed) >= self.in_flight.most {
            self.in_flight.now.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Flight(&self.in_flight))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
