//! Owners and dependents that go, or stay.
use serde_json::{Value, json};

use super::{running, until};
use crate::db::{DeleteOptions, Patch, Propagation, Subresource};
use crate::testing::World;

/// Gives a ConfigMap these owners, all of which have to wait for it.
async fn own(world: &World, name: &str, owners: &[&str]) {
    let references = owners.iter().map(|owner| {
        let uid = &world.get("configmaps", owner).unwrap()["metadata"]["uid"];
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid,
            "blockOwnerDeletion": true})
    });
    let mut object = world.get("configmaps", name).unwrap();
    object["metadata"]["ownerReferences"] = references.collect();
    let updated = world.update("configmaps", Subresource::None, object);
    updated.await.unwrap();
}

async fn with(names: &[&str]) -> World {
    let world = World::with(running()).await;
    for name in names {
        let object = json!({"metadata": {"name": name}});
        world.create("configmaps", object).await.unwrap();
    }
    world
}

async fn delete(world: &World, name: &str) {
    let options = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    let deleted = world.delete_with("configmaps", name, options);
    deleted.await.unwrap();
}

fn are_gone(world: &World, names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| world.get("configmaps", name).is_err())
}

#[tokio::test]
async fn objects_that_own_each_other_go_when_one_is_deleted_in_the_foreground() {
    for circle in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        let world = with(circle).await;
        for (at, name) in circle.iter().enumerate() {
            own(&world, name, &[circle[(at + 1) % circle.len()]]).await;
        }
        delete(&world, "a").await;
        let what = format!("{circle:?} to go");
        until(&world, &what, |world| are_gone(world, circle)).await;
    }
}

#[tokio::test]
async fn whoever_has_another_owner_stays_and_holds_up_nobody() {
    let world = with(&["a", "b", "stays", "c", "d"]).await;
    own(&world, "c", &["a", "stays"]).await;
    own(&world, "d", &["a", "b"]).await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/held"]}}));
    world.patch("configmaps", "d", held).await.unwrap();
    delete(&world, "b").await;
    delete(&world, "a").await;
    until(&world, "c to have one owner", |world| {
        let found = world.get("configmaps", "c").unwrap();
        let owners = found["metadata"]["ownerReferences"].as_array().cloned();
        owners.is_some_and(|owners| owners.len() == 1 && owners[0]["name"] == "stays")
    })
    .await;
    until(&world, "d to go with the last", |world| {
        let found = world.get("configmaps", "d").unwrap();
        found["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    assert!(!are_gone(&world, &["a"]), "it waits for what is held");
    let free = Patch::Merge(json!({"metadata": {"finalizers": Value::Null}}));
    world.patch("configmaps", "d", free).await.unwrap();
    until(&world, "all of them to go", |world| {
        are_gone(world, &["a", "b", "d"])
    })
    .await;
}
