//! Puts the process together: one function per task, no decisions.
use std::sync::Arc;
use std::time::Duration;

use kube::config::Config;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tombolo_shell::admin::{Admin, Shutdown};
use tombolo_shell::clock::Clock;
use tombolo_shell::drain::Drain;
use tombolo_shell::metrics::Metrics;
use tombolo_shell::ready::Ready;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::ClientTls;
use tombolo_wire::proxy_api::destination::destination_server::DestinationServer;
use tombolo_wire::proxy_api::identity::identity_server::IdentityServer;
use tombolo_wire::proxy_api::inbound::inbound_server_policies_server::InboundServerPoliciesServer;
use tombolo_wire::proxy_api::outbound::outbound_policies_server::OutboundPoliciesServer;
use tonic::transport::server::Router;

use self::listeners::Listeners;
use self::trust::Trust;

use crate::args::Args;
use crate::discovery::board::Board;
use crate::discovery::server::Discovery;
use crate::identity::certify::Certifier;
use crate::identity::name::Scheme;
use crate::policy::server::Policies;
use crate::server::{self, Bounds, Entrance, Plaintext, Port, Shared, Streams};
use crate::world::carry::{self, Job};
use crate::world::feed::{self, Cluster, Source};
use crate::world::links::Links;
use crate::world::links::introduced::Introduced;
use crate::world::metrics::Counts;
use crate::world::owner::{Owner, Parts};

mod listeners;
mod own;
mod trust;

/// How long what is under way may take to end once the process is asked to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// What watches may hand over ahead of the owner.
const INPUTS_MAX: usize = 1024;

/// Runs the control plane until the process is asked to stop.
///
/// # Errors
/// When a file cannot be used, an address cannot be listened on, or a vital part fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let drain = Drain::new();
    let asked = async {
        match tombolo_shell::process::asked_to_stop().await {
            Ok(signal) => tracing::info!(signal, "asked to stop"),
            Err(error) => tracing::error!(%error, "signals cannot be heard"),
        }
        drain.start();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        result = run_until(args, drain.clone()) => result,
        () = asked => Ok(()),
    }
}

/// Runs the control plane until `drain` starts.
///
/// # Errors
/// As [`run`].
pub async fn run_until(args: Args, drain: Drain) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let result = start(args, drain, &tasks).await;
    tasks.cancel();
    result
}

async fn start(args: Args, drain: Drain, tasks: &Tasks) -> anyhow::Result<()> {
    tombolo_shell::tls::install_provider();
    let listeners = Listeners::open(&args)?;
    let (destination, admin) = listeners.addresses()?;
    let ready = Ready::new();
    let heard = ready.condition("the API server of this cluster");
    let metrics = Metrics::new();
    metrics.register_process(&Clock::system());
    let (client, config, cluster) = own::client(&args).await?;
    let shared = Arc::new(share(&args, &cluster, &drain));
    let trust = Trust::establish(&args, &shared.scheme, tasks).await?;
    let counts = Counts::register(&metrics, &shared.streams);
    let tls = trust.as_ref().map(Trust::client);
    let namespaces = [args.namespace.clone(), args.linkerd_namespace.clone()];
    let introduced = Introduced::in_namespaces(namespaces);
    own_world(
        (&client, config),
        (introduced, tls),
        tasks,
        |links, jobs| Parts {
            shared: Arc::clone(&shared),
            heard,
            links,
            jobs,
            counts,
        },
    );
    let health = Admin {
        ready,
        metrics,
        shutdown: Shutdown::Starts(drain.clone()),
    };
    let serving = tasks.child();
    tasks.spawn("admin", health.serve(listeners.admin, tasks.child()));
    let ports = Ports {
        tasks: &serving,
        drain: &drain,
        trust: trust.as_ref(),
    };
    if let (Some(listener), Some(trust)) = (listeners.identity, &trust) {
        let certifier = Certifier {
            client,
            scheme: shared.scheme.clone(),
            issuer: trust.issuer.clone(),
        };
        let identity = server::grpc().add_service(IdentityServer::new(certifier));
        ports.open_to("identity", listener, trust.for_anybody(), identity);
    }
    let discovery = Discovery {
        shared: Arc::clone(&shared),
    };
    let mut on_destination = server::grpc().add_service(DestinationServer::new(discovery));
    let policies = Policies { shared };
    let outbound = OutboundPoliciesServer::new(policies.clone());
    let inbound = InboundServerPoliciesServer::new(policies);
    match listeners.policy {
        Some(listener) => {
            let policy = server::grpc().add_service(outbound).add_service(inbound);
            ports.open("policy", listener, policy);
        }
        None => on_destination = on_destination.add_service(outbound).add_service(inbound),
    }
    ports.open("destination", listeners.destination, on_destination);
    if args.plaintext {
        tracing::warn!(listen = %destination, "serves plaintext, to whoever connects: for tests and debugging only");
    }
    tracing::info!(cluster, listen = %destination, %admin, "control runs");
    until_the_end(&drain, tasks, &serving).await
}

fn share(args: &Args, cluster: &str, drain: &Drain) -> Shared {
    Shared {
        domain: args.cluster_domain.clone(),
        cluster: cluster.to_owned(),
        scheme: Scheme {
            control_namespace: args.namespace.clone(),
            linkerd_namespace: args.linkerd_namespace.clone(),
            trust_domain: args.trust_domain.clone(),
        },
        gateway_exports: args.gateway_exports,
        board: Board::default(),
        drain: drain.clone(),
        streams: Streams::default(),
    }
}

/// The owner of everything that is known, what feeds it, and what carries out its plans.
fn own_world(
    (client, config): (&kube::Client, Config),
    (introduced, probes): (Introduced, Option<ClientTls>),
    tasks: &Tasks,
    parts: impl FnOnce(Links, mpsc::Sender<Job>) -> Parts,
) {
    let (inputs, received) = mpsc::channel(INPUTS_MAX);
    let cluster = Cluster {
        source: Source::Local,
        config,
        client: client.clone(),
        inputs: inputs.clone(),
    };
    tasks.spawn("local cluster", feed::follow(cluster, tasks.child()));
    let (jobs, taken) = mpsc::channel(1);
    let carrier = carry::carry(client.clone(), taken, inputs.clone());
    tasks.spawn("carrier", carrier);
    let owner = Owner::new(parts(Links::new(introduced, probes, tasks, inputs), jobs));
    tasks.spawn("owner", owner.run(received));
}

async fn until_the_end(drain: &Drain, tasks: &Tasks, serving: &Tasks) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = tasks.cancelled() => {}
        () = drain.started() => {
            let finish = serving.finish(DRAIN_DEADLINE).await;
            tracing::info!(%finish, "drained");
        }
    }
    match tasks.failed() {
        Some(task) => anyhow::bail!("the task {task:?} failed"),
        None => Ok(()),
    }
}

/// What every gRPC port is opened with.
struct Ports<'a> {
    tasks: &'a Tasks,
    drain: &'a Drain,
    trust: Option<&'a Trust>,
}

impl Ports<'_> {
    /// For proxies of the mesh; without trust, for anybody.
    fn open(&self, name: &'static str, listener: TcpListener, router: Router) {
        match self.trust {
            Some(trust) => self.open_to(name, listener, trust.for_the_mesh(), router),
            None => self.open_to(name, listener, Plaintext, router),
        }
    }

    fn open_to<E: Entrance>(
        &self,
        name: &'static str,
        listener: TcpListener,
        entrance: E,
        router: Router,
    ) {
        let port = Port {
            name,
            listener,
            entrance,
            bounds: Bounds::default(),
        };
        let end = (self.tasks.clone(), self.drain.clone());
        self.tasks.spawn(name, server::serve(port, router, end));
    }
}
