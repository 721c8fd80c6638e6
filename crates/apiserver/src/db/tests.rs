use serde_json::json;

use super::*;
use crate::testing::{World, config_map, deployment, version};

mod garbage;
mod kinds;
mod laws;
mod mutations;
mod policies;
mod watches;

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
}

#[tokio::test]
async fn refused_deletes_say_why() {
    let world = World::new().await;
    world
        .create("configmaps", config_map("a", json!({})))
        .await
        .unwrap();
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
