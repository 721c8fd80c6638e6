//! The gRPC services `OutboundPolicies` and `InboundServerPolicies`: streams that follow the board.
//!
//! Decides what a request means; what is said comes from [`super::outbound`] and [`super::inbound`].
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_wire::proxy_api::inbound::inbound_server_policies_server::InboundServerPolicies;
use tombolo_wire::proxy_api::inbound::{PortSpec, Server};
use tombolo_wire::proxy_api::outbound::outbound_policies_server::OutboundPolicies;
use tombolo_wire::proxy_api::outbound::{OutboundPolicy, TrafficSpec, traffic_spec};
use tonic::{Request, Response, Status};

use super::{inbound, outbound};
use crate::discovery::authority::{Authority, Target};
use crate::discovery::directory::Holder;
use crate::discovery::endpoints::{self, Origin};
use crate::discovery::exports::Gate;
use crate::discovery::inventory::Inventory;
use crate::discovery::model::{Key, Pod, Reach};
use crate::discovery::server::no_name;
use crate::discovery::view::View;
use crate::follow::{Follow, Followed};
use crate::server::Shared;

/// How long a pod that nobody has heard of yet is waited for: its proxy may ask before the watch tells.
const PATIENCE: Duration = Duration::from_secs(2);

/// The policy services of this cluster.
#[derive(Clone)]
pub(crate) struct Policies {
    /// What all services of this process share.
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl OutboundPolicies for Policies {
    type WatchStream = BoxStream<'static, Result<OutboundPolicy, Status>>;

    async fn get(&self, request: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        let gate = self.shared.gate(request.metadata())?;
        self.outbound(request.into_inner(), gate)?
            .now()
            .map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<TrafficSpec>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let gate = self.shared.gate(request.metadata())?;
        let follow = self.outbound(request.into_inner(), gate)?;
        follow.now()?;
        let counted = self.shared.streams.outbound.guard();
        let stream = Followed::new(follow, self.shared.drain.clone(), counted);
        Ok(Response::new(stream.boxed()))
    }
}

impl Policies {
    fn outbound(&self, spec: TrafficSpec, gate: Gate) -> Result<Outbound, Status> {
        let subject = match spec.target {
            Some(traffic_spec::Target::Addr(addr)) => {
                let port = u16::try_from(addr.port)
                    .map_err(|_range| Status::invalid_argument("the port is out of range"))?;
                let ip = addr
                    .ip
                    .and_then(|ip| IpAddr::try_from(ip).ok())
                    .ok_or_else(|| Status::invalid_argument("the address is missing"))?;
                self.address(SocketAddr::new(ip, port), gate)?
            }
            Some(traffic_spec::Target::Authority(authority)) => {
                let target = Target::parse(&authority, &self.shared.domain)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                match target {
                    Target::Address(address) => self.address(address, gate)?,
                    Target::Name(authority) => {
                        self.shared.must_know()?;
                        let receiver = self.shared.board.service(&authority.service);
                        Subject::Name {
                            gate,
                            authority,
                            receiver,
                        }
                    }
                }
            }
            None => return Err(Status::invalid_argument("the target is missing")),
        };
        Ok(Outbound {
            shared: Arc::clone(&self.shared),
            subject,
            last: None,
        })
    }

    fn address(&self, address: SocketAddr, gate: Gate) -> Result<Subject, Status> {
        if gate != Gate::Open {
            return Err(no_name());
        }
        if !outbound::is_forwardable(address) {
            return Err(Status::invalid_argument(format!(
                "{address} is nowhere to connect to"
            )));
        }
        self.shared.must_know()?;
        let receiver = self.shared.board.address(address.ip());
        Ok(Subject::Address { address, receiver })
    }
}

/// What a client wants to reach.
enum Subject {
    Address {
        address: SocketAddr,
        receiver: watch::Receiver<Holder>,
    },
    Name {
        gate: Gate,
        authority: Authority,
        receiver: watch::Receiver<Option<Arc<View>>>,
    },
}

/// A stream of outbound policy.
struct Outbound {
    shared: Arc<Shared>,
    subject: Subject,
    last: Option<OutboundPolicy>,
}

impl Outbound {
    fn now(&self) -> Result<OutboundPolicy, Status> {
        match &self.subject {
            Subject::Address { address, receiver } => {
                let holder = receiver.borrow().clone();
                self.of_holder(&holder, *address)
            }
            Subject::Name {
                gate,
                authority,
                receiver,
            } => {
                let view = receiver.borrow().clone();
                self.of_name(gate.show(view.as_ref()), authority)
            }
        }
    }

    fn of_holder(&self, holder: &Holder, address: SocketAddr) -> Result<OutboundPolicy, Status> {
        Ok(match holder {
            Holder::Service(service) => {
                outbound::of_service(service, address.port(), &self.shared.domain)
            }
            Holder::Conflict(keys) => {
                let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
                let names = names.join(", ");
                let ip = address.ip();
                let text = format!("{ip} is claimed by several services: {names}");
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
                outbound::forward(endpoints::alone(origin, pod, address))
            }
            Holder::Nobody => outbound::forward(endpoints::plain(address)),
        })
    }

    /// A host of a Service has no policy of its own: the client falls back to its profile.
    fn of_name(
        &self,
        view: Option<&Arc<View>>,
        authority: &Authority,
    ) -> Result<OutboundPolicy, Status> {
        let key = &authority.service;
        match view {
            Some(view)
                if authority.hostname.is_none() && view.service.reach != Reach::ExternalName =>
            {
                Ok(outbound::of_service(
                    &view.service,
                    authority.port,
                    &self.shared.domain,
                ))
            }
            Some(_) => Err(Status::not_found(format!("no policy for a part of {key}"))),
            None => Err(Status::not_found(format!("service {key} does not exist"))),
        }
    }

    async fn changed(&mut self) -> Option<()> {
        match &mut self.subject {
            Subject::Address { receiver, .. } => receiver.changed().await.ok(),
            Subject::Name { receiver, .. } => receiver.changed().await.ok(),
        }
    }
}

impl Follow for Outbound {
    type Item = OutboundPolicy;

    async fn next(&mut self) -> Option<Result<OutboundPolicy, Status>> {
        loop {
            if self.last.is_some() {
                self.changed().await?;
            }
            match self.now() {
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

#[tonic::async_trait]
impl InboundServerPolicies for Policies {
    type WatchPortStream = BoxStream<'static, Result<Server, Status>>;

    async fn get_port(&self, request: Request<PortSpec>) -> Result<Response<Server>, Status> {
        let (pod, port) = workload(&request.into_inner())?;
        self.shared.must_know()?;
        let pod = self.shared.board.pod(&pod).borrow().clone();
        Ok(Response::new(inbound::server(pod.as_deref(), port)))
    }

    async fn watch_port(
        &self,
        request: Request<PortSpec>,
    ) -> Result<Response<Self::WatchPortStream>, Status> {
        let (pod, port) = workload(&request.into_inner())?;
        self.shared.must_know()?;
        let follow = Inbound {
            receiver: self.shared.board.pod(&pod),
            port,
            patience: Some(Instant::now() + PATIENCE),
            last: None,
        };
        let counted = self.shared.streams.inbound.guard();
        let stream = Followed::new(follow, self.shared.drain.clone(), counted);
        Ok(Response::new(stream.boxed()))
    }
}

/// A stream of inbound policy.
struct Inbound {
    receiver: watch::Receiver<Option<Arc<Pod>>>,
    port: u16,
    patience: Option<Instant>,
    last: Option<Server>,
}

impl Follow for Inbound {
    type Item = Server;

    async fn next(&mut self) -> Option<Result<Server, Status>> {
        loop {
            match self.patience.take() {
                Some(until) => {
                    // A workload that is no pod gets the defaults.
                    let known = self.receiver.wait_for(Option::is_some);
                    if let Ok(Err(_closed)) = tokio::time::timeout_at(until, known).await {
                        return None;
                    }
                }
                None => self.receiver.changed().await.ok()?,
            }
            let server = {
                let pod = self.receiver.borrow_and_update();
                inbound::server(pod.as_deref(), self.port)
            };
            if self.last.as_ref() != Some(&server) {
                self.last = Some(server.clone());
                return Some(Ok(server));
            }
        }
    }
}

/// The pod and port that a proxy asks about: its workload is `{"ns":"..","pod":".."}` or `ns:pod`.
fn workload(spec: &PortSpec) -> Result<(Key, u16), Status> {
    #[derive(serde::Deserialize)]
    struct Workload {
        ns: String,
        #[serde(default)]
        pod: String,
    }
    let port = match u16::try_from(spec.port) {
        Ok(port) if port > 0 => port,
        _ => return Err(Status::invalid_argument("the port is out of range")),
    };
    if spec.workload.len() > 1024 {
        return Err(Status::invalid_argument("the workload is too long"));
    }
    let key = match serde_json::from_str::<Workload>(&spec.workload) {
        Ok(Workload { ns, pod }) => Key::new(&ns, &pod),
        Err(_not_json) => {
            let (ns, pod) = spec.workload.split_once(':').ok_or_else(|| {
                Status::invalid_argument("the workload is neither JSON nor <namespace>:<pod>")
            })?;
            Key::new(ns, pod)
        }
    };
    Ok((key, port))
}
