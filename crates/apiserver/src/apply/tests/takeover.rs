//! Who owns what was there before server-side apply came, and what is no intent at all.
use serde_json::json;

use super::{ASK, map, owners};
use crate::db::Patch;
use crate::testing::World;

#[tokio::test]
async fn what_nobody_is_noted_for_belongs_to_nobody_who_applies() {
    let world = World::new().await;
    let made = map(json!({"x": "1"}));
    world.apply("configmaps", ("me", ASK), made).await.unwrap();
    let forget = Patch::Merge(json!({"metadata": {"managedFields": [{}]}}));
    world.patch("configmaps", "a", forget).await.unwrap();
    let other = map(json!({"x": "2"}));
    let refused = world.apply("configmaps", ("me", ASK), other).await;
    assert_eq!(
        refused.unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x"
    );
}

#[tokio::test]
async fn kubectl_takes_over_what_kubectl_apply_has_set() {
    const NOTE: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let world = World::new().await;
    let made = map(json!({"x": "1"}));
    world
        .apply("configmaps", ("first", ASK), made.clone())
        .await
        .unwrap();
    let note = Patch::Merge(json!({"metadata": {"annotations": {NOTE: made.to_string()}}}));
    world.patch("configmaps", "a", note).await.unwrap();
    let wanted = || map(json!({"x": "2"}));
    let refused = world.apply("configmaps", ("you", ASK), wanted()).await;
    assert_eq!(refused.unwrap_err().code, 409);
    let taken = world.apply("configmaps", ("kubectl", ASK), wanted()).await;
    let (taken, _) = taken.unwrap();
    let kept = taken["metadata"]["annotations"][NOTE].as_str().unwrap();
    assert!(
        kept.contains("\"data\":{\"x\":\"2\"}") && kept.ends_with('\n'),
        "{kept}"
    );
    assert!(
        owners(&taken)
            .iter()
            .all(|(manager, ..)| manager != "first")
    );
}

#[tokio::test]
async fn the_same_key_twice_is_no_intent() {
    let world = World::new().await;
    let ports = json!([{"port": 81}, {"port": 81, "protocol": "TCP"}]);
    let config = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let refused = world.apply("services", ("me", ASK), config).await;
    assert_eq!(
        refused.unwrap_err().message,
        "failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: duplicate entries for key \
         [port=81,protocol=\"TCP\"]"
    );
}
