//! The data path of a Link: its gateway is asked, over mTLS, whether it is ready (in plaintext where
//! this process has no identity); and the names that it
//! goes by are resolved.
//!
//! Decides nothing: each probe is an observation, which the owner counts. The first comes at once, so
//! that a gateway that is down from the start is found out too.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tombolo_core::cluster::Observation;
use tombolo_core::link::{Gateway, GatewayHost, LinkKey, Probe};
use tombolo_shell::net;
use tombolo_shell::tls::ClientTls;

use super::Input;
use super::feed::causes;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How long resolving may take.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of one gateway that are asked at all.
const ADDRESSES_MAX: usize = 8;
/// Bytes of an answer that are read at all.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A gateway to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Whose it is.
    pub(crate) link: LinkKey,
    /// Where it is.
    pub(crate) gateway: Gateway,
    /// How it is asked, if it is.
    pub(crate) probe: Option<Probe>,
}

/// Resolves and probes a gateway for ever.
pub(crate) async fn watch(watched: Watched, tls: Option<ClientTls>, inputs: mpsc::Sender<Input>) {
    let resolving = resolve_for_ever(&watched, &inputs);
    let probing = async {
        match &watched.probe {
            Some(probe) => probe_for_ever(&watched, probe, tls.as_ref(), &inputs).await,
            None => std::future::pending().await,
        }
    };
    tokio::join!(resolving, probing);
}

async fn resolve_for_ever(watched: &Watched, inputs: &mpsc::Sender<Input>) {
    let names = watched.gateway.hosts.iter();
    if !{ names }.any(|host| matches!(host, GatewayHost::Name(_))) {
        return;
    }
    loop {
        let found = resolve(&watched.gateway).await;
        if !found.is_empty() {
            let input = Input::Resolved(watched.link.clone(), found);
            if inputs.send(input).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RESOLVE_EVERY).await;
    }
}

/// Addresses of a gateway: literal ones, and what its names resolve to now.
async fn resolve(gateway: &Gateway) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    for host in &gateway.hosts {
        match host {
            GatewayHost::Address(ip) => {
                found.insert(*ip);
            }
            GatewayHost::Name(name) => {
                let lookup = tokio::net::lookup_host((name.as_str(), gateway.port));
                match tokio::time::timeout(RESOLVE_DEADLINE, lookup).await {
                    Ok(Ok(addresses)) => found.extend(addresses.map(|addr| addr.ip())),
                    Ok(Err(error)) => {
                        tracing::debug!(name, %error, "a gateway's name does not resolve")
                    }
                    Err(_elapsed) => {
                        tracing::debug!(name, "a gateway's name takes too long to resolve")
                    }
                }
            }
        }
    }
    found
}

async fn probe_for_ever(
    watched: &Watched,
    probe: &Probe,
    tls: Option<&ClientTls>,
    inputs: &mpsc::Sender<Input>,
) {
    let deadline = probe.timeout.min(probe.period.max(Duration::from_secs(1)));
    loop {
        let begun = tokio::time::Instant::now();
        let observation = match tokio::time::timeout(deadline, once(watched, probe, tls)).await {
            Ok(Ok(())) => Observation::Passed,
            Ok(Err(why)) => Observation::Failed(why),
            Err(_elapsed) => Observation::Failed(format!("no answer within {deadline:?}")),
        };
        let input = Input::Probed(watched.link.clone(), observation);
        if inputs.send(input).await.is_err() {
            return;
        }
        // Up to a tenth more, so that probes of many Links do not fall together.
        let jitter = rand::random_range(1.0..1.1);
        tokio::time::sleep_until(begun + probe.period.mul_f64(jitter)).await;
    }
}

/// One address that answers is enough.
async fn once(watched: &Watched, probe: &Probe, tls: Option<&ClientTls>) -> Result<(), String> {
    let mut why = "no address is known".to_owned();
    for ip in resolve(&watched.gateway)
        .await
        .into_iter()
        .take(ADDRESSES_MAX)
    {
        let addr = SocketAddr::new(ip, probe.port);
        match ask(addr, watched.gateway.identity.as_deref(), probe, tls).await {
            Ok(()) => return Ok(()),
            Err(error) => why = format!("{addr}: {error}"),
        }
    }
    Err(why)
}

async fn ask(
    addr: SocketAddr,
    identity: Option<&str>,
    probe: &Probe,
    tls: Option<&ClientTls>,
) -> Result<(), String> {
    let text = |error: &(dyn std::error::Error + 'static)| causes(error);
    let stream = net::connect(addr, probe.timeout)
        .await
        .map_err(|error| text(&error))?;
    match identity.zip(tls) {
        Some((name, tls)) => {
            let connected = tls
                .connect(stream, name, probe.timeout)
                .await
                .map_err(|error| text(&error))?;
            get(connected.stream, addr, &probe.path).await
        }
        None => get(stream, addr, &probe.path).await,
    }
}

async fn get<IO>(io: IO, addr: SocketAddr, path: &str) -> Result<(), String>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| causes(&error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .map_err(failed)?;
    let request = http::Request::get(path)
        .header(http::header::HOST, addr.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| causes(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        if let Err(error) = body.collect().await {
            return Err(format!("its answer breaks off: {error}"));
        }
        match status {
            http::StatusCode::OK => Ok(()),
            other => Err(format!("it answers {other}")),
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // The connection drives the exchange, and may end with the answer in hand: the last poll that
        // received it also closed.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(causes(&error)),
        },
    }
}
