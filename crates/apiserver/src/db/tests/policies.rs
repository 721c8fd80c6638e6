//! Admission policies: what they refuse, and what they cannot.
use serde_json::{Value, json};

use crate::db::{DeleteOptions, Outcome, Patch, Subresource};
use crate::error::StatusError;
use crate::testing::World;

const POLICY: &str = "validatingadmissionpolicies";
const BINDING: &str = "validatingadmissionpolicybindings";

/// A world with one policy about ConfigMaps, bound for all.
async fn world(spec: Value, bound: Value) -> World {
    let world = World::new().await;
    let mut policy = json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]}}});
    let mut binding = json!({"metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for (into, more) in [(&mut policy, spec), (&mut binding, bound)] {
        for (name, value) in more.as_object().unwrap() {
            into["spec"][name] = value.clone();
        }
    }
    world.create(POLICY, policy).await.unwrap();
    world.create(BINDING, binding).await.unwrap();
    world
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

/// Why a condition refuses a ConfigMap; nothing if it takes it.
async fn why(expression: &str, object: Value) -> Option<StatusError> {
    let spec = json!({"validations": [{"expression": expression}]});
    let world = world(spec, json!({})).await;
    world.create("configmaps", object).await.err()
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_a_refusal_in_the_words_of_kubernetes() {
    let error = why("object.data.a == '1'", map("m", json!({"a": "2"}))).await;
    let error = error.unwrap();
    assert_eq!((error.code, error.reason), (422, "Invalid"));
    assert_eq!(
        error.message,
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: \
         failed expression: object.data.a == '1'"
    );
    let taken = why("object.data.a == '1'", map("m", json!({"a": "1"}))).await;
    assert!(taken.is_none());
}

#[tokio::test]
async fn what_cannot_be_found_out_is_refused_unless_failures_are_ignored() {
    let expression = "object.data.nothing == '1'";
    let error = why(expression, map("m", json!({"a": "2"}))).await.unwrap();
    assert!(
        error
            .message
            .ends_with("resulted in error: no such key: nothing"),
        "{}",
        error.message
    );
    let spec = json!({"failurePolicy": "Ignore", "validations": [{"expression": expression}]});
    let world = world(spec, json!({})).await;
    let made = world
        .create("configmaps", map("m", json!({"a": "2"})))
        .await;
    assert!(made.is_ok());
}

#[tokio::test]
async fn no_policy_runs_for_long() {
    let many =
        "object.data.all(a, object.data.all(b, object.data.all(c, object.data.all(d, true))))";
    let data: serde_json::Map<String, Value> =
        (0..100).map(|key| (key.to_string(), json!("v"))).collect();
    let error = why(many, map("m", data.into())).await.unwrap();
    assert!(
        error.message.contains("cost limit exceeded"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn no_policy_has_very_many_expressions() {
    let world = World::new().await;
    let policy = |variables: usize, validations: usize| {
        let variables =
            (0..variables).map(|at| json!({"name": format!("v{at}"), "expression": "1"}));
        let variables: Vec<Value> = variables.collect();
        json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]},
            "variables": variables, "validations": vec![json!({"expression": "true"}); validations]}})
    };
    for (variables, validations) in [(257, 1), (1, 257)] {
        let made = world.create(POLICY, policy(variables, validations)).await;
        let why = made.unwrap_err().message;
        assert!(
            why.contains("Too many: 257: must have at most 256 items"),
            "{why}"
        );
    }
    world.create(POLICY, policy(256, 256)).await.unwrap();
}

#[tokio::test]
async fn updates_and_deletes_are_asked_about_too() {
    let spec = json!({
        "variables": [{"name": "kept", "expression": "oldObject != null && oldObject.metadata.name == 'kept'"}],
        "validations": [
            {"expression": "request.operation != 'DELETE' || !variables.kept", "message": "kept", "reason": "Forbidden"},
            {"expression": "request.operation != 'UPDATE' || object.data == oldObject.data",
                "messageExpression": "'changed ' + request.name"}]});
    let world = world(spec, json!({})).await;
    for name in ["kept", "other"] {
        let made = world
            .create("configmaps", map(name, json!({"a": "1"})))
            .await;
        made.unwrap();
    }
    let patch = |value: &str| Patch::Merge(json!({"data": {"a": value}}));
    let error = world.patch("configmaps", "other", patch("2")).await;
    assert!(error.unwrap_err().message.ends_with("changed other"));
    let same = world.patch("configmaps", "other", patch("1")).await;
    assert_eq!(same.unwrap().1, Outcome::Unchanged);
    let error = world.delete("configmaps", "kept").await.unwrap_err();
    assert_eq!((error.code, error.reason), (403, "Forbidden"));
    world.delete("configmaps", "other").await.unwrap();
    // What is changed takes effect with the change, and a policy cannot keep itself.
    let free = json!({"metadata": {"name": "b"}, "spec": {"policyName": "none"}});
    let patched = world.patch(BINDING, "b", Patch::Merge(free)).await;
    patched.unwrap();
    world.delete("configmaps", "kept").await.unwrap();
    let now = DeleteOptions::default();
    world.delete_with(POLICY, "p", now).await.unwrap();
    assert!(world.get(POLICY, "p").is_err());
}

#[tokio::test]
async fn a_policy_is_about_the_parameters_that_its_binding_means() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["configmaps"]}]},
        "validations": [{"expression": "object.data.size() <= int(params.type)", "message": "too many"}]});
    let bound = json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}});
    let world = world(spec, bound).await;
    let error = world
        .create("configmaps", map("m", json!({"a": "1"})))
        .await;
    let message = error.unwrap_err().message;
    assert!(message.contains("no params found"), "{message}");
    let limit = json!({"metadata": {"name": "limit"}, "type": "1"});
    world.create("secrets", limit).await.unwrap();
    let two = map("m", json!({"a": "1", "b": "2"}));
    let error = world.create("configmaps", two).await.unwrap_err();
    assert!(error.message.ends_with("too many"), "{}", error.message);
    let one = world
        .create("configmaps", map("m", json!({"a": "1"})))
        .await;
    assert!(one.is_ok());
    let status = json!({"metadata": {"name": "p"}, "status": {}});
    let written = world.update(POLICY, Subresource::Status, status).await;
    assert!(written.is_err(), "a policy is never written blindly");
}

#[tokio::test]
async fn parameters_are_paid_for_before_they_are_read() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "true"}]});
    let bound = json!({"paramRef": {"selector": {}, "parameterNotFoundAction": "Deny"}});
    let world = world(spec, bound.clone()).await;
    let binding = |name: String| {
        json!({"metadata": {"name": name}, "spec": {"policyName": "p",
        "validationActions": ["Deny"], "paramRef": bound["paramRef"]}})
    };
    // One text is few steps for an expression, but many bytes to read.
    for at in 0..12 {
        let data = json!({"a": "AAAA".repeat(250_000)});
        let secret = json!({"metadata": {"name": format!("s{at}")}, "data": data});
        world.create("secrets", secret).await.unwrap();
    }
    let made = world.create("configmaps", map("one", json!({}))).await;
    made.unwrap();
    for at in 0..9 {
        world
            .create(BINDING, binding(format!("b{at}")))
            .await
            .unwrap();
    }
    let error = world.create("configmaps", map("many", json!({}))).await;
    let message = error.unwrap_err().message;
    assert!(message.contains("running out of cost budget"), "{message}");
}
