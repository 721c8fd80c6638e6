//! Two clusters, the control plane of the first, and what every case starts from.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use serde_json::{Value, json};
use tombolo_judge::Kind;
use tombolo_k8s::{crd, manifest};
use tombolo_shell::drain::Drain;

use super::objects::{self, LINKS};
use super::site::{PATIENCE, Site};
use super::talk::{Client, Talk};

/// The command line, as the command has it.
#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: tombolo_control::Args,
}

struct Running {
    drain: Drain,
    task: tokio::task::JoinHandle<Result<()>>,
}

/// Where every case takes place.
pub(crate) struct World {
    pub(crate) kind: Kind,
    /// The cluster whose control plane is looked at.
    pub(crate) l: Site,
    /// The one that it links to.
    pub(crate) r: Site,
    /// Namespace of the case, in both.
    pub(crate) ns: String,
    /// What the credentials of Links hold: the rights of remote access, and no more.
    pub(crate) access: Value,
    kubeconfig: PathBuf,
    listen: SocketAddr,
    control: Option<Running>,
    count: usize,
    /// Whether the case means something to be refused by RBAC.
    pub(crate) provokes: bool,
    /// How much had been refused when that was last looked at.
    refused: f64,
}

/// What every case finds in both clusters.
async fn set_up(l: &Site, r: &Site) -> Result<()> {
    for site in [l, r] {
        for name in ["tombolo", "linkerd", LINKS] {
            site.apply(objects::namespace(name)).await?;
        }
        for object in manifest::remote_access("tombolo") {
            // Nobody would fill it in here: tokens are asked for.
            if object["kind"] != "Secret" {
                site.apply(object).await?;
            }
        }
    }
    for object in manifest::control("tombolo") {
        l.apply(object).await?;
    }
    l.apply(crd::links_crd()).await?;
    l.eventually("Links are served", async |s: &Site| {
        Ok(s.list("Link", "", "").await.ok())
    })
    .await
    .map(drop)
}

impl World {
    pub(crate) async fn start(kind: Kind) -> Result<Self> {
        let (l, r) = tokio::try_join!(Site::start(kind, "west"), Site::start(kind, "east"))?;
        set_up(&l, &r).await?;
        let access = r.access("tombolo", "remote-access").await?;
        let kubeconfig = l.cluster.dir().join("control.kubeconfig");
        std::fs::write(
            &kubeconfig,
            l.access("tombolo", manifest::CONTROL).await?.to_string(),
        )?;
        let listen = SocketAddr::from((tombolo_judge::free_address()?, 8086));
        let mut world = Self {
            kind,
            l,
            r,
            ns: String::new(),
            access,
            kubeconfig,
            listen,
            control: None,
            count: 0,
            provokes: false,
            refused: 0.0,
        };
        world.refused = world.refusals().await?;
        world.start_control();
        Ok(world)
    }

    pub(crate) fn start_control(&mut self) {
        let listen = self.listen.to_string();
        let kubeconfig = self.kubeconfig.display().to_string();
        let line = [
            "control",
            "--kubeconfig",
            &kubeconfig,
            "--listen",
            &listen,
            "--plaintext",
        ];
        let args = Command::try_parse_from(line).unwrap().args;
        let drain = Drain::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "a test is no task of the process"
        )]
        let task = tokio::spawn(tombolo_control::run_until(args, drain.clone()));
        self.control = Some(Running { drain, task });
    }

    pub(crate) async fn stop_control(&mut self) -> Result<()> {
        let running = self.control.take().context("it runs")?;
        running.drain.start();
        running.task.await?
    }

    /// A namespace of its own, in both clusters.
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.count += 1;
        self.provokes = false;
        self.ns = format!("ns{}", self.count);
        for site in [&self.l, &self.r] {
            site.apply(objects::namespace(&self.ns)).await?;
            // Without controllers nobody else makes them.
            for account in ["default", "robot"] {
                site.apply(objects::account(&self.ns, account)).await?;
            }
        }
        Ok(())
    }

    /// Leaves nothing behind: not even mirrors, for which nothing but the Links is deleted.
    pub(crate) async fn clean(&mut self) -> Result<()> {
        if self.control.is_none() {
            self.start_control();
        }
        for (kind, site) in [
            ("Service", &self.r),
            ("EndpointSlice", &self.r),
            ("Pod", &self.r),
            ("Pod", &self.l),
            ("Link", &self.l),
        ] {
            for object in site.list(kind, "", "").await? {
                let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                if of("namespace") != "default" {
                    site.delete(kind, of("namespace"), of("name")).await?;
                }
            }
        }
        for namespace in [LINKS, "linkerd"] {
            for secret in self.l.list("Secret", namespace, "").await? {
                self.l
                    .delete(
                        "Secret",
                        namespace,
                        secret["metadata"]["name"].as_str().unwrap_or_default(),
                    )
                    .await?;
            }
        }
        let users = self.l.list("Service", &self.ns, "").await?;
        // Members of clusters to which no Link leads keep what was taken over.
        let theirs = |s: &&Value| {
            !is_ours(s)
                || s["metadata"]["managedFields"]
                    .to_string()
                    .contains("taken-over")
        };
        for service in users.iter().filter(theirs) {
            self.l.delete("Service", &self.ns, name(service)).await?;
        }
        for slice in self
            .l
            .list("EndpointSlice", &self.ns, "")
            .await?
            .iter()
            .filter(|slice| !is_ours(slice))
        {
            self.l
                .delete("EndpointSlice", &self.ns, name(slice))
                .await?;
        }
        let ours = async |site: &Site| {
            let mut left = site.list("Service", "", objects::MIRRORED).await?;
            left.extend(site.list("EndpointSlice", "", objects::MIRRORED).await?);
            let left: Vec<_> = left
                .iter()
                .filter(|object| is_ours(object))
                .map(name)
                .collect();
            ensure!(left.is_empty(), "left: {left:?}");
            Ok(Some(()))
        };
        self.l.eventually("no mirror is left", ours).await
    }

    /// After a case that ended midway: what it stopped, deleted or replaced is as it was, so that it fails alone.
    pub(crate) async fn restore(&mut self) -> Result<()> {
        for site in [&mut self.l, &mut self.r] {
            site.stop_api().await;
            site.start_api().await?;
        }
        set_up(&self.l, &self.r).await
    }

    /// Nothing was asked for that RBAC denies, unless the case meant that.
    pub(crate) async fn was_allowed(&mut self) -> Result<()> {
        let mut now = self.refusals().await?;
        if self.provokes {
            // What was under way is not the next one's fault.
            let settled = async |_: &Site| {
                let before = self.refusals().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok((self.refusals().await? == before).then_some(before))
            };
            now = self.l.eventually("nothing more is denied", settled).await?;
        }
        let denied = now - std::mem::replace(&mut self.refused, now);
        ensure!(
            self.provokes || denied == 0.0,
            "{denied} requests were denied"
        );
        Ok(())
    }

    /// What must be true of all cases together.
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.stop_control().await?;
        self.provokes = false;
        self.was_allowed().await?;
        if self.kind == Kind::Real {
            for site in [&self.l, &self.r] {
                let deprecated = site.metric("apiserver_requested_deprecated_apis").await?;
                ensure!(deprecated == 0.0, "a deprecated API was asked for");
            }
        }
        Ok(())
    }

    /// How many requests RBAC has denied so far, in both clusters.
    async fn refusals(&self) -> Result<f64> {
        Ok(self.l.refused().await? + self.r.refused().await?)
    }

    /// The Link `remote` with its credentials, changed as the case needs it.
    pub(crate) async fn link(&self, change: impl Fn(&mut Value)) -> Result<()> {
        self.link_named("remote", change).await
    }

    pub(crate) async fn link_named(&self, name: &str, change: impl Fn(&mut Value)) -> Result<()> {
        self.l
            .apply(objects::credentials(name, &self.access))
            .await?;
        self.relink(name, change).await
    }

    /// As before, without the credentials.
    pub(crate) async fn relink(&self, name: &str, change: impl Fn(&mut Value)) -> Result<()> {
        let mut link = objects::link(name);
        change(&mut link["spec"]);
        self.l.put(link).await
    }

    /// A Service of the remote cluster.
    pub(crate) async fn export(&self, name: &str, labels: Value) -> Result<Value> {
        self.r.apply(objects::service(&self.ns, name, labels)).await
    }

    /// Endpoints of a Service of the remote cluster.
    pub(crate) async fn ready(&self, name: &str, ips: &[&str]) -> Result<()> {
        self.r
            .apply(objects::slice(&self.ns, name, ips))
            .await
            .map(drop)
    }

    pub(crate) async fn label(&self, name: &str, labels: Value) -> Result<()> {
        let patch = json!({"metadata": {"labels": labels}});
        self.r.merge(("Service", &self.ns, name), patch).await
    }

    /// A Service of the local cluster, once it is there.
    pub(crate) async fn mirror(&self, name: &str) -> Result<Value> {
        self.l.service(&self.ns, name).await
    }

    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        self.l.gone("Service", &self.ns, name).await
    }

    pub(crate) async fn absent(&self, name: &str) -> Result<()> {
        let found = self.l.get("Service", &self.ns, name).await?;
        ensure!(found.is_none(), "{name} is there: {found:?}");
        Ok(())
    }

    /// Waits until a Service of the local cluster is as wanted.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let asked = async |site: &Site| {
            let found = site.get("Service", &self.ns, name).await?;
            Ok(found.filter(|service| is(service)))
        };
        self.l.eventually(&format!("{name} {what}"), asked).await
    }

    /// Waits until a later export is mirrored: by then all before it was decided on.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.export("sentinel", json!({objects::EXPORTED: "remote-discovery"}))
            .await?;
        self.mirror("sentinel-remote").await?;
        self.r.delete("Service", &self.ns, "sentinel").await?;
        self.gone("sentinel-remote").await?;
        // A status is written after what it is about.
        self.no_entry("mirrorServices", "sentinel").await
    }

    /// Waits until nothing has been written for a while; all versions by then.
    pub(crate) async fn quiet(&self) -> Result<Vec<String>> {
        let known = async |s: &Site| {
            let links = s.list("Link", "", "").await?;
            Ok(links
                .iter()
                .all(|link| link["status"]["clusterUid"].is_string())
                .then_some(()))
        };
        self.l.eventually("the clusters are known", known).await?;
        let quiet = async |_: &Site| {
            let before = self.versions().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let after = self.versions().await?;
            Ok((before == after).then_some(after))
        };
        self.l.eventually("it is quiet", quiet).await
    }

    /// Kind, name and version of all that the control plane writes.
    pub(crate) async fn versions(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for kind in ["Service", "EndpointSlice", "Link", "Event"] {
            for object in self.l.list(kind, "", "").await? {
                let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                all.push(format!("{kind} {} {}", of("name"), of("resourceVersion")));
            }
        }
        Ok(all)
    }

    /// The addresses behind a local Service, as its slices list them: `ip:port ready`, sorted.
    pub(crate) async fn addresses(&self, service: &str) -> Result<Vec<String>> {
        let slices = self.slices(service).await?;
        let mut found = Vec::new();
        for slice in &slices {
            let ports = slice["ports"].as_array().cloned().unwrap_or_default();
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                let state = if endpoint["conditions"]["ready"] == false {
                    "down"
                } else {
                    "up"
                };
                for port in &ports {
                    found.push(format!(
                        "{}:{} {state}",
                        endpoint["addresses"][0].as_str().unwrap_or_default(),
                        port["port"]
                    ));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    pub(crate) async fn slices(&self, service: &str) -> Result<Vec<Value>> {
        let selector = format!("kubernetes.io/service-name={service}");
        self.l.list("EndpointSlice", &self.ns, &selector).await
    }

    pub(crate) async fn has_addresses(&self, service: &str, want: &[&str]) -> Result<()> {
        let asked = async |_: &Site| {
            let found = self.addresses(service).await?;
            ensure!(found == want, "found {found:?}");
            Ok(Some(()))
        };
        self.l
            .eventually(&format!("{service} has {want:?}"), asked)
            .await
    }

    /// The condition `Mirrored` of an entry in a Link's status, once it has that status and reason.
    pub(crate) async fn entry(
        &self,
        list: &str,
        name: &str,
        (status, reason): (&str, &str),
    ) -> Result<Value> {
        self.entry_of("remote", list, name, (status, reason)).await
    }

    pub(crate) async fn entry_of(
        &self,
        link: &str,
        list: &str,
        name: &str,
        (status, reason): (&str, &str),
    ) -> Result<Value> {
        let asked = async |site: &Site| {
            let link = site
                .get("Link", LINKS, link)
                .await?
                .context("the Link is there")?;
            let entries = link["status"][list].as_array().cloned().unwrap_or_default();
            let of_it = |entry: &&Value| {
                entry["remoteRef"]["name"] == name && entry["remoteRef"]["namespace"] == *self.ns
            };
            let condition = entries
                .iter()
                .find(of_it)
                .map(|entry| entry["conditions"][0].clone());
            let wanted = condition
                .as_ref()
                .is_some_and(|c| c["status"] == status && c["reason"] == reason);
            ensure!(wanted, "status: {}", link["status"]);
            Ok(condition)
        };
        self.l
            .eventually(&format!("{list} says {reason} of {name}"), asked)
            .await
    }

    /// Waits until no entry is left for a Service.
    pub(crate) async fn no_entry(&self, list: &str, name: &str) -> Result<()> {
        let asked = async |site: &Site| {
            let link = site
                .get("Link", LINKS, "remote")
                .await?
                .context("the Link is there")?;
            let entries = link["status"][list].as_array().cloned().unwrap_or_default();
            Ok(entries
                .iter()
                .all(|entry| entry["remoteRef"]["name"] != name)
                .then_some(()))
        };
        self.l
            .eventually(&format!("{list} says nothing of {name}"), asked)
            .await
    }

    /// Waits until a Link has a condition.
    pub(crate) async fn says(&self, link: &str, kind: &str, status: &str) -> Result<Value> {
        let asked = async |site: &Site| {
            let link = site
                .get("Link", LINKS, link)
                .await?
                .context("the Link is there")?;
            let conditions = link["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let found = conditions
                .into_iter()
                .find(|c| c["type"] == kind && c["status"] == status);
            ensure!(found.is_some(), "status: {}", link["status"]["conditions"]);
            Ok(found)
        };
        self.l
            .eventually(&format!("Link {link} says {kind}={status}"), asked)
            .await
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Client::of(self.listen)
    }

    /// `service:port` in the namespace of the case, as clients ask for it.
    pub(crate) fn authority(&self, service: &str) -> String {
        let (name, port) = service.split_once(':').unwrap_or((service, "555"));
        format!("{name}.{}.svc.cluster.local:{port}", self.ns)
    }

    /// A stream of endpoints, as soon as there is such a Service.
    pub(crate) async fn talk(&self, service: &str) -> Result<Talk> {
        let client = self.client()?;
        let path = self.authority(service);
        let begun = tokio::time::Instant::now();
        loop {
            match client.get(&path).await {
                Ok(talk) => return Ok(talk),
                Err(status) if begun.elapsed() > PATIENCE => {
                    return Err(status).context(path);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }
}

/// By label and field manager.
pub(crate) fn is_ours(object: &Value) -> bool {
    let managers = object["metadata"]["managedFields"].as_array();
    let managed = managers
        .into_iter()
        .flatten()
        .any(|entry| entry["manager"] == "tombolo");
    managed && object["metadata"]["labels"][objects::MIRRORED] == "true"
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Labels or annotations, as a map.
pub(crate) fn map(object: &Value, field: &str) -> BTreeMap<String, String> {
    let found = object["metadata"][field].as_object();
    let pairs = found.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// `name/number/protocol` of each port.
pub(crate) fn ports(service: &Value) -> Vec<String> {
    let ports = service["spec"]["ports"].as_array();
    let text = |port: &Value| {
        let of = |field: &str| port[field].as_str().unwrap_or("-").to_owned();
        format!("{}/{}/{}", of("name"), port["port"], of("protocol"))
    };
    ports.into_iter().flatten().map(text).collect()
}
