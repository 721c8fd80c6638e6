//! Many watchers of the same large events: what they cost the server.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::load::{newest, path, watch_from};
use crate::side::Side;

pub(crate) const WATCHERS: usize = 1000;
/// kube-apiserver takes at most 100 requests at once on one connection.
const CONNECTIONS: usize = 20;
const EVENTS: usize = 20;
const EVENT_BYTES: usize = 64 * 1024;

/// What many watchers cost.
pub(crate) struct Fanout {
    /// Memory of one watch that waits.
    pub(crate) idle_bytes_each: f64,
    /// The most that memory grew while all were sent all events.
    pub(crate) burst_bytes: f64,
    /// From the first write to the last event at the last watcher.
    pub(crate) took: Duration,
}

/// All events together.
pub(crate) fn events_bytes() -> f64 {
    (EVENTS * EVENT_BYTES) as f64
}

pub(crate) async fn run(side: &Side) -> Result<Fanout> {
    let before = side.resident()?;
    let (mut connections, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        // Each only when it is used: a server ends a connection that asks nothing.
        let mut connection = side.open().await?;
        let version = newest(&mut connection).await?;
        for _ in 0..WATCHERS / CONNECTIONS {
            bodies.push(watch_from(&mut connection, &version).await?);
        }
        connections.push(connection);
    }
    let idle = side.resident()?;
    let began = Instant::now();
    let over = AtomicBool::new(false);
    let watchers = async {
        try_join_all(bodies.into_iter().map(follow)).await?;
        let took = began.elapsed();
        over.store(true, Ordering::Release);
        Ok(took)
    };
    let (took, (), most) = tokio::try_join!(watchers, write(side), highest(side, &over))?;
    Ok(Fanout {
        idle_bytes_each: idle.saturating_sub(before) as f64 / WATCHERS as f64,
        burst_bytes: most.saturating_sub(idle) as f64,
        took,
    })
}

/// The most memory that is seen until it is over.
async fn highest(side: &Side, over: &AtomicBool) -> Result<u64> {
    let mut most = 0;
    while !over.load(Ordering::Acquire) {
        most = most.max(side.resident()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(most)
}

async fn write(side: &Side) -> Result<()> {
    let mut connection = side.open().await?;
    let text = "x".repeat(EVENT_BYTES);
    for number in 0..EVENTS {
        let body =
            format!(r#"{{"metadata":{{"name":"large-{number}"}},"data":{{"text":"{text}"}}}}"#);
        connection
            .ask(Method::POST, &path("configmaps"), body.into_bytes())
            .await?;
    }
    Ok(())
}

async fn follow(mut body: Incoming) -> Result<()> {
    let mut lines = 0;
    while lines < EVENTS {
        let next = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
        let frame = next
            .context("a watcher waits for its events")?
            .context("a watch ended")??;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        lines += data.iter().filter(|&&byte| byte == b'\n').count();
    }
    ensure!(lines == EVENTS, "{lines} events instead of {EVENTS}");
    Ok(())
}
