//! Open-loop load: requests at a fixed rate, latency from the intended moment.
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::world::{Answer, Fed, World, request};
use tombolo_proxy::body::Body;

pub(crate) struct Record {
    pub(crate) at: Duration,
    pub(crate) latency: Duration,
    pub(crate) answer: Answer,
}

pub(crate) struct Records(pub(crate) Vec<Record>);

/// Loads `fed` for so long; `act` runs meanwhile.
pub(crate) async fn load(
    world: &mut World,
    fed: &Fed,
    (per_second, length): (u32, Duration),
    mut act: impl FnMut(&mut World, Duration),
) -> Records {
    let start = Instant::now();
    let gap = Duration::from_secs(1) / per_second;
    let mut running = JoinSet::new();
    let mut at = Duration::ZERO;
    while at < length {
        tokio::time::sleep_until((start + at).into()).await;
        act(world, at);
        let (outbound, destination) = (world.outbound.clone(), fed.destination.clone());
        running.spawn(async move {
            let response = outbound
                .call(&destination, request("GET", "/", Body::Empty))
                .await;
            let answer = Answer::of(response, start + at).await;
            Record {
                at,
                latency: answer.took,
                answer,
            }
        });
        at += gap;
    }
    let mut records = running.join_all().await;
    records.sort_by_key(|record| record.at);
    Records(records)
}

impl Records {
    pub(crate) fn between(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Record> {
        let (from, to) = (Duration::from_millis(from_ms), Duration::from_millis(to_ms));
        self.0
            .iter()
            .filter(move |record| record.at >= from && record.at < to)
    }

    /// The share of a cluster, in percent.
    pub(crate) fn share(&self, cluster: &str, (from_ms, to_ms): (u64, u64)) -> usize {
        let all = self.between(from_ms, to_ms).count().max(1);
        let of = self
            .between(from_ms, to_ms)
            .filter(|record| record.answer.cluster == cluster);
        of.count() * 100 / all
    }

    pub(crate) fn assert_none_failed_or_slow(&self, worst: Duration) {
        for record in &self.0 {
            assert!(
                record.answer.ok(),
                "at {:?}: {:?}",
                record.at,
                record.answer
            );
            assert!(
                record.latency < worst,
                "at {:?}: {:?}",
                record.at,
                record.latency
            );
        }
    }

    pub(crate) fn worst(&self) -> Duration {
        self.0
            .iter()
            .map(|record| record.latency)
            .max()
            .unwrap_or_default()
    }
}
