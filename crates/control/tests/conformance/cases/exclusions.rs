//! What is copied, and what never is.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LOCAL, REMOTE};
use crate::conformance::world::{World, map};

cases!["exclusions":
    an_excluded_label_is_not_copied,
    an_excluded_prefix_ends_at_its_slash,
    an_excluded_annotation_is_not_copied,
    opaque_ports_are_copied_all_the_same,
    topology_is_not_copied,
    nothing_that_steers_discovery_is_copied,
    annotations_of_users_are_copied,
    new_exclusions_apply_to_what_is_mirrored_already,
    exclusions_apply_to_federated_services,
];

async fn annotated(w: &World, labels: Value, annotations: Value) -> Result<()> {
    let mut service = objects::service(&w.ns, "web", labels);
    service["metadata"]["annotations"] = annotations;
    w.r.apply(service).await.map(drop)
}

fn has(service: &Value, field: &str, key: &str) -> bool {
    map(service, field).contains_key(key)
}

async fn an_excluded_label_is_not_copied(w: &mut World) -> Result<()> {
    w.link(|spec| spec["excludedLabels"] = json!(["secret"]))
        .await?;
    annotated(
        w,
        json!({EXPORTED: "true", "secret": "1", "secret2": "2"}),
        json!({}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(
        !has(&mirror, "labels", "secret") && has(&mirror, "labels", "secret2"),
        "{mirror}"
    );
    Ok(())
}

async fn an_excluded_prefix_ends_at_its_slash(w: &mut World) -> Result<()> {
    // F22
    w.link(|spec| spec["excludedLabels"] = json!(["foo/*"]))
        .await?;
    annotated(
        w,
        json!({EXPORTED: "true", "foo/a": "1", "foobar/b": "2", "foo": "3"}),
        json!({}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(!has(&mirror, "labels", "foo/a"), "{mirror}");
    ensure!(has(&mirror, "labels", "foobar/b"), "{mirror}");
    Ok(())
}

async fn an_excluded_annotation_is_not_copied(w: &mut World) -> Result<()> {
    w.link(|spec| spec["excludedAnnotations"] = json!(["team", "corp.example/*"]))
        .await?;
    annotated(
        w,
        json!({EXPORTED: "true"}),
        json!({"team": "x", "corp.example/a": "y", "kept": "z"}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(
        !has(&mirror, "annotations", "team") && !has(&mirror, "annotations", "corp.example/a"),
        "{mirror}"
    );
    ensure!(has(&mirror, "annotations", "kept"), "{mirror}");
    Ok(())
}

async fn opaque_ports_are_copied_all_the_same(w: &mut World) -> Result<()> {
    // F23
    w.link(|spec| spec["excludedAnnotations"] = json!(["config.linkerd.io/*"]))
        .await?;
    let annotations =
        json!({"config.linkerd.io/opaque-ports": "555", "config.linkerd.io/other": "x"});
    annotated(w, json!({EXPORTED: "true"}), annotations).await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(
        has(&mirror, "annotations", "config.linkerd.io/opaque-ports"),
        "{mirror}"
    );
    ensure!(
        !has(&mirror, "annotations", "config.linkerd.io/other"),
        "{mirror}"
    );
    Ok(())
}

async fn topology_is_not_copied(w: &mut World) -> Result<()> {
    // F24
    w.link(|_| ()).await?;
    let key = "service.kubernetes.io/topology-mode";
    annotated(w, json!({EXPORTED: "true"}), json!({key: "Auto"})).await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(!has(&mirror, "annotations", key), "{mirror}");
    Ok(())
}

async fn nothing_that_steers_discovery_is_copied(w: &mut World) -> Result<()> {
    // F41
    w.link(|_| ()).await?;
    let labels = json!({EXPORTED: "true", REMOTE: "elsewhere"});
    annotated(
        w,
        labels,
        json!({LOCAL: "other", REMOTE: "other@elsewhere"}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(!has(&mirror, "labels", REMOTE), "{mirror}");
    ensure!(
        !has(&mirror, "annotations", LOCAL) && !has(&mirror, "annotations", REMOTE),
        "{mirror}"
    );
    Ok(())
}

async fn annotations_of_users_are_copied(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    annotated(
        w,
        json!({EXPORTED: "true"}),
        json!({"balancer.linkerd.io/failure-accrual": "consecutive"}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(
        has(
            &mirror,
            "annotations",
            "balancer.linkerd.io/failure-accrual"
        ),
        "{mirror}"
    );
    Ok(())
}

async fn new_exclusions_apply_to_what_is_mirrored_already(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    annotated(w, json!({EXPORTED: "true", "a": "1"}), json!({"b": "2"})).await?;
    w.until("web-remote", "has all", |s| {
        has(s, "labels", "a") && has(s, "annotations", "b")
    })
    .await?;
    w.link(|spec| {
        spec["excludedLabels"] = json!(["a"]);
        spec["excludedAnnotations"] = json!(["b"]);
    })
    .await?;
    w.until("web-remote", "has neither", |s| {
        !has(s, "labels", "a") && !has(s, "annotations", "b")
    })
    .await
    .map(drop)
}

async fn exclusions_apply_to_federated_services(w: &mut World) -> Result<()> {
    w.link(|spec| spec["excludedLabels"] = json!(["a"])).await?;
    annotated(
        w,
        json!({FEDERATED: "member", "a": "1", "b": "2"}),
        json!({}),
    )
    .await?;
    let service = w.mirror("web-federated").await?;
    ensure!(
        !has(&service, "labels", "a") && has(&service, "labels", "b"),
        "{service}"
    );
    Ok(())
}
