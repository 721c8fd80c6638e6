//! The small controllers without which a cluster is none.
//!
//! Each is a planner: the whole state in, actions out; it remembers nothing. One task follows the
//! store's own changes, works out which [`Key`]s they touch ([`index`]), plans those, and carries
//! the actions out inside one write of the store, where the plan is made again on the newest state:
//! so no plan is ever stale, and nothing conflicts. No polling.
mod action;
mod aggregate;
mod autoscaler;
mod budget;
mod claim;
mod collect;
mod conditions;
mod crd;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod events;
mod expiry;
mod history;
mod index;
mod job;
mod mirror;
mod namespace;
mod node;
mod pace;
mod pods;
mod policy;
mod replica_set;
mod secret;
mod slices;
mod stateful_set;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::db::{self, Clock, Db, MintToken, Options};
use crate::error::StatusError;
use crate::registry::{Registry, StorageKey};
use crate::store::snapshot::Snapshot;
use crate::store::{Moment, Store};
use action::{Action, Hands};
use events::Recorder;
use index::Index;
use pace::{Allowance, Pace};

/// Keys that are carried out in one write of the store.
const KEYS_PER_WRITE: usize = 64;
/// After what time something that failed is tried again; each time twice as long.
const RETRY: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1000);
/// After what time the store is asked again when it could not write.
const RETRY_WRITE: Duration = Duration::from_secs(1);

/// What there is to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Namespace,
    Crd,
    Secret,
    /// The Secrets of an account.
    Account,
    /// An admission policy.
    Policy,
    /// All ClusterRoles.
    ClusterRoles,
    Deployment,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Autoscaler,
    Budget,
    Node,
    Endpoints,
    Event,
    Slices,
    /// Slices of Endpoints that somebody has written.
    Mirror,
    Volume,
    Claim,
}

/// One thing that a controller looks after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// What, its namespace (if it has one) and its name.
    Of(What, String, String),
    /// Any object, as far as owners and dependents go.
    Collect(StorageKey, String, String),
}

impl Key {
    fn namespace(&self) -> &str {
        match self {
            Self::Of(_, namespace, _) | Self::Collect(_, namespace, _) => namespace,
        }
    }
}

/// What a planner wants.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// When to look again although nothing has changed.
    pub(crate) again: Option<Timestamp>,
}

impl Plan {
    /// Looks again then, or earlier.
    pub(crate) fn look_at(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |before| before.min(at)));
    }

    /// Looks again when there is room for more Pods.
    pub(crate) fn wait_for_room(&mut self, view: &View<'_>) {
        if let Ok(at) = view.now.checked_add(Allowance::MORE_IN) {
            self.look_at(at);
        }
    }
}

/// What all planners see.
pub(crate) struct View<'a> {
    pub(crate) state: &'a Snapshot,
    pub(crate) registry: &'a Registry,
    pub(crate) now: Timestamp,
    pub(crate) root_ca: Option<&'a str>,
    /// For [`Key::Collect`]: who names the object as owner.
    pub(crate) dependents: &'a [(StorageKey, String, String)],
    pub(crate) mint: Option<&'a MintToken>,
    /// For new Pods.
    pub(crate) room: Allowance,
}

fn plan(view: &View<'_>, key: &Key) -> Plan {
    match key {
        Key::Of(what, namespace, name) => plan_of(view, *what, namespace, name),
        Key::Collect(collection, namespace, name) => {
            collect::plan(view, collection, (namespace, name))
        }
    }
}

fn plan_of(view: &View<'_>, what: What, namespace: &str, name: &str) -> Plan {
    match what {
        What::Namespace => namespace::plan(view, name),
        What::Crd => crd::plan(view, name),
        What::Secret => secret::plan(view, namespace, name),
        What::Account => secret::plan_account(view, namespace, name),
        What::Policy => policy::plan(view, name),
        What::ClusterRoles => aggregate::plan(view),
        What::Deployment => deployment::plan(view, namespace, name),
        What::ReplicaSet => replica_set::plan(view, replica_set::SET, (namespace, name)),
        What::ReplicationController => {
            replica_set::plan(view, replica_set::CONTROLLER, (namespace, name))
        }
        What::StatefulSet => stateful_set::plan(view, namespace, name),
        What::DaemonSet => daemon_set::plan(view, namespace, name),
        What::CronJob => cron_job::plan(view, namespace, name),
        What::Job => job::plan(view, namespace, name),
        What::Autoscaler => autoscaler::plan(view, namespace, name),
        What::Budget => budget::plan(view, namespace, name),
        What::Node => node::plan(view, name),
        What::Endpoints => endpoints::plan(view, namespace, name),
        What::Event => expiry::plan(view, namespace, name),
        What::Slices => slices::plan(view, namespace, name),
        What::Volume => volume::plan(view, name),
        What::Claim => volume::plan_claim(view, namespace, name),
        What::Mirror => mirror::plan(view, namespace, name),
    }
}

/// Whether the API server itself looks after it, also where others run the controllers.
fn is_the_servers(key: &Key) -> bool {
    matches!(key, Key::Of(What::Crd | What::Event, _, _))
}

/// Starts the task.
pub(crate) fn start(db: &Db, options: &Options) {
    let controllers = Controllers {
        mode: options.controllers,
        db: db.clone(),
        clock: Arc::clone(&options.clock),
        root_ca: options.root_ca_pem.clone(),
        mint: options.mint_token.clone(),
        recorder: Arc::default(),
        index: Index::default(),
        due: BTreeSet::new(),
        later: BTreeMap::new(),
        failures: BTreeMap::new(),
        pace: Pace::default(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the database keeps the task and ends it"
    )]
    let task = tokio::spawn(controllers.run());
    db.keep(task);
}

struct Controllers {
    mode: db::Controllers,
    db: Db,
    clock: Clock,
    root_ca: Option<String>,
    mint: Option<MintToken>,
    recorder: Arc<Recorder>,
    index: Index,
    due: BTreeSet<Key>,
    later: BTreeMap<Key, Instant>,
    /// How often in a row something has failed.
    failures: BTreeMap<Key, u32>,
    pace: Pace,
}

/// A key, and for [`Key::Collect`] who names the object as owner.
type Wanting = (Key, Vec<(StorageKey, String, String)>);

/// What travels into the store with a batch of keys.
struct Batch {
    keys: Vec<Wanting>,
    root_ca: Option<String>,
    mint: Option<MintToken>,
    recorder: Arc<Recorder>,
    /// By namespace.
    room: BTreeMap<String, usize>,
}

/// What came of a batch.
#[derive(Default)]
struct Done {
    failed: Vec<(Key, StatusError)>,
    /// When to look again, as the newest plans say.
    again: Vec<(Key, Timestamp)>,
    /// By namespace: Pods that were made.
    made: BTreeMap<String, usize>,
    took: Vec<(Key, Duration)>,
}

impl Controllers {
    async fn run(mut self) {
        let mut versions = self.db.versions();
        loop {
            versions.borrow_and_update();
            self.index.follow(&self.db, &mut self.due);
            while !self.due.is_empty() {
                self.work().await;
                self.index.follow(&self.db, &mut self.due);
                self.note_due();
            }
            let next = self.later.values().min().copied();
            tokio::select! {
                biased;
                changed = versions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = until(next) => {}
            }
            self.note_due();
        }
    }

    /// Notes the keys for which the time has come.
    fn note_due(&mut self) {
        let now = Instant::now();
        let due = self.later.extract_if(.., |_, at| *at <= now);
        self.due.extend(due.map(|(key, _)| key));
    }

    /// Plans keys that are due, and carries out those that want something.
    async fn work(&mut self) {
        let published = self.db.published();
        let now = (self.clock)();
        let mut batch = Batch {
            keys: Vec::new(),
            root_ca: self.root_ca.clone(),
            mint: self.mint.clone(),
            recorder: Arc::clone(&self.recorder),
            room: BTreeMap::new(),
        };
        while batch.keys.len() < KEYS_PER_WRITE {
            let Some(key) = self.due.pop_first() else {
                break;
            };
            if self.mode == db::Controllers::Off && !is_the_servers(&key) {
                continue;
            }
            let begun = Instant::now();
            if let Some(until) = self.pace.rests(&key, begun) {
                self.later.insert(key, until);
                continue;
            }
            let dependents = self.index.dependents_of(&published.snapshot, &key);
            let left = self.pace.left(key.namespace(), begun);
            let view = View {
                state: &published.snapshot,
                registry: &published.registry,
                now,
                root_ca: self.root_ca.as_deref(),
                dependents: &dependents,
                mint: self.mint.as_ref(),
                room: Allowance::share(left),
            };
            let plan = plan(&view, &key);
            self.pace.took(&key, begun.elapsed(), Instant::now());
            if let Some(again) = plan.again {
                self.look_again(&key, now, again);
            }
            if !plan.actions.is_empty() {
                let namespace = key.namespace().to_owned();
                batch.room.insert(namespace, left);
                batch.keys.push((key, dependents));
            } else {
                self.failures.remove(&key);
            }
        }
        if batch.keys.is_empty() {
            return;
        }
        let keys: Vec<Key> = batch.keys.iter().map(|(key, _)| key.clone()).collect();
        match self
            .db
            .write(move |store, moment| Ok(batch.carry_out(store, moment)))
            .await
        {
            Ok(done) => self.learn(done, now),
            Err(error) => {
                tracing::warn!(%error, "the controllers cannot write");
                let at = Instant::now() + RETRY_WRITE;
                self.later.extend(keys.into_iter().map(|key| (key, at)));
            }
        }
    }

    /// Notes what came of a batch that was planned then.
    fn learn(&mut self, done: Done, now: Timestamp) {
        let at = Instant::now();
        for (namespace, made) in done.made {
            self.pace.take(&namespace, made, at);
        }
        for (key, time) in done.took {
            self.pace.took(&key, time, at);
        }
        for (key, again) in done.again {
            self.look_again(&key, now, again);
        }
        for (key, error) in done.failed {
            tracing::debug!(?key, %error, "a controller will try again");
            self.try_again(key);
        }
    }

    fn try_again(&mut self, key: Key) {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let wait = RETRY
            .saturating_mul(2_u32.saturating_pow(*failures))
            .min(RETRY_MAX);
        *failures = failures.saturating_add(1);
        self.later.insert(key, Instant::now() + wait);
    }

    fn look_again(&mut self, key: &Key, now: Timestamp, again: Timestamp) {
        let wait = again.duration_since(now).max(jiff::SignedDuration::ZERO);
        let wait = Duration::try_from(wait)
            .unwrap_or(RETRY_MAX)
            .max(Duration::from_millis(10));
        self.later.insert(key.clone(), Instant::now() + wait);
    }
}

impl Batch {
    /// Plans every key on the newest state, and does at once what the plan says.
    fn carry_out(mut self, store: &mut Store, moment: &mut Moment<'_>) -> Done {
        let mut done = Done::default();
        for (key, dependents) in std::mem::take(&mut self.keys) {
            let registry = Arc::clone(store.registry());
            let begun = Instant::now();
            let mut left = self.room.get(key.namespace()).copied().unwrap_or(0);
            let view = View {
                state: store.head(),
                registry: &registry,
                now: moment.now,
                root_ca: self.root_ca.as_deref(),
                dependents: &dependents,
                mint: self.mint.as_ref(),
                room: Allowance::share(left),
            };
            let plan = plan(&view, &key);
            if let Some(again) = plan.again {
                done.again.push((key.clone(), again));
            }
            let mut hands = Hands {
                store: &mut *store,
                moment: &mut *moment,
                registry: &registry,
                recorder: &self.recorder,
            };
            let before = left;
            let outcome = plan.actions.into_iter().try_for_each(|action| {
                left -= usize::from(action.makes_pod()).min(left);
                hands.carry_out(action)
            });
            if left < before {
                let namespace = key.namespace();
                *done.made.entry(namespace.to_owned()).or_default() += before - left;
                self.room.insert(namespace.to_owned(), left);
            }
            done.took.push((key.clone(), begun.elapsed()));
            if let Err(error) = outcome {
                done.failed.push((key, error));
            }
        }
        done
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
