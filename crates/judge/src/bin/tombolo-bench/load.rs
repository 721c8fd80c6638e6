//! Writers and watchers, and what they saw.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::client::Connection;
use crate::side::{NAMESPACE, Side};

pub(crate) const WRITERS: usize = 8;
pub(crate) const WATCHERS: usize = 10;
/// More writes than any run makes.
const WRITES_MAX: usize = 4_000_000;
/// How long a watcher may be behind the last write.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a number of durations is spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Spread {
    pub(crate) fn of(mut all: Vec<Duration>) -> Result<Self> {
        ensure!(!all.is_empty(), "nothing was measured");
        all.sort_unstable();
        let at = |share: usize| all[(all.len() - 1) * share / 100];
        Ok(Self {
            p50: at(50),
            p99: at(99),
        })
    }
}

/// A ConfigMap with a little in it.
pub(crate) fn config_map(name: &str) -> Vec<u8> {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"value","other":"{name}"}}}}"#
    )
    .into_bytes()
}

/// A Service without a selector: nobody makes anything of it.
pub(crate) fn service(name: &str) -> Vec<u8> {
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}","labels":{{"app":"{name}"}}}},"spec":{{"ports":[{{"name":"http","port":80,"targetPort":8080}}]}}}}"#
    )
    .into_bytes()
}

pub(crate) fn path(plural: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{plural}")
}

/// Creates so many Services, all writers at once.
pub(crate) async fn create_services(side: &Side, count: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let path = path("services");
    let writers = side.open_many(WRITERS).await?.into_iter();
    let writers = writers.map(|mut connection| {
        let (next, path) = (&next, &path);
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                let body = service(&format!("service-{number:05}"));
                connection.ask(Method::POST, path, body).await?;
            }
        }
    });
    try_join_all(writers).await.map(|_done| ())
}

/// What a run of writers and watchers is.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Names begin with it, so that runs do not meet.
    pub(crate) prefix: &'static str,
    pub(crate) seconds: u64,
    pub(crate) watchers: usize,
    /// Writes a second, all writers together; none is as many as they can.
    pub(crate) rate: Option<u32>,
}

/// What it saw.
pub(crate) struct Seen {
    pub(crate) writes_per_second: f64,
    /// From a write's sending to its event at a watcher.
    pub(crate) latency: Option<Spread>,
}

struct Shared {
    run: Run,
    began: Instant,
    next: AtomicUsize,
    /// When each write was sent, in nanoseconds since the beginning.
    sent: Vec<AtomicU64>,
}

impl Shared {
    fn name(&self, number: usize) -> String {
        format!("{}-{number:07}", self.run.prefix)
    }

    async fn write(&self, mut connection: Connection) -> Result<()> {
        let path = path("configmaps");
        let end = Duration::from_secs(self.run.seconds);
        while self.began.elapsed() < end {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(rate) = self.run.rate {
                let due = Duration::from_secs(1) * u32::try_from(number)? / rate;
                tokio::time::sleep_until((self.began + due).into()).await;
            }
            let body = config_map(&self.name(number));
            let sent = u64::try_from(self.began.elapsed().as_nanos())?;
            self.sent
                .get(number)
                .context("more writes than expected")?
                .store(sent, Ordering::Release);
            connection.ask(Method::POST, &path, body).await?;
        }
        Ok(())
    }

    /// Follows until it has seen as many as were written.
    async fn watch(
        &self,
        mut body: Incoming,
        mut done: watch::Receiver<Option<usize>>,
    ) -> Result<Vec<Duration>> {
        let marker = format!(r#""name":"{}-"#, self.run.prefix);
        let mut seen = Vec::new();
        let mut rest = String::new();
        while *done.borrow_and_update() != Some(seen.len()) {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame.context("a watch ended")??,
                changed = done.changed() => {
                    changed.context("the writers have gone")?;
                    continue;
                }
            };
            let now = self.began.elapsed();
            let Some(data) = frame.data_ref() else {
                continue;
            };
            rest.push_str(std::str::from_utf8(data)?);
            let mut from = 0;
            while let Some(end) = rest[from..].find('\n') {
                let line = &rest[from..from + end];
                from += end + 1;
                let Some((_, after)) = line.split_once(&marker) else {
                    continue;
                };
                let number: usize = after.get(..7).context("a name is cut off")?.parse()?;
                let sent = Duration::from_nanos(self.sent[number].load(Ordering::Acquire));
                seen.push(now.saturating_sub(sent));
            }
            rest.drain(..from);
        }
        Ok(seen)
    }
}

/// The version of the newest list of ConfigMaps.
pub(crate) async fn newest(connection: &mut Connection) -> Result<String> {
    let path = path("configmaps?limit=1");
    let list = connection.ask(Method::GET, &path, Vec::new()).await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let version = list["metadata"]["resourceVersion"].as_str();
    Ok(version.context("a list without a version")?.to_owned())
}

/// Watches ConfigMaps from a version.
pub(crate) async fn watch_from(connection: &mut Connection, version: &str) -> Result<Incoming> {
    let query = format!("configmaps?watch=1&resourceVersion={version}&timeoutSeconds=3600");
    let (status, body) = connection
        .begin(Method::GET, &path(&query), Vec::new())
        .await?;
    ensure!(status.is_success(), "watch: {status}");
    Ok(body)
}

/// Lets writers write and watchers watch.
pub(crate) async fn run(side: &Side, run: Run) -> Result<Seen> {
    let mut bodies = Vec::new();
    let mut watching = side.open_many(run.watchers).await?;
    for connection in &mut watching {
        let version = newest(connection).await?;
        bodies.push(watch_from(connection, &version).await?);
    }
    let writing = side.open_many(WRITERS).await?;
    let room = if run.watchers == 0 && run.rate.is_none() {
        WRITES_MAX
    } else {
        WRITES_MAX / 4
    };
    let shared = Arc::new(Shared {
        run,
        began: Instant::now(),
        next: AtomicUsize::new(0),
        sent: (0..room).map(|_| AtomicU64::new(0)).collect(),
    });
    let (done, written) = watch::channel(None);
    let writing: FuturesUnordered<_> = writing.into_iter().map(|one| shared.write(one)).collect();
    let writers = async {
        writing.try_collect::<Vec<()>>().await?;
        let took = shared.began.elapsed();
        done.send_replace(Some(shared.next.load(Ordering::Relaxed)));
        Ok(took)
    };
    let watching = bodies
        .into_iter()
        .map(|body| shared.watch(body, written.clone()));
    let watchers = watching
        .collect::<FuturesUnordered<_>>()
        .try_collect::<Vec<_>>();
    let most = Duration::from_secs(run.seconds) + PATIENCE;
    let both = async { tokio::try_join!(writers, watchers) };
    let (took, seen) = tokio::time::timeout(most, both)
        .await
        .context("watchers stay behind")??;
    let latencies: Vec<Duration> = seen.into_iter().flatten().collect();
    let count = u32::try_from(shared.next.load(Ordering::Relaxed))?;
    Ok(Seen {
        writes_per_second: f64::from(count) / took.as_secs_f64(),
        latency: (run.watchers > 0)
            .then(|| Spread::of(latencies))
            .transpose()?,
    })
}
