//! Puts a proxy together and runs it: admin port, identity, then the two sides, until it is asked to
//! stop; then drains.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tombolo_shell::admin::{Admin, Shutdown};
use tombolo_shell::clock::Clock;
use tombolo_shell::drain::Drain;
use tombolo_shell::metrics::Metrics;
use tombolo_shell::ready::{Condition, Ready};
use tombolo_shell::task::{Finish, Tasks};
use tombolo_shell::tls::{ClientCertificate, ClientTls, LiveCredentials, ServerTls};
use tombolo_shell::{net, process};
use tombolo_wire::transport;

use crate::admin::AdminPort;
use crate::config::{Config, Offer};
use crate::connector::PeerConnector;
use crate::control;
use crate::discovery::{Clients, Directory, DirectoryLimits};
use crate::identity::Certifier;
use crate::inbound::application::Applications;
use crate::inbound::gateway::Gateway;
use crate::inbound::policy::Policies;
use crate::inbound::{self, Inbound};
use crate::listeners::{Listeners, Parts, stdin};
use crate::outbound::Outbound;
use crate::stats::{SideStats, clusters};

/// How long tasks that hold no request may take to end.
const LAST_DEADLINE: Duration = Duration::from_secs(1);

/// The sockets of a proxy, bound before anything else, so that an address in use is found at once.
struct Sockets {
    admin: TcpListener,
    inbound: TcpListener,
    outbound: Vec<TcpListener>,
}

/// What every part of a proxy is given.
struct Kit {
    config: Config,
    metrics: Metrics,
    ready: Ready,
    drain: Drain,
    /// Tasks that serve: a drain waits for them.
    serving: Tasks,
    /// Tasks that help those that serve: they end last.
    helping: Tasks,
}

/// Runs a proxy until it is asked to stop and has drained.
///
/// # Errors
/// When an address cannot be listened on, or a vital part failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let root = Tasks::new();
    let kit = Kit {
        config,
        metrics: Metrics::new(),
        ready: Ready::new(),
        drain: Drain::new(),
        serving: root.child(),
        helping: root.child(),
    };
    kit.metrics.register_process(&Clock::system());
    let identity = kit.ready.condition("identity");
    let doors = kit.ready.condition("listeners");
    let sockets = bind(&kit.config)?;
    let admin = admin(&kit);
    let certifier = Certifier::new(kit.config.identity.clone(), Clock::system(), &kit.metrics);
    let credentials = certifier.credentials();
    let anchors = kit.config.identity.anchors.clone();
    let port = AdminPort {
        router: admin.clone().router(),
        tls: ServerTls::new(
            ClientCertificate::Required(anchors),
            credentials.clone(),
            &[b"http/1.1"],
        ),
        tasks: kit.helping.clone(),
    };
    kit.helping.spawn("admin", port.run(sockets.admin));
    kit.helping.spawn("identity", certifier.run());
    tracing::info!(name = %kit.config.identity.name, inbound = %kit.config.inbound.listen, "starting");

    let mut certified = credentials.clone();
    let stopped = stopped(&kit.drain, &root);
    tokio::pin!(stopped);
    tokio::select! {
        biased;
        why = &mut stopped => return finish(&kit, &root, &why?).await,
        known = certified.wait_for(Option::is_some) => { known.context("the certifier ended")?; }
    }
    identity.met();
    serve(
        &kit,
        &admin,
        credentials,
        (sockets.inbound, sockets.outbound),
        doors,
    );
    let why = stopped.await?;
    finish(&kit, &root, &why).await
}

fn bind(config: &Config) -> anyhow::Result<Sockets> {
    let listen = |addr| net::listen(addr).map_err(anyhow::Error::new);
    Ok(Sockets {
        admin: listen(config.admin_addr)
            .context("the admin port (LINKERD2_PROXY_ADMIN_LISTEN_ADDR)")?,
        inbound: listen(config.inbound.listen)
            .context("the inbound port (LINKERD2_PROXY_INBOUND_LISTEN_ADDR)")?,
        outbound: config
            .outbound
            .listen
            .iter()
            .map(|addr| {
                listen(*addr).context("the outbound port (LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR)")
            })
            .collect::<Result<_, _>>()?,
    })
}

fn admin(kit: &Kit) -> Admin {
    let shutdown = match kit.config.shutdown_endpoint {
        Offer::On => Shutdown::Starts(kit.drain.clone()),
        Offer::Off => Shutdown::Refused,
    };
    Admin {
        ready: kit.ready.clone(),
        metrics: kit.metrics.clone(),
        shutdown,
    }
}

/// Starts both sides; the proxy has its certificate.
fn serve(
    kit: &Kit,
    admin: &Admin,
    credentials: LiveCredentials,
    sockets: (TcpListener, Vec<TcpListener>),
    doors: Condition,
) {
    let config = &kit.config;
    let anchors = &config.identity.anchors;
    let to_control = ClientTls::new(anchors.clone(), credentials.clone(), &[control::ALPN]);
    let clients = Clients::new(
        control::channel(&config.destination, to_control.clone()),
        control::channel(&config.policy, to_control),
        &config.workload,
        &config.destination_context,
    );
    let to_peers = ClientTls::new(anchors.clone(), credentials.clone(), &[transport::ALPN]);
    let outbound = Outbound::new(
        Arc::new(PeerConnector::new(to_peers, config)),
        kit.helping.child(),
    );
    clusters::register(&kit.metrics, outbound.clone());
    let limits = DirectoryLimits {
        destinations_max: config.outbound.destinations_max,
        idle: config.outbound.discovery_idle,
        wait: config.outbound.discovery_wait,
    };
    let directory = Directory::new(clients.clone(), outbound.clone(), &kit.helping, limits);
    kit.helping.spawn("directory", directory.clone().run());
    let peers = ServerTls::new(
        ClientCertificate::Required(anchors.clone()),
        credentials,
        &[transport::ALPN],
    );
    serve_inbound(
        kit,
        admin,
        (clients, directory.clone(), outbound.clone(), peers),
        sockets.0,
    );
    let listeners = Listeners::new(
        config.outbound.clone(),
        Parts {
            directory,
            outbound,
            stats: SideStats::new(&kit.metrics, "outbound", config.outbound.requests_max),
            drain: kit.drain.clone(),
            tasks: kit.serving.clone(),
        },
    );
    for socket in sockets.1 {
        kit.helping
            .spawn("outbound listener", listeners.clone().run(socket));
    }
    match config.outbound.stdin_listeners {
        Offer::Off => doors.met(),
        Offer::On => {
            let (tasks, drain) = (kit.helping.clone(), kit.drain.clone());
            kit.helping.spawn("standard input", async move {
                stdin::run(listeners, tasks, tokio::io::stdin(), doors).await;
                tracing::info!("standard input ended: the parent is gone");
                drain.start();
            });
        }
    }
}

fn serve_inbound(
    kit: &Kit,
    admin: &Admin,
    parts: (Clients, Directory, Outbound, ServerTls),
    socket: TcpListener,
) {
    let config = &kit.config;
    let (clients, directory, outbound, tls) = parts;
    let mut own_ports: Vec<u16> = config
        .outbound
        .listen
        .iter()
        .map(|addr| addr.port())
        .collect();
    own_ports.push(config.inbound.listen.port());
    let default = &config.inbound.default_policy;
    let mut watched = config.inbound.ports.clone();
    if !config.inbound.gateway_suffixes.is_empty() {
        watched.push(config.inbound.listen.port());
    }
    let inbound = Arc::new(Inbound {
        tls,
        policies: Policies::new(clients, default, &kit.helping, &watched),
        applications: Applications::new(&config.inbound, &kit.helping),
        gateway: Gateway {
            suffixes: config.inbound.gateway_suffixes.clone(),
            directory,
            outbound,
            own: config.identity.name.clone(),
        },
        admin: inbound::Admin {
            port: config.admin_addr.port(),
            router: admin.clone().router(),
        },
        own_ports,
        stats: SideStats::new(&kit.metrics, "inbound", config.inbound.requests_max),
        drain: kit.drain.clone(),
        tasks: kit.serving.clone(),
        config: config.inbound.clone(),
    });
    let sweeper = inbound.clone();
    kit.helping.spawn("application pools", async move {
        sweeper.applications.run().await
    });
    kit.helping.spawn("inbound listener", inbound.run(socket));
}

/// Ends when the proxy shall stop, and says why.
async fn stopped(drain: &Drain, root: &Tasks) -> anyhow::Result<String> {
    tokio::select! {
        biased;
        signal = process::asked_to_stop() => Ok(signal.context("cannot watch signals")?.to_owned()),
        () = drain.started() => Ok("a request to shut down".to_owned()),
        () = root.cancelled() => Ok("the failure of a vital part".to_owned()),
    }
}

async fn finish(kit: &Kit, root: &Tasks, why: &str) -> anyhow::Result<()> {
    tracing::info!(why, connections = kit.serving.running(), "draining");
    kit.drain.start();
    let served = kit.serving.finish(kit.config.grace).await;
    root.cancel();
    kit.helping.finish(LAST_DEADLINE).await;
    match served {
        Finish::Complete => tracing::info!("drained"),
        Finish::Forced { tasks } => tracing::warn!(connections = tasks, "the drain took too long"),
    }
    match root.failed() {
        Some(task) => anyhow::bail!("the task {task:?} failed"),
        None => Ok(()),
    }
}
