//! A client of the control plane, as a proxy is one: certified by token, then over mTLS.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpStream;
use tombolo_shell::tls::{Anchors, ClientTls, Credentials, LiveCredentials, fixed};
use tombolo_wire::proxy_api::destination::destination_client::DestinationClient;
use tombolo_wire::proxy_api::destination::{DestinationProfile, GetDestination, Update, update};
use tombolo_wire::proxy_api::identity::CertifyRequest;
use tombolo_wire::proxy_api::identity::identity_client::IdentityClient;
use tombolo_wire::proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use tombolo_wire::proxy_api::inbound::{PortSpec, Server};
use tombolo_wire::proxy_api::net::TcpAddress;
use tombolo_wire::proxy_api::outbound::outbound_policies_client::OutboundPoliciesClient;
use tombolo_wire::proxy_api::outbound::{OutboundPolicy, TrafficSpec, traffic_spec};
use tombolo_wire::purpose;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::cluster::{Cluster, Ports};

const CONTROL: &str = "control.tombolo.serviceaccount.identity.tombolo.cluster.local";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Proxy {
    destination: DestinationClient<Channel>,
    inbound: InboundServerPoliciesClient<Channel>,
    outbound: OutboundPoliciesClient<Channel>,
    /// On whose behalf it says that it asks.
    pub(crate) purpose: Option<&'static str>,
}

impl Proxy {
    /// A proxy of the account `default` in `namespace`, with a certificate.
    pub(crate) async fn certified(cluster: &Cluster, namespace: &str) -> Self {
        let credentials = Self::certify(cluster, namespace).await.unwrap();
        let Ports {
            destination,
            policy,
            ..
        } = cluster.ports.unwrap();
        let tls = ClientTls::new(anchors(cluster), credentials, &[b"h2"]);
        let policy = channel(policy, tls.clone()).await.unwrap();
        Self {
            destination: DestinationClient::new(channel(destination, tls).await.unwrap()),
            inbound: InboundServerPoliciesClient::new(policy.clone()),
            outbound: OutboundPoliciesClient::new(policy),
            purpose: None,
        }
    }

    pub(crate) async fn certify(
        cluster: &Cluster,
        namespace: &str,
    ) -> anyhow::Result<LiveCredentials> {
        Self::certify_as(cluster, namespace, "default").await
    }

    /// Asks for a certificate for `name` with the token of `default`.
    pub(crate) async fn certify_as(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<LiveCredentials> {
        let identity = format!("{name}.{namespace}.serviceaccount.identity.tombolo.cluster.local");
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![identity.clone()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        let tls = ClientTls::anonymous(anchors(cluster), &[b"h2"]);
        let channel = channel(cluster.ports.unwrap().identity, tls).await?;
        let answer = IdentityClient::new(channel)
            .certify(CertifyRequest {
                identity,
                token: token(cluster, namespace).await?.into_bytes(),
                certificate_signing_request: request.der().to_vec(),
            })
            .await?
            .into_inner();
        let mut chain = vec![answer.leaf_certificate];
        chain.extend(answer.intermediate_certificates);
        Ok(fixed(Credentials::from_der(chain, key.serialize_der())?))
    }

    /// Waits until the endpoints of a name are these: `address cluster`, in order.
    pub(crate) async fn reaches(&self, name: &str, want: &[&str]) {
        let mut seen = Vec::new();
        let watching = async {
            while !self.sees(name, want, &mut seen).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, watching).await.is_err() {
            panic!("{name} reaches {seen:?}, not {want:?}");
        }
    }

    /// Follows one stream until it says what is wanted, or ends.
    async fn sees(&self, name: &str, want: &[&str], seen: &mut Vec<String>) -> bool {
        let Ok(mut stream) = self.get(name).await else {
            return false;
        };
        let mut pool = BTreeMap::new();
        while let Ok(Some(update)) = stream.message().await {
            absorb(&mut pool, update);
            *seen = pool.values().cloned().collect();
            if seen == want {
                return true;
            }
        }
        false
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Streaming<Update>, Status> {
        let request = self.on_behalf(request(name));
        Ok(self.destination.clone().get(request).await?.into_inner())
    }

    fn on_behalf<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(value) = self.purpose {
            let value = MetadataValue::from_static(value);
            request.metadata_mut().insert(purpose::KEY, value);
        }
        request
    }

    pub(crate) async fn profile(&self, name: &str) -> Result<DestinationProfile, Status> {
        let request = self.on_behalf(request(name));
        first_profile(self.destination.clone(), request).await
    }

    pub(crate) async fn anonymous_profile(
        cluster: &Cluster,
        name: &str,
    ) -> anyhow::Result<DestinationProfile> {
        let tls = ClientTls::anonymous(anchors(cluster), &[b"h2"]);
        let channel = channel(cluster.ports.unwrap().destination, tls).await?;
        Ok(first_profile(DestinationClient::new(channel), Request::new(request(name))).await?)
    }

    pub(crate) async fn outbound(&self, address: &str) -> Result<OutboundPolicy, Status> {
        let address: SocketAddr = address.parse().unwrap();
        let target = TcpAddress {
            ip: Some(IpAddr::into(address.ip())),
            port: address.port().into(),
        };
        self.first_policy(traffic_spec::Target::Addr(target)).await
    }

    /// The policy for a name.
    pub(crate) async fn policy(&self, name: &str) -> Result<OutboundPolicy, Status> {
        let target = traffic_spec::Target::Authority(name.to_owned());
        self.first_policy(target).await
    }

    async fn first_policy(&self, target: traffic_spec::Target) -> Result<OutboundPolicy, Status> {
        let spec = self.on_behalf(TrafficSpec {
            source_workload: "{}".to_owned(),
            target: Some(target),
        });
        let mut stream = self.outbound.clone().watch(spec).await?.into_inner();
        stream
            .message()
            .await?
            .ok_or_else(|| Status::unknown("no answer"))
    }

    pub(crate) async fn inbound(&self, pod: &str, port: u32) -> Result<Server, Status> {
        let workload = format!(r#"{{"ns":"mc-demo","pod":"{pod}"}}"#);
        let spec = PortSpec { workload, port };
        let mut stream = self.inbound.clone().watch_port(spec).await?.into_inner();
        stream
            .message()
            .await?
            .ok_or_else(|| Status::unknown("no answer"))
    }
}

fn request(name: &str) -> GetDestination {
    GetDestination {
        scheme: String::new(),
        path: name.to_owned(),
        context_token: String::new(),
    }
}

async fn first_profile(
    mut client: DestinationClient<Channel>,
    request: Request<GetDestination>,
) -> Result<DestinationProfile, Status> {
    let mut stream = client.get_profile(request).await?.into_inner();
    stream
        .message()
        .await?
        .ok_or_else(|| Status::unknown("no answer"))
}

/// The next message of a stream: `address cluster` of every endpoint, or `absent`, or `none`.
pub(crate) async fn shown(stream: &mut Streaming<Update>) -> String {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await;
    let update = next.expect("something is said in time").unwrap().unwrap();
    if let Some(update::Update::NoEndpoints(said)) = &update.update {
        return if said.exists { "none" } else { "absent" }.to_owned();
    }
    let mut pool = BTreeMap::new();
    absorb(&mut pool, update);
    pool.into_values().collect::<Vec<_>>().join(", ")
}

fn absorb(pool: &mut BTreeMap<SocketAddr, String>, update: Update) {
    let socket = |addr: &TcpAddress| {
        let ip = IpAddr::try_from(addr.ip.unwrap()).unwrap();
        SocketAddr::new(ip, u16::try_from(addr.port).unwrap())
    };
    match update.update.unwrap() {
        update::Update::Add(set) => {
            for told in set.addrs {
                let addr = socket(told.addr.as_ref().unwrap());
                pool.insert(addr, format!("{addr} {}", told.metric_labels["cluster"]));
            }
        }
        update::Update::Remove(set) => {
            for addr in &set.addrs {
                pool.remove(&socket(addr));
            }
        }
        update::Update::NoEndpoints(_) => pool.clear(),
    }
}

fn anchors(cluster: &Cluster) -> Anchors {
    Anchors::from_pem(cluster.anchors.as_bytes()).unwrap()
}

async fn channel(addr: SocketAddr, tls: ClientTls) -> anyhow::Result<Channel> {
    let tls = Arc::new(tls);
    let connect = tower::service_fn(move |_uri: http::Uri| {
        let tls = Arc::clone(&tls);
        async move {
            let stream = TcpStream::connect(addr).await?;
            let connected = tls
                .connect(stream, CONTROL, Duration::from_secs(5))
                .await
                .map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(connected.stream))
        }
    });
    let endpoint = Endpoint::from_static("http://control");
    Ok(endpoint.connect_with_connector(connect).await?)
}

async fn token(cluster: &Cluster, namespace: &str) -> anyhow::Result<String> {
    let client = if cluster.is_up() {
        cluster.client.clone()
    } else {
        anyhow::bail!("no API server")
    };
    let api: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec!["identity.l5d.io".to_owned()]),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = api
        .create_token_request("default", &PostParams::default(), &request)
        .await?;
    let token = answer.status.and_then(|status| status.token);
    token.ok_or_else(|| anyhow::anyhow!("no token was given"))
}
