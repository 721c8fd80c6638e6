//! The nine processes, and an outbound that knows them.
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tombolo_proxy::endpoint::{Destination, Endpoint, EndpointSet, Peer};
use tombolo_proxy::outbound::{Connecting, Connector, Io, Outbound, Target};
use tombolo_shell::task::Tasks;
use tombolo_shell::testing::{Authority, Validity};
use tombolo_shell::tls::{self, ClientTls};
use tombolo_wire::transport::ALPN;

use crate::Way;
use crate::peer::IDENTITY;

const CLUSTERS: [&str; 3] = ["west", "east", "north"];
const REPLICAS: u8 = 3;

pub(crate) struct World {
    pub(crate) outbound: Outbound,
    pub(crate) destination: Arc<Destination>,
    _feed: watch::Sender<EndpointSet>,
    dir: tempfile::TempDir,
    processes: Vec<Process>,
}

struct Process {
    cluster: &'static str,
    addr: SocketAddr,
    child: Child,
}

struct Mesh(ClientTls);

impl Connector for Mesh {
    fn connect(&self, target: &Target) -> Connecting {
        let (tls, target) = (self.0.clone(), target.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(target.addr).await?;
            stream.set_nodelay(true)?;
            let connected = tls
                .connect(stream, &target.identity, Duration::from_secs(10))
                .await;
            let stream = connected.map_err(std::io::Error::other)?.stream;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let authority = Authority::new();
        let issued = authority.issue(IDENTITY, Validity::from_now(Duration::from_secs(86_400)));
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("anchors.pem"), authority.root_pem())?;
        std::fs::write(dir.path().join("chain.pem"), &issued.chain_pem)?;
        std::fs::write(dir.path().join("key.pem"), &issued.key_pem)?;
        let live = tls::fixed(authority.credentials("client.failover.test"));
        let mesh = Mesh(ClientTls::new(authority.anchors(), live, &[ALPN]));
        let outbound = Outbound::new(Arc::new(mesh), Tasks::new());
        let mut processes = Vec::new();
        for (i, cluster) in (1_u8..).zip(CLUSTERS) {
            for replica in 1..=REPLICAS {
                let addr = SocketAddr::from(([127, 77, i, replica], 4143));
                processes.push(Process {
                    cluster,
                    addr,
                    child: spawn(cluster, addr, &dir)?,
                });
            }
        }
        let endpoints: Vec<_> = processes.iter().map(Process::endpoint).collect();
        let feed = watch::Sender::new(EndpointSet::Present(endpoints.into()));
        let name = "frontend-federated:8080".into();
        let destination = Arc::new(Destination {
            name,
            endpoints: feed.subscribe(),
        });
        let world = Self {
            outbound,
            destination,
            _feed: feed,
            dir,
            processes,
        };
        world.ready().await?;
        Ok(world)
    }

    async fn ready(&self) -> Result<()> {
        self.outbound.warm(&self.destination);
        for _ in 0..1_000 {
            let up: usize = self
                .outbound
                .clusters()
                .iter()
                .map(|cluster| cluster.paths_up)
                .sum();
            if up == self.processes.len() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the peers did not come up")
    }

    pub(crate) fn lose(&mut self, way: Way, cluster: &str) -> Result<()> {
        for process in self
            .processes
            .iter_mut()
            .filter(|process| process.cluster == cluster)
        {
            match way {
                Way::Kill => {
                    process.child.kill()?;
                    process.child.wait()?;
                }
                Way::Freeze => process.signal("STOP")?,
                Way::None | Way::Bench => {}
            }
        }
        Ok(())
    }

    pub(crate) fn bring_back(&mut self, way: Way, cluster: &str) -> Result<()> {
        for process in self
            .processes
            .iter_mut()
            .filter(|process| process.cluster == cluster)
        {
            match way {
                Way::Kill => process.child = spawn(process.cluster, process.addr, &self.dir)?,
                Way::Freeze => process.signal("CONT")?,
                Way::None | Way::Bench => {}
            }
        }
        Ok(())
    }
}

impl Process {
    fn endpoint(&self) -> Endpoint {
        let peer = Peer::Meshed {
            identity: IDENTITY.into(),
            inbound_port: self.addr.port(),
        };
        Endpoint {
            addr: SocketAddr::new(self.addr.ip(), 8080),
            cluster: self.cluster.into(),
            pod: "".into(),
            peer,
            authority: None,
            weight: 10_000,
        }
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()?;
        ensure!(status.success(), "kill -{name} {pid} failed");
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.child.kill().ok();
            process.child.wait().ok();
        }
    }
}

fn spawn(cluster: &str, addr: SocketAddr, dir: &tempfile::TempDir) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["peer", cluster, &addr.to_string()])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start a peer")
}
