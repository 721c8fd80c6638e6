use serde_json::{Value, json};

use super::*;
use crate::testing::{World, config_map, deployment, drain, link_crd, options, version};

mod laws;

fn message(error: &StatusError) -> (&str, u16) {
    (error.message.as_str(), error.code)
}

#[tokio::test]
async fn a_new_object_has_uid_version_and_creation_time() {
    let world = World::new().await;
    let made = world
        .create("configmaps", config_map("a", json!({"k": "v"})))
        .await
        .unwrap();
    assert_eq!(made["apiVersion"], "v1");
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(
        made["metadata"]["creationTimestamp"],
        "2023-11-14T22:13:20Z"
    );
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(version(&made), world.db.resource_version());
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(entry["manager"], "test");
    assert_eq!(entry["operation"], "Update");
    assert_eq!(entry["fieldsV1"], json!({"f:data": {".": {}, "f:k": {}}}));
}

#[tokio::test]
async fn refusals_have_the_texts_of_kubernetes() {
    let world = World::new().await;
    let map = || config_map("a", json!({}));
    let made = world.create("configmaps", map()).await.unwrap();
    let error = world.create("configmaps", map()).await.unwrap_err();
    assert_eq!(message(&error), ("configmaps \"a\" already exists", 409));
    let error = world.get("deployments", "x").unwrap_err();
    assert_eq!(message(&error), ("deployments.apps \"x\" not found", 404));
    let mut elsewhere = map();
    elsewhere["metadata"]["namespace"] = json!("none");
    let res = world.res("configmaps");
    let by = WriteOptions::by("test");
    let error = world
        .db
        .create(&res, Some("none"), elsewhere.clone(), &by)
        .await
        .unwrap_err();
    assert_eq!(message(&error), ("namespaces \"none\" not found", 404));
    let error = world
        .db
        .create(&res, Some("default"), elsewhere, &by)
        .await
        .unwrap_err();
    assert_eq!(error.code, 400);
    let mut stale = made.clone();
    stale["data"] = json!({"x": "1"});
    world
        .update("configmaps", Subresource::None, stale.clone())
        .await
        .unwrap();
    let error = world
        .update("configmaps", Subresource::None, stale)
        .await
        .unwrap_err();
    assert_eq!(
        message(&error),
        (
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
             please apply your changes to the latest version and try again",
            409
        )
    );
    let wrong = DeleteOptions {
        uid: Some("other".to_owned()),
        ..DeleteOptions::default()
    };
    let error = world
        .delete_with("configmaps", "a", wrong)
        .await
        .unwrap_err();
    assert!(error.message.starts_with(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) \
         does not match the UID in record ("
    ));
    let old = DeleteOptions {
        resource_version: Some("1".to_owned()),
        ..DeleteOptions::default()
    };
    assert_eq!(
        world
            .delete_with("configmaps", "a", old)
            .await
            .unwrap_err()
            .code,
        409
    );
    let error = world
        .create("configmaps", config_map("A", json!({})))
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .starts_with("ConfigMap \"A\" is invalid: metadata.name: Invalid value")
    );
    let error = world.delete("namespaces", "default").await.unwrap_err();
    assert_eq!(
        message(&error),
        (
            "namespaces \"default\" is forbidden: this namespace may not be deleted",
            403
        )
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let world = World::new().await;
    let made = world
        .create("configmaps", config_map("a", json!({"k": "v"})))
        .await
        .unwrap();
    let (same, outcome) = world
        .update("configmaps", Subresource::None, made.clone())
        .await
        .unwrap();
    assert_eq!((same, outcome), (made.clone(), Outcome::Unchanged));
    let patch = Patch::Merge(json!({"data": {"k": "v"}}));
    let (same, outcome) = world.patch("configmaps", "a", patch).await.unwrap();
    assert_eq!((same, outcome), (made, Outcome::Unchanged));
}

#[tokio::test]
async fn generation_counts_spec_writes_and_the_status_is_apart() {
    let world = World::new().await;
    let made = world
        .create("deployments", deployment("web", 3))
        .await
        .unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
    let mut both = made.clone();
    both["spec"]["replicas"] = json!(5);
    both["status"] = json!({"replicas": 9});
    let (after, _) = world
        .update("deployments", Subresource::None, both.clone())
        .await
        .unwrap();
    assert_eq!(
        (&after["metadata"]["generation"], &after["status"]),
        (&json!(2), &json!({}))
    );
    both["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"].clone();
    both["spec"]["replicas"] = json!(7);
    let (after, _) = world
        .update("deployments", Subresource::Status, both)
        .await
        .unwrap();
    assert_eq!(after["spec"]["replicas"], 5);
    assert_eq!(after["status"]["replicas"], 9);
    assert_eq!(after["metadata"]["generation"], 2);
    let (after, _) = world
        .patch(
            "deployments",
            "web",
            Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}})),
        )
        .await
        .unwrap();
    assert_eq!(after["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_scale_changes_the_replicas_and_nothing_else() {
    let world = World::new().await;
    world
        .create("deployments", deployment("web", 3))
        .await
        .unwrap();
    let res = world.res("deployments");
    let object = world.db.get(&res, Some("default"), "web").unwrap();
    let mut scale = crate::store::scale::view(&res, &object);
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = json!(4);
    let (after, _) = world
        .update("deployments", Subresource::Scale, scale)
        .await
        .unwrap();
    assert_eq!(after["spec"]["replicas"], 4);
    let target = Target::new(&res, Some("default"), "web").sub(Subresource::Scale);
    let patch = Patch::Merge(json!({"spec": {"replicas": 6}}));
    let (after, _) = world
        .db
        .patch(target, patch, &WriteOptions::by("test"))
        .await
        .unwrap();
    assert_eq!(after.value()["spec"]["replicas"], 6);
    let patch = Patch::Merge(json!({"spec": {"replicas": -1}}));
    let error = world
        .db
        .patch(target, patch, &WriteOptions::by("test"))
        .await
        .unwrap_err();
    assert_eq!(error.code, 422);
}

#[tokio::test]
async fn an_object_with_finalizers_goes_when_the_last_one_is_gone() {
    let world = World::new().await;
    let mut map = config_map("a", json!({}));
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.create("configmaps", map).await.unwrap();
    let left = world.delete("configmaps", "a").await.unwrap();
    assert!(matches!(left, Deleted::Terminating(_)));
    let marked = world.get("configmaps", "a").unwrap();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let before = world.db.resource_version();
    world.delete("configmaps", "a").await.unwrap();
    assert_eq!(
        world.db.resource_version(),
        before,
        "a second delete changes nothing"
    );
    let add = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "b/b"]}}));
    let error = world.patch("configmaps", "a", add).await.unwrap_err();
    assert!(
        error.message.contains("no new finalizers can be added"),
        "{error}"
    );
    let clear = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.patch("configmaps", "a", clear).await.unwrap();
    assert_eq!(world.get("configmaps", "a").unwrap_err().code, 404);
}

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
    let gone = world.delete_with("pods", "bound", now).await.unwrap();
    assert!(matches!(gone, Deleted::Gone(_)));
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
        error.message.contains("is not in the valid range"),
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
async fn generated_names_differ_and_dry_runs_store_nothing() {
    let world = World::new().await;
    let named = json!({"metadata": {"generateName": "x-"}});
    let first = world.create("configmaps", named.clone()).await.unwrap();
    let second = world.create("configmaps", named).await.unwrap();
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
    assert_eq!(first["metadata"]["name"].as_str().unwrap().len(), 7);
    let before = world.db.resource_version();
    let dry = WriteOptions {
        dry_run: DryRun::All,
        ..WriteOptions::by("test")
    };
    let res = world.res("configmaps");
    let made = world
        .db
        .create(&res, Some("default"), config_map("d", json!({})), &dry)
        .await;
    assert_eq!(made.unwrap().name(), "d");
    assert_eq!(world.get("configmaps", "d").unwrap_err().code, 404);
    assert_eq!(world.db.resource_version(), before);
}

#[tokio::test]
async fn a_crd_serves_its_resources_at_once_in_all_versions() {
    let world = World::new().await;
    let crd = world
        .create("customresourcedefinitions", link_crd())
        .await
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
async fn events_are_the_same_in_both_groups() {
    let world = World::new().await;
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"},
        "note": "hello", "reportingController": "me", "eventTime": "2023-11-14T22:13:20.000000Z"});
    world.create("events.events.k8s.io", event).await.unwrap();
    let core = world.res("events");
    assert_eq!(core.group, "");
    let shown = world.db.get(&core, Some("default"), "e").unwrap().value();
    assert_eq!(shown["message"], "hello");
    assert_eq!(shown["involvedObject"]["name"], "p");
    assert_eq!(shown["apiVersion"], "v1");
}

#[tokio::test]
async fn a_watch_follows_from_a_version_and_translates_by_selector() {
    let world = World::new().await;
    let labelled =
        |name: &str, label: &str| json!({"metadata": {"name": name, "labels": {"l": label}}});
    world
        .create("configmaps", labelled("a", "x"))
        .await
        .unwrap();
    let from = From::Version(world.db.resource_version());
    let mut all = world.watch("configmaps", From::Now, "").unwrap();
    let mut only_x = world
        .watch("configmaps", From::InitialEvents, "l=x")
        .unwrap();
    let mut later = world.watch("configmaps", from, "").unwrap();
    world
        .create("configmaps", labelled("b", "y"))
        .await
        .unwrap();
    let relabel = |label: &str| Patch::Merge(json!({"metadata": {"labels": {"l": label}}}));
    world.patch("configmaps", "a", relabel("y")).await.unwrap();
    world.patch("configmaps", "b", relabel("x")).await.unwrap();
    world.delete("configmaps", "b").await.unwrap();
    assert_eq!(
        drain(&mut all),
        [
            "ADDED a",
            "ADDED b",
            "MODIFIED a",
            "MODIFIED b",
            "DELETED b"
        ]
    );
    assert_eq!(
        drain(&mut later),
        ["ADDED b", "MODIFIED a", "MODIFIED b", "DELETED b"]
    );
    assert_eq!(
        drain(&mut only_x),
        ["ADDED a", "BOOKMARK", "DELETED a", "ADDED b", "DELETED b"]
    );
}

#[tokio::test]
async fn a_watch_from_a_forgotten_or_future_version_is_expired() {
    let mut short = options();
    short.history_events = 4;
    let world = World::with(short).await;
    let mut slow = world.watch("configmaps", From::Now, "").unwrap();
    let start = world.db.resource_version();
    for number in 0..6 {
        world
            .create("configmaps", config_map(&format!("m{number}"), json!({})))
            .await
            .unwrap();
    }
    let error = world
        .watch("configmaps", From::Version(start), "")
        .unwrap_err();
    assert_eq!(error.reason, "Expired");
    assert_eq!(
        error.message,
        format!("too old resource version: {start} ({})", start + 2)
    );
    assert!(
        world
            .watch("configmaps", From::Version(start + 2), "")
            .is_ok()
    );
    assert_eq!(
        world
            .watch("configmaps", From::Version(start + 99), "")
            .unwrap_err()
            .code,
        410
    );
    assert_eq!(drain(&mut slow), ["ERROR 410"]);
    assert!(slow.next().await.is_none(), "an error is the last line");
}

#[tokio::test]
async fn an_idle_watch_sends_bookmarks_from_which_it_resumes() {
    let world = World::new().await;
    let options = WatchOptions {
        from: From::Now,
        bookmarks: Bookmarks::On,
    };
    let res = world.res("services");
    let mut watch = world
        .db
        .watch(&res, None, &Selectors::default(), options)
        .unwrap();
    world
        .create("configmaps", config_map("a", json!({})))
        .await
        .unwrap();
    let event = watch.bookmark().unwrap();
    let newest = world.db.resource_version();
    assert!(
        matches!(event, WatchEvent::Bookmark { resource_version, initial_events_end: false }
            if resource_version == newest)
    );
}

#[tokio::test]
async fn a_collection_delete_takes_what_is_selected() {
    let world = World::new().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let map = json!({"metadata": {"name": name, "labels": {"l": label}}});
        world.create("configmaps", map).await.unwrap();
    }
    let selectors = Selectors {
        labels: crate::selector::LabelSelector::parse("l=x").unwrap(),
        ..Selectors::default()
    };
    let res = world.res("configmaps");
    let gone = world
        .db
        .delete_collection(&res, Some("default"), &selectors, &DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(gone.items.len(), 2);
    assert_eq!(world.names("configmaps"), ["b"]);
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
