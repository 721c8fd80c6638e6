//! The gRPC service `Destination`: streams that follow the board.
//!
//! Decides what a request means and when it ends; what is said comes from [`super::updates`] and
//! [`super::profile`]. A slow client costs one remembered answer, never a queue.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_wire::proxy_api::destination::destination_server::Destination;
use tombolo_wire::proxy_api::destination::{DestinationProfile, GetDestination, Update};
use tombolo_wire::purpose::{self, Purpose};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::authority::{Authority, Target};
use super::board::{Knowledge, Zones};
use super::directory::Holder;
use super::endpoints::{self, Origin};
use super::exports::Gate;
use super::inventory::Inventory;
use super::model::Key;
use super::place::Client;
use super::profile;
use super::updates::{Said, State};
use super::view::{Completeness, EndpointSet, Refusal, View};
use crate::follow::{Follow, Followed};
use crate::server::Shared;

/// How long a first answer waits for clusters that were never heard since this process started.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service `Destination` of this cluster.
pub(crate) struct Discovery {
    /// What all services of this process share.
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Destination for Discovery {
    type GetStream = BoxStream<'static, Result<Update, Status>>;
    type GetProfileStream = BoxStream<'static, Result<DestinationProfile, Status>>;

    async fn get(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let gate = self.shared.gate(request.metadata())?;
        let GetDestination {
            path,
            context_token,
            ..
        } = request.into_inner();
        let authority = Authority::parse(&path, &self.shared.domain)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.shared.must_know()?;
        let receiver = self.shared.board.service(&authority.service);
        // To a gateway the answer is a stream in any case: what is exported later comes at once.
        if gate == Gate::Open {
            first_answer(&authority.service, receiver.borrow().as_ref())?;
        }
        let stream = Endpoints {
            gate,
            said: Said::nothing(authority.hostname.clone(), Client::parse(&context_token)),
            zones: self.shared.board.zones(),
            queue: VecDeque::new(),
            authority,
            patience: Some(Instant::now() + PATIENCE),
            receiver,
        };
        let counted = self.shared.streams.endpoints.guard();
        Ok(Response::new(
            Followed::new(stream, self.shared.drain.clone(), counted).boxed(),
        ))
    }

    async fn get_profile(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetProfileStream>, Status> {
        let gate = self.shared.gate(request.metadata())?;
        let path = request.into_inner().path;
        let target = Target::parse(&path, &self.shared.domain)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.shared.must_know()?;
        let counted = self.shared.streams.profiles.guard();
        let drain = self.shared.drain.clone();
        let stream = match target {
            Target::Address(_) if gate != Gate::Open => return Err(no_name()),
            Target::Address(address) => {
                let follow = AddressProfile {
                    receiver: self.shared.board.address(address.ip()),
                    shared: Arc::clone(&self.shared),
                    address,
                    last: None,
                };
                follow.profile(&follow.receiver.borrow().clone())?;
                Followed::new(follow, drain, counted).boxed()
            }
            Target::Name(authority) => {
                let receiver = self.shared.board.service(&authority.service);
                first_answer(&authority.service, gate.show(receiver.borrow().as_ref()))?;
                let follow = NameProfile {
                    gate,
                    receiver,
                    shared: Arc::clone(&self.shared),
                    authority,
                    last: None,
                };
                Followed::new(follow, drain, counted).boxed()
            }
        };
        Ok(Response::new(stream))
    }
}

impl Shared {
    /// Before the local cluster was heard, absence means nothing: the caller shall keep what it has.
    pub(crate) fn must_know(&self) -> Result<(), Status> {
        match self.board.knowledge() {
            Knowledge::Everything => Ok(()),
            Knowledge::Nothing => Err(Status::unavailable(
                "the API server of this cluster was not heard yet",
            )),
        }
    }

    /// What may be told to whoever sent this metadata.
    pub(crate) fn gate(&self, metadata: &MetadataMap) -> Result<Gate, Status> {
        let purpose = metadata.get(purpose::KEY).map(|value| value.as_bytes());
        let purpose = Purpose::parse(purpose)
            .map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        Ok(Gate::of(purpose, self.gateway_exports))
    }
}

/// Exports have names. What has an address only is nobody's business who asks for another cluster.
pub(crate) fn no_name() -> Status {
    Status::not_found("a gateway is told of names only")
}

fn first_answer(key: &Key, view: Option<&Arc<View>>) -> Result<(), Status> {
    match view {
        None => Err(Status::not_found(format!("service {key} does not exist"))),
        Some(view) => view.refusal.as_ref().map_or(Ok(()), |r| Err(status_of(r))),
    }
}

fn status_of(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::ExternalName(_) => Status::invalid_argument(text),
        Refusal::NoRemoteService(_) => Status::failed_precondition(text),
        Refusal::UnknownCluster { .. } => Status::not_found(text),
    }
}

/// A stream of endpoints.
struct Endpoints {
    gate: Gate,
    receiver: watch::Receiver<Option<Arc<View>>>,
    authority: Authority,
    said: Said,
    /// Zones of nodes.
    zones: watch::Receiver<Arc<Zones>>,
    queue: VecDeque<Update>,
    patience: Option<Instant>,
}

impl Follow for Endpoints {
    type Item = Update;

    async fn next(&mut self) -> Option<Result<Update, Status>> {
        loop {
            if let Some(update) = self.queue.pop_front() {
                return Some(Ok(update));
            }
            let gate = self.gate;
            match self.patience.take() {
                Some(until) => {
                    let whole = |view: &Option<Arc<View>>| {
                        gate.show(view.as_ref())
                            .is_none_or(|view| view.completeness == Completeness::Complete)
                    };
                    // What is known by then is said, whole or not.
                    let heard = self.receiver.wait_for(whole);
                    if let Ok(Err(_closed)) = tokio::time::timeout_at(until, heard).await {
                        return None;
                    }
                }
                None => tokio::select! {
                    biased;
                    changed = self.receiver.changed() => changed.ok()?,
                    moved = self.zones.changed() => moved.ok()?,
                },
            }
            let port = self.authority.port;
            let node = self.said.node().cloned();
            let zone = node.and_then(|node| self.zones.borrow_and_update().get(&node).cloned());
            self.said.is_in(zone);
            let state = match gate.show(self.receiver.borrow_and_update().as_ref()) {
                None => State::Absent,
                Some(view) => match &view.refusal {
                    Some(refusal) => return Some(Err(status_of(refusal))),
                    None => State::Endpoints(port_of(view, port)),
                },
            };
            self.queue.extend(self.said.next(state));
        }
    }
}

fn port_of(view: &View, port: u16) -> Arc<EndpointSet> {
    if let Some(declared) = view.port(port) {
        return Arc::clone(declared);
    }
    let mut sets = view.ports.values();
    let some = sets.find(|set| !set.endpoints.is_empty());
    let on_it = some.map(|set| EndpointSet {
        endpoints: endpoints::on_port(&set.endpoints, port),
        labels: set.labels.clone(),
    });
    Arc::new(on_it.unwrap_or_default())
}

/// A stream of profiles of whatever has an address.
struct AddressProfile {
    receiver: watch::Receiver<Holder>,
    shared: Arc<Shared>,
    address: SocketAddr,
    last: Option<DestinationProfile>,
}

impl AddressProfile {
    fn profile(&self, holder: &Holder) -> Result<DestinationProfile, Status> {
        Ok(match holder {
            Holder::Service(service) => {
                profile::of_service(service, self.address.port(), &self.shared.domain)
            }
            Holder::Conflict(keys) => {
                let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
                let ip = self.address.ip();
                let text = format!("{ip} is claimed by several services: {}", names.join(", "));
                return Err(Status::failed_precondition(text));
            }
            Holder::Pod(pod) => {
                let inventory = Inventory::default();
                let origin = Origin {
                    inventory: &inventory,
                    cluster: &self.shared.cluster,
                    scheme: &self.shared.scheme,
                    side: endpoints::Side::Own,
                };
                let endpoint = endpoints::alone(origin, pod, self.address);
                profile::of_endpoint(endpoint, profile::pod_is_opaque(pod, self.address))
            }
            Holder::Nobody => profile::of_endpoint(endpoints::plain(self.address), false),
        })
    }
}

impl Follow for AddressProfile {
    type Item = DestinationProfile;

    async fn next(&mut self) -> Option<Result<DestinationProfile, Status>> {
        loop {
            if self.last.is_some() {
                self.receiver.changed().await.ok()?;
            }
            let holder = self.receiver.borrow_and_update().clone();
            match self.profile(&holder) {
                Ok(new) if self.last.as_ref() == Some(&new) => {}
                Ok(new) => {
                    self.last = Some(new.clone());
                    return Some(Ok(new));
                }
                Err(status) => return Some(Err(status)),
            }
        }
    }
}

/// A stream of profiles of a name.
struct NameProfile {
    gate: Gate,
    receiver: watch::Receiver<Option<Arc<View>>>,
    shared: Arc<Shared>,
    authority: Authority,
    last: Option<DestinationProfile>,
}

impl NameProfile {
    fn profile(&self, view: &View) -> Result<DestinationProfile, Status> {
        let Authority { port, hostname, .. } = &self.authority;
        match hostname {
            None => Ok(profile::of_service(
                &view.service,
                *port,
                &self.shared.domain,
            )),
            Some(hostname) => profile::of_host(view, &self.authority).ok_or_else(|| {
                Status::not_found(format!(
                    "service {} has no host {hostname}",
                    view.service.key
                ))
            }),
        }
    }
}

impl Follow for NameProfile {
    type Item = DestinationProfile;

    async fn next(&mut self) -> Option<Result<DestinationProfile, Status>> {
        loop {
            if self.last.is_some() {
                self.receiver.changed().await.ok()?;
            }
            let view = self.receiver.borrow_and_update().clone();
            let Some(view) = self.gate.show(view.as_ref()) else {
                let key = &self.authority.service;
                return Some(Err(Status::not_found(format!("service {key} is gone"))));
            };
            match self.profile(view) {
                Ok(new) if self.last.as_ref() == Some(&new) => {}
                Ok(new) => {
                    self.last = Some(new.clone());
                    return Some(Ok(new));
                }
                Err(status) => return Some(Err(status)),
            }
        }
    }
}
