//! Names that are taken.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{self, CLUSTER, EXPORTED, FEDERATED, MIRRORED, RESOURCE_VERSION};
use crate::conformance::world::{World, map};

cases!["collisions":
    a_service_of_a_user_is_never_touched,
    a_service_of_a_user_survives_the_remote_one,
    a_service_of_a_user_that_only_looks_like_a_mirror_stays,
    a_name_that_becomes_free_is_taken,
    a_federated_name_of_a_user_is_refused,
    a_federated_service_of_a_user_survives_its_members,
    two_clusters_that_give_one_name,
    a_cluster_called_federated,
    a_name_that_is_too_long_is_refused,
    deleting_the_link_leaves_what_users_made,
];

async fn of_a_user(w: &World, name: &str) -> Result<Value> {
    w.l.apply(objects::service(&w.ns, name, json!({"of": "a-user"})))
        .await
}

async fn same(w: &World, before: &Value) -> Result<()> {
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    let now = w.mirror(name).await?;
    ensure!(
        now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"],
        "{now}"
    );
    Ok(())
}

async fn a_service_of_a_user_is_never_touched(w: &mut World) -> Result<()> {
    // F3
    let before = of_a_user(w, "web-remote").await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    let condition = w
        .entry("mirrorServices", "web", ("False", "NameConflict"))
        .await?;
    ensure!(
        condition["message"]
            .as_str()
            .is_some_and(|m| m.contains("web-remote")),
        "{condition}"
    );
    ensure!(condition.get("localRef").is_none(), "{condition}");
    ensure!(w.slices("web-remote").await?.is_empty());
    same(w, &before).await
}

async fn a_service_of_a_user_survives_the_remote_one(w: &mut World) -> Result<()> {
    // F3
    let before = of_a_user(w, "web-remote").await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.entry("mirrorServices", "web", ("False", "NameConflict"))
        .await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.no_entry("mirrorServices", "web").await?;
    w.settle().await?;
    same(w, &before).await
}

async fn a_service_of_a_user_that_only_looks_like_a_mirror_stays(w: &mut World) -> Result<()> {
    let mut service = objects::service(
        &w.ns,
        "web-remote",
        json!({MIRRORED: "true", CLUSTER: "remote"}),
    );
    service["metadata"]["annotations"] = json!({RESOURCE_VERSION: "1"});
    let before = w.l.apply(service).await?;
    w.link(|_| ()).await?;
    w.settle().await?;
    same(w, &before).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.entry("mirrorServices", "web", ("False", "NameConflict"))
        .await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.settle().await?;
    same(w, &before).await
}

async fn a_name_that_becomes_free_is_taken(w: &mut World) -> Result<()> {
    of_a_user(w, "web-remote").await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.entry("mirrorServices", "web", ("False", "NameConflict"))
        .await?;
    w.l.delete("Service", &w.ns, "web-remote").await?;
    w.until("web-remote", "is a mirror", |s| {
        map(s, "labels").contains_key(MIRRORED)
    })
    .await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn a_federated_name_of_a_user_is_refused(w: &mut World) -> Result<()> {
    // F4
    let before = of_a_user(w, "web-federated").await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.link(|_| ()).await?;
    w.entry("federatedServices", "web", ("False", "NameConflict"))
        .await?;
    same(w, &before).await
}

async fn a_federated_service_of_a_user_survives_its_members(w: &mut World) -> Result<()> {
    let before = of_a_user(w, "web-federated").await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.link(|_| ()).await?;
    w.entry("federatedServices", "web", ("False", "NameConflict"))
        .await?;
    w.label("web", json!({FEDERATED: null})).await?;
    w.no_entry("federatedServices", "web").await?;
    w.settle().await?;
    same(w, &before).await
}

async fn two_clusters_that_give_one_name(w: &mut World) -> Result<()> {
    // 10.3 (17): `a` in cluster `b-c` and `a-b` in cluster `c`
    w.export("a", json!({EXPORTED: "true"})).await?;
    w.export("a-b", json!({EXPORTED: "true"})).await?;
    w.link_named("b-c", |_| ()).await?;
    w.entry_of("b-c", "mirrorServices", "a", ("True", "Mirrored"))
        .await?;
    let before = w.mirror("a-b-c").await?;
    w.link_named("c", |_| ()).await?;
    w.entry_of("c", "mirrorServices", "a-b", ("False", "NameConflict"))
        .await?;
    w.entry_of("c", "mirrorServices", "a", ("True", "Mirrored"))
        .await?;
    same(w, &before).await
}

async fn a_cluster_called_federated(w: &mut World) -> Result<()> {
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.link_named("federated", |_| ()).await?;
    w.entry_of(
        "federated",
        "federatedServices",
        "web",
        ("True", "Mirrored"),
    )
    .await?;
    w.entry_of(
        "federated",
        "mirrorServices",
        "web",
        ("False", "NameConflict"),
    )
    .await
    .map(drop)
}

async fn a_name_that_is_too_long_is_refused(w: &mut World) -> Result<()> {
    // F27
    let long = "x".repeat(60);
    w.export(&long, json!({EXPORTED: "true"})).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.entry("mirrorServices", &long, ("False", "NameTooLong"))
        .await?;
    w.mirror("web-remote").await.map(drop)
}

async fn deleting_the_link_leaves_what_users_made(w: &mut World) -> Result<()> {
    let before = of_a_user(w, "web-remote").await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.mirror("api-remote").await?;
    w.l.delete("Link", objects::LINKS, "remote").await?;
    w.gone("api-remote").await?;
    same(w, &before).await
}
