//! Puts the process together: one function per task, no decisions.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tombolo_shell::admin::{Admin, Shutdown};
use tombolo_shell::clock::Clock;
use tombolo_shell::drain::Drain;
use tombolo_shell::metrics::Metrics;
use tombolo_shell::ready::Ready;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{Anchors, ClientCertificate, ClientTls, ServerTls};
use tombolo_wire::proxy_api::destination::destination_server::DestinationServer;
use tombolo_wire::proxy_api::identity::identity_server::IdentityServer;
use tombolo_wire::proxy_api::inbound::inbound_server_policies_server::InboundServerPoliciesServer;
use tombolo_wire::proxy_api::outbound::outbound_policies_server::OutboundPoliciesServer;

use crate::args::Args;
use crate::discovery::board::Board;
use crate::discovery::server::Discovery;
use crate::identity::certify::Certifier;
use crate::identity::issuer::Issuer;
use crate::identity::name::Scheme;
use crate::identity::own::{self, Files};
use crate::policy::server::Policies;
use crate::server::{self, Bounds, Port, Shared, Streams};
use crate::world::carry::{self, Job};
use crate::world::feed::{self, Cluster, Source};
use crate::world::links::Links;
use crate::world::metrics::Counts;
use crate::world::owner::{Owner, Parts};

/// How long what is under way may take to end once the process is asked to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// What watches may hand over ahead of the owner.
const INPUTS_MAX: usize = 1024;
/// Connecting to an API server takes no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

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
    let ready = Ready::new();
    let heard = ready.condition("the API server of this cluster");
    let metrics = Metrics::new();
    metrics.register_process(&Clock::system());
    let client = local_client(&args).await?;
    let shared = Arc::new(Shared {
        domain: args.cluster_domain.clone(),
        cluster: args.cluster_name.clone(),
        scheme: Scheme {
            control_namespace: args.namespace.clone(),
            trust_domain: args.trust_domain.clone(),
        },
        gateway_exports: args.gateway_exports,
        board: Board::default(),
        drain: drain.clone(),
        streams: Streams::default(),
    });
    let trust = Trust::establish(&args, &shared.scheme, tasks).await?;
    let counts = Counts::register(&metrics, &shared.streams);
    own_world(&client, &trust, tasks, |links, jobs| Parts {
        shared: Arc::clone(&shared),
        heard,
        links,
        jobs,
        counts,
    });
    let admin = Admin {
        ready,
        metrics,
        shutdown: Shutdown::Starts(drain.clone()),
    };
    let serving = tasks.child();
    tasks.spawn("admin", admin.serve(listeners.admin, tasks.child()));
    let certifier = Certifier {
        client,
        scheme: shared.scheme.clone(),
        issuer: trust.issuer.clone(),
    };
    let ports = Ports {
        tasks: &serving,
        drain: &drain,
        trust: &trust,
    };
    let identity = server::grpc().add_service(IdentityServer::new(certifier));
    ports.open("identity", listeners.identity, trust.optional(), identity);
    let discovery = Discovery {
        shared: Arc::clone(&shared),
    };
    let destination = server::grpc().add_service(DestinationServer::new(discovery));
    ports.open(
        "destination",
        listeners.destination,
        trust.required(),
        destination,
    );
    let policies = Policies { shared };
    let policy = server::grpc()
        .add_service(OutboundPoliciesServer::new(policies.clone()))
        .add_service(InboundServerPoliciesServer::new(policies));
    ports.open("policy", listeners.policy, trust.required(), policy);
    tracing::info!(cluster = args.cluster_name, listen = %args.listen, "control runs");
    until_the_end(&drain, tasks, &serving).await
}

/// The owner of everything that is known, what feeds it, and what carries out its plans.
fn own_world(
    client: &kube::Client,
    trust: &Trust,
    tasks: &Tasks,
    parts: impl FnOnce(Links, mpsc::Sender<Job>) -> Parts,
) {
    let (inputs, received) = mpsc::channel(INPUTS_MAX);
    let cluster = Cluster {
        source: Source::Local,
        client: client.clone(),
        inputs: inputs.clone(),
    };
    tasks.spawn("local cluster", feed::follow(cluster, tasks.child()));
    let (jobs, taken) = mpsc::channel(1);
    let carrier = carry::carry(client.clone(), taken, inputs.clone());
    tasks.spawn("carrier", carrier);
    let probes = ClientTls::new(trust.anchors.clone(), trust.credentials.clone(), &[]);
    let owner = Owner::new(parts(Links::new(probes, tasks, inputs), jobs));
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

/// Every address that the process needs, taken before anything else begins.
struct Listeners {
    identity: TcpListener,
    destination: TcpListener,
    policy: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let open = |port, what: &str, flag: &str| {
            server::listen(args.listen, port)
                .with_context(|| format!("no {what} port (choose another with --{flag})"))
        };
        Ok(Self {
            identity: open(args.identity_port, "identity", "identity-port")?,
            destination: open(args.destination_port, "destination", "destination-port")?,
            policy: open(args.policy_port, "policy", "policy-port")?,
            admin: open(args.admin_port, "admin", "admin-port")?,
        })
    }
}

/// Who this process is, and whom it believes.
struct Trust {
    anchors: Anchors,
    issuer: watch::Receiver<Arc<Issuer>>,
    credentials: tombolo_shell::tls::LiveCredentials,
}

impl Trust {
    async fn establish(args: &Args, scheme: &Scheme, tasks: &Tasks) -> anyhow::Result<Self> {
        let files = Files {
            anchors: args.trust_anchors.clone(),
            certificate: args.issuer_cert.clone(),
            key: args.issuer_key.clone(),
        };
        let contents = files.read().await?;
        let issuer = contents.issuer(Timestamp::now()).with_context(|| {
            format!(
                "the issuer in {} cannot be used",
                args.issuer_cert.display()
            )
        })?;
        let anchors = Anchors::from_pem(contents.anchors()).with_context(|| {
            format!(
                "the trust anchors in {} cannot be used",
                args.trust_anchors.display()
            )
        })?;
        let identity = scheme.identity(&args.namespace, &args.service_account);
        let (own, valid_until) = own::certify(&identity, &issuer)?;
        let (issuer, issued) = watch::channel(Arc::new(issuer));
        let (live, credentials) = watch::channel(Some(Arc::new(own)));
        tasks.spawn("issuer files", own::follow(files, contents, issuer));
        tasks.spawn(
            "own certificate",
            own::renew(identity, valid_until, issued.clone(), live),
        );
        Ok(Self {
            anchors,
            issuer: issued,
            credentials,
        })
    }

    fn optional(&self) -> ClientCertificate {
        ClientCertificate::Optional(self.anchors.clone())
    }

    fn required(&self) -> ClientCertificate {
        ClientCertificate::Required(self.anchors.clone())
    }
}

/// What every gRPC port is opened with.
struct Ports<'a> {
    tasks: &'a Tasks,
    drain: &'a Drain,
    trust: &'a Trust,
}

impl Ports<'_> {
    fn open(
        &self,
        name: &'static str,
        listener: TcpListener,
        client: ClientCertificate,
        router: tonic::transport::server::Router,
    ) {
        let tls = ServerTls::new(client, self.trust.credentials.clone(), &[b"h2"]);
        let port = Port {
            name,
            listener,
            tls,
            bounds: Bounds::default(),
        };
        let end = (self.tasks.clone(), self.drain.clone());
        let serving = server::serve(port, router, end);
        self.tasks.spawn(name, serving);
    }
}

async fn local_client(args: &Args) -> anyhow::Result<kube::Client> {
    let path = args.kubeconfig.display();
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig)
        .with_context(|| format!("cannot read the kubeconfig {path}"))?;
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .with_context(|| format!("the kubeconfig {path} cannot be used"))?;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    kube::Client::try_from(config).with_context(|| format!("no client from the kubeconfig {path}"))
}
