//! Watches: where they begin, what selectors make of changes, when they end.
use serde_json::json;

use super::super::*;
use crate::testing::{World, config_map, drain, options};

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
async fn watches_end_when_the_store_closes() {
    let world = World::new().await;
    let mut watch = world.watch("configmaps", From::Now, "").unwrap();
    world.db.close().await;
    assert!(watch.next().await.is_none());
}
