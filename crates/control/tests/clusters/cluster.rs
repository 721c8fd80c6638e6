//! A cluster under test: an API server with its state on disk, and perhaps a control plane.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{Config as ClientConfig, KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tempfile::TempDir;
use tombolo_apiserver::db::Storage;
use tombolo_apiserver::run::{Config, Running};
use tombolo_k8s::manifest::{self, Flat, LinkTo, RemoteCluster};
use tombolo_shell::drain::Drain;
use tombolo_shell::tls::{Credentials, LiveCredentials, fixed};

use super::objects;

/// Anything is given up after this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports on the address of a cluster.
const API: u16 = 6443;
const IDENTITY: u16 = 8080;
const DESTINATION: u16 = 8086;
const POLICY: u16 = 8090;
const ADMIN: u16 = 9990;

/// What clusters have in common: the trust anchor.
pub(crate) struct Mesh {
    root: Issuer<'static, KeyPair>,
    pub(crate) root_pem: String,
}

impl Mesh {
    pub(crate) fn new() -> Self {
        let (params, key) = authority("root");
        let root_pem = params.self_signed(&key).unwrap().pem();
        let root = Issuer::new(params, key);
        Self { root, root_pem }
    }

    /// A leaf for `name` right below the root.
    pub(crate) fn credentials(&self, name: &str) -> LiveCredentials {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.root).unwrap();
        fixed(Credentials::from_der(vec![leaf.der().to_vec()], key.serialize_der()).unwrap())
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

struct Control {
    drain: Drain,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Where a control plane is reached.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) identity: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) policy: SocketAddr,
}

pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) dir: TempDir,
    pub(crate) anchors: String,
    pub(crate) client: kube::Client,
    pub(crate) ports: Option<Ports>,
    /// Where others reach its API server, if not directly.
    pub(crate) via: Option<SocketAddr>,
    config: Config,
    api: Option<Running>,
    address: SocketAddr,
    control: Option<Control>,
}

impl Cluster {
    pub(crate) async fn start(mesh: &Mesh, name: &'static str) -> Self {
        tombolo_shell::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::memory();
        config.storage = Storage::Dir(dir.path().join("data"));
        config.kubeconfig = Some(dir.path().join("kubeconfig"));
        config.cluster = name.to_owned();
        config.listen = SocketAddr::from((tombolo_judge::free_address().unwrap(), API));
        let api = Running::start(&config).await.unwrap();
        let address = api.address();
        let client = client(dir.path().join("kubeconfig")).await;
        let cluster = Self {
            name,
            anchors: mesh.root_pem.clone(),
            client,
            ports: None,
            via: None,
            config,
            api: Some(api),
            address,
            control: None,
            dir,
        };
        cluster.create(objects::namespace("tombolo")).await;
        cluster.create(tombolo_k8s::crd::links_crd()).await;
        for object in manifest::remote_access("tombolo") {
            if object["kind"] != "Namespace" {
                cluster.apply(object).await;
            }
        }
        cluster
    }

    /// Runs the control plane of this cluster until it is ready.
    pub(crate) async fn control(&mut self, mesh: &Mesh) {
        let [issuer_cert, issuer_key] = self.replace_issuer(mesh);
        let trust_anchors = self.dir.path().join("anchors.pem");
        std::fs::write(&trust_anchors, &mesh.root_pem).unwrap();
        let local = self.address.ip();
        let admin = SocketAddr::new(local, ADMIN);
        let args = tombolo_control::Args {
            kubeconfig: self.dir.path().join("kubeconfig"),
            context: None,
            listen: tombolo_control::Listen::Address(local),
            plaintext: false,
            cluster_name: Some(self.name.to_owned()),
            trust_anchors: Some(trust_anchors),
            issuer_cert: Some(issuer_cert),
            issuer_key: Some(issuer_key),
            namespace: "tombolo".to_owned(),
            linkerd_namespace: "linkerd".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            service_account: "control".to_owned(),
            identity_port: IDENTITY,
            destination_port: DESTINATION,
            policy_port: POLICY,
            admin_port: Some(admin.port()),
            gateway_exports: tombolo_control::GatewayExports::Labelled,
        };
        self.ports = Some(Ports {
            identity: SocketAddr::new(local, args.identity_port),
            destination: SocketAddr::new(local, args.destination_port),
            policy: SocketAddr::new(local, args.policy_port),
        });
        let drain = Drain::new();
        let running = tombolo_control::run_until(args, drain.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "a test is no task of the process"
        )]
        let task = tokio::spawn(running);
        self.control = Some(Control { drain, task });
        self.eventually("control is ready", async |_: &Self| {
            let text = http_get(admin, "/ready").await?;
            text.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
    }

    /// Writes the files of a new issuer that this mesh's root signed.
    pub(crate) fn replace_issuer(&self, mesh: &Mesh) -> [PathBuf; 2] {
        let (params, key) = authority(self.name);
        let issuer = params.signed_by(&key, &mesh.root).unwrap();
        let paths = ["issuer.pem", "issuer.key"].map(|name| self.dir.path().join(name));
        std::fs::write(&paths[0], issuer.pem()).unwrap();
        std::fs::write(&paths[1], key.serialize_pem()).unwrap();
        paths
    }

    /// Writes a Link to `other`, with its credentials; `gateway` is `address:port`.
    pub(crate) async fn link(&self, name: &str, other: &Self, gateway: Option<&str>) {
        self.link_with(name, other, (gateway, "remote-access-token"))
            .await;
    }

    pub(crate) async fn link_with(
        &self,
        name: &str,
        other: &Self,
        (gateway, secret): (Option<&str>, &str),
    ) {
        let token = other
            .eventually("the token for remote access exists", async |c: &Self| {
                let secret = c.get("Secret", "tombolo", secret).await?;
                Some(secret["data"]["token"].as_str()?.to_owned())
            })
            .await;
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(token)
            .unwrap();
        let api = other.api.as_ref().unwrap();
        let remote = RemoteCluster {
            server: &format!("https://{}", other.via.unwrap_or(other.address)),
            authority_pem: api.in_process().pki().ca_pem(),
            token: std::str::from_utf8(&decoded).unwrap(),
            domain: "cluster.local",
            control_plane: "tombolo",
            gateway: None,
        };
        let to = LinkTo {
            namespace: "tombolo",
            name,
            flat: Flat::Yes,
        };
        for mut object in manifest::link(&to, &remote).unwrap() {
            if let (Some(gateway), true) = (gateway, object["kind"] == "Link") {
                let (address, port) = gateway.split_once(':').unwrap();
                let spec = &mut object["spec"];
                spec["gatewayAddress"] = address.into();
                spec["gatewayPort"] = port.into();
                spec["gatewayIdentity"] = super::gateway::IDENTITY.into();
                spec["selector"] = json!({"matchLabels": {objects::GATEWAY.0: "true"}});
                spec["probeSpec"] = json!({
                    "path": "/ready", "port": port, "period": "1s", "timeout": "1s",
                    "failureThreshold": "2",
                });
            }
            self.apply(object).await;
        }
    }

    pub(crate) async fn stop_api(&mut self) {
        self.api.take().unwrap().stop().await;
    }

    pub(crate) async fn start_api(&mut self) {
        self.api = Some(Running::start(&self.config).await.unwrap());
    }

    pub(crate) async fn stop(mut self) {
        if let Some(control) = self.control.take() {
            control.drain.start();
            control.task.await.unwrap().unwrap();
        }
        if let Some(api) = self.api.take() {
            api.stop().await;
        }
    }

    /// Pods with proxies behind a Service, and the slice that names them.
    pub(crate) async fn serve_from(&self, namespace: &str, service: &str, ips: &[&str]) {
        for ip in ips {
            let pod = objects::pod(namespace, service, ip);
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            if self.get("Pod", namespace, &name).await.is_none() {
                self.create(pod).await;
            }
            let status = json!({"status": {
                "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }});
            let patch = Patch::Merge(status);
            self.api("Pod", namespace)
                .patch_status(&name, &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
        self.apply(objects::slice(namespace, service, ips)).await;
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Link" => ("multicluster.linkerd.io", "v1alpha3"),
            "EndpointSlice" => ("discovery.k8s.io", "v1"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
            "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => {
                ("rbac.authorization.k8s.io", "v1")
            }
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    fn of(&self, object: &Value) -> (Api<DynamicObject>, DynamicObject) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let api = self.api(object["kind"].as_str().unwrap(), namespace);
        (api, serde_json::from_value(object.clone()).unwrap())
    }

    pub(crate) async fn create(&self, object: Value) {
        let (api, object) = self.of(&object);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub(crate) async fn apply(&self, object: Value) {
        let (api, parsed) = self.of(&object);
        let name = parsed.metadata.name.clone().unwrap();
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .unwrap();
    }

    pub(crate) async fn label(&self, namespace: &str, service: &str, labels: Value) {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let api = self.api("Service", namespace);
        api.patch(service, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let api = self.api(kind, namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.api(kind, namespace).get_opt(name).await.ok()??;
        Some(serde_json::to_value(found).unwrap())
    }

    pub(crate) async fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let list = self.api(kind, namespace).list(&ListParams::default()).await;
        let items = list.unwrap().items.into_iter();
        items
            .map(|item| serde_json::to_value(item).unwrap())
            .collect()
    }

    /// The resourceVersion of the whole store.
    pub(crate) async fn version(&self) -> String {
        let list = self.api("Namespace", "").list(&ListParams::default()).await;
        list.unwrap().metadata.resource_version.unwrap()
    }

    /// The version that stays the same for half a second.
    pub(crate) async fn settled_version(&self) -> String {
        let begun = Instant::now();
        let mut last = self.version().await;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.version().await;
            if now == last {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "the world never settles");
            last = now;
        }
    }

    pub(crate) async fn service_exists(&self, namespace: &str, name: &str) -> Value {
        let what = format!("Service {namespace}/{name} exists");
        self.eventually(&what, async |c: &Self| {
            c.get("Service", namespace, name).await
        })
        .await
    }

    pub(crate) async fn is_gone(&self, kind: &str, namespace: &str, name: &str) {
        let what = format!("{kind} {namespace}/{name} is gone");
        self.eventually(&what, async |c: &Self| {
            let found = c.get(kind, namespace, name).await;
            found.is_none().then_some(())
        })
        .await;
    }

    /// Waits until a Link has a condition; gives it.
    pub(crate) async fn link_says(&self, name: &str, kind: &str, status: &str) -> Value {
        let what = format!("Link {name} says {kind}={status}");
        self.eventually(&what, async |c: &Self| {
            let link = c.get("Link", "tombolo", name).await?;
            let conditions = link["status"]["conditions"].as_array()?.clone();
            let mut conditions = conditions.into_iter();
            conditions.find(|c| c["type"] == kind && c["status"] == status)
        })
        .await
    }

    /// Asks until there is an answer, or too long.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Self) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self).await {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                let link = self.get("Link", "tombolo", "east").await;
                panic!(
                    "{}: not within {PATIENCE:?}: {what}; Link east: {link:#?}",
                    self.name
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn client(kubeconfig: PathBuf) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = ClientConfig::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.unwrap()).unwrap()
}

async fn http_get(addr: SocketAddr, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

impl Cluster {
    /// Where its API server listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_up(&self) -> bool {
        self.api.is_some()
    }
}
