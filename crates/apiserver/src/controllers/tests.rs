mod collect;
mod cron;
mod deployments;
mod pace;

use std::time::Duration;

use serde_json::{Value, json};

use crate::db::{
    Controllers, DeleteOptions, Deleted, LoopbackEndpoints, Options, Patch, Propagation,
    Subresource,
};
use crate::testing::{World, deployment, link_crd, options};

fn running() -> Options {
    let mut options = options();
    options.controllers = Controllers::Run;
    options.root_ca_pem = Some("the ca".to_owned());
    options.loopback_endpoints = LoopbackEndpoints::Allowed;
    options
}

/// Waits until something holds, with a deadline.
async fn until(world: &World, what: &str, holds: impl Fn(&World) -> bool) {
    let mut versions = world.db.versions();
    let wait = async {
        while !holds(world) {
            versions.changed().await.unwrap();
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(done.is_ok(), "waited in vain for {what}");
}

/// Makes the Pods that have none yet run on a node, ready.
async fn run_pods(world: &World, node: &str) {
    for pod in world.list("pods") {
        if pod["spec"]["nodeName"].is_string() {
            continue;
        }
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let binding = json!({"metadata": {"name": name}, "target": {"name": node}});
        world
            .update("pods", Subresource::Binding, binding)
            .await
            .unwrap();
        let mut pod = world.get("pods", &name).unwrap();
        let number = name.bytes().map(u32::from).sum::<u32>() % 250;
        pod["status"] = json!({"phase": "Running", "podIP": format!("127.0.0.{number}"),
            "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2023-11-14T22:13:20Z"}]});
        world
            .update("pods", Subresource::Status, pod)
            .await
            .unwrap();
    }
}

async fn rolled_out(world: &World, name: &str, replicas: i64) {
    loop {
        run_pods(world, "n1").await;
        let found = world.get("deployments", name).unwrap();
        let status = &found["status"];
        let done = status["observedGeneration"] == found["metadata"]["generation"]
            && status["updatedReplicas"] == replicas
            && status["replicas"] == replicas
            && status["availableReplicas"] == replicas;
        if done {
            return;
        }
        // The agent of the node ends Pods that are going away.
        for pod in world.list("pods") {
            if pod["metadata"]["deletionTimestamp"].is_string() {
                let now = DeleteOptions {
                    grace_seconds: Some(0),
                    ..DeleteOptions::default()
                };
                let name = pod["metadata"]["name"].as_str().unwrap();
                world.delete_with("pods", name, now).await.unwrap();
            }
        }
        let version = world.db.resource_version();
        let changed = tokio::time::timeout(
            Duration::from_secs(60),
            until(world, "the next step", |world| {
                world.db.resource_version() > version
            }),
        );
        assert!(changed.await.is_ok(), "stuck at {status}");
    }
}

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"team": "a"}}, "spec": {
        "selector": {"app": name}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}})
}

#[tokio::test]
async fn a_namespace_has_its_account_and_ca_and_takes_its_content_along() {
    let world = World::with(running()).await;
    world
        .create("namespaces", json!({"metadata": {"name": "demo"}}))
        .await
        .unwrap();
    let has = |world: &World, plural: &str, name: &str| {
        world.db.get(&world.res(plural), Some("demo"), name).is_ok()
    };
    until(&world, "the account and the ca", |world| {
        has(world, "serviceaccounts", "default") && has(world, "configmaps", "kube-root-ca.crt")
    })
    .await;
    let maps = world.res("configmaps");
    let by = crate::db::WriteOptions::by("test");
    let held = json!({"metadata": {"name": "held", "finalizers": ["a/b"]}});
    world
        .db
        .create(&maps, Some("demo"), held, &by)
        .await
        .unwrap();
    world.delete("namespaces", "demo").await.unwrap();
    until(&world, "the account to go", |world| {
        !has(world, "serviceaccounts", "default")
    })
    .await;
    let found = world.get("namespaces", "demo").unwrap();
    assert_eq!(found["status"]["phase"], "Terminating");
    let new = json!({"metadata": {"name": "new"}});
    let error = world
        .db
        .create(&maps, Some("demo"), new, &by)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "configmaps \"new\" is forbidden: unable to create new content in namespace demo because \
         it is being terminated"
    );
    let target = crate::db::Target::new(&maps, Some("demo"), "held");
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.db.patch(target, free, &by).await.unwrap();
    until(&world, "the namespace to go", |world| {
        world.get("namespaces", "demo").is_err()
    })
    .await;
}

#[tokio::test]
async fn an_object_whose_owner_does_not_exist_is_collected() {
    let world = World::with(running()).await;
    let owner = world
        .create("configmaps", json!({"metadata": {"name": "o"}}))
        .await
        .unwrap();
    let owned = |name: &str, uid: &Value| {
        json!({"metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": uid}]}})
    };
    world
        .create("secrets", owned("kept", &owner["metadata"]["uid"]))
        .await
        .unwrap();
    world
        .create("secrets", owned("gone", &json!("other")))
        .await
        .unwrap();
    until(&world, "the orphan to go", |world| {
        world.names("secrets") == ["kept"]
    })
    .await;
    world.delete("configmaps", "o").await.unwrap();
    until(&world, "the other to go", |world| {
        world.names("secrets").is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_crd_takes_its_objects_along() {
    let world = World::with(running()).await;
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    let link = json!({"metadata": {"name": "a"}, "spec": {}});
    world.create("links", link.clone()).await.unwrap();
    world
        .delete("customresourcedefinitions", "links.example.com")
        .await
        .unwrap();
    until(&world, "the CRD to go", |world| {
        world.names("customresourcedefinitions").is_empty()
    })
    .await;
    assert!(
        world
            .db
            .registry()
            .find("example.com", "v1", "links")
            .is_none()
    );
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    assert!(world.names("links").is_empty());
}

#[tokio::test]
async fn versions_that_a_crd_serves_have_api_services() {
    let world = World::with(running()).await;
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    until(&world, "the APIService", |world| {
        world.get("apiservices", "v1.example.com").is_ok()
    })
    .await;
    world
        .delete("customresourcedefinitions", "links.example.com")
        .await
        .unwrap();
    until(&world, "the APIService to go", |world| {
        world.get("apiservices", "v1.example.com").is_err()
    })
    .await;
}

#[tokio::test]
async fn a_token_secret_gets_its_token_once() {
    let mut options = running();
    options.mint_token = Some(std::sync::Arc::new(|wanted| {
        Ok(format!("{}/{}", wanted.namespace, wanted.service_account))
    }));
    let world = World::with(options).await;
    until(&world, "the account", |world| {
        world.get("serviceaccounts", "default").is_ok()
    })
    .await;
    let secret = json!({"metadata": {"name": "s",
            "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token"});
    world.create("secrets", secret).await.unwrap();
    until(&world, "the token", |world| {
        world.get("secrets", "s").unwrap()["data"]["token"] == "ZGVmYXVsdC9kZWZhdWx0"
    })
    .await;
    assert_eq!(
        world.get("secrets", "s").unwrap()["data"]["ca.crt"],
        "dGhlIGNh"
    );
    world.delete("serviceaccounts", "default").await.unwrap();
    until(&world, "a new account", |world| {
        world.get("serviceaccounts", "default").is_ok()
    })
    .await;
}

#[tokio::test]
async fn pods_do_not_wait_to_be_counted_by_a_job_that_is_gone() {
    for how in [Propagation::Background, Propagation::Orphan] {
        let world = World::with(running()).await;
        let job = json!({"metadata": {"name": "once"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
        world.create("jobs", job).await.unwrap();
        until(&world, "its pod", |world| !world.list("pods").is_empty()).await;
        let options = DeleteOptions {
            propagation: Some(how),
            ..DeleteOptions::default()
        };
        world.delete_with("jobs", "once", options).await.unwrap();
        until(&world, "a pod that nothing holds", |world| {
            let held = |pod: &Value| pod["metadata"]["finalizers"].is_array();
            world.get("jobs", "once").is_err() && !world.list("pods").iter().any(held)
        })
        .await;
    }
}
