//! The owner of the store: carries out writes in batches, commits, publishes.
//!
//! On disk it is a thread of its own, so that an fsync holds nobody up but the writers that wait
//! for it; in memory a write is carried out where it is called.
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::feed::{Event, Feeds};
use super::options::{Clock, Options, Storage};
use super::webhooks::Client;
use crate::error::StatusError;
use crate::log::{Content, Log};
use crate::registry::Registry;
use crate::store::facts::Facts;
use crate::store::snapshot::Snapshot;
use crate::store::{Moment, Store};

/// Writes that wait for the owner; more make the writers wait.
const QUEUE_MAX: usize = 1024;
/// Writes in one commit.
const BATCH_MAX: usize = 512;

/// What reads look at.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: Snapshot,
    pub(crate) registry: Arc<Registry>,
}

/// What the handle and the owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) published: RwLock<Arc<Published>>,
    pub(crate) feeds: Feeds,
    pub(crate) versions: watch::Sender<u64>,
    pub(crate) tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Why writes are refused, since the last one that was tried.
    pub(crate) trouble: Mutex<Option<String>>,
    /// Calls webhooks.
    pub(crate) webhooks: Client,
}

type Answer = Box<dyn FnOnce(Result<(), StatusError>) + Send>;
type Work = Box<dyn FnOnce(&mut Store, &mut Moment<'_>) -> Answer + Send>;

/// What the owner is asked to do.
pub(super) enum Job {
    Write(Work),
    Stop(oneshot::Sender<()>),
}

/// The way to the owner.
#[derive(Clone)]
pub(super) enum Writer {
    Here(Arc<Mutex<Engine>>),
    Thread(mpsc::Sender<Job>),
}

/// The store and everything that a committed write touches.
pub(super) struct Engine {
    store: Store,
    log: Option<Log>,
    rng: StdRng,
    clock: Clock,
    shared: Arc<Shared>,
}

/// Opens the storage and starts the owner.
pub(super) fn start(storage: Storage, options: &Options) -> anyhow::Result<(Arc<Shared>, Writer)> {
    let facts = Facts {
        service_cidr: options.service_cidr,
        loopback_endpoints: options.loopback_endpoints,
        bound_pods: options.bound_pods,
    };
    let (log, loaded) = match storage {
        Storage::Memory => (None, Content::default()),
        Storage::Dir(dir) => {
            let (log, loaded) = Log::open(&dir, options.history_events)?;
            (Some(log), loaded)
        }
    };
    let store = Store::new(loaded.snapshot.clone(), facts);
    let feeds = Feeds::new(loaded.floor, options.history_events);
    feeds.publish(
        loaded.events.into_iter().map(Event::new).collect(),
        loaded.snapshot.version,
    );
    let published = Published {
        snapshot: loaded.snapshot,
        registry: Arc::clone(store.registry()),
    };
    let shared = Arc::new(Shared {
        versions: watch::Sender::new(published.snapshot.version),
        published: RwLock::new(Arc::new(published)),
        feeds,
        tasks: Mutex::new(Vec::new()),
        trouble: Mutex::new(None),
        webhooks: Client::default(),
    });
    let rng = options
        .seed
        .map_or_else(rand::make_rng, StdRng::seed_from_u64);
    let on_disk = log.is_some();
    let engine = Engine {
        store,
        log,
        rng,
        clock: Arc::clone(&options.clock),
        shared: Arc::clone(&shared),
    };
    if !on_disk {
        return Ok((shared, Writer::Here(Arc::new(Mutex::new(engine)))));
    }
    let (jobs, queue) = mpsc::channel(QUEUE_MAX);
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || own(engine, queue))?;
    Ok((shared, Writer::Thread(jobs)))
}

/// The thread of the owner: one batch after the other until nobody can send any more.
fn own(mut engine: Engine, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    loop {
        if queue.blocking_recv_many(&mut jobs, BATCH_MAX) == 0 {
            return;
        }
        let mut batch = Vec::with_capacity(jobs.len());
        let mut stop = None;
        for job in jobs.drain(..) {
            match job {
                Job::Write(work) if stop.is_none() => batch.push(work),
                Job::Write(_) => {}
                Job::Stop(done) => stop = Some(done),
            }
        }
        engine.run(batch);
        if let Some(done) = stop {
            if let Some(log) = engine.log.take() {
                log.close(|| content(&engine.shared));
            }
            if done.send(()).is_err() {
                tracing::debug!("nobody waits for the store to stop");
            }
            return;
        }
    }
}

impl Engine {
    /// Carries out a batch: everything in it is committed together, or nothing is.
    fn run(&mut self, batch: Vec<Work>) {
        let mut answers = Vec::with_capacity(batch.len());
        for work in batch {
            let mut moment = Moment {
                now: (self.clock)(),
                rng: &mut self.rng,
            };
            answers.push(work(&mut self.store, &mut moment));
        }
        let committed = self.commit();
        for answer in answers {
            answer(committed.clone());
        }
    }

    fn commit(&mut self) -> Result<(), StatusError> {
        let changes = self.store.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let logged =
            (self.log.as_mut()).map_or(Ok(()), |log| log.commit(&changes, || content(shared)));
        if let Err(error) = logged {
            return Err(self.refuse(&error));
        }
        if let Some(trouble) = self.shared.trouble.lock().take() {
            tracing::info!(trouble, "the store can be written again");
        }
        let snapshot = self.store.head().clone();
        let version = snapshot.version;
        let registry = Arc::clone(self.store.registry());
        *self.shared.published.write() = Arc::new(Published { snapshot, registry });
        self.shared
            .feeds
            .publish(changes.into_iter().map(Event::new).collect(), version);
        self.shared.versions.send_replace(version);
        Ok(())
    }

    /// Forgets what could not be written, and says so.
    fn refuse(&mut self, error: &anyhow::Error) -> StatusError {
        let why = format!("the store cannot be written: {error:#}");
        let before = self.shared.trouble.lock().replace(why.clone());
        if before.is_none() {
            tracing::error!("writes are refused: {why}");
        }
        let published = Arc::clone(&self.shared.published.read());
        self.store.reset(published.snapshot.clone());
        StatusError::unavailable(why)
    }
}

/// Everything that was committed.
fn content(shared: &Shared) -> Content {
    let (events, floor) = shared.feeds.history();
    Content {
        snapshot: shared.published.read().snapshot.clone(),
        events,
        floor,
    }
}

impl Writer {
    /// Has a piece of work done, and answers when it is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store, &mut Moment<'_>) -> Result<T, StatusError> + Send + 'static,
    ) -> Result<T, StatusError> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |store, moment| {
            let result = work(store, moment);
            Box::new(move |committed| {
                let result = committed.and(result);
                if reply.send(result).is_err() {
                    tracing::trace!("the client of a write has gone");
                }
            })
        });
        match self {
            Self::Here(engine) => engine.lock().run(vec![work]),
            Self::Thread(jobs) => {
                jobs.send(Job::Write(work))
                    .await
                    .map_err(|_closed| stopped())?;
            }
        }
        answer.await.map_err(|_dropped| stopped())?
    }

    /// Stops the owner, and waits until it has let go of its file.
    pub(super) async fn stop(&self) {
        let Self::Thread(jobs) = self else { return };
        let (done, wait) = oneshot::channel();
        if jobs.send(Job::Stop(done)).await.is_ok() && wait.await.is_err() {
            tracing::debug!("the store had stopped already");
        }
    }
}

fn stopped() -> StatusError {
    StatusError::unavailable("the store has stopped")
}
