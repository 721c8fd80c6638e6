//! Other clusters that are listened to: one feed per set of credentials, shared by all Links that have
//! the same ones.
//!
//! Decides when a feed begins and ends. New credentials are a new peer; the old one serves until the
//! new one has told us everything, so that a rotation loses nothing.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::config::{Config, Context, KubeConfigOptions, Kubeconfig};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tombolo_core::cluster::{Change, Path, Signal};
use tombolo_core::selector::Selector;
use tombolo_core::service::{Readiness, Service, ServiceKey};
use tombolo_core::world::{ClusterUid, Export, Hosts};
use tombolo_shell::task::Tasks;

use super::Input;
use super::checked;
use super::feed::{self, Cluster, Source, What};
use super::tell::{self, Skipped};
use crate::discovery::directory::PeerId;

/// Questions in a row without an answer, at one a second, until a cluster counts as silent.
const SILENCES_MAX: u32 = 3;
/// Times in a row that a watch is denied, until the role counts as lacking it: about a second.
const DENIALS_MAX: u32 = 4;
/// Connecting to a peer's API server takes no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Events in other clusters that wait to be written.
const REPORTS_MAX: usize = 256;
/// How often a peer that cannot even be asked says so.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// A cluster that is listened to.
pub(crate) struct Peer {
    /// The address of its API server.
    pub(crate) server: String,
    /// Whether it answers.
    pub(crate) control: Path,
    /// Whether its API server lets us in.
    pub(crate) entry: Entry,
    /// When it answered last.
    pub(crate) answered_at: Option<Instant>,
    /// What it is known by.
    pub(crate) uid: Option<ClusterUid>,
    /// Why each of its watches failed last.
    pub(crate) trouble: BTreeMap<&'static str, Trouble>,
    /// Its Services that somebody may want.
    pub(crate) exports: BTreeMap<ServiceKey, Export>,
    /// Its Services that something here refers to, exported or not.
    asked: BTreeSet<ServiceKey>,
    /// Namespaces with any of these: slices and pods of others are passed over.
    pub(crate) namespaces: BTreeMap<Arc<str>, usize>,
    credentials: String,
    kubeconfig: Kubeconfig,
    selectors: Vec<Selector>,
    tasks: Tasks,
    reports: mpsc::Sender<Skipped>,
    telling: Tasks,
}

/// Why a watch failed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For people.
    pub(crate) why: String,
    /// How often in a row it was because our role does not allow it.
    pub(crate) times: u32,
}

/// What a cluster's API server made of our credentials when it answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It took them, or nothing was heard to the contrary.
    Given,
    /// It did not.
    Refused,
}

/// All clusters that are listened to.
pub(crate) struct Peers {
    peers: BTreeMap<PeerId, Peer>,
    next: PeerId,
    tasks: Tasks,
    inputs: mpsc::Sender<Input>,
}

impl Peers {
    /// None yet.
    pub(crate) fn new(tasks: Tasks, inputs: mpsc::Sender<Input>) -> Self {
        Self {
            peers: BTreeMap::new(),
            next: 1,
            tasks,
            inputs,
        }
    }

    /// The peer of these credentials; listened to from now on if it is new.
    pub(crate) fn with(&mut self, kubeconfig: &Kubeconfig, selectors: &[Selector]) -> PeerId {
        // Serialized only to be compared; never printed.
        let credentials = fingerprint(kubeconfig);
        let known = self
            .peers
            .iter_mut()
            .find(|(_, peer)| peer.credentials == credentials);
        if let Some((id, peer)) = known {
            let id = *id;
            let missing: Vec<_> = selectors
                .iter()
                .filter(|selector| !peer.selectors.contains(selector))
                .cloned()
                .collect();
            if !missing.is_empty() {
                peer.selectors.extend(missing);
                self.listen_anew(id);
            }
            return id;
        }
        let id = self.next;
        self.next += 1;
        let (reports, received) = mpsc::channel(REPORTS_MAX);
        let peer = Peer {
            server: server_of(kubeconfig),
            control: Path::new(SILENCES_MAX),
            entry: Entry::Given,
            answered_at: None,
            uid: None,
            trouble: BTreeMap::new(),
            exports: BTreeMap::new(),
            asked: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            credentials,
            kubeconfig: kubeconfig.clone(),
            selectors: selectors.to_vec(),
            tasks: self.tasks.child(),
            reports,
            telling: self.tasks.child(),
        };
        tracing::info!(
            peer = id,
            server = peer.server,
            "listens to another cluster"
        );
        listen(id, &peer, &self.inputs);
        let kubeconfig = kubeconfig.clone();
        peer.telling.spawn("events of a peer", async move {
            match client(kubeconfig).await {
                Ok((client, _)) => tell::tell(client, received).await,
                // Whoever listens says so.
                Err(_) => std::future::pending().await,
            }
        });
        self.peers.insert(id, peer);
        id
    }

    /// What was asked of the peer `from` will be asked of `to`, which takes its place.
    pub(crate) fn hand_on(&mut self, from: PeerId, to: PeerId) {
        let asked = self.peers.get(&from).map(|peer| peer.asked.clone());
        let Some(heir) = self.peers.get_mut(&to) else {
            return;
        };
        let mut news = false;
        for key in asked.into_iter().flatten() {
            news |= heir.ask(&key);
        }
        if news {
            self.listen_anew(to);
        }
    }

    /// Opens the watches of a peer anew: what was passed over so far is wanted now.
    pub(crate) fn listen_anew(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            tracing::debug!(peer = id, "listens anew");
            peer.tasks.cancel();
            peer.tasks = self.tasks.child();
            listen(id, peer, &self.inputs);
        }
    }

    /// The peer of that number.
    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// The peer of that number, to be changed.
    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// Stops listening to all others; says which.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let gone: Vec<_> = self
            .peers
            .keys()
            .filter(|id| !wanted.contains(id))
            .copied()
            .collect();
        for id in &gone {
            if let Some(peer) = self.peers.remove(id) {
                tracing::info!(
                    peer = id,
                    server = peer.server,
                    "no longer listens to a cluster"
                );
                peer.tasks.cancel();
                peer.telling.cancel();
            }
        }
        gone
    }
}

impl Peer {
    /// Whether its API server keeps refusing our credentials; once alone may be its own trouble.
    pub(crate) const fn refuses_us(&self) -> bool {
        matches!(self.entry, Entry::Refused) && matches!(self.control.signal(), Signal::Down { .. })
    }

    /// Why it does not let us see what there is to be mirrored; once alone may be its own trouble.
    pub(crate) fn denied(&self) -> Option<&str> {
        let mut watches = [feed::SERVICES, feed::SLICES].into_iter();
        watches.find_map(|watch| self.denies(watch))
    }

    /// Why it does not let us see its pods, if so.
    pub(crate) fn hides_pods(&self) -> Option<&str> {
        self.denies(feed::PODS)
    }

    fn denies(&self, watch: &'static str) -> Option<&str> {
        let trouble = self.trouble.get(watch);
        let denied = trouble.filter(|trouble| trouble.times >= DENIALS_MAX);
        denied.map(|trouble| trouble.why.as_str())
    }

    /// Has it said in that cluster why a Service is not mirrored; false if there is too much to say already.
    pub(crate) fn tell(&self, skipped: Skipped) -> bool {
        self.reports.try_send(skipped).is_ok()
    }

    /// Whether anybody may want a Service with what `service` says of itself.
    pub(crate) fn wants(&self, service: &Service) -> bool {
        use tombolo_core::keys::{EXPORTED, FEDERATED};
        let labels = &service.labels;
        labels.contains_key(EXPORTED)
            || labels.contains_key(FEDERATED)
            || self
                .selectors
                .iter()
                .any(|selector| selector.matches(labels))
    }

    /// Notes an export, or that it is none; says whether its namespace is looked into from now on, or no
    /// longer.
    pub(crate) fn set_export(&mut self, key: &ServiceKey, export: Option<Export>) -> Change {
        let present = export.is_some();
        let before = match export {
            Some(export) => self.exports.insert(key.clone(), export),
            None => self.exports.remove(key),
        };
        match (before.is_some(), present) {
            (false, true) => self.look_into(key.namespace.as_str()),
            (true, false) => self.look_away(key.namespace.as_str()),
            (true, true) | (false, false) => Change::Same,
        }
    }

    /// Whether a Service is kept: it is exported, or referred to.
    pub(crate) fn keeps(&self, key: &ServiceKey) -> bool {
        self.exports.contains_key(key) || self.asked.contains(key)
    }

    /// Something here refers to a Service; true if it was passed over so far.
    pub(crate) fn ask(&mut self, key: &ServiceKey) -> bool {
        if !self.asked.insert(key.clone()) {
            return false;
        }
        self.look_into(key.namespace.as_str());
        !self.exports.contains_key(key)
    }

    /// Nothing refers to a Service any more; true if it is not kept for another reason.
    pub(crate) fn unask(&mut self, key: &ServiceKey) -> bool {
        if !self.asked.remove(key) {
            return false;
        }
        self.look_away(key.namespace.as_str());
        !self.exports.contains_key(key)
    }

    fn look_into(&mut self, namespace: &str) -> Change {
        let count = self.namespaces.entry(namespace.into()).or_default();
        *count += 1;
        if *count == 1 {
            Change::Turned
        } else {
            Change::Same
        }
    }

    fn look_away(&mut self, namespace: &str) -> Change {
        match self.namespaces.get_mut(namespace) {
            Some(count) if *count > 1 => {
                *count -= 1;
                Change::Same
            }
            Some(_) => {
                self.namespaces.remove(namespace);
                Change::Turned
            }
            None => Change::Same,
        }
    }

    /// Notes whether a Service has endpoints, and how they are named; true if that is news.
    pub(crate) fn set_endpoints(
        &mut self,
        key: &ServiceKey,
        (readiness, hosts): (Readiness, Hosts),
    ) -> bool {
        match self.exports.get_mut(key) {
            Some(export) if export.readiness != readiness || export.hosts != hosts => {
                export.readiness = readiness;
                export.hosts = hosts;
                true
            }
            _ => false,
        }
    }
}

/// What reaching a cluster depends on, whatever the entries are called. Only ever compared.
fn fingerprint(kubeconfig: &Kubeconfig) -> String {
    let cluster = current(kubeconfig).and_then(|context| {
        let named = kubeconfig
            .clusters
            .iter()
            .find(|c| c.name == context.cluster)?;
        named.cluster.as_ref()
    });
    let user = current(kubeconfig).and_then(|context| {
        let named = kubeconfig.auth_infos.iter();
        let named = { named }.find(|u| Some(&u.name) == context.user.as_ref())?;
        named.auth_info.as_ref()
    });
    serde_json::to_string(&(cluster, user)).unwrap_or_default()
}

fn current(kubeconfig: &Kubeconfig) -> Option<&Context> {
    let name = kubeconfig.current_context.as_ref()?;
    let named = kubeconfig.contexts.iter().find(|c| &c.name == name)?;
    named.context.as_ref()
}

/// The address of the API server that the current context leads to.
fn server_of(kubeconfig: &Kubeconfig) -> String {
    let server = current(kubeconfig).and_then(|context| {
        let named = kubeconfig
            .clusters
            .iter()
            .find(|c| c.name == context.cluster)?;
        named.cluster.as_ref()?.server.clone()
    });
    server.unwrap_or_default()
}

fn listen(id: PeerId, peer: &Peer, inputs: &mpsc::Sender<Input>) {
    let (kubeconfig, inputs) = (peer.kubeconfig.clone(), inputs.clone());
    let (tasks, children) = (&peer.tasks, peer.tasks.child());
    tasks.spawn("peer", async move {
        let source = Source::Peer(id);
        match client(kubeconfig).await {
            Ok((client, config)) => {
                let cluster = Cluster {
                    source,
                    config,
                    client,
                    inputs,
                };
                feed::follow(cluster, children).await;
            }
            Err(because) => loop {
                let input = Input::Cluster(source, Box::new(What::Silent(because.clone())));
                if inputs.send(input).await.is_err() {
                    return;
                }
                tokio::time::sleep(COMPLAIN_EVERY).await;
            },
        }
    });
}

async fn client(kubeconfig: Kubeconfig) -> Result<(kube::Client, Config), String> {
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| format!("the kubeconfig cannot be used: {}", feed::causes(&error)))?;
    if config.accept_invalid_certs {
        tracing::warn!(server = %config.cluster_url, "insecure-skip-tls-verify: whoever answers there is believed");
    }
    config.connect_timeout = Some(CONNECT_DEADLINE);
    let client = checked::client(config.clone())
        .map_err(|error| format!("the kubeconfig cannot be used: {}", feed::causes(&error)))?;
    Ok((client, config))
}
