mod collect;
mod cron;
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
    let done = tokio::time::timeout(Duration::from_secs(10), wait).await;
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
            Duration::from_secs(5),
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
async fn a_deployment_becomes_pods_and_endpoints_and_scales() {
    let world = World::with(running()).await;
    world
        .create(
            "nodes",
            json!({"metadata": {"name": "n1",
            "labels": {"topology.kubernetes.io/zone": "z1"}}}),
        )
        .await
        .unwrap();
    world.create("services", service("web")).await.unwrap();
    world
        .create("deployments", deployment("web", 3))
        .await
        .unwrap();
    rolled_out(&world, "web", 3).await;
    let set = &world.list("replicasets")[0];
    assert_eq!(set["metadata"]["ownerReferences"][0]["name"], "web");
    assert!(set["metadata"]["labels"]["pod-template-hash"].is_string());
    let pod = &world.list("pods")[0];
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    let found = world.get("deployments", "web").unwrap();
    assert_eq!(
        found["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    until(&world, "three endpoints", |world| {
        let slices = world.list("endpointslices");
        slices.len() == 1 && slices[0]["endpoints"].as_array().unwrap().len() == 3
    })
    .await;
    let slice = &world.list("endpointslices")[0];
    assert_eq!(
        slice["metadata"]["labels"]["kubernetes.io/service-name"],
        "web"
    );
    assert_eq!(
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(slice["metadata"]["labels"]["team"], "a");
    assert_eq!(
        slice["ports"],
        json!([{"name": "web", "port": 8080, "protocol": "TCP"}])
    );
    let endpoint = &slice["endpoints"][0];
    assert_eq!(
        endpoint["conditions"],
        json!({"ready": true, "serving": true, "terminating": false})
    );
    assert_eq!(
        (&endpoint["zone"], &endpoint["nodeName"]),
        (&json!("z1"), &json!("n1"))
    );
    assert_eq!(endpoint["targetRef"]["kind"], "Pod");

    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    world.patch("deployments", "web", scale).await.unwrap();
    rolled_out(&world, "web", 1).await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
    world.patch("deployments", "web", scale).await.unwrap();
    until(&world, "no endpoints in the same slice", |world| {
        world.get("endpointslices", &name).is_ok_and(|slice| {
            slice["endpoints"].as_array().is_some_and(|endpoints| {
                endpoints
                    .iter()
                    .all(|one| one["conditions"]["ready"] == false)
            })
        })
    })
    .await;
}

#[tokio::test]
async fn a_new_template_rolls_out_step_by_step_and_back() {
    let world = World::with(running()).await;
    world
        .create("deployments", deployment("web", 4))
        .await
        .unwrap();
    rolled_out(&world, "web", 4).await;
    let image = |image: &str| {
        Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "main", "image": image}]}}}}))
    };
    world
        .patch("deployments", "web", image("x:2"))
        .await
        .unwrap();
    rolled_out(&world, "web", 4).await;
    assert_eq!(world.list("replicasets").len(), 2);
    let pods = world.list("pods");
    let mut staying = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    assert!(staying.all(|pod| pod["spec"]["containers"][0]["image"] == "x:2"));
    world
        .patch("deployments", "web", image("x:1"))
        .await
        .unwrap();
    rolled_out(&world, "web", 4).await;
    assert_eq!(
        world.list("replicasets").len(),
        2,
        "the old one is used again"
    );
    let found = world.get("deployments", "web").unwrap();
    assert_eq!(
        found["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    let reasons: Vec<&Value> = found["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| &condition["reason"])
        .collect();
    assert!(
        reasons.contains(&&json!("MinimumReplicasAvailable")),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&&json!("NewReplicaSetAvailable")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn deleting_a_deployment_deletes_what_it_made_or_leaves_it() {
    let world = World::with(running()).await;
    let all = || async {
        world
            .create("deployments", deployment("web", 2))
            .await
            .unwrap();
        until(&world, "pods", |world| world.names("pods").len() == 2).await;
    };
    all().await;
    world.delete("deployments", "web").await.unwrap();
    until(&world, "everything to go", |world| {
        world.names("pods").is_empty() && world.names("replicasets").is_empty()
    })
    .await;
    all().await;
    let foreground = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    let left = world
        .delete_with("deployments", "web", foreground)
        .await
        .unwrap();
    assert!(matches!(left, Deleted::Terminating(_)));
    until(&world, "the owner to go last", |world| {
        world.names("deployments").is_empty()
    })
    .await;
    assert!(world.names("replicasets").is_empty());
    all().await;
    let orphan = DeleteOptions {
        propagation: Some(Propagation::Orphan),
        ..DeleteOptions::default()
    };
    world
        .delete_with("deployments", "web", orphan)
        .await
        .unwrap();
    until(&world, "the owner to go alone", |world| {
        world.names("deployments").is_empty()
    })
    .await;
    assert_eq!(world.names("replicasets").len(), 1);
    assert_eq!(
        world.list("replicasets")[0]["metadata"]["ownerReferences"],
        Value::Null
    );
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
async fn a_replica_set_lets_go_of_what_no_longer_matches_and_makes_another() {
    let world = World::with(running()).await;
    world
        .create("deployments", deployment("web", 1))
        .await
        .unwrap();
    until(&world, "a pod", |world| world.names("pods").len() == 1).await;
    let first = world.names("pods").remove(0);
    let relabel = Patch::Merge(json!({"metadata": {"labels": {"app": "quarantine"}}}));
    world.patch("pods", &first, relabel).await.unwrap();
    until(&world, "another pod", |world| {
        world.names("pods").len() == 2
    })
    .await;
    let left = world.get("pods", &first).unwrap();
    assert_eq!(left["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test]
async fn a_rollout_that_does_not_move_fails_at_its_deadline() {
    let mut options = running();
    options.clock = std::sync::Arc::new(jiff::Timestamp::now);
    let world = World::with(options).await;
    let mut slow = deployment("web", 1);
    slow["spec"]["progressDeadlineSeconds"] = json!(1);
    world.create("deployments", slow).await.unwrap();
    until(&world, "the deadline", |world| {
        let found = world.get("deployments", "web").unwrap();
        let conditions = found["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.iter().any(|condition| {
            condition["reason"] == "ProgressDeadlineExceeded" && condition["status"] == "False"
        })
    })
    .await;
    run_pods(&world, "n1").await;
    until(&world, "the rollout to succeed late", |world| {
        let found = world.get("deployments", "web").unwrap();
        let conditions = found["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition["reason"] == "NewReplicaSetAvailable")
    })
    .await;
}

#[tokio::test]
async fn what_a_deployment_does_is_told_in_events() {
    let world = World::with(running()).await;
    world
        .create("deployments", deployment("web", 12))
        .await
        .unwrap();
    until(&world, "all pods", |world| world.list("pods").len() == 12).await;
    let count = |world: &World, reason: &str| {
        let events = world.list("events").into_iter();
        let alike = events.filter(|event| event["reason"] == reason);
        alike
            .map(|event| event["count"].as_i64().unwrap())
            .sum::<i64>()
    };
    until(&world, "events", |world| {
        count(world, "SuccessfulCreate") == 12
    })
    .await;
    let events = world.list("events");
    let combined = events.iter().filter(|event| {
        let message = event["message"].as_str().unwrap();
        message.starts_with("(combined from similar events): Created pod: web-")
    });
    assert_eq!(
        combined.map(|event| &event["count"]).collect::<Vec<_>>(),
        [3]
    );
    let scaling: Vec<_> = events
        .iter()
        .filter(|event| event["reason"] == "ScalingReplicaSet")
        .collect();
    let message = scaling[0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Scaled up replica set web-") && message.ends_with(" from 0 to 12")
    );
    assert_eq!(scaling[0]["source"]["component"], "deployment-controller");
    assert_eq!(scaling[0]["involvedObject"]["kind"], "Deployment");
}

#[tokio::test]
async fn a_template_that_is_back_gets_a_new_revision_and_keeps_the_old_ones() {
    let world = World::with(running()).await;
    let mut web = deployment("web", 1);
    web["metadata"]["annotations"] = json!({"kubernetes.io/change-cause": "first"});
    world.create("deployments", web.clone()).await.unwrap();
    let revisions = |world: &World| -> Vec<String> {
        let sets = world.list("replicasets").into_iter();
        let all = sets.map(|set| {
            let notes = &set["metadata"]["annotations"];
            let note = |name: &str| notes[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {}",
                note("deployment.kubernetes.io/revision"),
                note("deployment.kubernetes.io/revision-history"),
                note("kubernetes.io/change-cause")
            )
        });
        let mut all: Vec<String> = all.collect();
        all.sort();
        all
    };
    until(&world, "the first", |world| {
        revisions(world) == ["1 - first"]
    })
    .await;
    for (image, cause, wanted) in [
        ("b", "second", ["1 - first", "2 - second"]),
        ("a", "third", ["2 - second", "3 1 third"]),
    ] {
        let mut next = world.get("deployments", "web").unwrap();
        next["spec"]["template"]["spec"]["containers"][0]["image"] = if image == "a" {
            web["spec"]["template"]["spec"]["containers"][0]["image"].clone()
        } else {
            image.into()
        };
        next["metadata"]["annotations"]["kubernetes.io/change-cause"] = cause.into();
        world
            .update("deployments", Subresource::None, next)
            .await
            .unwrap();
        until(&world, cause, |world| revisions(world) == wanted).await;
    }
    let found = world.get("deployments", "web").unwrap();
    assert_eq!(
        found["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
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
