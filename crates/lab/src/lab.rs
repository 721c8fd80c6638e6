//! The lab: three clusters, installed and linked, and the verbs that break and heal them.
//!
//! Used by the supervisor of `tombolo lab` and by `tombolo demo` alike. Knows the order of the scenario's
//! steps; what a cluster's processes are is in `cluster`, what is installed in `manifests`.

mod heal;
mod install;
mod status;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit, setrlimit};

pub use self::status::{ClusterStatus, ServiceStatus, Status};
#[cfg(test)]
pub(crate) use self::verify::names;
pub use self::verify::{Evidence, Target};

use crate::cluster::{Cluster, Ground};
use crate::dir::{LabDir, Lock};
use crate::pki::Anchor;
use crate::pulse::Pulse;
use crate::report::Way;
use crate::spawn::{Spawner, beside_us};
use crate::topology::clusters;
use crate::{preflight, procfs};

/// How often a condition is looked at again.
const STEP: Duration = Duration::from_millis(50);

/// Says what the lab is doing, to whoever watches.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// The port of the services.
    pub port: u16,
}

/// A lab that runs. Everything ends when it is dropped; [`Lab::down`] also cleans up.
pub struct Lab {
    dir: LabDir,
    lock: Lock,
    port: u16,
    clusters: Vec<Cluster>,
    /// How each cluster is broken at present.
    broken: Mutex<Vec<Option<Way>>>,
    /// Held while a cluster is broken or healed.
    verb: tokio::sync::Mutex<()>,
    /// The Services as they were last known, for when an API server is away.
    services: Mutex<Vec<Vec<ServiceStatus>>>,
    progress: Progress,
    begun: Instant,
}

/// What it took to bring a lab up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    /// From the first process to the last Link that works.
    pub took: Duration,
    /// How late the machine was at worst meanwhile.
    pub late: Duration,
    /// How many Links work.
    pub links_working: usize,
    /// How many there are.
    pub links: usize,
}

impl Lab {
    /// Takes the directory and the addresses; starts nothing yet.
    ///
    /// # Errors
    /// Somebody else has them; the error says who and what to do.
    pub fn prepare(options: &Options, progress: Progress) -> Result<Self> {
        let begun = Instant::now();
        more_files();
        let dir = LabDir::create(&options.dir)?;
        let lock = dir.lock()?;
        dir.clean(&lock)?;
        // The agents start the proxies; without them every pod would fail, much later.
        let proxy = beside_us("tombolo-proxy");
        let free = match proxy.and_then(|_proxy| preflight::check(options.port)) {
            Ok(free) => free,
            Err(error) => {
                // Nothing has been started, so nothing stays.
                dir.remove(lock)?;
                return Err(error);
            }
        };
        let anchor = Anchor::generate(Timestamp::now())?;
        let ground = Ground {
            spawner: Spawner::start()?,
            exe: std::env::current_exe().context("find the running program")?,
            anchors: anchor.write(dir.path())?,
            identity_port: free.identity_port,
        };
        let make = |plan: crate::topology::ClusterPlan| {
            let path = dir.cluster(plan.name);
            std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            let issuer = anchor.issue(plan.name, &path, Timestamp::now())?;
            Ok(Cluster::new(plan, path, issuer, ground.clone()))
        };
        let clusters = clusters()
            .into_iter()
            .map(make)
            .collect::<Result<Vec<_>>>()?;
        let count = clusters.len();
        Ok(Self {
            dir,
            lock,
            port: options.port,
            clusters,
            broken: Mutex::new(vec![None; count]),
            verb: tokio::sync::Mutex::new(()),
            services: Mutex::new(vec![Vec::new(); count]),
            progress,
            begun,
        })
    }

    /// Starts, installs, links and deploys everything, and waits until all Links work.
    ///
    /// # Errors
    /// Something did not become ready in time; the error names it and its log.
    pub async fn up(&self) -> Result<Up> {
        let pulse = Pulse::start().context("watch the machine")?;
        self.say("clusters: west, east and north, each an API server with its node");
        try_join_all(self.clusters.iter().map(Cluster::start_apiserver)).await?;
        install::kubeconfig(&self.clusters, &self.dir.kubeconfig())?;
        let kubeconfig = self.kubeconfig().display().to_string();
        self.say(&format!(
            "kubeconfig: {kubeconfig}; try: kubectl --kubeconfig {kubeconfig} --context north get pods -A"
        ));
        self.say("mesh: one trust anchor, one issuer per cluster, one control plane each");
        try_join_all(self.clusters.iter().map(install::base)).await?;
        try_join_all(self.clusters.iter().map(Cluster::start_control)).await?;
        try_join_all(self.clusters.iter().map(Cluster::start_agent)).await?;
        try_join_all(self.clusters.iter().map(install::gateway)).await?;
        self.say("links: six flat ones, and east-gw in west and north");
        install::links(&self.clusters).await?;
        self.say("services: frontend x3 in each, api x3 in west and east, analytics x2 in east");
        try_join_all(
            self.clusters
                .iter()
                .map(|cluster| install::services(cluster, self.port)),
        )
        .await?;
        try_join_all(self.clusters.iter().map(Cluster::control_ready)).await?;
        self.say("waiting until every pod is ready and every link works");
        try_join_all(self.clusters.iter().map(heal::pods_ready)).await?;
        let links = verify::links_work(self).await?;
        let took = self.begun.elapsed();
        self.say(&format!(
            "up: {links} links work after {:.1} s",
            took.as_secs_f64()
        ));
        Ok(Up {
            took,
            late: pulse.worst(),
            links_working: links,
            links,
        })
    }

    /// The kubeconfig with all contexts, by the path that a user can type.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.dir.kubeconfig();
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(&here)
            .map(Path::to_path_buf)
            .unwrap_or(path)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &LabDir {
        &self.dir
    }

    /// The port of the services.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn say(&self, text: &str) {
        (self.progress)(text);
    }

    fn index(&self, name: &str) -> Result<usize> {
        let found = self
            .clusters
            .iter()
            .position(|cluster| cluster.plan.name == name);
        found.with_context(|| format!("there is no cluster {name:?}: west, east or north"))
    }

    fn cluster(&self, name: &str) -> Result<&Cluster> {
        Ok(&self.clusters[self.index(name)?])
    }

    /// Takes a cluster away. Returns when it is done, not when others have noticed.
    ///
    /// # Errors
    /// There is no such cluster, or it is broken already.
    pub async fn break_cluster(&self, name: &str, way: Way) -> Result<()> {
        let _verb = self.verb.lock().await;
        let index = self.index(name)?;
        let cluster = &self.clusters[index];
        if let Some(before) = self.broken.lock()[index] {
            bail!(
                "{name} is broken already (way {}): heal it first",
                before.as_str()
            );
        }
        match way {
            Way::A => heal::scale_to_zero(cluster).await?,
            Way::B => cluster.kill_all().await?,
            Way::Freeze => cluster.stop_all(),
            Way::D => cluster.kill(crate::cluster::Role::Apiserver).await?,
        }
        self.broken.lock()[index] = Some(way);
        Ok(())
    }

    /// Brings a cluster back with the state that it had. Returns when its pods are ready.
    ///
    /// # Errors
    /// There is no such cluster, or something does not become ready.
    pub async fn heal(&self, name: &str) -> Result<()> {
        let _verb = self.verb.lock().await;
        let index = self.index(name)?;
        let cluster = &self.clusters[index];
        // Whatever was done to it, by us or by hand: what is stopped goes on, what does not run is started.
        cluster.continue_all();
        cluster.start_apiserver().await?;
        cluster.start_control().await?;
        cluster.start_agent().await?;
        heal::scale_back(cluster).await?;
        heal::pods_ready(cluster).await?;
        cluster.control_ready().await?;
        self.broken.lock()[index] = None;
        Ok(())
    }

    /// The memory of all processes together, this one included: their proportional set sizes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let own = std::iter::once(std::process::id());
        let all = self.clusters.iter().flat_map(Cluster::pids).chain(own);
        all.filter_map(procfs::pss_bytes).sum()
    }

    /// Ends every process.
    ///
    /// # Errors
    /// One does not end.
    pub async fn stop(&self) -> Result<()> {
        let stopped = |index: usize| self.broken.lock()[index] == Some(Way::Freeze);
        let ends = self
            .clusters
            .iter()
            .enumerate()
            .map(async |(index, cluster)| {
                // Who is stopped cannot end in good order.
                if stopped(index) {
                    cluster.kill_all().await
                } else {
                    cluster.end().await
                }
            });
        futures_util::future::join_all(ends)
            .await
            .into_iter()
            .collect()
    }

    /// Ends every process and deletes the lab's files.
    ///
    /// # Errors
    /// A process does not end, or a file cannot be deleted.
    pub async fn down(self) -> Result<()> {
        self.stop().await?;
        self.dir.remove(self.lock)
    }
}

/// Allows this process and those that it starts as many open files as the system does: a load of 500 requests
/// a second that stalls for a second opens as many connections, at both ends.
fn more_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the number of open files stays limited");
    }
}
