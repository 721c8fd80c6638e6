//! One API server, from its configuration to its end: keys, store, roles, listener, kubeconfig.
//!
//! [`run`] is the process (`tombolo apiserver`); [`InProcess`] is the same without sockets, for tests.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

use crate::auth::{Certificate, MASTERS, User};
use crate::db::{BoundPods, Controllers, Db, LoopbackEndpoints, Options, Storage};
use crate::http::{ApiServer, ApiService, Kubelets, Parts};
use crate::pki::{AGENT_USER, Kubeconfig, Leaf, Pki, Subject, write_private};
use crate::serve::{Serving, serve};
use crate::store::json::list;
use crate::tls::{self, ServerTls};
use crate::token::{LEGACY_ISSUER, LegacyClaims, TokenKey};

mod args;
mod identity;
mod roles;
mod services;

pub use args::Args;

/// What one API server is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the objects live.
    pub storage: Storage,
    /// Where keys and certificates lie; none keeps them beside the objects (`DIR/pki`), or nowhere.
    pub pki_dir: Option<PathBuf>,
    /// Where the administrator's kubeconfig is written, in a directory that is there.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the cluster and of its context.
    pub cluster: String,
    /// Where ClusterIPs come from.
    pub service_cidr: IpNet,
    /// Whether endpoints may have loopback addresses.
    pub loopback_endpoints: LoopbackEndpoints,
    /// Whether who binds a Pod may complete it.
    pub bound_pods: BoundPods,
    /// Whether the small controllers run.
    pub controllers: Controllers,
    /// How many events of each collection watches can go back; none is what is usual.
    pub history_events: Option<usize>,
}

impl Config {
    /// An API server in memory, on a free port of 127.0.0.1, for tests.
    pub fn memory() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            storage: Storage::Memory,
            pki_dir: None,
            kubeconfig: None,
            cluster: "tombolo".to_owned(),
            service_cidr: args::default_service_cidr(),
            loopback_endpoints: LoopbackEndpoints::Allowed,
            bound_pods: BoundPods::AsCreated,
            controllers: Controllers::Run,
            history_events: None,
        }
    }

    fn pki_dir(&self) -> Option<PathBuf> {
        match (&self.pki_dir, &self.storage) {
            (Some(dir), _) => Some(dir.clone()),
            (None, Storage::Dir(dir)) => Some(dir.join("pki")),
            (None, Storage::Memory) => None,
        }
    }
}

/// An API server without sockets: a tower service for each user who asks.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<ApiServer>,
    pki: Arc<Pki>,
    db: Db,
    tasks: Tasks,
    stop: CancellationToken,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess")
            .field("pki", &self.pki)
            .finish_non_exhaustive()
    }
}

impl InProcess {
    /// Opens keys and store, and writes the roles that every cluster has.
    ///
    /// # Errors
    /// When keys or store cannot be opened.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let pki = Arc::new(Pki::open(config.pki_dir().as_deref(), now)?);
        let token_key = Arc::new(TokenKey::from_pem(pki.token_key_pem())?);
        let mut options = Options::new(config.service_cidr);
        options.loopback_endpoints = config.loopback_endpoints;
        options.bound_pods = config.bound_pods;
        options.controllers = config.controllers;
        if let Some(events) = config.history_events {
            options.history_events = events;
        }
        options.root_ca_pem = Some(pki.ca_pem().to_owned());
        options.mint_token = Some(mint(Arc::clone(&token_key)));
        let clock = Arc::clone(&options.clock);
        let db = Db::open(config.storage.clone(), options).await?;
        roles::write(&db).await?;
        services::write(&db).await?;
        let tasks = Tasks::new();
        let stop = CancellationToken::new();
        let kubelet_tls = tls::client(&pki.kubelet_client()?, pki.ca_pem())?;
        let server = Arc::new(ApiServer::new(Parts {
            db: db.clone(),
            token_key,
            clock,
            kubelets: Kubelets::new(kubelet_tls, tasks.child()),
            stop: stop.clone(),
        }));
        Ok(Self {
            server,
            pki,
            db,
            tasks,
            stop,
        })
    }

    /// The API as this user; `kube::Client::new(service, namespace)` takes it.
    pub fn client_service(&self, user: User) -> ApiService {
        ApiService::new(Arc::clone(&self.server), Certificate::Of(user))
    }

    /// The API as somebody who shows nothing but headers.
    pub fn anonymous_service(&self) -> ApiService {
        ApiService::new(Arc::clone(&self.server), Certificate::Absent)
    }

    /// The store behind it.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The authority.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Ends watches and tasks, and closes the store: everything acknowledged is on disk.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.finish(Duration::from_secs(3)).await;
        self.db.close().await;
    }
}

/// An API server that listens.
#[derive(Debug)]
pub struct Running {
    inner: InProcess,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Opens everything, listens, and writes the kubeconfigs; requests are answered when this returns.
    ///
    /// # Errors
    /// When keys, store, address or kubeconfig cannot be had.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        if let Some(path) = &config.kubeconfig {
            check_parent(path)?;
            check_content(path, &config.cluster)?;
        }
        // The address first: a second server of the same cluster must not touch the store.
        let listener = net::listen(config.listen).context("choose another with --listen")?;
        let address = listener
            .local_addr()
            .context("ask for the address listened on")?;
        let inner = InProcess::start(config).await?;
        let tls = ServerTls::new(
            &server_leaf(&inner.pki, address.ip(), config)?,
            inner.pki.ca_pem(),
        )?;
        let serving = Serving {
            listener,
            tls,
            server: Arc::clone(&inner.server),
            tasks: inner.tasks.clone(),
            stop: inner.stop.clone(),
        };
        identity::write(&inner.db, address).await?;
        let serving = inner.tasks.spawn("serve", serve(serving));
        write_files(config, &inner.pki, address)?;
        Ok(Self {
            inner,
            address,
            serving,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server without its sockets.
    pub fn in_process(&self) -> &InProcess {
        &self.inner
    }

    /// Ends watches, finishes running requests, closes the store.
    pub async fn stop(self) {
        self.inner.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::warn!(%error, "the listener ended badly");
        }
        self.inner.stop().await;
    }
}

/// Runs one API server until `shutdown` resolves.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let running = Running::start(&config).await?;
    tracing::info!(address = %running.address(), cluster = config.cluster, "API server ready");
    let tasks = running.inner.tasks.clone();
    tokio::select! {
        () = shutdown => {}
        () = tasks.cancelled() => {}
    }
    running.stop().await;
    match tasks.failed() {
        Some(task) => anyhow::bail!("task {task:?} of the API server panicked"),
        None => Ok(()),
    }
}

fn server_leaf(pki: &Pki, listen: IpAddr, config: &Config) -> anyhow::Result<Leaf> {
    let mut addresses = vec![listen];
    // The first address of the services' range is that of the Service `kubernetes`.
    addresses.extend(config.service_cidr.hosts().next());
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    pki.server(&addresses, &names.map(str::to_owned))
}

/// A file that is not this cluster's is somebody's, with whatever else it has.
fn check_content(kubeconfig: &Path, cluster: &str) -> anyhow::Result<()> {
    let present = match std::fs::read(kubeconfig) {
        Ok(present) if !present.is_empty() => present,
        // What cannot be read says so when it is written.
        _ => return Ok(()),
    };
    let present: Value = serde_saphyr::from_slice(&present).unwrap_or_default();
    let clusters = list(&present, "clusters");
    anyhow::ensure!(
        clusters.len() == 1 && clusters[0]["name"] == cluster,
        "write the kubeconfig {}: the file is there, and not that of cluster {cluster:?} alone: choose another file",
        kubeconfig.display()
    );
    Ok(())
}

/// A directory that is not there is more likely a slip than a wish.
fn check_parent(kubeconfig: &Path) -> anyhow::Result<()> {
    let parent = kubeconfig
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        anyhow::bail!(
            "write the kubeconfig {}: there is no directory {}",
            kubeconfig.display(),
            parent.display()
        );
    }
    Ok(())
}

fn write_files(config: &Config, pki: &Pki, address: SocketAddr) -> anyhow::Result<()> {
    pki.write_kubelet_server()?;
    let server = format!("https://{address}");
    let cluster = config.cluster.as_str();
    let write = |path: &Path, user: &str, subject| -> anyhow::Result<()> {
        let with = |leaf: &Leaf| {
            let file = Kubeconfig {
                cluster,
                user,
                server: &server,
                ca_pem: pki.ca_pem(),
                leaf,
            };
            file.to_yaml()
        };
        let present = std::fs::read_to_string(path).unwrap_or_default();
        let kept = Leaf::in_kubeconfig(&present).filter(|leaf| pki.is_fresh(leaf, subject));
        if kept.is_some_and(|leaf| with(&leaf) == present) {
            // It is as good as a new one, and the disk may be full.
            return Ok(());
        }
        write_private(path, &with(&pki.client(subject)?))
    };
    if let Storage::Dir(dir) = &config.storage {
        let subject = Subject {
            user: AGENT_USER,
            group: Some("system:nodes"),
        };
        write(
            &dir.join("agent.kubeconfig"),
            &format!("{cluster}-agent"),
            subject,
        )?;
    }
    if let Some(path) = &config.kubeconfig {
        let subject = Subject {
            user: "kubernetes-admin",
            group: Some(MASTERS),
        };
        write(path, &format!("{cluster}-admin"), subject)?;
    }
    Ok(())
}

/// Tokens without an end, for Secrets of the type that holds them.
fn mint(key: Arc<TokenKey>) -> crate::db::MintToken {
    Arc::new(move |wanted| {
        let claims = LegacyClaims {
            issuer: LEGACY_ISSUER.to_owned(),
            namespace: wanted.namespace.clone(),
            secret: wanted.secret.clone(),
            account: wanted.service_account.clone(),
            account_uid: wanted.service_account_uid.clone(),
            subject: format!(
                "system:serviceaccount:{}:{}",
                wanted.namespace, wanted.service_account
            ),
        };
        key.sign(&claims).map_err(|error| format!("{error:#}"))
    })
}
