//! Watches: one task per kind of object and cluster, which hands over what it sees, and one that asks
//! each cluster whether it still answers.
//!
//! Decides when to try again (soon) and when a watch must be opened anew. Errors are items, never the
//! end. Knows nothing of what objects mean.
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tombolo_shell::task::Tasks;

use super::Input;
use super::checked;
use crate::discovery::directory::PeerId;

/// First pause after an error.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause after an error: a cluster that returns is heard within this.
const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// How often a cluster is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// How often it is looked whether there are Servers by now.
const SERVERS_EVERY: Duration = Duration::from_secs(3);
const SERVERS_GROUP: &str = "policy.linkerd.io";
const SERVERS_VERSION: &str = "policy.linkerd.io/v1beta3";
const SERVERS: &str = "servers";
/// The watch of Services.
pub(crate) const SERVICES: &str = "services";
/// The watch of slices.
pub(crate) const SLICES: &str = "slices";
const PODS: &str = "pods";

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
        while let Some(item) = stream.next().await {
            let what = match item {
                Ok(event) => {
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

/// What a cluster is asked once a second: something that it does not deny.
#[derive(Clone, Copy)]
enum Question {
    /// By which uid it is known.
    Uid,
    /// Which version it is, where the role does not let us read the namespace that has the uid, as Linkerd's.
    Version,
}

/// One cheap question, which also tells the uid by which a cluster is known. A refusal is an answer,
/// unless it is our credential that is refused.
async fn ask(client: &kube::Client, question: &mut Option<Question>) -> What {
    let asked = async {
        let chosen = match *question {
            Some(chosen) => chosen,
            None => *question.insert(choose(client).await?),
        };
        match chosen {
            Question::Uid => {
                let namespaces: Api<Namespace> = Api::all(client.clone());
                let object = namespaces.get_metadata("kube-system").await?;
                Ok(object.metadata.uid)
            }
            Question::Version => client.apiserver_version().await.map(|_| None),
        }
    };
    let answer = match tokio::time::timeout(ASK_DEADLINE, asked).await {
        Err(_elapsed) => What::Silent(format!("no answer within {} s", ASK_DEADLINE.as_secs())),
        Ok(Ok(uid)) => return What::Answered(uid),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            401 => What::Refused,
            403 | 404 => What::Answered(None),
            code => What::Silent(format!("it answers {code}: {}", words(&status))),
        },
        Ok(Err(error)) => What::Silent(causes(&error)),
    };
    // Whatever was allowed may be so no longer, or be so now.
    *question = None;
    answer
}

/// Whether there is such a kind, and we are not denied it.
async fn may_follow_servers(client: &kube::Client) -> bool {
    let asked = async {
        let served = client.list_api_group_resources(SERVERS_VERSION).await;
        let served = served.is_ok_and(|list| list.resources.iter().any(|r| r.name == SERVERS));
        if !served {
            return false;
        }
        let attributes = |verb: &str| ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(SERVERS_GROUP.to_owned()),
            resource: Some(SERVERS.to_owned()),
            ..ResourceAttributes::default()
        };
        may(client, attributes("list")).await.unwrap_or(false)
            && may(client, attributes("watch")).await.unwrap_or(false)
    };
    let answer = tokio::time::timeout(ASK_DEADLINE, asked).await;
    answer.unwrap_or(false)
}

/// Whether we may do something, without being denied it.
pub(crate) async fn may(
    client: &kube::Client,
    attributes: ResourceAttributes,
) -> Result<bool, kube::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

/// Whether we may ask for the uid, without being denied it.
async fn choose(client: &kube::Client) -> Result<Question, kube::Error> {
    let attributes = ResourceAttributes {
        verb: Some("get".to_owned()),
        resource: Some("namespaces".to_owned()),
        name: Some("kube-system".to_owned()),
        namespace: Some("kube-system".to_owned()),
        ..ResourceAttributes::default()
    };
    match may(client, attributes).await {
        Ok(true) => Ok(Question::Uid),
        Ok(false) => Ok(Question::Version),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Question::Version),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(Question::Uid),
        Err(error) => Err(error),
    }
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
    format!("{watch}: {} ({})", words(status), status.code)
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
    text
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

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
    async fn list_that_keeps_failing_is_asked_for_less_and_less_often() {
        let (inputs, mut received) = mpsc::channel(1000);
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = checked::client(config.clone()).unwrap();
        let cluster = Cluster {
            source: Source::Local,
            config,
            client,
            inputs,
        };
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
