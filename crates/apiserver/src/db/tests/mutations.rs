//! Mutating admission policies: what they change, when they are asked again, and what they cannot.
use serde_json::{Value, json};

use crate::db::{Outcome, Patch, WriteOptions};
use crate::error::StatusError;
use crate::testing::World;

const POLICY: &str = "mutatingadmissionpolicies";
const BINDING: &str = "mutatingadmissionpolicybindings";

/// Adds a policy about a resource, bound for all.
async fn add(world: &World, name: &str, resource: &str, spec: Value) {
    let group = if resource == "deployments" {
        "apps"
    } else {
        ""
    };
    let mut policy = json!({"metadata": {"name": name}, "spec": {
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"], "resources": [resource]}]}}});
    for (field, value) in spec.as_object().unwrap() {
        policy["spec"][field] = value.clone();
    }
    world.create(POLICY, policy).await.unwrap();
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    world.create(BINDING, binding).await.unwrap();
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// What mutations make of a ConfigMap.
async fn made(mutations: &[Value], object: Value) -> Result<Value, StatusError> {
    let world = World::new().await;
    add(&world, "p", "configmaps", json!({"mutations": mutations})).await;
    world.create("configmaps", object).await
}

fn map(data: Value) -> Value {
    json!({"metadata": {"name": "m"}, "data": data})
}

#[tokio::test]
async fn objects_get_what_expressions_say_in_their_order() {
    let mutations = [
        apply(
            "Object{metadata: Object.metadata{labels: {'n': string(object.data.size())}}, data: {'b': '2'}}",
        ),
        patch(
            "[JSONPatch{op: 'add', path: '/data/c', value: object.data.b}, JSONPatch{op: 'remove', path: '/data/a'}]",
        ),
        patch(
            "[JSONPatch{op: 'remove', path: '/data/b'}, JSONPatch{op: 'test', path: '/data/c', value: 'x'}]",
        ),
        patch("object.data.size() > 9 ? [JSONPatch{op: 'remove', path: '/data'}] : []"),
        apply("Object{?data: optional.none()}"),
    ];
    let made = made(&mutations, map(json!({"a": "1"}))).await.unwrap();
    assert_eq!(made["data"], json!({"b": "2", "c": "2"}));
    assert_eq!(made["metadata"]["labels"], json!({"n": "1"}));
    // What is changed for somebody is not his.
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {".": {}, "f:a": {}}})
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_unless_failures_are_ignored() {
    let table = [
        (
            apply("Object{data: {'a': object.data.nothing}}"),
            "expression 'Object{data: {'a': object.data.nothing}}' resulted in error: no such key: nothing",
        ),
        (
            apply("Object{spec: Object.spec{a: 1}}"),
            "error applying patch: failed to convert patch object to typed object: .spec: field not declared in schema",
        ),
        (
            apply("Object{metadata: Object.data{}}"),
            "type mismatch: unexpected type name \"Object.data\", expected \"Object.metadata\", which matches field name \
             path from root Object type",
        ),
        (
            apply(
                "Object{metadata: Object.metadata{ownerReferences: [Object.metadata.ownerReferences{uid: 'a'}], finalizers: ['a/b']}, data: {'a': 1}}",
            ),
            "error applying patch: failed to convert patch object to typed object: .data.a: expected string, got \
             &value.valueUnstructured{Value:1}",
        ),
        (
            patch("[JSONPatch{op: 'remove', path: '/spec'}]"),
            "JSON Patch: error in remove for path: '/spec': Unable to remove nonexistent key: spec: missing value",
        ),
    ];
    for (mutation, why) in table {
        let refused = made(std::slice::from_ref(&mutation), map(json!({"z": "1"}))).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.reason), (403, "Invalid"), "{why}");
        let start = "policy 'p' with binding 'p' denied request: ";
        assert!(refused.message.starts_with(start), "{}", refused.message);
        assert!(refused.message.ends_with(why), "{}", refused.message);
        let world = World::new().await;
        let spec = json!({"mutations": [mutation], "failurePolicy": "Ignore"});
        add(&world, "p", "configmaps", spec).await;
        world.create("configmaps", map(json!({}))).await.unwrap();
    }
    let unknown = patch("[JSONPatch{op: 'add', path: '/extra', value: 1}]");
    let refused = made(&[unknown], map(json!({}))).await.unwrap_err();
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.message,
        "Internal error occurred: strict decoding error: unknown field \"extra\""
    );
}

#[tokio::test]
async fn nothing_that_names_an_object_changes() {
    for (path, value, code) in [
        ("/metadata/namespace", "'other'", 400),
        ("/metadata/uid", "'mine'", 201),
        ("/metadata/deletionTimestamp", "'2024-01-01T00:00:00Z'", 201),
        ("/kind", "'Secret'", 201),
    ] {
        let change = format!("[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]");
        let found = made(&[patch(&change)], map(json!({}))).await;
        let found = match found {
            Ok(found) => {
                assert_eq!(found["kind"], "ConfigMap");
                assert_ne!(found["metadata"]["uid"], "mine");
                assert!(found["metadata"]["deletionTimestamp"].is_null());
                201
            }
            Err(error) => error.code,
        };
        assert_eq!(found, code, "{path}");
    }
    let world = World::new().await;
    let rename = "request.operation == 'UPDATE' ? [JSONPatch{op: 'replace', path: '/metadata/name', value: 'other'}] : []";
    let spec = json!({"mutations": [patch(rename)]});
    add(&world, "p", "configmaps", spec).await;
    world.create("configmaps", map(json!({}))).await.unwrap();
    let change = Patch::Merge(json!({"data": {"a": "1"}}));
    let refused = world.patch("configmaps", "m", change).await.unwrap_err();
    assert!(
        refused.message.ends_with("field is immutable"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_policy_is_asked_again_when_another_changes_what_it_has_seen() {
    let count = |policy: &str| {
        let count = "string(int(object.data.count) + 1)";
        json!({"reinvocationPolicy": policy, "mutations": [apply(&format!("Object{{data: {{'count': {count}}}}}"))]})
    };
    for (first, second, wanted) in [
        ("Never", "Never", "2"),
        ("IfNeeded", "Never", "3"),
        ("IfNeeded", "IfNeeded", "4"),
    ] {
        let world = World::new().await;
        add(&world, "a", "configmaps", count(first)).await;
        add(&world, "b", "configmaps", count(second)).await;
        let made = world
            .create("configmaps", map(json!({"count": "0"})))
            .await
            .unwrap();
        assert_eq!(made["data"]["count"], wanted, "{first} {second}");
    }
}

#[tokio::test]
async fn updates_and_applies_are_changed_and_their_defaults_come_after() {
    let world = World::new().await;
    let spec = json!({"mutations": [apply(
        "request.operation == 'UPDATE' ? Object{spec: Object.spec{template: Object.spec.template{spec: \
         Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'b', image: 'c:1'}]}}}} : Object{}",
    )]});
    add(&world, "p", "deployments", spec).await;
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "a", "image": "i"}]}}}});
    world.create("deployments", object).await.unwrap();
    let change = Patch::Merge(json!({"spec": {"paused": true}}));
    let (after, outcome) = world.patch("deployments", "d", change).await.unwrap();
    assert_eq!(outcome, Outcome::Updated);
    let containers = &after["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[1]["name"], "b");
    assert_eq!(containers[1]["imagePullPolicy"], "IfNotPresent");
    let owned = after["metadata"]["managedFields"].to_string();
    assert!(owned.contains("f:paused"), "{owned}");
    assert!(!owned.contains(r#"k:{\"name\":\"b\"}"#), "{owned}");
    let again = Patch::Merge(json!({"spec": {"paused": true}}));
    let (_, outcome) = world.patch("deployments", "d", again).await.unwrap();
    assert_eq!(outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn no_mutation_makes_very_much() {
    // Each variable is twice the one before, so that what is made is small only as long as it is not written.
    let mut variables = vec![json!({"name": "v0", "expression": "['0123456789']"})];
    for at in 1..40 {
        let before = at - 1;
        variables.push(json!({"name": format!("v{at}"),
            "expression": format!("[dyn(variables.v{before}), dyn(variables.v{before})]")}));
    }
    let huge = patch("[JSONPatch{op: 'add', path: '/data', value: variables.v39}]");
    let world = World::new().await;
    let spec = json!({"variables": variables, "mutations": [huge]});
    add(&world, "p", "configmaps", spec).await;
    let refused = world.create("configmaps", map(json!({}))).await;
    let why = refused.unwrap_err().message;
    assert!(why.contains("running out of cost budget"), "{why}");
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_and_policies_do_not_change_themselves() {
    let world = World::new().await;
    let spec =
        json!({"mutations": [apply("Object{metadata: Object.metadata{labels: {'a': 'b'}}}")]});
    add(&world, "all", "*", spec).await;
    let namespace = json!({"metadata": {"name": "n"}});
    let made = world.create("namespaces", namespace).await.unwrap();
    assert_eq!(made["metadata"]["labels"]["a"], "b");
    let other = json!({"metadata": {"name": "other"}, "spec": {"policyName": "all"}});
    let made = world.create(BINDING, other).await.unwrap();
    assert!(made["metadata"]["labels"].is_null());
    let res = world.res("configmaps");
    let mut options = WriteOptions::by("test");
    options.dry_run = crate::store::request::DryRun::All;
    let shown = world
        .db
        .create(&res, Some("default"), map(json!({})), &options)
        .await
        .unwrap();
    assert_eq!(shown.value()["metadata"]["labels"]["a"], "b");
    assert!(world.get("configmaps", "m").is_err());
}
