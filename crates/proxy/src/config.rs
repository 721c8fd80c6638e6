//! What the environment tells a proxy: the variables of linkerd2-proxy (`LINKERD2_PROXY_*`) that we
//! honour, and our own (`TOMBOLO_PROXY_*`). Parsed once, at start; an error names the variable.
//!
//! Every default stands here and nowhere else. Start at [`Config::parse`].
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tombolo_shell::log;
use tombolo_shell::tls::Anchors;

pub use parse::ConfigError;
use parse::Source;

mod parse;
#[cfg(test)]
mod tests;

/// The exit code of a proxy whose environment is not valid.
pub const EXIT_CODE: u8 = 64;

/// Everything that the environment decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom the proxy is, and how it proves it.
    pub identity: IdentityConfig,
    /// Where the destination service is.
    pub destination: ControlAddr,
    /// Where the policy service is.
    pub policy: ControlAddr,
    /// An opaque text by which the policy service knows this pod.
    pub workload: String,
    /// An opaque text that accompanies each destination lookup.
    pub destination_context: String,
    /// The inbound side.
    pub inbound: InboundConfig,
    /// The outbound side.
    pub outbound: OutboundConfig,
    /// Where `/ready` and the others are served.
    pub admin_addr: SocketAddr,
    /// Whether `POST /shutdown` is offered.
    pub shutdown_endpoint: Offer,
    /// How long a drain may take.
    pub grace: Duration,
    /// How many threads serve.
    pub cores: usize,
    /// What is logged.
    pub log_filter: String,
    /// How it is logged.
    pub log_format: log::Format,
}

/// Whether something is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Whom the proxy is.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// Its own name.
    pub name: Arc<str>,
    /// The roots that it and its peers trust.
    pub anchors: Anchors,
    /// The service account token, read anew for each certification.
    pub token_file: PathBuf,
    /// Where the identity service is.
    pub service: ControlAddr,
    /// The soonest renewal.
    pub refresh_min: Duration,
    /// The latest renewal.
    pub refresh_max: Duration,
}

/// A service of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlAddr {
    /// `host:port`.
    pub addr: Arc<str>,
    /// The name that it must prove.
    pub name: Arc<str>,
}

/// The inbound side.
#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// Where peers connect.
    pub listen: SocketAddr,
    /// Ports whose policy is watched from the start.
    pub ports: Vec<u16>,
    /// What counts until the policy service has answered.
    pub default_policy: DefaultPolicy,
    /// The domains into which a gateway forwards; none: this is no gateway.
    pub gateway_suffixes: Vec<String>,
    /// How long a connect to the application may take.
    pub connect_timeout: Duration,
    /// How long handshake and transport header may take together.
    pub detect_timeout: Duration,
    /// How often the kernel asks an idle peer whether it still is there.
    pub accept_keep_alive: Duration,
    /// How long a connection to the application is kept idle.
    pub pool_idle: Duration,
    /// How many idle connections to the application are kept.
    pub pool_idle_max: usize,
    /// How many connections are served at a time.
    pub connections_max: usize,
    /// How many requests are served at a time.
    pub requests_max: usize,
}

/// The outbound side.
#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// Where applications connect.
    pub listen: Vec<SocketAddr>,
    /// Whether standard input lists more addresses.
    pub stdin_listeners: Offer,
    /// How long a connect to a peer may take.
    pub connect_timeout: Duration,
    /// How long a client may take for its first bytes.
    pub detect_timeout: Duration,
    /// How often the kernel asks an idle client whether it still is there.
    pub accept_keep_alive: Duration,
    /// How long a client may take for a request's head, or stay idle between two requests.
    pub head_timeout: Duration,
    /// How long an unused destination is followed.
    pub discovery_idle: Duration,
    /// How long the first request to a destination waits for discovery.
    pub discovery_wait: Duration,
    /// How many destinations are followed at a time.
    pub destinations_max: usize,
    /// How many connections are served at a time.
    pub connections_max: usize,
    /// How many requests are served at a time.
    pub requests_max: usize,
}

/// Who may connect while the policy service has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultPolicy {
    /// Everyone with a certificate of ours; the inbound port takes nobody without one.
    Meshed,
    /// Those of them who connect from these networks.
    Networks(Vec<IpNet>),
    /// Nobody.
    Deny,
}

impl Config {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// Names the first variable that is missing or not valid.
    pub fn from_env() -> Result<Self, ConfigError> {
        let texts = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Self::parse(&texts.collect())
    }

    /// Reads an environment.
    ///
    /// # Errors
    /// Names the first variable that is missing or not valid.
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let env = Source::new(environment);
        env.forbidden("LINKERD2_PROXY_IDENTITY_DISABLED")?;
        Ok(Self {
            identity: identity(&env)?,
            destination: env.control("LINKERD2_PROXY_DESTINATION_SVC")?,
            policy: env.control("LINKERD2_PROXY_POLICY_SVC")?,
            workload: env.required("LINKERD2_PROXY_POLICY_WORKLOAD")?.to_owned(),
            destination_context: env
                .text("LINKERD2_PROXY_DESTINATION_CONTEXT")
                .unwrap_or_default()
                .to_owned(),
            inbound: inbound(&env)?,
            outbound: outbound(&env)?,
            admin_addr: env.parsed("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", local(4191))?,
            shutdown_endpoint: env.offer("LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED")?,
            grace: env.duration("LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD", seconds(120))?,
            cores: env.at_least_one("LINKERD2_PROXY_CORES", 1)?,
            log_filter: log_filter(&env),
            log_format: env.parsed("LINKERD2_PROXY_LOG_FORMAT", log::Format::Plain)?,
        })
    }
}

/// The first of these that is set.
fn log_filter(env: &Source<'_>) -> String {
    let variables = ["LINKERD2_PROXY_LOG", "TOMBOLO_LOG", "RUST_LOG"];
    let set = variables.iter().find_map(|variable| env.text(variable));
    set.unwrap_or("warn,tombolo_proxy=info").to_owned()
}

fn identity(env: &Source<'_>) -> Result<IdentityConfig, ConfigError> {
    let anchors = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS";
    let pem = env.required(anchors)?;
    let name = match env.text("LINKERD2_PROXY_IDENTITY_LOCAL_NAME") {
        Some(name) => name,
        None => env
            .text("LINKERD2_PROXY_IDENTITY_SERVER_NAME")
            .ok_or_else(|| ConfigError::missing("LINKERD2_PROXY_IDENTITY_LOCAL_NAME"))?,
    };
    Ok(IdentityConfig {
        name: Arc::from(env.dns_name("LINKERD2_PROXY_IDENTITY_LOCAL_NAME", name)?),
        anchors: Anchors::from_pem(pem.as_bytes())
            .map_err(|error| ConfigError::invalid(anchors, "(PEM)", &error))?,
        token_file: env.required("LINKERD2_PROXY_IDENTITY_TOKEN_FILE")?.into(),
        service: env.control("LINKERD2_PROXY_IDENTITY_SVC")?,
        refresh_min: env.duration("LINKERD2_PROXY_IDENTITY_MIN_REFRESH", seconds(10))?,
        refresh_max: env.duration("LINKERD2_PROXY_IDENTITY_MAX_REFRESH", seconds(24 * 3600))?,
    })
}

fn inbound(env: &Source<'_>) -> Result<InboundConfig, ConfigError> {
    Ok(InboundConfig {
        listen: env.parsed("LINKERD2_PROXY_INBOUND_LISTEN_ADDR", any(4143))?,
        ports: env.list("LINKERD2_PROXY_INBOUND_PORTS")?,
        default_policy: env.default_policy(
            "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY",
            "LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS",
        )?,
        gateway_suffixes: env.suffixes("LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES")?,
        connect_timeout: env.duration("LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT", millis(300))?,
        detect_timeout: env.duration("LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT", seconds(10))?,
        accept_keep_alive: env.duration("LINKERD2_PROXY_INBOUND_ACCEPT_KEEPALIVE", seconds(10))?,
        pool_idle: env.duration(
            "LINKERD2_PROXY_INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT",
            seconds(3),
        )?,
        pool_idle_max: env
            .at_least_one("LINKERD2_PROXY_INBOUND_MAX_IDLE_CONNS_PER_ENDPOINT", 10_000)?,
        connections_max: env.at_least_one("TOMBOLO_PROXY_INBOUND_CONNECTIONS_MAX", 10_000)?,
        requests_max: env.at_least_one("LINKERD2_PROXY_INBOUND_MAX_IN_FLIGHT", 100_000)?,
    })
}

fn outbound(env: &Source<'_>) -> Result<OutboundConfig, ConfigError> {
    let several: Vec<SocketAddr> = env.list("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS")?;
    let listen = if several.is_empty() {
        vec![env.parsed("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR", local(4140))?]
    } else {
        several
    };
    Ok(OutboundConfig {
        listen,
        stdin_listeners: env.stdin_listeners("TOMBOLO_PROXY_LISTENERS")?,
        connect_timeout: env.duration("LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT", seconds(1))?,
        detect_timeout: env.duration("LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT", seconds(10))?,
        accept_keep_alive: env.duration("LINKERD2_PROXY_OUTBOUND_ACCEPT_KEEPALIVE", seconds(10))?,
        head_timeout: env.duration("TOMBOLO_PROXY_OUTBOUND_HEAD_TIMEOUT", seconds(30))?,
        discovery_idle: env
            .duration("LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT", seconds(5))?,
        discovery_wait: env.duration("TOMBOLO_PROXY_OUTBOUND_DISCOVERY_WAIT", millis(900))?,
        destinations_max: env.at_least_one("TOMBOLO_PROXY_DESTINATIONS_MAX", 10_000)?,
        connections_max: env.at_least_one("TOMBOLO_PROXY_OUTBOUND_CONNECTIONS_MAX", 10_000)?,
        requests_max: env.at_least_one("LINKERD2_PROXY_OUTBOUND_MAX_IN_FLIGHT", 100_000)?,
    })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}
