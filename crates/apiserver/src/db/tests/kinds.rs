//! What the store knows of single kinds.
use serde_json::{Value, json};

use super::super::*;
use crate::testing::{World, drain, link_crd, options};

#[tokio::test]
async fn a_pod_on_a_node_gets_time_to_end() {
    let world = World::new().await;
    let pod = |name: &str| {
        json!({"metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "image": "b"}]}})
    };
    world.create("pods", pod("free")).await.unwrap();
    assert!(matches!(
        world.delete("pods", "free").await.unwrap(),
        Deleted::Gone(_)
    ));
    let made = world.create("pods", pod("bound")).await.unwrap();
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(made["status"]["phase"], "Pending");
    let binding = json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n1"}});
    world
        .update("pods", Subresource::Binding, binding.clone())
        .await
        .unwrap();
    let error = world
        .update("pods", Subresource::Binding, binding)
        .await
        .unwrap_err();
    assert!(error.message.contains("already assigned to node \"n1\""));
    assert!(matches!(
        world.delete("pods", "bound").await.unwrap(),
        Deleted::Terminating(_)
    ));
    let left = world.get("pods", "bound").unwrap();
    assert_eq!(left["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        left["metadata"]["deletionTimestamp"],
        "2023-11-14T22:13:50Z"
    );
    let now = DeleteOptions {
        grace_seconds: Some(0),
        ..DeleteOptions::default()
    };
    let mut watch = world
        .watch("pods", From::Version(world.db.resource_version()), "")
        .unwrap();
    let gone = world.delete_with("pods", "bound", now).await.unwrap();
    assert!(matches!(gone, Deleted::Gone(_)));
    assert_eq!(drain(&mut watch), ["MODIFIED bound", "DELETED bound"]);
}

#[tokio::test]
async fn services_get_addresses_and_collisions_are_refused() {
    let world = World::new().await;
    let service = |name: &str, address: Option<&str>| {
        json!({"metadata": {"name": name},
            "spec": {"clusterIP": address, "selector": {"a": "b"}, "ports": [{"port": 80}]}})
    };
    let made = world
        .create("services", service("a", Some("10.96.0.7")))
        .await
        .unwrap();
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.96.0.7"]));
    assert_eq!(made["spec"]["type"], "ClusterIP");
    assert_eq!(
        made["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
    );
    let error = world
        .create("services", service("b", Some("10.96.0.7")))
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.7\"]: failed to \
         allocate IP 10.96.0.7: provided IP is already allocated"
    );
    let error = world
        .create("services", service("b", Some("10.97.0.7")))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("does not match the current range"),
        "{error}"
    );
    let headless = world
        .create("services", service("h", Some("None")))
        .await
        .unwrap();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    for number in 0..252 {
        world
            .create("services", service(&format!("s{number}"), None))
            .await
            .unwrap();
    }
    let error = world
        .create("services", service("full", None))
        .await
        .unwrap_err();
    assert!(error.message.contains("range is full"), "{error}");
    world.delete("services", "a").await.unwrap();
    let made = world
        .create("services", service("full", None))
        .await
        .unwrap();
    assert_eq!(made["spec"]["clusterIP"], "10.96.0.7");
    let change = Patch::Merge(json!({"spec": {"clusterIP": "10.96.0.9", "clusterIPs": null}}));
    let error = world.patch("services", "full", change).await.unwrap_err();
    assert!(error.message.contains("may not change once set"), "{error}");
}

#[tokio::test]
async fn loopback_endpoints_are_refused_unless_the_cluster_allows_them() {
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": 80}]});
    let world = World::new().await;
    let error = world
        .create("endpointslices", slice.clone())
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "EndpointSlice.discovery.k8s.io \"s\" is invalid: endpoints[0].addresses[0]: Invalid \
         value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"
    );
    let mut allowed = options();
    allowed.loopback_endpoints = LoopbackEndpoints::Allowed;
    let world = World::with(allowed).await;
    let made = world.create("endpointslices", slice).await.unwrap();
    assert_eq!(
        made["ports"],
        json!([{"name": "", "port": 80, "protocol": "TCP"}])
    );
}

#[tokio::test]
async fn a_crd_serves_its_resources_at_once_in_all_versions() {
    let world = World::new().await;
    let crd = world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    assert_eq!(crd["status"]["conditions"], json!(null), "as it was sent");
    let crd = world
        .get("customresourcedefinitions", "links.example.com")
        .unwrap();
    assert_eq!(crd["status"]["conditions"][1]["type"], "Established");
    let registry = world.db.registry();
    let old = registry.find("example.com", "v1alpha1", "links").unwrap();
    let new = registry.find("example.com", "v1", "links").unwrap();
    assert_eq!(new.columns[0].name, "Cluster");
    let by = WriteOptions::by("test");
    let link = json!({"apiVersion": "example.com/v1alpha1", "kind": "Link",
        "metadata": {"name": "a"}, "spec": {"replicas": 2}, "status": {"x": 1}});
    let made = world
        .db
        .create(&old, Some("default"), link, &by)
        .await
        .unwrap()
        .value();
    assert_eq!(made["apiVersion"], "example.com/v1alpha1");
    assert_eq!(made["status"], Value::Null, "the status is written apart");
    let shown = world.db.get(&new, Some("default"), "a").unwrap().value();
    assert_eq!(shown["apiVersion"], "example.com/v1");
    let mut blind = shown.clone();
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let error = world
        .db
        .update(Target::new(&new, Some("default"), "a"), blind, &by)
        .await;
    assert!(
        error
            .unwrap_err()
            .message
            .contains("must be specified for an update")
    );
    let wrong = json!({"apiVersion": "example.com/v2", "kind": "Link", "metadata": {"name": "b"}});
    assert_eq!(
        world
            .db
            .create(&new, Some("default"), wrong, &by)
            .await
            .unwrap_err()
            .code,
        400
    );
}

#[tokio::test]
async fn objects_outlive_a_change_of_the_storage_version() {
    let world = World::new().await;
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    let mut crd = world
        .get("customresourcedefinitions", "links.example.com")
        .unwrap();
    world
        .create(
            "links",
            json!({"metadata": {"name": "a"}, "spec": {"x": 1}}),
        )
        .await
        .unwrap();
    crd["spec"]["versions"][0]["storage"] = json!(true);
    crd["spec"]["versions"][1]["storage"] = json!(false);
    let (crd, _) = world
        .update("customresourcedefinitions", Subresource::None, crd)
        .await
        .unwrap();
    assert_eq!(crd["status"]["storedVersions"], json!(["v1", "v1alpha1"]));
    for version in ["v1", "v1alpha1"] {
        let res = world
            .db
            .registry()
            .find("example.com", version, "links")
            .unwrap();
        let found = world.db.get(&res, Some("default"), "a").unwrap();
        assert_eq!(found.api_version(), format!("example.com/{version}"));
        let listed = world.db.list(&res, None, &Selectors::default()).items;
        assert_eq!(
            listed[0].value()["apiVersion"],
            format!("example.com/{version}")
        );
    }
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let world = World::new().await;
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"},
        "note": "hello", "reportingController": "me", "reportingInstance": "a", "action": "b", "reason": "c",
        "type": "Normal", "eventTime": "2023-11-14T22:13:20.000000Z"});
    world.create("events.events.k8s.io", event).await.unwrap();
    let core = world.res("events");
    assert_eq!(core.group, "");
    let shown = world.db.get(&core, Some("default"), "e").unwrap().value();
    assert_eq!(shown["message"], "hello");
    assert_eq!(shown["involvedObject"]["name"], "p");
    assert_eq!(shown["apiVersion"], "v1");
}

#[tokio::test]
async fn secrets_encode_their_plain_texts() {
    let world = World::new().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "hello"}});
    let made = world.create("secrets", secret).await.unwrap();
    assert_eq!(
        (&made["data"]["a"], &made["type"]),
        (&json!("aGVsbG8="), &json!("Opaque"))
    );
    assert_eq!(made["stringData"], Value::Null);
    let broken = json!({"metadata": {"name": "t"}, "data": {"a": "*"}});
    assert_eq!(world.create("secrets", broken).await.unwrap_err().code, 422);
}

#[tokio::test]
async fn a_malformed_object_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let before = world.db.resource_version();
    for object in [
        json!(1),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"name": 1}}),
        json!({"metadata": {"name": "a", "labels": []}}),
        json!({"metadata": {"name": "a", "labels": {"a": 1}}}),
        json!({"kind": "Pod", "metadata": {"name": "a"}}),
    ] {
        for plural in [
            "configmaps",
            "services",
            "pods",
            "deployments",
            "endpointslices",
            "secrets",
        ] {
            let made = world.create(plural, object.clone()).await;
            assert!(made.is_err() || plural == "pods", "{plural} {object}");
        }
    }
    assert_eq!(world.db.resource_version(), before);
    for spec in [
        json!(1),
        json!([]),
        json!({"ports": 1}),
        json!({"ports": [1]}),
        json!({"containers": {}}),
    ] {
        for plural in ["services", "pods", "deployments"] {
            let object = json!({"metadata": {"name": "a"}, "spec": spec});
            assert!(
                world.create(plural, object).await.is_err(),
                "{plural} {spec}"
            );
        }
    }
}

#[tokio::test]
async fn an_object_that_nests_too_deep_is_refused_before_it_cannot_be_read() {
    let world = World::new().await;
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let revision = |name: &str, levels: usize| json!({"metadata": {"name": name}, "revision": 1, "data": nested(levels)});
    let plural = "controllerrevisions";
    world.create(plural, revision("a", 60)).await.unwrap();
    let error = world.create(plural, revision("b", 120)).await.unwrap_err();
    assert_eq!(error.code, 400);
    assert!(world.get(plural, "a").unwrap()["data"].is_object());
}
