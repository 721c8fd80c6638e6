//! Links: which credentials they lead to, how their gateways fare, and what planners are shown of them.
//!
//! Decides when a Link changes over to another peer. Knows nothing of the local cluster's Services.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;
use tokio::sync::mpsc;
use tombolo_core::cluster::{Change, Decision, Observation, Path, Signal, Verdict};
use tombolo_core::link::{Fault, GatewayHost, Link, LinkKey, LinkSpec};
use tombolo_core::service::ServiceKey;
use tombolo_core::status::Reason;
use tombolo_core::world::{
    Contact, Credentials, Export, Exports, GatewayHealth, GatewayView, LinkView, Remote,
};
use tombolo_k8s::link::LinkObject;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::ClientTls;

use self::introduced::{Introduced, Known};
use super::Input;
use super::peers::Peers;
use super::probe::{self, Watched};
use super::roll::Roll;
use super::standing::{self, Domain, Lead};
use crate::discovery::directory::{self, Directory, PeerId, Standing, UseOf};
use crate::discovery::inventory::Inventory;
use crate::discovery::model::Key;

pub(crate) mod introduced;

/// What a Link waits for that was neither heard nor failed yet.
const WAITING: &str = "waiting for its first answer";

/// Whether nothing can be said of a Link yet: what its status says is older, and better than nothing.
pub(crate) fn is_waiting(view: &LinkView) -> bool {
    matches!(&view.remote, Remote::Unknown { because, .. } if because == WAITING)
}

/// A Link and what belongs to it.
pub(crate) struct LinkState {
    /// The Link as it is written.
    pub(crate) object: LinkObject,
    /// Its status as it was written last.
    pub(crate) status: Value,
    /// The resourceVersion of the Link since it was.
    pub(crate) written: Option<u64>,
    /// How the cluster behind it stands.
    pub(crate) domain: Option<Domain>,
    credentials: Credentials,
    current: Option<PeerId>,
    next: Option<PeerId>,
    gateway: Option<GatewayState>,
    addresses: BTreeSet<IpAddr>,
}

struct GatewayState {
    watched: Watched,
    path: Path,
    tasks: Tasks,
}

/// All Links, and the peers that they lead to.
pub(crate) struct Links {
    /// By key.
    pub(crate) states: BTreeMap<LinkKey, LinkState>,
    /// Clusters that are listened to.
    pub(crate) peers: Peers,
    introduced: Introduced,
    tls: Option<ClientTls>,
    tasks: Tasks,
    inputs: mpsc::Sender<Input>,
}

impl Links {
    /// None yet; gateways are probed with `tls`, or without.
    pub(crate) fn new(
        introduced: Introduced,
        tls: Option<ClientTls>,
        tasks: &Tasks,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        Self {
            states: BTreeMap::new(),
            peers: Peers::new(tasks.child(), inputs.clone()),
            introduced,
            tls,
            tasks: tasks.child(),
            inputs,
        }
    }

    /// Brings everything in line with the Links and Secrets that there are.
    pub(crate) fn attend(&mut self, objects: &Roll<LinkObject>, secrets: &Roll<Arc<Secret>>) {
        let present: BTreeSet<&LinkKey> = objects.iter().map(|(_, object)| &object.key).collect();
        self.states.retain(|key, state| {
            let kept = present.contains(key);
            if !kept && let Some(gateway) = &state.gateway {
                gateway.tasks.cancel();
            }
            kept
        });
        for (_, object) in objects.iter() {
            let state = self
                .states
                .entry(object.key.clone())
                .or_insert_with(|| LinkState::of(object.clone()));
            if state.object != *object {
                // What the watch tells of what was before is no news.
                let earlier = object
                    .version
                    .zip(state.written)
                    .is_some_and(|(v, w)| v < w);
                if !earlier {
                    state.status = object.status.clone();
                }
                state.object = object.clone();
            }
            if let LinkSpec::Accepted(link) = &object.spec {
                let secret = Key::new(object.key.namespace.as_str(), &link.credentials_secret);
                let secret = secrets.get(&secret).map(|secret| &**secret);
                state.follow_credentials(link, secret, &mut self.peers);
                state.follow_gateway(link, (&self.tls, &self.tasks, &self.inputs));
            }
        }
        self.introduced.attend(secrets, &mut self.peers);
    }

    /// Changes over to new credentials where they have told all; forgets peers that nobody leads to,
    /// and says which.
    pub(crate) fn change_over(&mut self, directory: &mut Directory) -> Vec<PeerId> {
        let complete = |id: PeerId| directory.peer(id).is_some_and(|i| i.is_complete());
        let mut wanted = self.introduced.change_over(complete);
        for state in self.states.values_mut() {
            if let Some(next) = state.next
                && (state.current.is_none() || complete(next))
            {
                state.current = Some(next);
                state.next = None;
            }
            wanted.extend(state.current.iter().chain(&state.next).copied());
        }
        let gone = self.peers.keep(&wanted);
        for peer in &gone {
            directory.drop_peer(*peer);
        }
        gone
    }

    /// Judges every cluster anew, and tells discovery; gives the keys of Links whose verdict changed.
    pub(crate) fn judge(
        &mut self,
        (own_uid, own_name): (Option<&str>, &str),
        directory: &mut Directory,
    ) -> Vec<LinkKey> {
        let leads: Vec<Lead<'_>> = self
            .states
            .iter()
            .filter_map(|(key, state)| state.lead(key, &self.peers))
            .collect();
        let mut domains = standing::domains(&leads, (own_uid, own_name));
        let mut changed = Vec::new();
        for (key, state) in &mut self.states {
            let domain = domains.remove(key);
            if state.domain != domain {
                if let Some(domain) = &domain {
                    let Decision { verdict, because } = &domain.decision;
                    tracing::info!(link = %key, cluster = %domain.name, %verdict, because, "a cluster was judged");
                }
                state.domain = domain;
                changed.push(key.clone());
            }
        }
        let mut by_age: Vec<_> = self.states.iter().collect();
        by_age.sort_by_key(|(key, state)| (state.object.created, *key));
        let mut names = BTreeSet::new();
        for (_, state) in by_age {
            let (Some(target), Some(domain)) = (state.object.spec.target(), &state.domain) else {
                continue;
            };
            let name: Arc<str> = target.as_str().into();
            if names.insert(Arc::clone(&name)) {
                let use_of = match domain.decision.verdict {
                    Verdict::Alive | Verdict::Stale => UseOf::Given,
                    Verdict::Dead => UseOf::Withheld,
                };
                let known = self.introduced.get(&name);
                let through = [state.current, known.and_then(|known| known.current)];
                let remote = directory::Remote {
                    peer: self.best(through, directory),
                    standing: Standing {
                        domain: Arc::clone(&domain.name),
                        use_of,
                    },
                    trust_domain: known.map(|known| Arc::clone(&known.trust_domain)),
                };
                directory.put_remote(&name, remote);
            }
        }
        for (name, known) in self.introduced.iter() {
            if names.insert(Arc::clone(name)) {
                directory.put_remote(name, introduced_remote(name, known));
            }
        }
        directory.keep_remotes(&names);
        changed
    }

    /// Where credentials of a Link and those of discovery lead to one cluster: those that work.
    fn best(&self, through: [Option<PeerId>; 2], directory: &Directory) -> Option<PeerId> {
        let merit = |id: &PeerId| {
            let told = directory.peer(*id).is_some_and(|i| i.is_complete());
            let signal = self.peers.get(*id).map(|peer| peer.control.signal());
            (told, !matches!(signal, None | Some(Signal::Down { .. })))
        };
        // Of equals the last: those of the Link.
        through.into_iter().rev().flatten().max_by_key(merit)
    }

    /// A gateway was probed.
    pub(crate) fn probed(&mut self, link: &LinkKey, observation: Observation) -> Change {
        let state = self.states.get_mut(link);
        match state.and_then(|state| state.gateway.as_mut()) {
            Some(gateway) => gateway.path.on(observation),
            None => Change::Same,
        }
    }

    /// The names of a gateway were resolved.
    pub(crate) fn resolved(&mut self, link: &LinkKey, addresses: BTreeSet<IpAddr>) -> Change {
        match self.states.get_mut(link) {
            Some(state) if state.addresses != addresses => {
                state.addresses = addresses;
                Change::Turned
            }
            _ => Change::Same,
        }
    }

    /// What planners are shown of a Link.
    pub(crate) fn view(&self, key: &LinkKey, directory: &Directory) -> Option<LinkView> {
        let state = self.states.get(key)?;
        Some(LinkView {
            created: state.object.created,
            spec: state.object.spec.clone(),
            credentials: state.credentials_seen(&self.peers),
            gateway: state.gateway_view(),
            remote: self.remote(state, directory),
        })
    }

    /// Links that show what a peer says.
    pub(crate) fn showing(&self, peer: PeerId) -> impl Iterator<Item = &LinkKey> {
        let states = self.states.iter();
        states
            .filter(move |(_, state)| state.current == Some(peer))
            .map(|(key, _)| key)
    }

    /// Whether a Link has a use for an export.
    pub(crate) fn wants(&self, link: &LinkKey, export: Option<&Export>) -> bool {
        let spec = self.states.get(link).map(|state| &state.object.spec);
        match (spec, export) {
            (Some(LinkSpec::Accepted(link)), Some(export)) => {
                tombolo_k8s::service::is_of_interest(&export.service, link)
            }
            _ => false,
        }
    }

    /// How long ago the API behind a Link answered last; none if it never did.
    pub(crate) fn silence(&self, state: &LinkState) -> Option<Duration> {
        let peer = self.peers.get(state.current?)?;
        peer.answered_at.map(|at| at.elapsed())
    }

    fn remote(&self, state: &LinkState, directory: &Directory) -> Remote {
        let uid = || state.object.cluster_uid.clone();
        let Some((id, peer)) = state.current.and_then(|id| Some((id, self.peers.get(id)?))) else {
            return Remote::Unknown {
                because: "there are no credentials that can be used".to_owned(),
                uid: uid(),
            };
        };
        if !directory.peer(id).is_some_and(Inventory::tells_exports) {
            let because = match peer.control.signal() {
                Signal::Down { because } => because.clone(),
                _ if !peer.trouble.is_empty() => {
                    let troubles: Vec<_> = peer.trouble.values().map(|t| t.why.as_str()).collect();
                    troubles.join("; ")
                }
                _ => WAITING.to_owned(),
            };
            let uid = peer.uid.clone().or_else(uid);
            return Remote::Unknown { because, uid };
        }
        // Lists were heard; that it answers questions, too, is a matter of moments.
        let asked = !matches!(peer.control.signal(), Signal::Unheard { .. });
        let contact = match state.domain.as_ref().map(|domain| &domain.decision) {
            Some(decision) if asked && decision.verdict != Verdict::Alive => Contact::Silent {
                because: decision.to_string(),
            },
            _ => match peer.denied() {
                Some(why) => Contact::Silent {
                    because: why.to_owned(),
                },
                None => Contact::Live,
            },
        };
        let services = match &state.object.spec {
            LinkSpec::Accepted(link) => interesting(&peer.exports, link),
            LinkSpec::Refused { .. } => BTreeMap::new(),
        };
        Remote::Known(Exports {
            blind: peer.hides_pods().map(str::to_owned),
            uid: peer.uid.clone().or_else(uid),
            contact,
            services,
        })
    }
}

fn interesting(
    exports: &BTreeMap<ServiceKey, Export>,
    link: &Link,
) -> BTreeMap<ServiceKey, Export> {
    exports
        .iter()
        .filter(|(_, export)| tombolo_k8s::service::is_of_interest(&export.service, link))
        .map(|(key, export)| (key.clone(), export.clone()))
        .collect()
}

impl LinkState {
    fn of(object: LinkObject) -> Self {
        Self {
            status: object.status.clone(),
            written: None,
            object,
            domain: None,
            credentials: Credentials::Usable,
            current: None,
            next: None,
            gateway: None,
            addresses: BTreeSet::new(),
        }
    }

    /// Whom the Link leads to at the moment.
    pub(crate) const fn peer(&self) -> Option<PeerId> {
        self.current
    }

    fn follow_credentials(&mut self, link: &Link, secret: Option<&Secret>, peers: &mut Peers) {
        let read = match secret {
            Some(secret) => tombolo_k8s::credentials::read(secret, Timestamp::now()),
            None => Err(vec![Fault {
                object: format!("Link {}", self.object.key),
                field: "spec.clusterCredentialsSecret".to_owned(),
                why: format!(
                    "there is no Secret {}/{} of type {}",
                    self.object.key.namespace,
                    link.credentials_secret,
                    tombolo_k8s::names::CREDENTIALS_TYPE
                ),
            }]),
        };
        match read {
            Ok(credentials) => {
                self.credentials = Credentials::Usable;
                let selectors = [
                    link.gateway_selector.clone(),
                    link.flat_selector.clone(),
                    link.federated_selector.clone(),
                ];
                let peer = peers.with(&credentials.kubeconfig, &selectors);
                self.next = (self.current != Some(peer)).then_some(peer);
                if let (Some(from), Some(to)) = (self.current, self.next) {
                    peers.hand_on(from, to);
                }
            }
            Err(faults) => {
                self.credentials = Credentials::Refused(faults);
                self.next = None;
            }
        }
    }

    /// The credentials as they are written, and what the other cluster makes of them.
    fn credentials_seen(&self, peers: &Peers) -> Credentials {
        let peer = self.next.or(self.current).and_then(|id| peers.get(id));
        let (Credentials::Usable, LinkSpec::Accepted(link), Some(peer)) =
            (&self.credentials, &self.object.spec, peer)
        else {
            return self.credentials.clone();
        };
        let what = match peer.denied() {
            _ if peer.refuses_us() => "does not accept its credentials (401)".to_owned(),
            Some(why) => format!("denies what mirroring needs: {why}"),
            None => return Credentials::Usable,
        };
        let fault = Fault {
            object: format!(
                "Secret {}/{}",
                self.object.key.namespace, link.credentials_secret
            ),
            field: format!("data.{}", tombolo_k8s::names::CREDENTIALS_KEY),
            why: format!("{} {what}", peer.server),
        };
        Credentials::Refused(vec![fault])
    }

    fn follow_gateway(
        &mut self,
        link: &Link,
        (tls, tasks, inputs): (&Option<ClientTls>, &Tasks, &mpsc::Sender<Input>),
    ) {
        let wanted = link.gateway.as_ref().map(|gateway| Watched {
            link: self.object.key.clone(),
            gateway: gateway.clone(),
            probe: link.probe.clone(),
        });
        if self.gateway.as_ref().map(|state| &state.watched) == wanted.as_ref() {
            return;
        }
        let old = self.gateway.take();
        if let Some(old) = &old {
            old.tasks.cancel();
        }
        self.addresses = literal(link);
        self.gateway = wanted.map(|watched| {
            let tasks = tasks.child();
            let threshold = watched.probe.as_ref().map_or(1, |p| p.failure_threshold);
            let watching = probe::watch(watched.clone(), tls.clone(), inputs.clone());
            tasks.spawn("gateway", watching);
            GatewayState {
                watched,
                path: match old {
                    Some(_) => Path::new(threshold),
                    None => remembered(&self.status, threshold),
                },
                tasks,
            }
        });
    }

    fn gateway_view(&self) -> GatewayView {
        let signal = self.gateway.as_ref().map(|gateway| gateway.path.signal());
        let health = match signal {
            None | Some(Signal::Unheard { .. }) => GatewayHealth::Unknown,
            Some(Signal::Up { .. }) => GatewayHealth::Up,
            Some(Signal::Down { because }) => GatewayHealth::Down {
                because: because.clone(),
            },
        };
        GatewayView {
            addresses: self.addresses.clone(),
            health,
        }
    }

    fn lead<'a>(&'a self, key: &'a LinkKey, peers: &'a Peers) -> Option<Lead<'a>> {
        let target = self.object.spec.target()?.as_str();
        let peer = self.current.and_then(|id| Some((id, peers.get(id)?)));
        let known = self.object.cluster_uid.as_ref();
        let uid = peer.and_then(|(_, peer)| peer.uid.as_ref()).or(known);
        let gateway = self.gateway.as_ref().filter(|g| g.watched.probe.is_some());
        Some(Lead {
            link: key,
            target,
            uid: uid.map(|uid| &*uid.0),
            server: peer.map(|(_, peer)| peer.server.as_str()),
            control: peer.map(|(id, peer)| (id, peer.control.signal())),
            gateway: gateway.map(|gateway| gateway.path.signal()),
        })
    }
}

/// A cluster to which no Link leads: nothing says that it is dead.
fn introduced_remote(name: &Arc<str>, known: &Known) -> directory::Remote {
    directory::Remote {
        peer: known.current,
        standing: Standing {
            domain: Arc::clone(name),
            use_of: UseOf::Given,
        },
        trust_domain: Some(Arc::clone(&known.trust_domain)),
    }
}

/// A gateway that was down when the Link's status was written is so until a probe gets through: a process that
/// begins must not send traffic there once more.
fn remembered(status: &Value, threshold: u32) -> Path {
    let mut path = Path::new(threshold);
    let conditions = status["conditions"].as_array();
    let down = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == "GatewayAlive" && condition["reason"] == Reason::GatewayDown.as_str()
    });
    if let Some(why) = down.and_then(|down| down["message"].as_str()) {
        for _ in 0..threshold.max(1) {
            path.on(Observation::Failed(why.to_owned()));
        }
    }
    path
}

/// The addresses of a gateway that need no resolving.
fn literal(link: &Link) -> BTreeSet<IpAddr> {
    let hosts = link.gateway.iter().flat_map(|gateway| &gateway.hosts);
    hosts
        .filter_map(|host| match host {
            GatewayHost::Address(ip) => Some(*ip),
            GatewayHost::Name(_) => None,
        })
        .collect()
}
