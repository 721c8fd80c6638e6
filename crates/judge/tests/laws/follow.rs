//! Whoever lists and watches ends with what is stored, whatever happens on the way.
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, ResourceExt as _};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::Strategy;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tombolo_judge::Daemon;

use crate::operation::{Operation, Step, Version, make_namespace, perform, step};

const CASES: u32 = 4;
/// What one case may take.
const DEADLINE: Duration = Duration::from_secs(180);
/// What who follows may take to come to what is stored, once nothing is written any more.
const CONVERGENCE: Duration = Duration::from_secs(60);
/// Before the next attempt at what has failed.
const AGAIN: Duration = Duration::from_millis(10);
/// One conflict after the other: somebody else always wins.
const ATTEMPTS_MAX: usize = 500;

/// The names and versions of what is there.
type State = BTreeMap<String, u64>;

/// What happens in a case.
#[derive(Clone, Debug)]
struct Plan {
    /// Of two writers; none kills the server.
    writers: [Vec<Option<Step>>; 2],
    /// After how many events a follower goes away, again and again.
    patience: [usize; 2],
}

fn plan() -> impl Strategy<Value = Plan> {
    let steps = || vec(weighted(0.96, step()), 10..30);
    ([steps(), steps()], [1usize..6, 1usize..6])
        .prop_map(|(writers, patience)| Plan { writers, patience })
}

pub(crate) fn law() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let program = std::env::current_exe()?;
    let mut daemon = Daemon::start(&program, &[])?;
    let mut count = 0;
    crate::hold(CASES, &plan(), |plan| {
        count += 1;
        runtime.block_on(async {
            let namespace = format!("law-{count}");
            let case = case(&mut daemon, &namespace, plan);
            let done = tokio::time::timeout(DEADLINE, case).await;
            done.context("not done in time")?
        })
    })
}

async fn case(daemon: &mut Daemon, namespace: &str, plan: Plan) -> Result<()> {
    let client = daemon.ready().await?;
    make_namespace(&client, namespace).await?;
    let maps = || Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let (lists, listed) = watch::channel(State::new());
    let (streams, streamed) = watch::channel(State::new());
    let (reader, writer) = reflector::store();
    let (kill, mut killed) = mpsc::channel(1);
    let [first, second] = plan.writers;
    let writers = async {
        let writers = tokio::try_join!(
            write(&client, namespace, first, kill.clone()),
            write(&client, namespace, second, kill.clone())
        );
        writers?;
        let state = retried(async || maps().list(&ListParams::default()).await).await?;
        let state = versions(&state.items)?;
        for (what, mut seen) in [("list and watch", listed), ("initial events", streamed)] {
            let same = seen.wait_for(|seen| *seen == state);
            let same = tokio::time::timeout(CONVERGENCE, same).await.is_ok();
            let found = seen.borrow().clone();
            ensure!(same, "{what}: {found:?} is not {state:?}");
        }
        wait_for(&reader, &state).await
    };
    let killer = async {
        while killed.recv().await.is_some() {
            daemon.restart()?;
        }
        bail!("the writers are gone")
    };
    let kube = watcher(maps(), watcher::Config::default().streaming_lists());
    let kube = reflector(writer, kube).default_backoff();
    let [listing, streaming] = plan.patience;
    tokio::select! {
        done = writers => done,
        done = killer => done,
        done = Follower::new(maps(), listing, Begin::List, lists).run() => done,
        done = Follower::new(maps(), streaming, Begin::InitialEvents, streams).run() => done,
        () = kube.for_each(async |_event| ()) => bail!("kube's watcher has ended"),
    }
}

/// Waits until kube's own store is the same.
async fn wait_for(reader: &reflector::Store<ConfigMap>, state: &State) -> Result<()> {
    let begun = tokio::time::Instant::now();
    loop {
        let found: Vec<ConfigMap> = reader.state().iter().map(|map| (**map).clone()).collect();
        let found = versions(&found)?;
        if found == *state {
            return Ok(());
        }
        let late = begun.elapsed() > CONVERGENCE;
        ensure!(!late, "kube's watcher: {found:?} is not {state:?}");
        tokio::time::sleep(AGAIN).await;
    }
}

fn versions(maps: &[ConfigMap]) -> Result<State> {
    let one = |map: &ConfigMap| Ok((map.name_any(), version(map)?));
    maps.iter().map(one).collect()
}

fn version(map: &ConfigMap) -> Result<u64> {
    let text = map.resource_version().context("an object has a version")?;
    text.parse().context("a version is a number")
}

/// Does one step after the other; what has no answer, or meets a conflict, is done again.
async fn write(
    client: &Client,
    namespace: &str,
    steps: Vec<Option<Step>>,
    kill: mpsc::Sender<()>,
) -> Result<()> {
    for step in steps {
        match step {
            None => kill.send(()).await?,
            Some(step) => drop(answered(client, namespace, &step).await?),
        }
    }
    Ok(())
}

async fn answered(client: &Client, namespace: &str, step: &Step) -> Result<Option<Value>> {
    // An old version would be a conflict for ever.
    let hopeless = matches!(step.1, Operation::Update(Version::Old, _));
    let hopeless = hopeless || matches!(step.1, Operation::Apply { force: false, .. });
    for _ in 0..ATTEMPTS_MAX {
        match retried(async || perform(client, namespace, step).await).await {
            Ok(object) => return Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.reason == "Conflict" && !hopeless => {}
            Err(kube::Error::Api(_)) => return Ok(None),
            Err(other) => return Err(other.into()),
        }
    }
    bail!("{step:?} is a conflict for ever")
}

/// Until there is an answer of a server that runs.
async fn retried<T>(ask: impl AsyncFn() -> Result<T, kube::Error>) -> Result<T, kube::Error> {
    loop {
        match ask().await {
            Err(kube::Error::Api(status)) if status.code < 500 => {
                return Err(kube::Error::Api(status));
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

/// How a follower learns what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    List,
    InitialEvents,
}

/// A client that lists, watches, goes away and comes back, sometimes after long.
struct Follower {
    maps: Api<ConfigMap>,
    patience: usize,
    begin: Begin,
    tell: watch::Sender<State>,
    state: State,
    /// Up to which version the state is known; none: not at all.
    version: Option<u64>,
    /// Where it was when it last began.
    long_ago: Option<(u64, State)>,
    returns: usize,
}

impl Follower {
    fn new(
        maps: Api<ConfigMap>,
        patience: usize,
        begin: Begin,
        tell: watch::Sender<State>,
    ) -> Self {
        Self {
            maps,
            patience,
            begin,
            tell,
            state: State::new(),
            version: None,
            long_ago: None,
            returns: 0,
        }
    }

    async fn run(mut self) -> Result<()> {
        loop {
            if self.begin == Begin::List && self.version.is_none() {
                self.list().await?;
            }
            self.watch().await?;
            self.returns += 1;
            // As one that slept for long: it knows what it knew then. The history may not go back so far.
            if self.returns.is_multiple_of(4)
                && let Some((version, state)) = self.long_ago.take()
            {
                self.version = Some(version);
                self.state = state;
            }
        }
    }

    async fn list(&mut self) -> Result<()> {
        let list = retried(async || self.maps.list(&ListParams::default()).await).await?;
        let version = list.metadata.resource_version.context("a list's version")?;
        self.begun(version.parse()?, versions(&list.items)?);
        Ok(())
    }

    fn begun(&mut self, version: u64, state: State) {
        self.version = Some(version);
        self.long_ago = Some((version, state.clone()));
        self.state = state;
        self.tell.send_replace(self.state.clone());
    }

    /// Watches until it loses patience, or the stream ends.
    async fn watch(&mut self) -> Result<()> {
        let params = WatchParams::default();
        let (params, from) = match self.version {
            Some(version) => (params, version.to_string()),
            None => (params.initial_events(), "0".to_owned()),
        };
        let Ok(stream) = self.maps.watch(&params, &from).await else {
            tokio::time::sleep(AGAIN).await;
            return Ok(());
        };
        let mut stream = stream.boxed();
        if self.version.is_none() && !self.initial(&mut stream).await? {
            return Ok(());
        }
        for _ in 0..self.patience {
            // A server that is killed ends it.
            let Ok(Some(event)) = stream.try_next().await else {
                tokio::time::sleep(AGAIN).await;
                return Ok(());
            };
            if !self.on(event)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what exists; false if the stream ended before that was all.
    async fn initial<S>(&mut self, stream: &mut S) -> Result<bool>
    where
        S: futures_util::Stream<Item = Result<WatchEvent<ConfigMap>, kube::Error>> + Unpin,
    {
        let mut state = State::new();
        loop {
            match stream.try_next().await {
                Ok(Some(WatchEvent::Added(map))) => {
                    state.insert(map.name_any(), version(&map)?);
                }
                Ok(Some(WatchEvent::Bookmark(mark))) => {
                    let end = "k8s.io/initial-events-end";
                    if mark.metadata.annotations.contains_key(end) {
                        self.begun(mark.metadata.resource_version.parse()?, state);
                        return Ok(true);
                    }
                }
                Ok(Some(WatchEvent::Error(_)) | None) | Err(_) => return Ok(false),
                Ok(Some(other)) => bail!("among the initial events: {other:?}"),
            }
        }
    }

    /// Takes one event; false if the history does not go back so far.
    fn on(&mut self, event: WatchEvent<ConfigMap>) -> Result<bool> {
        let at = self.version.context("it has begun")?;
        let (map, before, goes) = match &event {
            WatchEvent::Added(map) => (map, false, false),
            WatchEvent::Modified(map) => (map, true, false),
            WatchEvent::Deleted(map) => (map, true, true),
            WatchEvent::Bookmark(mark) => {
                self.version = Some(mark.metadata.resource_version.parse()?);
                return Ok(true);
            }
            WatchEvent::Error(status) => {
                ensure!(
                    status.code == 410,
                    "the watch from {at} ends with {status:?}"
                );
                self.version = None;
                return Ok(false);
            }
        };
        let (name, newer) = (map.name_any(), version(map)?);
        ensure!(newer > at, "after {at} comes {event:?}");
        let known = self.state.contains_key(&name);
        ensure!(known == before, "{:?} is followed by {event:?}", self.state);
        if goes {
            self.state.remove(&name);
        } else {
            self.state.insert(name, newer);
        }
        self.version = Some(newer);
        self.tell.send_replace(self.state.clone());
        Ok(true)
    }
}
