//! Laws of random histories: versions grow, and a watcher that lists and follows ends with the
//! state of the store.
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use crate::testing::{World, config_map};

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Label(u8, u8),
    Finalize(u8),
    Unfinalize(u8),
    Delete(u8),
    /// A watcher begins here.
    Watch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, 0u8..3).prop_map(|(name, value)| Step::Put(name, value)),
        3 => (0u8..6, 0u8..3).prop_map(|(name, label)| Step::Label(name, label)),
        1 => (0u8..6).prop_map(Step::Finalize),
        1 => (0u8..6).prop_map(Step::Unfinalize),
        3 => (0u8..6).prop_map(Step::Delete),
        1 => Just(Step::Watch),
    ]
}

async fn carry_out(world: &World, step: &Step) {
    let name = |number: &u8| format!("m{number}");
    let merge = |value: Value| Patch::Merge(value);
    // Refusals (a name that is taken, or missing) are part of the histories.
    match step {
        Step::Put(number, value) => {
            let map = config_map(&name(number), json!({"v": value.to_string()}));
            if world.create("configmaps", map.clone()).await.is_err() {
                let _done = world.update("configmaps", Subresource::None, map).await;
            }
        }
        Step::Label(number, label) => {
            let patch = merge(json!({"metadata": {"labels": {"l": label.to_string()}}}));
            let _done = world.patch("configmaps", &name(number), patch).await;
        }
        Step::Finalize(number) => {
            let patch = merge(json!({"metadata": {"finalizers": ["a/b"]}}));
            let _done = world.patch("configmaps", &name(number), patch).await;
        }
        Step::Unfinalize(number) => {
            let patch = merge(json!({"metadata": {"finalizers": null}}));
            let _done = world.patch("configmaps", &name(number), patch).await;
        }
        Step::Delete(number) => {
            let _done = world.delete("configmaps", &name(number)).await;
        }
        Step::Watch => {}
    }
}

type State = BTreeMap<String, u64>;

/// What a watcher believes after everything that its watch has ready.
fn follow(watch: &mut Watch, mut state: State) -> Result<State, TestCaseError> {
    let mut newest = 0;
    while let Some(event) = watch.try_next() {
        let (object, gone) = match event {
            WatchEvent::Added(object) => {
                prop_assert!(!state.contains_key(object.name()), "added twice");
                (object, false)
            }
            WatchEvent::Modified(object) => {
                prop_assert!(state.contains_key(object.name()), "modified before added");
                (object, false)
            }
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark { .. } => continue,
            WatchEvent::Error(error) => return Err(TestCaseError::fail(error.message)),
        };
        if gone {
            prop_assert!(
                state.remove(object.name()).is_some(),
                "deleted before added"
            );
        } else {
            state.insert(object.name().to_owned(), object.resource_version());
        }
        newest = newest.max(object.resource_version());
    }
    Ok(state)
}

fn listed(world: &World, selectors: &Selectors) -> (State, u64) {
    let list = world
        .db
        .list(&world.res("configmaps"), Some("default"), selectors);
    let state = list
        .items
        .iter()
        .map(|one| (one.name().to_owned(), one.resource_version()))
        .collect();
    (state, list.resource_version)
}

async fn survive(steps: &[Step], cut: usize) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::on_disk(dir.path()).await;
    let mut starts = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if at == cut % steps.len() {
            let before = listed(&world, &Selectors::default());
            world.db.close().await;
            world = World::on_disk(dir.path()).await;
            prop_assert_eq!(listed(&world, &Selectors::default()), before);
        }
        starts.push(listed(&world, &Selectors::default()));
        carry_out(&world, step).await;
    }
    for (state, version) in starts {
        let mut watch = world
            .watch("configmaps", From::Version(version), "")
            .unwrap();
        let state = follow(&mut watch, state)?;
        prop_assert_eq!(state, listed(&world, &Selectors::default()).0);
    }
    world.db.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn every_retained_version_leads_to_the_state_across_a_restart(
        steps in prop::collection::vec(step(), 1..25), cut in 0usize..25
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(survive(&steps, cut))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_watcher_that_lists_and_follows_ends_with_the_state(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let labelled = Selectors {
                labels: crate::selector::LabelSelector::parse("l in (1,2)").unwrap(),
                ..Selectors::default()
            };
            let choices = [Selectors::default(), labelled];
            let mut watchers = Vec::new();
            let mut version = world.db.resource_version();
            let mut start = Vec::new();
            for step in &steps {
                if matches!(step, Step::Watch) {
                    for selectors in &choices {
                        let (state, version) = listed(&world, selectors);
                        start.push((selectors.clone(), state, version));
                    }
                }
                carry_out(&world, step).await;
                let now = world.db.resource_version();
                prop_assert!(now >= version && now <= version + 2);
                version = now;
            }
            for (selectors, state, version) in start {
                // The watch begins late, from the version of the list: the history is retained.
                let options = WatchOptions { from: From::Version(version), bookmarks: Bookmarks::Off };
                let res = world.res("configmaps");
                let watch = world.db.watch(&res, Some("default"), &selectors, options).unwrap();
                watchers.push((watch, selectors, state));
            }
            for (mut watch, selectors, state) in watchers {
                prop_assert_eq!(follow(&mut watch, state)?, listed(&world, &selectors).0);
            }
            Ok(())
        })?;
    }
}
