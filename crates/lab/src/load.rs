//! The load generator: decides when each request is due, and what became of it.
//!
//! Open loop: requests are due on a fixed schedule whatever became of the earlier ones, each is
//! counted exactly once by its outcome, and its latency runs from the moment at which it was due,
//! not from when it was sent. A stall therefore shows in every request that was due meanwhile (no
//! coordinated omission). A lost connection is a failure, never a silent retry.
//!
//! One thread keeps the schedule and one runs the connections, so that nothing else in the process
//! can slow them down. Must not know of clusters, ways or promises: `report` reads the records.
mod exchange;
mod record;
mod tally;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::record::{FailureKind, Outcome, Record};
pub use self::tally::Tally;

use self::exchange::Exchange;

/// A request that has no answer this long after it was due has failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that one load may hold. Well below the usual limit of 1,024 open files.
pub const CONNECTIONS_MAX: usize = 512;
/// Requests that are due and not yet taken over by the thread that sends them.
const DUE_MAX: usize = 4096;

/// The zero of all times in the records of one run.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(Instant);

impl Epoch {
    /// An epoch that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the epoch began: the marks that `report` compares the records with.
    #[must_use]
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }

    fn since(self, at: Instant) -> Duration {
        at.saturating_duration_since(self.0)
    }
}

/// What to ask, whom, and how often.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The Service's name, as the report shows it.
    pub service: String,
    /// The cluster from which the load comes, as the report shows it.
    pub client: String,
    /// The one address that is connected to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The application that must answer: the first word of `<application> from <cluster>`.
    /// An answer of another one counts as a failure.
    pub application: String,
    /// Requests a second.
    pub rate_per_s: NonZeroU32,
    /// How long after it was due a request has failed.
    pub timeout: Duration,
    /// How many connections may be open at once.
    pub connections_max: usize,
    /// The zero of the records' times.
    pub epoch: Epoch,
}

/// Who asks for what, as the report shows it.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The Service's name.
    pub service: &'a str,
    /// The cluster from which the load comes.
    pub client: &'a str,
    /// The application that must answer.
    pub application: &'a str,
}

impl Spec {
    /// A load with the usual timeout and number of connections.
    #[must_use]
    pub fn new(
        names: Names<'_>,
        address: SocketAddr,
        rate_per_s: NonZeroU32,
        epoch: Epoch,
    ) -> Self {
        Self {
            service: names.service.to_owned(),
            client: names.client.to_owned(),
            address,
            host: format!("{}:{}", names.service, address.port()),
            application: names.application.to_owned(),
            rate_per_s,
            timeout: REQUEST_TIMEOUT,
            connections_max: CONNECTIONS_MAX,
            epoch,
        }
    }
}

/// Why a load could not be started or finished.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine gave no thread or runtime.
    #[error("cannot start the load on {service}")]
    Start {
        /// The Service that was to be loaded.
        service: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// The thread ended without saying so: its records are not complete, so there are none.
    #[error("the load on {service} ended by itself")]
    Ended {
        /// The Service that was loaded.
        service: String,
    },
}

/// What has been counted: the records, and their sums so far.
#[derive(Debug, Default)]
struct Log {
    records: Vec<Record>,
    tally: Tally,
}

/// A load that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    spec: Arc<Spec>,
    log: Arc<Mutex<Log>>,
    stop: DropGuard,
    done: oneshot::Receiver<()>,
}

impl Running {
    /// What has been counted so far, for progress lines.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.log.lock().tally.clone()
    }

    /// What the load was asked to do.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Sends no more, waits for what is under way (each request has its deadline), and returns one
    /// record for each request, in the order in which they were due.
    ///
    /// # Errors
    /// The load's thread has died, so that the records cannot be complete.
    pub async fn finish(self) -> Result<Vec<Record>, LoadError> {
        self.stop.disarm().cancel();
        if self.done.await.is_err() {
            return Err(LoadError::Ended {
                service: self.spec.service.clone(),
            });
        }
        let mut records = std::mem::take(&mut self.log.lock().records);
        records.sort_by_key(|record| record.intended_at);
        Ok(records)
    }
}

/// Starts a load in threads of its own.
///
/// # Errors
/// The machine gives no thread or no runtime.
pub fn start(spec: Spec) -> Result<Running, LoadError> {
    let service = spec.service.clone();
    start_threads(Arc::new(spec)).map_err(|source| LoadError::Start { service, source })
}

fn start_threads(spec: Arc<Spec>) -> io::Result<Running> {
    let log = Arc::new(Mutex::new(Log::default()));
    let stop = CancellationToken::new();
    let (done_tx, done) = oneshot::channel();
    let (due_tx, due_rx) = mpsc::channel(DUE_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let sender = Sender {
        spec: spec.clone(),
        log: log.clone(),
        exchange: Arc::new(Exchange::new(spec.clone())),
    };
    let stopped = stop.clone();
    std::thread::Builder::new()
        .name("load".into())
        .spawn(move || {
            runtime.block_on(sender.run(due_rx, stopped));
            // Nobody waits any more if the `Running` was dropped; that is how a load is thrown away.
            done_tx.send(()).ok();
        })?;
    let rate = spec.rate_per_s;
    std::thread::Builder::new()
        .name("load-pace".into())
        .spawn(move || pace(rate, &due_tx))?;
    Ok(Running {
        spec,
        log,
        stop: stop.drop_guard(),
        done,
    })
}

/// Keeps the schedule. A thread of its own, since timers of the runtime are a millisecond coarse.
fn pace(rate_per_s: NonZeroU32, due_tx: &mpsc::Sender<Instant>) {
    let start = Instant::now();
    for n in 0u64.. {
        let due = start + due_after(n, rate_per_s);
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if due_tx.is_closed() {
                return;
            }
            if wait.is_zero() {
                break;
            }
            // A low rate must not keep the thread for long after the load has ended.
            std::thread::park_timeout(wait.min(Duration::from_millis(100)));
        }
        if due_tx.blocking_send(due).is_err() {
            return;
        }
    }
}

/// When the n-th request is due. From the start each time, so that rounding does not add up.
fn due_after(n: u64, rate_per_s: NonZeroU32) -> Duration {
    let rate = u64::from(rate_per_s.get());
    Duration::new(n / rate, 0) + Duration::from_nanos((n % rate) * 1_000_000_000 / rate)
}

/// What every request of a load shares.
#[derive(Clone)]
struct Sender {
    spec: Arc<Spec>,
    log: Arc<Mutex<Log>>,
    exchange: Arc<Exchange>,
}

impl Sender {
    async fn run(self, mut due_rx: mpsc::Receiver<Instant>, stop: CancellationToken) {
        let requests = TaskTracker::new();
        loop {
            let due = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                due = due_rx.recv() => due,
            };
            let Some(due) = due else { break };
            requests.spawn(self.clone().request(due));
        }
        due_rx.close();
        requests.close();
        requests.wait().await;
    }

    /// One request, from being due to its record.
    async fn request(self, due: Instant) {
        let sent_late = due.elapsed();
        let deadline = due + self.spec.timeout;
        let outcome = timeout_at(deadline.into(), self.exchange.run()).await;
        let latency = due.elapsed();
        let outcome = outcome.unwrap_or(Outcome::failed(FailureKind::Timeout));
        let intended_at = self.spec.epoch.since(due);
        let record = Record {
            intended_at,
            sent_late,
            latency,
            outcome,
        };
        let mut log = self.log.lock();
        log.tally.add(&record);
        log.records.push(record);
    }
}
