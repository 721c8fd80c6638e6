//! A node: it takes the Pods of its cluster, runs each as processes and says in its status how it goes.
//!
//! `machine` decides a pod's life, `node` owns the state, `run` stays with one process. It knows its API server
//! and no other cluster; while that is away, everything that runs goes on.

mod address;
mod cache;
mod inject;
mod logs;
mod machine;
mod node;
mod pod;
pub mod processes;
mod register;
mod run;
mod service;
mod status;
mod token;
mod write;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::Api;
use kube::runtime::watcher;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tombolo_shell::process;
use tombolo_shell::task::Tasks;

use self::inject::Mesh;
pub(crate) use self::inject::{INJECT, PROXY_CONTAINER};
use self::node::{Input, Node, Outlets, Parts};
use self::pod::PROXY_IMAGE;
pub(crate) use self::pod::{ECHO_IMAGE, PAUSE_IMAGE};
use self::run::Shared;
pub(crate) use self::service::is_ready;
use crate::procfs::Tree;
use crate::spawn::{Signaller, Spawner, beside_us};
use crate::topology::{CONTROL_NAMESPACE, KUBELET_PORT};

/// How many inputs the owner may be behind.
const QUEUE_MAX: usize = 1024;
/// How soon a watch that broke is started again.
const WATCH_RETRY: Duration = Duration::from_millis(300);
/// How long the containers may take when the agent is asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the node is and what it needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach the API server.
    pub kubeconfig: PathBuf,
    /// The name of the cluster, which the applications show.
    pub cluster: String,
    /// The name of the Node.
    pub node_name: String,
    /// Its address, on which it serves the logs.
    pub address: Ipv4Addr,
    /// The address of the node's own proxy.
    pub proxy_address: Ipv4Addr,
    /// The addresses of pods.
    pub pods: Ipv4Net,
    /// The address of the control plane.
    pub control: Ipv4Addr,
    /// The port of its identity API.
    pub identity_port: u16,
    /// The trust anchors, PEM.
    pub trust_anchors: PathBuf,
    /// Where `ca.crt`, `kubelet.crt` and `kubelet.key` lie.
    pub pki: PathBuf,
    /// Where the agent keeps its pods' files.
    pub dir: PathBuf,
}

/// Runs the node until SIGTERM or Ctrl-C.
///
/// # Errors
/// A file is missing or an address is taken; the error names it.
pub async fn run(config: Config) -> Result<()> {
    let client = client(&config).await?;
    let anchors = std::fs::read_to_string(&config.trust_anchors)
        .with_context(|| format!("read {}", config.trust_anchors.display()))?;
    let tls = logs::tls(&config.pki)?;
    std::fs::create_dir_all(config.dir.join("pods"))
        .with_context(|| format!("create {}", config.dir.display()))?;
    let tasks = Tasks::new();
    let (sender, inputs) = mpsc::channel(QUEUE_MAX);
    let (listeners, listen_on) = watch::channel(Arc::from("[]"));
    let (logs, files) = watch::channel(Arc::default());
    let shared = Arc::new(Shared {
        spawner: Spawner::start()?,
        mesh: Mesh {
            control: config.control,
            identity_port: config.identity_port,
            anchors,
            node_name: config.node_name.clone(),
        },
        tokens: token::Tokens::new(client.clone()),
        cluster: config.cluster.clone(),
        node_address: config.address,
        own_exe: std::env::current_exe().context("find the running program")?,
        proxy_exe: beside_us("tombolo-proxy")?,
        listeners: listen_on,
    });
    start_watches(&tasks, &client, &sender);
    let register = register::register(client.clone(), config.node_name.clone(), config.address);
    tasks.spawn("register", register);
    let mut node = Node::new(Parts {
        shared,
        tasks: tasks.clone(),
        sender,
        inputs,
        writer: write::Writer::new(client),
        outlets: Outlets { listeners, logs },
        pool: address::AddressPool::new(config.pods),
        dir: config.dir.clone(),
    });
    node.add_node_proxy(node_proxy(&config)?, config.proxy_address);
    let address = SocketAddr::new(IpAddr::V4(config.address), KUBELET_PORT);
    let server = logs::Server {
        address,
        tls,
        files,
    };
    tracing::info!(node = config.node_name, address = %config.address, "the node is up");
    let stopped = tokio::select! {
        biased;
        asked = process::asked_to_stop() => asked.map(|_| ()).context("watch for signals"),
        served = server.serve(tasks.child()) => served,
        () = node.run() => Ok(()),
        () = tasks.cancelled() => Err(anyhow::anyhow!("task {:?} failed", tasks.failed())),
    };
    end_children().await;
    tasks.cancel();
    tasks.finish(STOP_TIMEOUT).await;
    stopped
}

/// Ends the containers while the tasks that wait for them still run, so that nothing is left of them.
async fn end_children() {
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    loop {
        let below = Tree::read().below(std::process::id());
        if below.is_empty() || tokio::time::Instant::now() > deadline {
            return;
        }
        for signaller in below.into_iter().filter_map(Signaller::open) {
            if !signaller.signal(Signal::KILL) {
                tracing::trace!("a container ended by itself");
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn client(config: &Config) -> Result<kube::Client> {
    let path = &config.kubeconfig;
    let name = || format!("use the kubeconfig {}", path.display());
    let file = kube::config::Kubeconfig::read_from(path).with_context(name)?;
    let options = kube::config::KubeConfigOptions::default();
    let mut settings = kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .with_context(name)?;
    settings.connect_timeout = Some(Duration::from_secs(2));
    kube::Client::try_from(settings).with_context(name)
}

fn start_watches(tasks: &Tasks, client: &kube::Client, sender: &mpsc::Sender<Input>) {
    let (client, sender) = (|| client.clone(), || sender.clone());
    let pods = follow(Api::<Pod>::all(client()), sender(), Input::Pods);
    let namespaces = follow(Api::<Namespace>::all(client()), sender(), Input::Namespaces);
    let services = follow(Api::<Service>::all(client()), sender(), Input::Services);
    tasks.spawn("watch pods", pods);
    tasks.spawn("watch namespaces", namespaces);
    tasks.spawn("watch services", services);
}

/// Hands every event of a watch to the owner, for ever.
async fn follow<K>(
    api: Api<K>,
    owner: mpsc::Sender<Input>,
    wrap: fn(Box<watcher::Event<K>>) -> Input,
) where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if owner.send(wrap(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a watch broke and starts again");
                tokio::time::sleep(WATCH_RETRY).await;
            }
        }
    }
}

/// The node's own proxy, as if it were a pod: a mesh client of service account `node`.
fn node_proxy(config: &Config) -> Result<pod::PodSpec> {
    let object = serde_json::json!({
        "metadata": {
            "uid": node::NODE_PROXY_UID,
            "namespace": CONTROL_NAMESPACE,
            "name": format!("{}-proxy", config.node_name),
        },
        "spec": {
            "serviceAccountName": "node",
            "containers": [{
                "name": PROXY_CONTAINER,
                "image": PROXY_IMAGE,
                "readinessProbe": {
                    "httpGet": { "path": "/ready", "port": crate::topology::ADMIN_PORT },
                    "periodSeconds": 2,
                },
            }],
        },
    });
    let object: Pod = serde_json::from_value(object).context("the node's proxy")?;
    pod::PodSpec::read(&object).context("the node's proxy")
}
