//! How a database is opened: where it lives, and the facts of the cluster that it holds.
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::store::facts::{BoundPods, LoopbackEndpoints};

/// Where the objects live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere else: they are gone with the process.
    Memory,
    /// In a file in this directory, which is created if need be.
    Dir(PathBuf),
}

/// Whether the small controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controllers {
    /// All of them.
    #[default]
    Run,
    /// None: only what the store itself does.
    Off,
}

/// For whom a token is wanted by a Secret of type `kubernetes.io/service-account-token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFor {
    /// The namespace of the Secret and the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount's name.
    pub service_account: String,
    /// The ServiceAccount's uid.
    pub service_account_uid: String,
    /// The Secret's name.
    pub secret: String,
    /// The Secret's uid.
    pub secret_uid: String,
}

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Makes a token that does not expire, bound to its Secret.
pub type MintToken = Arc<dyn Fn(&TokenFor) -> Result<String, String> + Send + Sync>;

/// How many events are kept, unless the options say otherwise.
const HISTORY_EVENTS: usize = 8192;

/// The facts of the cluster.
#[derive(Clone)]
pub struct Options {
    /// Where ClusterIPs come from.
    pub service_cidr: IpNet,
    /// The wall clock, for creation and deletion timestamps.
    pub clock: Clock,
    /// Seeds uids and generated names; none takes it from the operating system.
    pub seed: Option<u64>,
    /// Whether endpoints may have loopback addresses.
    pub loopback_endpoints: LoopbackEndpoints,
    /// Whether who binds a Pod may complete it.
    pub bound_pods: BoundPods,
    /// Whether the small controllers run.
    pub controllers: Controllers,
    /// The certificate authority that goes into every namespace as `kube-root-ca.crt`.
    pub root_ca_pem: Option<String>,
    /// How many events of each collection are kept for watches that resume.
    pub history_events: usize,
    /// Makes tokens for Secrets; none leaves such Secrets without one.
    pub mint_token: Option<MintToken>,
}

impl Options {
    /// A cluster with this range of ClusterIPs, and defaults for the rest.
    pub fn new(service_cidr: IpNet) -> Self {
        Self {
            service_cidr,
            clock: Arc::new(Timestamp::now),
            seed: None,
            loopback_endpoints: LoopbackEndpoints::default(),
            bound_pods: BoundPods::default(),
            controllers: Controllers::default(),
            root_ca_pem: None,
            history_events: HISTORY_EVENTS,
            mint_token: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("service_cidr", &self.service_cidr)
            .field("loopback_endpoints", &self.loopback_endpoints)
            .field("controllers", &self.controllers)
            .finish_non_exhaustive()
    }
}
