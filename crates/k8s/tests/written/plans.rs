//! Outcomes on the API server, whatever calls led to them.
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tombolo_core::plan::plan;
use tombolo_core::world::{LocalService, Uid};
use tombolo_k8s::{action, crd, event, link, manifest, names, status};

use crate::bench::{self, Bench, key};

const EXPORTED: &str = "mirror.linkerd.io/exported";

#[tokio::test]
async fn a_plan_settles_and_repairs_what_a_user_edits() {
    let mut bench = Bench::start().await;
    bench.export("a", EXPORTED, "true");
    bench.export("b", EXPORTED, "remote-discovery");
    bench.export("c", "mirror.linkerd.io/federated", "member");
    assert_eq!(bench.carry_out().await, (4, vec![]));
    assert_eq!(bench.carry_out().await, (0, vec![]));

    let edit = json!({
        "metadata": { "labels": {
            "app": "edited", "added": "by-a-user", "mirror.linkerd.io/cluster-name": null,
        } },
        "spec": { "ports": [{ "name": "http", "port": 8080, "targetPort": 1 }] },
    });
    let services = bench.services();
    services
        .patch("a-east", &PatchParams::default(), &Patch::Merge(edit))
        .await
        .unwrap();
    bench.read().await;
    assert_eq!(bench.carry_out().await, (1, vec![]));
    assert_eq!(bench.carry_out().await, (0, vec![]));
    let repaired = serde_json::to_value(services.get("a-east").await.unwrap()).unwrap();
    assert_eq!(
        repaired["metadata"]["labels"],
        json!({
            "app": "web", "added": "by-a-user",
            "mirror.linkerd.io/cluster-name": "east", "mirror.linkerd.io/mirrored-service": "true",
        })
    );
    assert_eq!(repaired["spec"]["ports"].as_array().unwrap().len(), 2);
    assert_eq!(repaired["spec"]["ports"][0]["targetPort"], 8080);
}

#[tokio::test]
async fn a_port_that_goes_and_a_mode_that_turns_are_followed() {
    let mut bench = Bench::start().await;
    bench.export("a", EXPORTED, "true");
    bench.export("b", EXPORTED, "remote-discovery");
    bench.carry_out().await;
    bench.change("a", |export| {
        export.service.ports.remove(0);
        export.resource_version = "6".to_owned();
    });
    bench.export("b", EXPORTED, "true");
    assert_eq!(bench.carry_out().await, (4, vec![]));
    assert_eq!(bench.carry_out().await, (0, vec![]));
    let a = serde_json::to_value(bench.services().get("a-east").await.unwrap()).unwrap();
    assert_eq!(a["spec"]["ports"].as_array().unwrap().len(), 1);
    let b = serde_json::to_value(bench.services().get("b-east").await.unwrap()).unwrap();
    assert_eq!(
        b["metadata"]["labels"].get("multicluster.linkerd.io/remote-discovery"),
        None
    );
}

#[tokio::test]
async fn a_service_that_a_user_makes_between_plan_and_write_stays_his() {
    let mut bench = Bench::start().await;
    for (name, port) in [("same-port", 8080), ("other-port", 1234)] {
        let theirs = json!({
            "metadata": { "name": format!("{name}-east"), "labels": { "mine": "yes" } },
            "spec": { "selector": { "x": "y" }, "ports": [{ "name": "http", "port": port, "targetPort": 7 }] },
        });
        let made = serde_json::from_value(theirs).unwrap();
        let before = bench
            .services()
            .create(&PostParams::default(), &made)
            .await
            .unwrap();
        // The plan has not seen it.
        bench.export(name, EXPORTED, "true");
        let (_, failures) = bench.carry_out().await;
        assert!(
            failures[0].starts_with("Failed to create mirror service ns1/"),
            "{failures:?}"
        );
        let after = bench.services().get(&format!("{name}-east")).await.unwrap();
        assert_eq!(
            (before.spec, before.metadata.labels),
            (after.spec, after.metadata.labels)
        );
        assert!(matches!(
            bench.local(&format!("{name}-east")),
            LocalService::Foreign(_)
        ));
        assert_eq!(bench.carry_out().await, (0, vec![]), "now the plan knows");
    }
}

#[tokio::test]
async fn an_object_that_is_another_than_planned_is_not_touched() {
    let mut bench = Bench::start().await;
    bench.export("b", EXPORTED, "remote-discovery");
    bench.carry_out().await;
    let mut stale = bench.world.clone();
    if let Some(LocalService::Ours { uid, managed, .. }) =
        stale.local.services.get_mut(&key("b-east"))
    {
        *uid = Uid("another".into());
        managed.labels.clear();
    }
    let change = plan(&stale).actions;
    stale.links.clear();
    let deletion = plan(&stale).actions;
    for actions in [change, deletion] {
        assert_eq!(actions.len(), 1);
        let error = action::carry_out(&bench.client, &actions[0])
            .await
            .unwrap_err();
        assert!(error.is_conflict(), "{error}");
    }
    assert_eq!(bench.carry_out().await, (0, vec![]));
}

#[tokio::test]
async fn a_link_that_goes_takes_only_what_is_ours() {
    let mut bench = Bench::start().await;
    bench.export("a", EXPORTED, "true");
    bench.carry_out().await;
    let copy = json!({
        "metadata": { "name": "z-east", "labels": {
            "mirror.linkerd.io/mirrored-service": "true", "mirror.linkerd.io/cluster-name": "east",
        } },
        "spec": { "ports": [{ "port": 1 }] },
    });
    let copy = serde_json::from_value(copy).unwrap();
    bench
        .services()
        .create(&PostParams::default(), &copy)
        .await
        .unwrap();
    bench.read().await;
    bench.world.links.clear();
    assert_eq!(bench.carry_out().await, (2, vec![]));
    let left = bench.services().list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = left
        .items
        .iter()
        .filter_map(|s| s.metadata.name.as_deref())
        .collect();
    assert_eq!(names, ["z-east"]);
    assert!(bench.world.local.slices.is_empty());
}

#[tokio::test]
async fn a_status_is_written_once_and_an_event_is_the_same_event() {
    let mut bench = Bench::start().await;
    bench.apply(&crd::links_crd()).await;
    bench
        .apply(&json!({
            "apiVersion": names::LINK_API_VERSION, "kind": "Link",
            "metadata": { "namespace": "tombolo", "name": "east" },
            "spec": { "targetClusterName": "east" },
        }))
        .await;
    bench.export("a", EXPORTED, "banana");
    let plan = plan(&bench.world);
    let wanted = &plan.statuses[&bench::link_key()];
    let now = jiff::Timestamp::UNIX_EPOCH;
    let value = status::changed(wanted, None, now).unwrap();
    let links: Api<DynamicObject> = bench.api(names::LINK_API_VERSION, "Link", Some("tombolo"));
    let patch = Patch::Merge(status::patch(&value));
    links
        .patch_status("east", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let held = serde_json::to_value(links.get("east").await.unwrap()).unwrap();
    let held = link::read(&held).unwrap();
    assert_eq!(status::changed(wanted, Some(&held.status), now), None);
    assert_eq!(held.cluster_uid, wanted.cluster_uid);

    assert_eq!(plan.problems.len(), 1);
    for _ in 0..2 {
        bench
            .apply(&event::of(&plan.problems[0], held.uid.as_deref(), now))
            .await;
    }
    let events: Api<Event> = Api::all(bench.client.clone());
    let events = events.list(&ListParams::default()).await.unwrap();
    let ours = events
        .items
        .iter()
        .filter(|e| e.reason.as_deref() == Some(names::EVENT_SKIPPED));
    assert_eq!(ours.count(), 1);
}

#[tokio::test]
async fn every_manifest_can_be_applied() {
    let bench = Bench::start().await;
    let gateway = manifest::Gateway {
        namespace: "tombolo".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        replicas: 1,
        image: "pause".to_owned(),
    };
    let mut all: Vec<Value> = manifest::gateway(&gateway);
    all.extend(manifest::remote_access("tombolo"));
    all.extend(manifest::control("tombolo"));
    all.extend(manifest::agent("tombolo"));
    all.push(manifest::node_proxy("tombolo"));
    for object in &all {
        bench.apply(object).await;
    }
}
