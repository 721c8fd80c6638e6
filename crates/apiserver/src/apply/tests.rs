mod takeover;

use serde_json::{Value, json};

use crate::db::{Force, Outcome, Patch};
use crate::testing::{World, config_map, deployment, link_crd};

const ASK: Force = Force::No;

fn map(data: Value) -> Value {
    config_map("a", data)
}

fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            (
                text(entry, "manager"),
                text(entry, "operation"),
                entry["fieldsV1"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn apply_creates_and_the_same_again_changes_nothing() {
    let world = World::new().await;
    let config = map(json!({"x": "1", "y": "2"}));
    let (made, outcome) = world
        .apply("configmaps", ("me", ASK), config.clone())
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::Created);
    let fields = json!({"f:data": {"f:x": {}, "f:y": {}}});
    assert_eq!(owners(&made), [("me".into(), "Apply".into(), fields)]);
    let (again, outcome) = world
        .apply("configmaps", ("me", ASK), config)
        .await
        .unwrap();
    assert_eq!((again, outcome), (made, Outcome::Unchanged));
}

#[tokio::test]
async fn what_a_manager_no_longer_applies_goes_unless_another_applies_it() {
    let world = World::new().await;
    let all = map(json!({"x": "1", "y": "2", "z": "3"}));
    world.apply("configmaps", ("me", ASK), all).await.unwrap();
    world
        .apply("configmaps", ("you", ASK), map(json!({"y": "2"})))
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"w": "4"}}));
    world.patch("configmaps", "a", patch).await.unwrap();
    let (left, _) = world
        .apply("configmaps", ("me", ASK), map(json!({"x": "1"})))
        .await
        .unwrap();
    assert_eq!(left["data"], json!({"x": "1", "y": "2", "w": "4"}));
}

#[tokio::test]
async fn another_managers_field_is_a_conflict_that_force_wins() {
    let world = World::new().await;
    world
        .apply("configmaps", ("me", ASK), map(json!({"x": "1"})))
        .await
        .unwrap();
    let theirs = map(json!({"x": "2"}));
    let error = world
        .apply("configmaps", ("you", ASK), theirs.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code, 409);
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"me\": .data.x"
    );
    assert_eq!(error.details.unwrap()["causes"][0]["field"], ".data.x");
    let (won, _) = world
        .apply("configmaps", ("you", Force::Yes), theirs)
        .await
        .unwrap();
    assert_eq!(won["data"]["x"], "2");
    assert_eq!(
        owners(&won).len(),
        1,
        "the first manager owns nothing any more"
    );
    let patch = Patch::Merge(json!({"data": {"x": "3", "y": "1"}}));
    world.patch("configmaps", "a", patch).await.unwrap();
    let both = map(json!({"x": "4", "y": "4"}));
    let error = world
        .apply("configmaps", ("you", ASK), both)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"test\" using v1:\n- .data.x\n- .data.y"
    );
}

#[tokio::test]
async fn two_managers_share_a_value_on_which_they_agree() {
    let world = World::new().await;
    world
        .apply("configmaps", ("me", ASK), map(json!({"x": "1"})))
        .await
        .unwrap();
    let (both, outcome) = world
        .apply("configmaps", ("you", ASK), map(json!({"x": "1"})))
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::Updated);
    assert_eq!(owners(&both).len(), 2);
}

#[tokio::test]
async fn lists_merge_by_their_keys() {
    let world = World::new().await;
    let mut first = deployment("web", 1);
    first["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}]);
    world
        .apply("deployments", ("me", ASK), first.clone())
        .await
        .unwrap();
    let mut second = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {
        "containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]},
                       {"name": "side", "image": "y:1"}]}}}});
    let (both, _) = world
        .apply("deployments", ("you", ASK), second.clone())
        .await
        .unwrap();
    let containers = &both["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 2);
    assert_eq!(containers[0]["env"].as_array().unwrap().len(), 2);
    let again = world
        .apply("deployments", ("me", ASK), first)
        .await
        .unwrap();
    assert_eq!(again.1, Outcome::Unchanged);
    second["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .truncate(1);
    let (left, _) = world
        .apply("deployments", ("you", ASK), second.clone())
        .await
        .unwrap();
    assert_eq!(
        left["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    second["spec"]["template"]["spec"]["containers"][0]["image"] = json!("z:1");
    let error = world
        .apply("deployments", ("you", ASK), second)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"me\": \
         .spec.template.spec.containers[name=\"main\"].image"
    );
}

#[tokio::test]
async fn a_crds_schema_says_how_its_lists_merge() {
    let world = World::new().await;
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    let link = |members: Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Link", "metadata": {"name": "l"},
            "spec": {"members": members}})
    };
    let me = link(json!([{"name": "a", "x": 1}]));
    world.apply("links", ("me", ASK), me.clone()).await.unwrap();
    let (both, _) = world
        .apply("links", ("you", ASK), link(json!([{"name": "b"}])))
        .await
        .unwrap();
    assert_eq!(
        both["spec"]["members"],
        json!([{"name": "a", "x": 1}, {"name": "b"}])
    );
    assert_eq!(both["metadata"]["generation"], 2);
    let (_, outcome) = world.apply("links", ("me", ASK), me).await.unwrap();
    assert_eq!(outcome, Outcome::Unchanged);
    let (left, _) = world
        .apply("links", ("me", ASK), link(json!([])))
        .await
        .unwrap();
    assert_eq!(left["spec"]["members"], json!([{"name": "b"}]));
}

#[tokio::test]
async fn an_update_takes_the_fields_that_it_changes() {
    let world = World::new().await;
    world
        .apply("configmaps", ("me", ASK), map(json!({"x": "1", "y": "1"})))
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"x": "2"}}));
    let (after, _) = world.patch("configmaps", "a", patch).await.unwrap();
    assert_eq!(
        owners(&after),
        [
            ("me".into(), "Apply".into(), json!({"f:data": {"f:y": {}}})),
            (
                "test".into(),
                "Update".into(),
                json!({"f:data": {"f:x": {}}})
            ),
        ]
    );
    let patch = Patch::Merge(json!({"data": {"x": null}}));
    let (after, _) = world.patch("configmaps", "a", patch).await.unwrap();
    assert_eq!(owners(&after).len(), 1);
}

#[tokio::test]
async fn an_applied_status_is_owned_by_the_status_subresource_only() {
    let world = World::new().await;
    let mut service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}});
    let (made, _) = world
        .apply("services", ("me", ASK), service.clone())
        .await
        .unwrap();
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    assert!(owners(&made)[0].2.get("f:status").is_none());
    service["metadata"]["managedFields"] = json!([]);
    let error = world
        .apply("services", ("me", ASK), service)
        .await
        .unwrap_err();
    assert_eq!(error.message, "metadata.managedFields must be nil");
}

#[tokio::test]
async fn applying_the_same_again_is_no_write_whatever_the_defaults_add() {
    let world = World::new().await;
    world
        .create("customresourcedefinitions", link_crd())
        .await
        .unwrap();
    let meta = json!({"name": "a", "labels": {"x": "y"}, "annotations": {"n": "1"}});
    for (plural, rest) in [
        (
            "services",
            json!({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        ),
        (
            "endpointslices",
            json!({"addressType": "IPv4", "ports": [{"port": 80}],
                "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        ),
        (
            "endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}],
            "ports": [{"port": 80}]}]}),
        ),
        ("secrets", json!({"data": {"a": "YQ=="}})),
        ("deployments", deployment("a", 2)),
        (
            "roles",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        (
            "rolebindings",
            json!({"roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}]}),
        ),
        (
            "links",
            json!({"spec": {"members": [{"name": "a"}], "cluster": "east"}}),
        ),
        ("namespaces", json!({})),
    ] {
        let mut config = rest;
        config["metadata"] = meta.clone();
        let (made, _) = world
            .apply(plural, ("me", ASK), config.clone())
            .await
            .unwrap();
        let (again, outcome) = world.apply(plural, ("me", ASK), config).await.unwrap();
        assert_eq!((again, outcome), (made, Outcome::Unchanged), "{plural}");
    }
}

#[tokio::test]
async fn the_creator_does_not_own_what_the_store_gave() {
    let world = World::new().await;
    let service = json!({"metadata": {"name": "s", "labels": {"a": "b"}},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    let made = world.create("services", service).await.unwrap();
    let port = json!({".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}});
    assert_eq!(
        owners(&made)[0].2,
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:internalTrafficPolicy": {}, "f:selector": {}, "f:sessionAffinity": {},
                "f:type": {},
                "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": port},
            },
        })
    );
}

#[tokio::test]
async fn a_uid_in_an_intent_is_a_precondition() {
    let world = World::new().await;
    let mut config = map(json!({"x": "1"}));
    config["metadata"]["uid"] = json!("other");
    let error = world
        .apply("configmaps", ("me", ASK), config.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code, 409);
    let (made, _) = world
        .apply("configmaps", ("me", ASK), map(json!({"x": "1"})))
        .await
        .unwrap();
    assert_eq!(
        world
            .apply("configmaps", ("me", ASK), config.clone())
            .await
            .unwrap_err()
            .code,
        409
    );
    config["metadata"]["uid"] = made["metadata"]["uid"].clone();
    let (same, outcome) = world
        .apply("configmaps", ("me", ASK), config)
        .await
        .unwrap();
    assert_eq!((same, outcome), (made, Outcome::Unchanged));
}
