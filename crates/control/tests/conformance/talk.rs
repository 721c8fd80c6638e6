//! A conversation with the destination service, in plaintext.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tombolo_wire::proxy_api::destination::destination_client::DestinationClient;
use tombolo_wire::proxy_api::destination::{
    DestinationProfile, GetDestination, Update, WeightedAddr, tls_identity, update,
};
use tombolo_wire::proxy_api::net::TcpAddress;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one control plane.
#[derive(Clone)]
pub(crate) struct Client(DestinationClient<Channel>);

impl Client {
    pub(crate) fn of(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(Self(DestinationClient::new(endpoint.connect_lazy())))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Talk, Status> {
        self.get_as(path, "").await
    }

    /// As a client that says where it runs.
    pub(crate) async fn get_as(&self, path: &str, token: &str) -> Result<Talk, Status> {
        let answer = self.0.clone().get(request(path, token)).await?;
        Ok(Talk {
            stream: answer.into_inner(),
            pool: BTreeMap::new(),
            labels: BTreeMap::new(),
        })
    }

    /// The code with which `Get` refuses.
    pub(crate) async fn refusal(&self, path: &str) -> Result<Code> {
        match self.get(path).await {
            Err(status) => Ok(status.code()),
            Ok(mut talk) => match talk.stream.message().await {
                Err(status) => Ok(status.code()),
                Ok(said) => bail!("{path} is not refused: {said:?}"),
            },
        }
    }

    pub(crate) async fn profile(&self, path: &str) -> Result<DestinationProfile, Status> {
        let mut stream = self
            .0
            .clone()
            .get_profile(request(path, ""))
            .await?
            .into_inner();
        let first = stream.message().await?;
        first.ok_or_else(|| Status::unknown("the stream ended"))
    }
}

fn request(path: &str, token: &str) -> GetDestination {
    GetDestination {
        scheme: String::new(),
        path: path.to_owned(),
        context_token: token.to_owned(),
    }
}

/// What one message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Add(Vec<String>),
    Remove(Vec<String>),
    /// Whether the Service exists.
    NoEndpoints(bool),
}

/// A stream of endpoints.
pub(crate) struct Talk {
    stream: Streaming<Update>,
    /// What is known by now.
    pub(crate) pool: BTreeMap<String, WeightedAddr>,
    /// Labels of the set.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Talk {
    pub(crate) async fn next(&mut self) -> Result<Said> {
        self.next_within(PATIENCE).await
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> Result<Said> {
        let next = tokio::time::timeout(patience, self.stream.message()).await;
        let update = next.context("nothing is said in time")??;
        let update = update
            .and_then(|update| update.update)
            .context("the stream ended")?;
        Ok(match update {
            update::Update::Add(set) => {
                self.labels = set.metric_labels.into_iter().collect();
                let told: Vec<_> = set
                    .addrs
                    .into_iter()
                    .filter_map(|told| Some((socket(told.addr.as_ref()?)?, told)))
                    .collect();
                let names = told.iter().map(|(name, _)| name.clone()).collect();
                self.pool.extend(told);
                Said::Add(names)
            }
            update::Update::Remove(set) => {
                let gone: Vec<_> = set.addrs.iter().filter_map(socket).collect();
                self.pool.retain(|name, _| !gone.contains(name));
                Said::Remove(gone)
            }
            update::Update::NoEndpoints(none) => {
                self.pool.clear();
                Said::NoEndpoints(none.exists)
            }
        })
    }

    /// Follows until the pool is this.
    pub(crate) async fn reaches(&mut self, want: &[&str]) -> Result<()> {
        let following = async {
            while self.pool.keys().ne(want) {
                self.next().await?;
            }
            Ok::<(), anyhow::Error>(())
        };
        let outcome = tokio::time::timeout(PATIENCE, following).await;
        match outcome {
            Ok(outcome) => outcome.with_context(|| format!("wanted {want:?}")),
            Err(_elapsed) => bail!("wanted {want:?}, have {:?}", self.pool.keys()),
        }
    }

    /// Nothing more is said for a while.
    pub(crate) async fn is_silent(&mut self) -> Result<()> {
        let next = tokio::time::timeout(Duration::from_millis(300), self.next()).await;
        ensure!(next.is_err(), "this was said: {next:?}");
        Ok(())
    }

    pub(crate) fn endpoint(&self, address: &str) -> Result<&WeightedAddr> {
        self.pool
            .get(address)
            .with_context(|| format!("{address} among {:?}", self.pool.keys()))
    }
}

fn socket(addr: &TcpAddress) -> Option<String> {
    let ip = IpAddr::try_from(addr.ip?).ok()?;
    Some(SocketAddr::new(ip, u16::try_from(addr.port).ok()?).to_string())
}

/// The identity that an endpoint must have.
pub(crate) fn identity(endpoint: &WeightedAddr) -> &str {
    let strategy = endpoint
        .tls_identity
        .as_ref()
        .and_then(|tls| tls.strategy.as_ref());
    match strategy {
        Some(tls_identity::Strategy::DnsLikeIdentity(dns)) => &dns.name,
        _ => "",
    }
}

/// The authority that is spoken to.
pub(crate) fn authority(endpoint: &WeightedAddr) -> &str {
    let authority = endpoint.authority_override.as_ref();
    authority.map_or("", |authority| &authority.authority_override)
}
