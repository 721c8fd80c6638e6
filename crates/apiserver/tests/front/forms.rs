//! The less usual verbs, forms and subresources, as clients of all kinds use them.

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    Api, DeleteParams, EvictParams, ListParams, PostParams, Preconditions, WatchParams,
};
use serde_json::{Value, json};
use tombolo_apiserver::auth::User;
use tombolo_apiserver::run::{Config, InProcess};

use crate::harness::eventually;

struct Server {
    inner: InProcess,
    client: kube::Client,
}

impl Server {
    async fn start() -> Self {
        let inner = InProcess::start(&Config::memory()).await.unwrap();
        let client = kube::Client::new(inner.client_service(User::admin()), "default");
        Self { inner, client }
    }

    /// The response's body and one of its headers.
    async fn say(&self, method: &str, path: &str, accept: &str, body: &Value) -> (String, String) {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes().into())
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let warning = response
            .headers()
            .get("warning")
            .map(|w| w.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect_bytes().await.unwrap();
        (
            String::from_utf8(bytes.to_vec()).unwrap(),
            warning.unwrap_or_default(),
        )
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let (text, _) = self.say("POST", path, "application/json", &body).await;
        serde_json::from_str(&text).unwrap()
    }
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": "v"}})).unwrap()
}

#[tokio::test]
async fn pod_is_bound_once_and_evicted() {
    let server = Server::start().await;
    let pods: Api<Pod> = Api::default_namespaced(server.client.clone());
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).unwrap(),
    )
    .await
    .unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"}});
    let path = "/api/v1/namespaces/default/pods/p/binding";
    assert_eq!(
        server.create(path, binding.clone()).await["status"],
        "Success"
    );
    let bound = pods.get("p").await.unwrap();
    assert_eq!(bound.spec.unwrap().node_name.as_deref(), Some("n"));
    assert_eq!(server.create(path, binding).await["code"], 409);
    pods.evict("p", &EvictParams::default()).await.unwrap();
    let left = pods.get_opt("p").await.unwrap();
    assert!(left.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()));
    server.inner.stop().await;
}

#[tokio::test]
async fn metadata_alone_yaml_and_dry_runs_are_had_on_request() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client.clone());
    let pretend = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&pretend, &config_map("m")).await.unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
    maps.create(&PostParams::default(), &config_map("m"))
        .await
        .unwrap();
    assert_eq!(
        maps.get_metadata("m")
            .await
            .unwrap()
            .metadata
            .name
            .as_deref(),
        Some("m")
    );
    let fields = ListParams::default().fields("metadata.name=m");
    assert_eq!(maps.list_metadata(&fields).await.unwrap().items.len(), 1);
    let path = "/api/v1/namespaces/default/configmaps/m";
    let (yaml, _) = server
        .say("GET", path, "application/yaml", &Value::Null)
        .await;
    assert!(yaml.starts_with("apiVersion: v1\n"), "{yaml}");
    let other = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("another".to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let refused = maps.delete("m", &other).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
    let all = maps
        .delete_collection(&DeleteParams::default(), &fields)
        .await
        .unwrap();
    assert_eq!(all.left().unwrap().items.len(), 1);
    server.inner.stop().await;
}

#[tokio::test]
async fn watch_ends_with_its_time_and_tells_a_version_that_is_gone() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client.clone());
    // The controllers write it, and nothing after it.
    eventually("the root's certificate", || async {
        maps.get("kube-root-ca.crt").await.ok()
    })
    .await;
    let version = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version;
    let short = WatchParams::default().timeout(1);
    let events = maps.watch(&short, &version.unwrap()).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    assert!(events.is_empty(), "{events:?}");
    // The front passes on whatever the store says of a version from the future.
    let path = "/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion=999999";
    let (text, _) = server
        .say("GET", path, "application/json", &Value::Null)
        .await;
    assert!(text.is_empty() || text.contains("Status"), "{text}");
    server.inner.stop().await;
}

#[tokio::test]
async fn discovery_says_the_same_in_both_forms() {
    let server = Server::start().await;
    let names = |discovery: kube::Discovery| {
        let mut names: Vec<String> = discovery
            .groups()
            .flat_map(|group| group.recommended_resources())
            .map(|(resource, _)| format!("{}/{}", resource.api_version, resource.plural))
            .collect();
        names.sort();
        names
    };
    let old = kube::Discovery::new(server.client.clone())
        .run()
        .await
        .unwrap();
    let new = kube::Discovery::new(server.client.clone())
        .run_aggregated()
        .await
        .unwrap();
    let (old, new) = (names(old), names(new));
    assert!(
        old.contains(&"discovery.k8s.io/v1/endpointslices".to_owned()),
        "{old:?}"
    );
    assert_eq!(old, new);
    let (index, _) = server
        .say("GET", "/openapi/v3", "application/json", &Value::Null)
        .await;
    let index: Value = serde_json::from_str(&index).unwrap();
    for (_, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let (document, _) = server
            .say("GET", url, "application/json", &Value::Null)
            .await;
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["openapi"], "3.0.0", "{url}");
    }
    server.inner.stop().await;
}

#[tokio::test]
async fn deprecated_version_warns_and_others_are_only_let_in_by_their_rights() {
    let server = Server::start().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema},
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema, "deprecated": true}]}});
    server
        .create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            crd,
        )
        .await;
    let path = "/apis/example.com/v1beta1/things";
    let (list, warning) = server
        .say("GET", path, "application/json", &Value::Null)
        .await;
    assert!(
        list.contains("\"ThingList\"") && warning.starts_with("299 - \""),
        "{list} {warning}"
    );
    let jane = server.inner.client_service(User::new("jane", &["dev"]));
    let jane = kube::Client::new(jane, "default");
    let refused = Api::<Namespace>::all(jane)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    let nobody = kube::Client::new(server.inner.anonymous_service(), "default");
    nobody.apiserver_version().await.unwrap();
    let refused = Api::<Namespace>::all(nobody)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    server.inner.stop().await;
}

#[tokio::test]
async fn pages_are_of_one_version_and_tokens_are_checked() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let say = async |method: &str, path: &str, body: Value| {
        let (text, _) = server.say(method, path, "application/json", &body).await;
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for name in ["p1", "p2", "p3"] {
        let body = json!({"metadata": {"name": name, "labels": {"page": "yes"}}});
        say("POST", maps, body).await;
    }
    let page = format!("{maps}?labelSelector=page&limit=2");
    let first = say("GET", &page, Value::Null).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    say("DELETE", &format!("{maps}/p3"), json!({})).await;
    let second = say("GET", &format!("{page}&continue={token}"), Value::Null).await;
    // It was there when the first page was sent.
    assert_eq!(second["items"][0]["metadata"]["name"], "p3");
    let version = |page: &Value| page["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&second), version(&first));
    let forged = say("GET", &format!("{page}&continue=e30"), Value::Null).await;
    assert_eq!(forged["code"], 400, "{forged}");
}

#[tokio::test]
async fn a_put_makes_a_lease_but_no_config_map() {
    let server = Server::start().await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let maps = "/api/v1/namespaces/default/configmaps/l";
    let body = json!({"metadata": {"name": "l"}});
    let (made, _) = server.say("PUT", lease, "application/json", &body).await;
    assert!(made.contains("\"kind\":\"Lease\""), "{made}");
    let (again, _) = server.say("PUT", lease, "application/json", &body).await;
    assert!(again.contains("must be specified for an update"), "{again}");
    let (none, _) = server.say("PUT", maps, "application/json", &body).await;
    assert!(none.contains("not found"), "{none}");
}
