//! An API server in this process, and a world that is read from it.
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tombolo_apiserver::auth::User;
use tombolo_apiserver::run::{Config, InProcess};
use tombolo_core::link::{Gateway, Link, LinkKey, LinkSpec};
use tombolo_core::name::{ClusterName, Namespace, ServiceName};
use tombolo_core::plan::plan;
use tombolo_core::service::{
    Protocol, Readiness, Service, ServiceKey, ServiceKind, ServicePort, TargetPort,
};
use tombolo_core::world::{
    ClusterUid, Contact, CreatedAt, Credentials, Export, Exports, GatewayHealth, GatewayView,
    Hosts, LinkView, LocalService, Remote, World,
};
use tombolo_k8s::{action, service, slice};

pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) world: World,
    _server: InProcess,
}

pub(crate) fn key(name: &str) -> ServiceKey {
    let namespace = Namespace::parse("ns1").unwrap();
    ServiceKey {
        namespace,
        name: ServiceName::parse(name).unwrap(),
    }
}

pub(crate) fn link_key() -> LinkKey {
    LinkKey {
        namespace: Namespace::parse("tombolo").unwrap(),
        name: "east".into(),
    }
}

impl Bench {
    /// Two namespaces, and a Link to a cluster that exports nothing yet.
    pub(crate) async fn start() -> Self {
        let server = InProcess::start(&Config::memory()).await.unwrap();
        let client = Client::new(server.client_service(User::admin()), "default");
        for name in ["ns1", "tombolo"] {
            let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            let api: Api<NamespaceObject> = Api::all(client.clone());
            api.create(&PostParams::default(), &object).await.unwrap();
        }
        let gateway = Gateway {
            hosts: vec![],
            port: 4143,
            identity: Some("gateway".to_owned()),
        };
        let link = Link::to(ClusterName::parse("east").unwrap());
        let view = LinkView {
            created: CreatedAt(0),
            spec: LinkSpec::Accepted(Link {
                gateway: Some(gateway),
                ..link
            }),
            credentials: Credentials::Usable,
            gateway: GatewayView {
                addresses: ["127.108.0.9".parse().unwrap()].into(),
                health: GatewayHealth::Up,
            },
            remote: Remote::Known(Exports {
                blind: None,
                uid: Some(ClusterUid("c1".into())),
                contact: Contact::Live,
                services: Default::default(),
            }),
        };
        let mut world = World::default();
        world.links.insert(link_key(), view);
        world.local.namespaces = [key("x").namespace].into();
        Self {
            client,
            world,
            _server: server,
        }
    }

    /// The other cluster exports a Service, or exports it in another way.
    pub(crate) fn export(&mut self, name: &str, label: &str, value: &str) {
        let port = |name: &str, port, target| ServicePort {
            name: Some(name.to_owned()),
            protocol: Protocol::Tcp,
            port,
            target,
        };
        let pairs = [(label, value), ("app", "web")];
        let service = Service {
            kind: ServiceKind::ClusterIp,
            labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            annotations: [("config.linkerd.io/opaque-ports".to_owned(), "25".to_owned())].into(),
            ports: vec![
                port("http", 8080, TargetPort::Number(8080)),
                port("grpc", 9090, TargetPort::Name("grpc".to_owned())),
            ],
        };
        let readiness = Readiness::Ready;
        let export = Export {
            service,
            resource_version: "5".to_owned(),
            readiness,
            hosts: Hosts::None,
        };
        self.exports().services.insert(key(name), export);
    }

    pub(crate) fn change(&mut self, name: &str, change: impl FnOnce(&mut Export)) {
        change(self.exports().services.get_mut(&key(name)).unwrap());
    }

    fn exports(&mut self) -> &mut Exports {
        match &mut self.world.links.get_mut(&link_key()).unwrap().remote {
            Remote::Known(exports) => exports,
            Remote::Unknown { .. } => unreachable!("the bench starts with a known cluster"),
        }
    }

    /// Plans on what was read last, carries it out, reads again: how many actions, and what failed.
    pub(crate) async fn carry_out(&mut self) -> (usize, Vec<String>) {
        let actions = plan(&self.world).actions;
        let mut failures = Vec::new();
        for group in actions.chunk_by(|a, b| a.service() == b.service()) {
            for one in group {
                if let Err(error) = action::carry_out(&self.client, one).await {
                    failures.push(error.to_string());
                    break;
                }
            }
        }
        self.read().await;
        (actions.len(), failures)
    }

    pub(crate) async fn read(&mut self) {
        let services = self.services().list(&ListParams::default()).await.unwrap();
        self.world.local.services = services.items.iter().filter_map(service::local).collect();
        let slices: Api<EndpointSlice> = Api::all(self.client.clone());
        let slices = slices.list(&ListParams::default()).await.unwrap();
        self.world.local.slices = slices.items.iter().filter_map(slice::local).collect();
    }

    pub(crate) fn local(&self, name: &str) -> &LocalService {
        &self.world.local.services[&key(name)]
    }

    pub(crate) fn services(&self) -> Api<ServiceObject> {
        Api::namespaced(self.client.clone(), "ns1")
    }

    pub(crate) fn api(&self, version: &str, kind: &str, ns: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match ns {
            Some(ns) => Api::namespaced_with(self.client.clone(), ns, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies any object.
    pub(crate) async fn apply(&self, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let api = self.api(&version, &kind, object["metadata"]["namespace"].as_str());
        let name = text(&object["metadata"]["name"]);
        let params = PatchParams::apply("test").force();
        let applied = api.patch(&name, &params, &Patch::Apply(object)).await;
        assert!(applied.is_ok(), "{kind} {name}: {applied:?}");
    }
}
