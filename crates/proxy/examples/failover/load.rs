//! The load, and what became of it.
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use http::Request;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tombolo_proxy::body::Body;

use crate::Way;
use crate::world::World;

const LOST: &str = "east";

struct Record {
    at: Duration,
    latency: Duration,
    status: u16,
    cluster: String,
}

/// Open loop: latency counts from the intended moment. The cluster is lost in the second fifth of the
/// time, and comes back in the fourth.
pub(crate) async fn failover(
    mut world: World,
    way: Way,
    rate: u64,
    seconds: u64,
) -> Result<String> {
    let (length, start) = (Duration::from_secs(seconds), Instant::now());
    let (lost_at, back_at) = (length / 5, length * 3 / 5);
    let gap = Duration::from_secs(1) / u32::try_from(rate)?;
    let (mut at, mut lost, mut back) = (Duration::ZERO, false, false);
    let mut running = JoinSet::new();
    while at < length {
        tokio::time::sleep_until((start + at).into()).await;
        if at >= lost_at && !lost {
            lost = true;
            world.lose(way, LOST)?;
        }
        if at >= back_at && !back {
            back = true;
            world.bring_back(way, LOST)?;
        }
        let (outbound, destination) = (world.outbound.clone(), world.destination.clone());
        running.spawn(async move {
            let response = outbound.call(&destination, get()).await;
            let (parts, body) = response.into_parts();
            let whole = body.collect().await.is_ok();
            let header = parts
                .headers
                .get("x-cluster")
                .and_then(|value| value.to_str().ok());
            let cluster = header.unwrap_or_default().to_owned();
            let status = if whole { parts.status.as_u16() } else { 0 };
            Record {
                at,
                latency: start.elapsed() - at,
                status,
                cluster,
            }
        });
        at += gap;
    }
    let mut records = running.join_all().await;
    records.sort_by_key(|record| record.at);
    Ok(describe(&world, way, &records, (lost_at, back_at)))
}

/// Closed loop with 64 clients: requests per second, and this process's CPU time for 10,000.
pub(crate) async fn bench(world: World, length: Duration) -> Result<String> {
    let (start, cpu) = (Instant::now(), cpu_ticks()?);
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let (outbound, destination) = (world.outbound.clone(), world.destination.clone());
        clients.spawn(async move {
            let mut done = 0_u64;
            while start.elapsed() < length {
                let response = outbound.call(&destination, get()).await;
                done += u64::from(response.into_body().collect().await.is_ok());
            }
            done
        });
    }
    let done: u64 = clients.join_all().await.into_iter().sum();
    let (took, cpu) = (
        start.elapsed().as_secs_f64(),
        (cpu_ticks()? - cpu) as f64 / 100.0,
    );
    let per_10k = cpu / done as f64 * 10_000.0;
    Ok(format!(
        "{:.0} requests/s, {per_10k:.3} s CPU per 10,000 (load included)",
        done as f64 / took
    ))
}

fn get() -> Request<Body> {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = http::Uri::from_static("/");
    let host = http::HeaderValue::from_static("frontend-federated:8080");
    request.headers_mut().insert(http::header::HOST, host);
    request
}

fn describe(
    world: &World,
    way: Way,
    records: &[Record],
    (lost_at, back_at): (Duration, Duration),
) -> String {
    let failed = records.iter().filter(|record| record.status != 200).count();
    let mut latencies: Vec<_> = records.iter().map(|record| record.latency).collect();
    latencies.sort();
    let at = |per_mille: usize| {
        latencies
            .get(latencies.len() * per_mille / 1_000)
            .copied()
            .unwrap_or_default()
    };
    let slow = latencies
        .iter()
        .filter(|latency| **latency > Duration::from_millis(250))
        .count();
    let mut text = format!(
        "{way:?}: {} requests, {failed} failed, p50 {:?}, p99 {:?}, p99.9 {:?}, worst {:?}, {slow} over 250 ms\n",
        records.len(),
        at(500),
        at(990),
        at(999),
        latencies.last().copied().unwrap_or_default(),
    );
    let last = records.last().map_or(0, |record| record.at.as_secs());
    for second in 0..=last {
        let of: Vec<_> = records
            .iter()
            .filter(|record| record.at.as_secs() == second)
            .collect();
        let share = |cluster| {
            of.iter().filter(|record| record.cluster == cluster).count() * 100 / of.len().max(1)
        };
        let mark = match Duration::from_secs(second) {
            now if now == lost_at => "  <- lost",
            now if now == back_at => "  <- back",
            _ => "",
        };
        let done = writeln!(
            text,
            "{second:3} s  west {:2}  east {:2}  north {:2}{mark}",
            share("west"),
            share("east"),
            share("north")
        );
        debug_assert!(done.is_ok(), "a String takes everything");
    }
    for cluster in world.outbound.clusters() {
        let done = writeln!(
            text,
            "{}: {:?}, {}; {:?}",
            cluster.name, cluster.decision.verdict, cluster.decision.because, cluster.outcomes
        );
        debug_assert!(done.is_ok(), "a String takes everything");
    }
    text
}

/// User and system time of this process, in hundredths of a second.
fn cpu_ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let field = |i: usize| {
        fields
            .get(i)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok(field(11) + field(12))
}
