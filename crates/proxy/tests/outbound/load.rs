//! Open-loop load: requests at a fixed rate, latency from the intended moment.
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::machine::{Machine, ensure};
use crate::world::{Answer, Fed, World, request};
use tombolo_proxy::body::Body;

pub(crate) struct Record {
    pub(crate) at: Duration,
    /// Its time runs from when it was due.
    pub(crate) answer: Answer,
}

pub(crate) struct Records(pub(crate) Vec<Record>);

/// Loads `fed` for so long; `act` runs meanwhile. The machine is told how late each request is sent.
pub(crate) async fn load(
    machine: &Machine,
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
        machine.late((start + at).elapsed());
        act(world, at);
        let (outbound, destination) = (world.outbound.clone(), fed.destination.clone());
        running.spawn(async move {
            let response = outbound
                .call(&destination, request("GET", "/", Body::Empty))
                .await;
            let answer = Answer::of(response, start + at).await;
            Record { at, answer }
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

    /// The share of a cluster, in percent, of what was due within a span.
    pub(crate) fn share(
        &self,
        cluster: &str,
        (from_ms, to_ms): (u64, u64),
        want: RangeInclusive<usize>,
    ) -> Result<(), String> {
        let all = self.between(from_ms, to_ms).count();
        let of = self
            .between(from_ms, to_ms)
            .filter(|record| record.answer.cluster == cluster);
        let share = of.count() * 100 / all;
        ensure(want.contains(&share), || {
            let worst = self.worst();
            format!("{cluster}, {from_ms}-{to_ms} ms: {share} %, not {want:?}; worst {worst:?}")
        })
    }

    pub(crate) fn none_failed_or_slow(&self, worst: Duration) -> Result<(), String> {
        let bad = |record: &&Record| !record.answer.ok() || record.answer.took >= worst;
        self.0.iter().find(bad).map_or(Ok(()), |record| {
            Err(format!("at {:?}: {:?}", record.at, record.answer))
        })
    }

    fn worst(&self) -> Duration {
        self.0
            .iter()
            .map(|record| record.answer.took)
            .max()
            .unwrap_or_default()
    }
}
