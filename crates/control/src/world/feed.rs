//! Watches: one task per kind of object and cluster, which hands over what it sees, and one that asks
//! each cluster whether it still answers.
//!
//! Decides when to try again (soon) and when a watch must be opened anew. Errors are items, never the
//! end. Knows nothing of what objects mean.
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tombolo_shell::task::Tasks;

use self::ask::{ask, may_follow, may_follow_servers};
use super::Input;
use super::checked;
use crate::discovery::directory::PeerId;
use crate::discovery::inventory::OBJECTS_MAX;

pub(crate) mod ask;

/// First pause after an error.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause after an error: a cluster that returns is heard within this.
const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// Before a list of too many is asked for again.
const TOO_MANY_PAUSE: Duration = Duration::from_secs(60);
/// How often a cluster is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether there are Servers by now.
const SERVERS_EVERY: Duration = Duration::from_secs(3);
/// What is kept of an error's text, in bytes: a peer may send megabytes.
const SAID_MAX: usize = 1024;
const NODES: &str = "nodes";
/// How often it is looked whether we may read nodes by now.
const NODES_EVERY: Duration = Duration::from_secs(30);
const SERVERS_GROUP: &str = "policy.linkerd.io";
const SERVERS_VERSION: &str = "policy.linkerd.io/v1beta3";
const SERVERS: &str = "servers";
/// The watch of Services.
pub(crate) const SERVICES: &str = "services";
/// The watch of slices.
pub(crate) const SLICES: &str = "slices";
/// The watch of pods.
pub(crate) const PODS: &str = "pods";

/// After this many silences in a row, the watches may hang on connections that nobody serves.
const SILENCES_SUSPECT: u32 = 2;

/// Only Secrets that hold the credentials of a Link.
const SECRET_FIELDS: &str = "type=mirror.linkerd.io/remote-kubeconfig";

/// What a watch hands over.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed as a whole, and dropped soon"
)]
pub(crate) enum What {
    /// A Service came, changed or went.
    Service(Event<Service>),
    /// A slice did.
    Slice(Event<EndpointSlice>),
    /// A pod did.
    Pod(Event<Pod>),
    /// A Server of Linkerd's policy did.
    Server(Event<DynamicObject>),
    /// A node did; of it only what every object has.
    Node(Event<PartialObjectMeta<Node>>),
    /// A namespace did.
    Namespace(Event<Namespace>),
    /// A Link did.
    Link(Event<DynamicObject>),
    /// A Secret did.
    Secret(Event<Secret>),
    /// A watch failed; it goes on.
    Failed {
        /// Which.
        watch: &'static str,
        /// For people.
        why: String,
        /// Whether the role of our credentials does not allow it.
        denied: Denied,
    },
    /// The cluster answered; its uid, if we may read that.
    Answered(Option<String>),
    /// The cluster did not answer.
    Silent(String),
    /// The cluster answered that it does not accept our credentials.
    Refused,
}

impl What {
    /// The watch that has listed all, if this says so.
    pub(crate) const fn listed(&self) -> Option<&'static str> {
        match self {
            Self::Service(Event::InitDone) => Some(SERVICES),
            Self::Slice(Event::InitDone) => Some(SLICES),
            Self::Pod(Event::InitDone) => Some(PODS),
            Self::Server(Event::InitDone) => Some(SERVERS),
            _ => None,
        }
    }
}

/// Whether the API server said that we may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It did (403).
    Yes,
    /// It failed for another reason.
    No,
}

/// Which cluster something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// This one.
    Local,
    /// Another one, by the number of its credentials.
    Peer(PeerId),
}

/// A cluster to be followed.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Which.
    pub(crate) source: Source,
    /// How to reach it.
    pub(crate) config: kube::Config,
    /// Its client, made from that.
    pub(crate) client: kube::Client,
    /// Where the owner takes from.
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// The API of Links, read as loose objects: one malformed Link must not stop the watch of all.
pub(crate) fn link_api(client: kube::Client) -> Api<DynamicObject> {
    Api::all_with(client, &link_resource())
}

/// What Links are called.
pub(crate) fn link_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("multicluster.linkerd.io", "v1alpha3", "Link"),
        "links",
    )
}

/// Follows a cluster for ever: watches, and asks whether it answers. When it answers again after a
/// silence, its watches are opened anew: the old ones may hang on connections that nobody serves.
pub(crate) async fn follow(mut cluster: Cluster, tasks: Tasks) {
    loop {
        let watches = tasks.child();
        cluster.open(&watches);
        cluster.ask_until_it_returns().await;
        watches.cancel();
        tracing::info!(source = ?cluster.source, "a cluster answers again");
    }
}

impl Cluster {
    fn open(&self, tasks: &Tasks) {
        let client = || self.client.clone();
        self.watch(
            tasks,
            SERVICES,
            Api::<Service>::all(client()),
            What::Service,
        );
        self.watch(
            tasks,
            SLICES,
            Api::<EndpointSlice>::all(client()),
            What::Slice,
        );
        self.watch(tasks, PODS, Api::<Pod>::all(client()), What::Pod);
        tasks.spawn("watch of servers", self.clone().follow_servers());
        if self.source == Source::Local {
            let namespaces = Api::<Namespace>::all(client());
            self.watch(tasks, "namespaces", namespaces, What::Namespace);
            let secrets = Api::<Secret>::all(client());
            let config = Config::default().fields(SECRET_FIELDS);
            self.watch_with(tasks, "secrets", (secrets, config), What::Secret);
            tasks.spawn("watch of nodes", self.clone().follow_nodes());
            let links = client();
            let open = move || link_watch(links.clone());
            tasks.spawn(
                "watch of links",
                self.clone().run("links", open, What::Link),
            );
        }
    }

    /// Servers are there only where a Linkerd is, and only some roles may read them.
    async fn follow_servers(self) {
        while !may_follow_servers(&self.client).await {
            tokio::time::sleep(SERVERS_EVERY).await;
        }
        let kind = GroupVersionKind::gvk(SERVERS_GROUP, "v1beta3", "Server");
        let resource = ApiResource::from_gvk_with_plural(&kind, SERVERS);
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let open = move || watcher(api.clone(), Config::default()).boxed();
        self.run(SERVERS, open, What::Server).await;
    }

    /// Zones of nodes are of use where somebody keeps traffic in them, and only some roles may read nodes.
    async fn follow_nodes(self) {
        while !may_follow(&self.client, "", NODES).await {
            tokio::time::sleep(NODES_EVERY).await;
        }
        let api = Api::<PartialObjectMeta<Node>>::all(self.client.clone());
        let open = move || watcher(api.clone(), Config::default()).boxed();
        self.run(NODES, open, What::Node).await;
    }

    fn watch<K>(&self, tasks: &Tasks, name: &'static str, api: Api<K>, wrap: fn(Event<K>) -> What)
    where
        K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        self.watch_with(tasks, name, (api, Config::default()), wrap);
    }

    fn watch_with<K>(
        &self,
        tasks: &Tasks,
        name: &'static str,
        (api, config): (Api<K>, Config),
        wrap: fn(Event<K>) -> What,
    ) where
        K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let open = move || watcher(api.clone(), config.clone()).boxed();
        tasks.spawn("watch", self.clone().run(name, open, wrap));
    }

    async fn run<K>(
        self,
        name: &'static str,
        open: impl Fn() -> BoxStream<'static, watcher::Result<Event<K>>> + Send,
        wrap: fn(Event<K>) -> What,
    ) where
        K: Send + 'static,
    {
        let mut pause = RETRY_FIRST;
        let mut stream = open();
        let mut listed = 0_usize;
        while let Some(item) = stream.next().await {
            let what = match item {
                Ok(event) => {
                    listed = match event {
                        Event::InitApply(_) => listed + 1,
                        _ => 0,
                    };
                    // A list that begins has not succeeded yet.
                    if !matches!(event, Event::Init | Event::InitApply(_)) {
                        pause = RETRY_FIRST;
                    }
                    wrap(event)
                }
                Err(error) => What::Failed {
                    watch: name,
                    why: told(name, &error),
                    denied: denied(&error),
                },
            };
            let failed = matches!(what, What::Failed { .. });
            if listed > OBJECTS_MAX {
                listed = 0;
                stream = open();
                let why = format!("{name}: more than {OBJECTS_MAX} are listed");
                let (watch, denied) = (name, Denied::No);
                if !self.hand_over(What::Failed { watch, why, denied }).await {
                    return;
                }
                tokio::time::sleep(TOO_MANY_PAUSE).await;
                continue;
            }
            if matches!(
                what,
                What::Failed {
                    denied: Denied::Yes,
                    ..
                }
            ) {
                // What is allowed again is listed anew, by which it is known that it is.
                stream = open();
            }
            if !self.hand_over(what).await {
                return;
            }
            if failed {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_LONGEST);
            }
        }
    }

    /// False once nobody takes any more.
    async fn hand_over(&self, what: What) -> bool {
        let input = Input::Cluster(self.source, Box::new(what));
        self.inputs.send(input).await.is_ok()
    }

    /// Leaves all connections behind: those that nobody serves any more would be taken up again one by one.
    fn connect_anew(&mut self) {
        match checked::client(self.config.clone()) {
            Ok(client) => self.client = client,
            Err(error) => tracing::debug!(error = causes(&error), "no new client"),
        }
    }

    async fn ask_until_it_returns(&mut self) {
        let mut silences = 0_u32;
        let mut question = None;
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = ask(&self.client, &mut question).await;
            let silent = matches!(answer, What::Silent(_) | What::Refused);
            if matches!(answer, What::Silent(_)) {
                self.connect_anew();
            }
            if !self.hand_over(answer).await {
                std::future::pending::<()>().await;
            }
            if silent {
                silences = silences.saturating_add(1);
            } else if silences >= SILENCES_SUSPECT {
                return;
            } else {
                silences = 0;
            }
        }
    }
}

fn link_watch(client: kube::Client) -> BoxStream<'static, watcher::Result<Event<DynamicObject>>> {
    watcher(link_api(client), Config::default()).boxed()
}

fn status_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

fn denied(error: &watcher::Error) -> Denied {
    match status_of(error) {
        Some(status) if status.code == 403 => Denied::Yes,
        _ => Denied::No,
    }
}

/// Why a watch failed, in the API server's own words where it has some.
fn told(watch: &str, error: &watcher::Error) -> String {
    let Some(status) = status_of(error) else {
        return format!("{watch}: {}", causes(error));
    };
    if watch == "links" && status.code == 404 {
        return "links: this cluster does not know them: apply what `tombolo manifests crds` prints".to_owned();
    }
    format!("{watch}: {} ({})", short(words(status)), status.code)
}

/// What a peer says, as far as a Link's status, a log or an Event should hold it.
fn short(said: &str) -> &str {
    &said[..said.floor_char_boundary(SAID_MAX)]
}

/// What a Status says; what its code stands for where it says nothing.
fn words(status: &kube::core::Status) -> &str {
    let said = [&status.message, &status.reason].map(|text| text.trim());
    let standard = || {
        let code = http::StatusCode::from_u16(status.code).ok();
        code.and_then(|code| code.canonical_reason())
    };
    let found = said.into_iter().find(|text| !text.is_empty());
    found.or_else(standard).unwrap_or("nothing more")
}

/// An error and its causes in one line; kube's errors hold no credentials.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text.truncate(short(&text).len());
    text
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn cluster() -> (Cluster, mpsc::Receiver<Input>) {
        let (inputs, received) = mpsc::channel(1000);
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = checked::client(config.clone()).unwrap();
        let cluster = Cluster {
            source: Source::Local,
            config,
            client,
            inputs,
        };
        (cluster, received)
    }

    #[test]
    fn what_a_peer_says_at_length_is_cut() {
        let long = std::io::Error::other("ä".repeat(1_000_000));
        assert!(causes(&long).len() <= SAID_MAX);
        assert_eq!(short("few words"), "few words");
    }

    #[test]
    fn an_answer_without_words_is_told_by_its_code() {
        for (message, reason, want) in [
            ("etcd is gone\n", "X", "etcd is gone"),
            (" ", "ServiceUnavailable", "ServiceUnavailable"),
            ("", "", "Service Unavailable"),
        ] {
            let status = kube::core::Status {
                message: message.to_owned(),
                reason: reason.to_owned(),
                code: 503,
                ..kube::core::Status::default()
            };
            assert_eq!(words(&status), want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_without_end_is_left() {
        let (cluster, mut received) = cluster();
        let open = || {
            let service = || Ok(Event::InitApply(Service::default()));
            stream::once(async { Ok(Event::Init) })
                .chain(stream::repeat_with(service))
                .boxed()
        };
        let run = cluster.run("services", open, What::Service);
        let counted = async {
            let mut listed = 0_usize;
            while let Some(Input::Cluster(_, what)) = received.recv().await {
                match *what {
                    What::Failed { why, .. } => return (listed, why),
                    _ => listed += 1,
                }
            }
            (listed, String::new())
        };
        let counting = async {
            tokio::select! {
                found = counted => found,
                () = run => (0, String::new()),
            }
        };
        let (listed, why) = Box::pin(counting).await;
        assert_eq!(listed, OBJECTS_MAX + 1);
        assert_eq!(why, "services: more than 500000 are listed");
    }

    #[tokio::test(start_paused = true)]
    async fn list_that_keeps_failing_is_asked_for_less_and_less_often() {
        let (cluster, mut received) = cluster();
        let begun_and_failed =
            || stream::iter([Ok(Event::Init), Err(watcher::Error::NoResourceVersion)]);
        let open = move || stream::repeat_with(begun_and_failed).flatten().boxed();
        let run = cluster.run("services", open, What::Service);
        let ten = Duration::from_secs(10);
        assert!(tokio::time::timeout(ten, run).await.is_err());
        let mut failed = 0;
        while let Ok(Input::Cluster(_, what)) = received.try_recv() {
            failed += usize::from(matches!(*what, What::Failed { .. }));
        }
        assert!((8..=14).contains(&failed), "{failed}");
    }
}
