//! How each cluster stands and how attempts at it ended, asked of `outbound` at each scrape.
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tombolo_core::breaker::Verdict;
use tombolo_shell::metrics::Metrics;

use crate::outbound::{ClusterReport, Outbound, Outcome};

/// Registers what `outbound` knows of clusters. Their number is that of the failure domains in view.
pub(crate) fn register(metrics: &Metrics, outbound: Outbound) {
    metrics.register(|registry| registry.register_collector(Box::new(Clusters(outbound))));
}

#[derive(Debug)]
struct Clusters(Outbound);

impl Collector for Clusters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let clusters = self.0.clusters();
        gauge(
            &mut encoder,
            "up",
            "Whether the cluster takes traffic",
            &clusters,
            |report| i64::from(report.decision.verdict == Verdict::In),
        )?;
        gauge(
            &mut encoder,
            "paths",
            "Paths into the cluster",
            &clusters,
            |report| i64::try_from(report.paths).unwrap_or(i64::MAX),
        )?;
        let help = "Paths into the cluster that are established";
        gauge(&mut encoder, "paths_up", help, &clusters, |report| {
            i64::try_from(report.paths_up).unwrap_or(i64::MAX)
        })?;
        let mut attempts = encoder.encode_descriptor(
            "outbound_cluster_attempts",
            "Attempts at requests, by how they ended",
            None,
            MetricType::Counter,
        )?;
        for report in &clusters {
            for (outcome, count) in Outcome::ALL.into_iter().zip(report.outcomes) {
                let labels = [
                    ("dst_cluster", &*report.name),
                    ("outcome", outcome.as_str()),
                ];
                ConstCounter::new(count).encode(attempts.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    clusters: &[ClusterReport],
    value: impl Fn(&ClusterReport) -> i64,
) -> Result<(), fmt::Error> {
    let name = format!("outbound_cluster_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for report in clusters {
        let labels = [("dst_cluster", &*report.name)];
        ConstGauge::new(value(report)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
