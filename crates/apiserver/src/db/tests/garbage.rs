//! Whatever a client sends, the store answers, stays whole, and does not panic.
use proptest::prelude::*;
use serde_json::{Map, json};

use super::super::*;
use crate::testing::{World, options};

/// Field names that mean something to some kind, so that garbage gets far.
const NAMES: &[&str] = &[
    "metadata",
    "name",
    "generateName",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "resourceVersion",
    "uid",
    "spec",
    "status",
    "replicas",
    "selector",
    "matchLabels",
    "template",
    "containers",
    "ports",
    "port",
    "targetPort",
    "protocol",
    "clusterIP",
    "clusterIPs",
    "type",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "endpoints",
    "addresses",
    "conditions",
    "addressType",
    "subsets",
    "data",
    "stringData",
    "rules",
    "roleRef",
    "subjects",
    "group",
    "names",
    "plural",
    "kind",
    "versions",
    "schema",
    "openAPIV3Schema",
    "storage",
    "$patch",
    "$setElementOrder/containers",
    "$retainKeys",
    "env",
    "valueFrom",
    "image",
    "deletionTimestamp",
    "controller",
    "apiVersion",
    "nodeName",
    "fieldsV1",
    "operation",
    "f:spec",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0), Just(-1), Just(80), any::<i64>()].prop_map(Value::from),
        prop_oneof![
            Just("a"),
            Just(""),
            Just("None"),
            Just("25%"),
            Just("TCP"),
            Just("10.96.0.1"),
            Just("RollingUpdate"),
            Just("IPv4"),
            Just("delete"),
            Just("1"),
            Just("A b/c"),
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..6).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

async fn throw_at(world: &World, plural: &str, garbage: &Value) {
    let mut object = garbage.clone();
    if let Value::Object(map) = &mut object {
        map.insert("metadata".to_owned(), json!({"name": "a"}));
    }
    // Refusals are right; what counts is that each answers.
    let _answer = world.create(plural, object.clone()).await;
    let _answer = world.create(plural, garbage.clone()).await;
    let _answer = world
        .update(plural, Subresource::None, object.clone())
        .await;
    let _answer = world
        .update(plural, Subresource::Status, object.clone())
        .await;
    for patch in [
        Patch::Merge(garbage.clone()),
        Patch::Strategic(garbage.clone()),
        Patch::Json(garbage.clone()),
    ] {
        let _answer = world.patch(plural, "a", patch).await;
    }
    if object.is_object() {
        let _answer = world.apply(plural, ("me", Force::Yes), object).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn garbage_is_answered_and_leaves_the_store_whole(garbage in value()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut options = options();
            options.controllers = Controllers::Run;
            let world = World::with(options).await;
            let all = world.db.registry().all();
            for res in &all {
                throw_at(&world, &format!("{}.{}", res.plural, res.group), &garbage).await;
            }
            for res in &all {
                for object in world.db.list(res, None, &Selectors::default()).items {
                    let value = object.value();
                    prop_assert_eq!(value["metadata"]["name"].as_str(), Some(object.name()));
                    prop_assert!(!object.uid().is_empty());
                    prop_assert_eq!(crate::object::version_of(&value), object.resource_version());
                }
            }
            // The controllers still work.
            let maps = world.res("namespaces");
            world.db.create(&maps, None, json!({"metadata": {"name": "z"}}), &WriteOptions::by("t"))
                .await.unwrap();
            let mut versions = world.db.versions();
            let accounts = world.res("serviceaccounts");
            let done = async {
                while world.db.get(&accounts, Some("z"), "default").is_err() {
                    versions.changed().await.unwrap();
                }
            };
            let done = tokio::time::timeout(std::time::Duration::from_secs(60), done).await;
            prop_assert!(done.is_ok(), "the controllers have stopped");
            world.db.close().await;
            Ok(())
        })?;
    }
}
