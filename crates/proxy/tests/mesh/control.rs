//! A control plane in the test's process: identity, destination and policy over TLS, with what it
//! knows in one `watch` that the test changes.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::Stream;
use futures_util::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;
use tombolo_shell::testing::{Authority, Validity};
use tombolo_shell::tls::{ClientCertificate, ServerTls, fixed};
use tombolo_wire::proxy_api::destination::destination_server::{Destination, DestinationServer};
use tombolo_wire::proxy_api::destination::protocol_hint::OpaqueTransport;
use tombolo_wire::proxy_api::destination::{
    AddrSet, AuthorityOverride, DestinationProfile, GetDestination, NoEndpoints, ProtocolHint,
    TlsIdentity, Update, WeightedAddr, WeightedAddrSet, protocol_hint, tls_identity, update,
};
use tombolo_wire::proxy_api::identity::identity_server::{Identity, IdentityServer};
use tombolo_wire::proxy_api::identity::{CertifyRequest, CertifyResponse};
use tombolo_wire::proxy_api::inbound::inbound_server_policies_server::{
    InboundServerPolicies, InboundServerPoliciesServer,
};
use tombolo_wire::proxy_api::inbound::{Authn, Authz, Network, PortSpec, Server, authn};
use tombolo_wire::proxy_api::outbound::outbound_policies_server::{
    OutboundPolicies, OutboundPoliciesServer,
};
use tombolo_wire::proxy_api::outbound::{
    Backend, HttpRoute, OutboundPolicy, ProxyProtocol, TrafficSpec, backend, http_route,
    proxy_protocol, traffic_spec,
};
use tombolo_wire::purpose::{self, Purpose};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The identity of the control plane.
pub(crate) const NAME: &str = "control.tombolo.serviceaccount.identity.tombolo.cluster.local";
/// The token that it accepts.
pub(crate) const TOKEN: &str = "let me in";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One endpoint, as the test says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) identity: String,
    pub(crate) authority: Option<String>,
}

/// What the control plane knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// Name (`host:port`) by address.
    pub(crate) services: BTreeMap<SocketAddr, String>,
    /// Endpoints by name.
    pub(crate) endpoints: BTreeMap<String, Vec<Served>>,
    /// Names that no gateway is told of.
    pub(crate) kept: BTreeSet<String>,
    /// Addresses that are no service's: served by themselves.
    pub(crate) forwards: BTreeSet<SocketAddr>,
    /// Ports that nobody may reach.
    pub(crate) closed: BTreeSet<u16>,
}

/// The control plane; it serves while a [`Serving`] lives.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) authority: Arc<Authority>,
    pub(crate) knowledge: watch::Sender<Knowledge>,
    pub(crate) addr: SocketAddr,
    pub(crate) certified: Arc<AtomicUsize>,
    life: Duration,
}

/// Dropped, the control plane is gone: its port is free and its connections are closed.
pub(crate) struct Serving(Tasks);

impl Control {
    /// At `ip`, issuing certificates of `life`.
    pub(crate) fn new(ip: IpAddr, life: Duration) -> Self {
        Self {
            authority: Arc::new(Authority::new()),
            knowledge: watch::Sender::default(),
            addr: SocketAddr::new(ip, 8086),
            certified: Arc::default(),
            life,
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Knowledge)) {
        self.knowledge.send_modify(change);
    }

    pub(crate) fn serve(&self) -> Serving {
        let tls = ServerTls::new(
            ClientCertificate::Optional(self.authority.anchors()),
            fixed(self.authority.credentials(NAME)),
            &[b"h2"],
        );
        let routes = Routes::new(IdentityServer::new(self.clone()))
            .add_service(DestinationServer::new(self.clone()))
            .add_service(OutboundPoliciesServer::new(self.clone()))
            .add_service(InboundServerPoliciesServer::new(self.clone()))
            .prepare();
        let listener = net::listen(self.addr).unwrap();
        let tasks = Tasks::new();
        let connections = tasks.child();
        tasks.spawn("control", async move {
            loop {
                let (stream, _) = net::accept(&listener).await;
                let (tls, routes) = (tls.clone(), routes.clone());
                connections.spawn_one("control connection", serve(stream, tls, routes));
            }
        });
        Serving(tasks)
    }
}

async fn serve(stream: TcpStream, tls: ServerTls, routes: Routes) {
    let Ok(accepted) = tls.accept(stream, crate::client::DEADLINE).await else {
        return;
    };
    let service = TowerToHyperService::new(routes);
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(accepted.stream), service)
        .await
        .ok();
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[tonic::async_trait]
impl Identity for Control {
    async fn certify(
        &self,
        request: Request<CertifyRequest>,
    ) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        if request.token != TOKEN.as_bytes() {
            return Err(Status::failed_precondition("token"));
        }
        let validity = Validity::from_now(self.life);
        let signed = self
            .authority
            .sign(&request.certificate_signing_request, validity);
        let (leaf, issuers) = signed.ok_or_else(|| Status::invalid_argument("csr"))?;
        self.certified.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf,
            intermediate_certificates: issuers,
            valid_until: None,
        }))
    }
}

#[tonic::async_trait]
impl Destination for Control {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let purpose = request.metadata().get(purpose::KEY);
        let purpose = Purpose::parse(purpose.map(|value| value.as_bytes())).unwrap();
        let name = request.into_inner().path;
        let mut before: Vec<Served> = Vec::new();
        let updates = WatchStream::new(self.knowledge.subscribe()).flat_map(move |known| {
            let hidden = purpose == Purpose::Gateway && known.kept.contains(&name);
            let updates = match known.endpoints.get(&name).filter(|_| !hidden) {
                None => vec![update::Update::NoEndpoints(NoEndpoints { exists: false })],
                Some(now) => {
                    let gone = before.iter().filter(|served| !now.contains(served));
                    let gone: Vec<_> = gone.map(|served| served.addr.into()).collect();
                    before.clone_from(now);
                    let addrs = now.iter().map(weighted).collect();
                    let added = WeightedAddrSet {
                        addrs,
                        ..WeightedAddrSet::default()
                    };
                    let mut updates = vec![update::Update::Add(added)];
                    if !gone.is_empty() {
                        updates.insert(0, update::Update::Remove(AddrSet { addrs: gone }));
                    }
                    updates
                }
            };
            let updates = updates.into_iter().map(|update| {
                Ok(Update {
                    update: Some(update),
                })
            });
            futures_util::stream::iter(updates.collect::<Vec<_>>())
        });
        Ok(Response::new(Box::pin(updates)))
    }

    async fn get_profile(
        &self,
        _request: Request<GetDestination>,
    ) -> Result<Response<Self::GetProfileStream>, Status> {
        Err(Status::unimplemented("profiles"))
    }
}

fn weighted(served: &Served) -> WeightedAddr {
    let name = tls_identity::DnsLikeIdentity {
        name: served.identity.clone(),
    };
    let authority = served.authority.clone();
    WeightedAddr {
        addr: Some(served.addr.into()),
        weight: 10_000,
        metric_labels: [("cluster".to_owned(), "west".to_owned())].into(),
        tls_identity: Some(TlsIdentity {
            strategy: Some(tls_identity::Strategy::DnsLikeIdentity(name)),
            ..TlsIdentity::default()
        }),
        protocol_hint: Some(ProtocolHint {
            protocol: Some(protocol_hint::Protocol::H2(protocol_hint::H2 {})),
            opaque_transport: Some(OpaqueTransport { inbound_port: 4143 }),
        }),
        authority_override: authority
            .map(|authority_override| AuthorityOverride { authority_override }),
        ..WeightedAddr::default()
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Control {
    type WatchStream = Answers<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Result<Response<OutboundPolicy>, Status> {
        Err(Status::unimplemented("watch"))
    }

    async fn watch(
        &self,
        request: Request<TrafficSpec>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knowledge.borrow().clone();
        let backend = match request.into_inner().target {
            Some(traffic_spec::Target::Addr(addr)) => {
                let addr = SocketAddr::try_from(addr)
                    .map_err(|_malformed| Status::invalid_argument("addr"))?;
                match known.services.get(&addr) {
                    Some(name) => Some(balanced(name)),
                    None => known.forwards.contains(&addr).then(|| forwarded(addr)),
                }
            }
            Some(traffic_spec::Target::Authority(name)) => known
                .services
                .values()
                .any(|known| *known == name)
                .then(|| balanced(&name)),
            None => None,
        };
        let policy = policy(backend.ok_or_else(|| Status::not_found("service"))?);
        let forever = futures_util::stream::pending();
        let answers = futures_util::stream::iter([Ok(policy)]).chain(forever);
        Ok(Response::new(Box::pin(answers)))
    }
}

fn forwarded(addr: SocketAddr) -> backend::Kind {
    backend::Kind::Forward(WeightedAddr {
        addr: Some(addr.into()),
        ..WeightedAddr::default()
    })
}

fn balanced(name: &str) -> backend::Kind {
    let get = backend::endpoint_discovery::DestinationGet {
        path: name.to_owned(),
    };
    backend::Kind::Balancer(backend::BalanceP2c {
        discovery: Some(backend::EndpointDiscovery {
            kind: Some(backend::endpoint_discovery::Kind::Dst(get)),
        }),
        ..backend::BalanceP2c::default()
    })
}

fn policy(kind: backend::Kind) -> OutboundPolicy {
    let backend = Backend {
        kind: Some(kind),
        ..Backend::default()
    };
    let first = http_route::distribution::FirstAvailable {
        backends: vec![http_route::RouteBackend {
            backend: Some(backend),
            ..http_route::RouteBackend::default()
        }],
    };
    let rule = http_route::Rule {
        backends: Some(http_route::Distribution {
            kind: Some(http_route::distribution::Kind::FirstAvailable(first)),
        }),
        ..http_route::Rule::default()
    };
    let routes = vec![HttpRoute {
        rules: vec![rule],
        ..HttpRoute::default()
    }];
    let http1 = proxy_protocol::Http1 {
        routes,
        ..proxy_protocol::Http1::default()
    };
    let detect = proxy_protocol::Detect {
        http1: Some(http1),
        ..proxy_protocol::Detect::default()
    };
    let kind = Some(proxy_protocol::Kind::Detect(detect));
    OutboundPolicy {
        protocol: Some(ProxyProtocol { kind }),
        metadata: None,
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Control {
    type WatchPortStream = Answers<Server>;

    async fn get_port(&self, _: Request<PortSpec>) -> Result<Response<Server>, Status> {
        Err(Status::unimplemented("watch"))
    }

    async fn watch_port(
        &self,
        request: Request<PortSpec>,
    ) -> Result<Response<Self::WatchPortStream>, Status> {
        let port = u16::try_from(request.into_inner().port).unwrap_or(0);
        let servers = WatchStream::new(self.knowledge.subscribe()).map(move |known| {
            let any = Authz {
                networks: vec![Network {
                    net: Some("0.0.0.0/0".parse::<ipnet::IpNet>().unwrap().into()),
                    except: Vec::new(),
                }],
                authentication: Some(Authn {
                    permit: Some(authn::Permit::Unauthenticated(
                        authn::PermitUnauthenticated {},
                    )),
                }),
                ..Authz::default()
            };
            let authorizations = if known.closed.contains(&port) {
                Vec::new()
            } else {
                vec![any]
            };
            Ok(Server {
                authorizations,
                ..Server::default()
            })
        });
        Ok(Response::new(Box::pin(servers)))
    }
}
