//! Deployments: their Pods and endpoints, their rollouts, their end.
use super::*;

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
        count(world, "SuccessfulCreate") == 12 && count(world, "ScalingReplicaSet") == 1
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
