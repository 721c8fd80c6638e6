//! Watches: where they begin, what they tell, and how they end.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::world::{Case, World, cases, events, map, refusal, same, told};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        watch_from_a_version_misses_nothing,
        watch_without_a_version_begins_with_what_exists,
        object_that_leaves_a_selector_is_deleted_for_it,
        deleted_event_has_the_version_of_the_deletion,
        initial_events_end_with_a_bookmark,
        initial_events_want_their_version_match,
        watch_of_one_name_sees_only_it,
        watch_of_all_namespaces_sees_each,
        watch_ends_after_its_time,
        garbage_as_a_version_is_refused,
        metadata_alone_can_be_watched,
        watcher_ends_with_the_state_either_way,
        writes_of_many_come_in_one_order_to_all,
    ]
}

async fn patch(world: &World, name: &str, value: Value) -> Result<ConfigMap> {
    let params = PatchParams::default();
    Ok(world
        .maps()
        .patch(name, &params, &Patch::Merge(value))
        .await?)
}

fn words(seen: &[WatchEvent<ConfigMap>]) -> Vec<String> {
    seen.iter().map(told).collect()
}

fn version_of(event: &WatchEvent<ConfigMap>) -> Option<u64> {
    match event {
        WatchEvent::Added(map) | WatchEvent::Modified(map) | WatchEvent::Deleted(map) => {
            map.resource_version()?.parse().ok()
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
    }
}

async fn watch_from_a_version_misses_nothing(world: World) -> Result<()> {
    let version = world.version().await?;
    world.make_maps(&["a", "b"]).await?;
    patch(&world, "a", json!({"data": {"k": "2"}})).await?;
    world.maps().delete("b", &DeleteParams::default()).await?;
    let seen = world.events(&WatchParams::default(), &version, 4).await?;
    same(
        words(&seen),
        ["ADDED a", "ADDED b", "MODIFIED a", "DELETED b"],
    )?;
    let versions: Vec<Option<u64>> = seen.iter().map(version_of).collect();
    ensure!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    // From the middle: only what came after.
    let middle = versions[1].context("a version")?.to_string();
    let seen = world.events(&WatchParams::default(), &middle, 2).await?;
    same(words(&seen), ["MODIFIED a", "DELETED b"])
}

async fn watch_without_a_version_begins_with_what_exists(world: World) -> Result<()> {
    world.make_maps(&["a", "b"]).await?;
    patch(&world, "a", json!({"data": {"k": "2"}})).await?;
    let labelled = WatchParams::default().labels("set=a");
    for version in ["", "0"] {
        let seen = world.events(&labelled, version, 2).await?;
        let mut words = words(&seen);
        words.sort_unstable();
        same(words, ["ADDED a", "ADDED b"])?;
    }
    Ok(())
}

async fn object_that_leaves_a_selector_is_deleted_for_it(world: World) -> Result<()> {
    let version = world.version().await?;
    world.make_maps(&["m"]).await?;
    patch(&world, "m", json!({"data": {"k": "2"}})).await?;
    let left = patch(&world, "m", json!({"metadata": {"labels": {"set": "b"}}})).await?;
    patch(&world, "m", json!({"data": {"k": "3"}})).await?;
    patch(&world, "m", json!({"metadata": {"labels": {"set": "a"}}})).await?;
    let labelled = WatchParams::default().labels("set=a");
    let seen = world.events(&labelled, &version, 4).await?;
    same(
        words(&seen),
        ["ADDED m", "MODIFIED m", "DELETED m", "ADDED m"],
    )?;
    let WatchEvent::Deleted(map) = &seen[2] else {
        anyhow::bail!("{seen:?}")
    };
    // Its last state that was selected, with the version of the change that took it away.
    same(map.labels().get("set").map(String::as_str), Some("a"))?;
    same(map.resource_version(), left.resource_version())
}

async fn deleted_event_has_the_version_of_the_deletion(world: World) -> Result<()> {
    let version = world.version().await?;
    let made = world
        .maps()
        .create(&PostParams::default(), &map("m")?)
        .await?;
    world.maps().delete("m", &DeleteParams::default()).await?;
    let seen = world.events(&WatchParams::default(), &version, 2).await?;
    let made: u64 = made.resource_version().context("a version")?.parse()?;
    same(version_of(&seen[0]), Some(made))?;
    ensure!(version_of(&seen[1]) > Some(made), "{seen:?}");
    Ok(())
}

async fn initial_events_end_with_a_bookmark(world: World) -> Result<()> {
    world.make_maps(&["a", "b"]).await?;
    let params = WatchParams::default().labels("set=a").initial_events();
    let seen = world.events(&params, "", 3).await?;
    let WatchEvent::Bookmark(bookmark) = &seen[2] else {
        anyhow::bail!("{seen:?}")
    };
    let end = bookmark
        .metadata
        .annotations
        .get("k8s.io/initial-events-end");
    same(end.map(String::as_str), Some("true"))?;
    // A watch goes on from there.
    let version = bookmark.metadata.resource_version.clone();
    world.make_maps(&["c"]).await?;
    let seen = world.events(&WatchParams::default(), &version, 1).await?;
    same(words(&seen), ["ADDED c"])
}

async fn initial_events_want_their_version_match(world: World) -> Result<()> {
    let path = world.path("configmaps?watch=1&sendInitialEvents=true");
    let (code, _, message) = refusal(world.raw("GET", &path, None).await)?;
    same(code, 422)?;
    ensure!(message.contains("resourceVersionMatch"), "{message}");
    Ok(())
}

async fn watch_of_one_name_sees_only_it(world: World) -> Result<()> {
    let version = world.version().await?;
    world.make_maps(&["a", "b"]).await?;
    patch(&world, "b", json!({"data": {"k": "2"}})).await?;
    let one = WatchParams::default().fields("metadata.name=b");
    let seen = world.events(&one, &version, 2).await?;
    same(words(&seen), ["ADDED b", "MODIFIED b"])
}

async fn watch_of_all_namespaces_sees_each(world: World) -> Result<()> {
    let version = world.version().await?;
    world.make_maps(&["everywhere"]).await?;
    let all: Api<ConfigMap> = Api::all(world.client.clone());
    let params = WatchParams::default().fields("metadata.name=everywhere");
    let seen = events(&all, &params, &version, 1).await?;
    same(words(&seen), ["ADDED everywhere"])
}

async fn watch_ends_after_its_time(world: World) -> Result<()> {
    let version = world.version().await?;
    let stream = world
        .maps()
        .watch(&WatchParams::default().timeout(1), &version)
        .await?;
    let seen: Vec<_> = stream.try_collect().await?;
    ensure!(
        seen.iter()
            .all(|event| matches!(event, WatchEvent::Bookmark(_))),
        "{seen:?}"
    );
    Ok(())
}

async fn garbage_as_a_version_is_refused(world: World) -> Result<()> {
    for path in [
        "configmaps?resourceVersion=x",
        "configmaps?watch=1&resourceVersion=x",
    ] {
        let (code, _, message) = refusal(world.raw("GET", &world.path(path), None).await)?;
        // The real one answers some of these with 500.
        ensure!((400..=500).contains(&code), "{code} {message}");
    }
    Ok(())
}

async fn metadata_alone_can_be_watched(world: World) -> Result<()> {
    let version = world.version().await?;
    world.make_maps(&["m"]).await?;
    let params = WatchParams::default();
    let stream = world.maps().watch_metadata(&params, &version).await?;
    let mut stream = std::pin::pin!(stream);
    let event = stream.try_next().await?.context("an event")?;
    let WatchEvent::Added(meta) = event else {
        anyhow::bail!("{event:?}")
    };
    same(
        meta.types.clone().map(|types| types.kind),
        Some("PartialObjectMetadata".to_owned()),
    )?;
    same(meta.name_any(), "m")
}

async fn watcher_ends_with_the_state_either_way(world: World) -> Result<()> {
    for (round, config) in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ]
    .into_iter()
    .enumerate()
    {
        let before = format!("before-{round}");
        world.make_maps(&[&before, "goes"]).await?;
        let mut stream = Box::pin(watcher(world.maps(), config.labels("set=a")));
        let mut state = BTreeMap::new();
        let after = format!("after-{round}");
        while !state.contains_key(&after) {
            match stream.next().await.context("a watcher never ends")?? {
                watcher::Event::Init => state.clear(),
                watcher::Event::InitApply(map) | watcher::Event::Apply(map) => {
                    state.insert(map.name_any(), map.resource_version());
                }
                watcher::Event::InitDone => {
                    patch(&world, &before, json!({"data": {"k": "2"}})).await?;
                    world
                        .maps()
                        .delete("goes", &DeleteParams::default())
                        .await?;
                    world.make_maps(&[&after]).await?;
                }
                watcher::Event::Delete(map) => {
                    state.remove(&map.name_any());
                }
            }
        }
        let list = world
            .maps()
            .list(&kube::api::ListParams::default().labels("set=a"))
            .await?;
        let found = list
            .items
            .iter()
            .map(|map| (map.name_any(), map.resource_version()));
        same(state, found.collect::<BTreeMap<_, _>>())?;
    }
    Ok(())
}

async fn writes_of_many_come_in_one_order_to_all(world: World) -> Result<()> {
    let version = world.version().await?;
    let writer = |writer: usize| {
        let world = world.clone();
        async move {
            for number in 0..10 {
                world.make_maps(&[&format!("w{writer}-{number}")]).await?;
            }
            Ok::<_, anyhow::Error>(())
        }
    };
    let params = WatchParams::default();
    let watch = || world.events(&params, &version, 40);
    let writers = futures_util::future::try_join_all((0..4).map(writer));
    let (_, one, other) = tokio::try_join!(writers, watch(), watch())?;
    same(words(&one), words(&other))?;
    let versions: Vec<Option<u64>> = one.iter().map(version_of).collect();
    ensure!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    Ok(())
}
