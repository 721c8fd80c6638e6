//! What changes in the remote cluster, and what somebody changes of ours.
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::{self, EXPORTED, REMOTE};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map, ports};

cases!["repair":
    what_does_not_change_is_not_written,
    a_deleted_mirror_is_made_again,
    deleted_endpoints_are_made_again,
    an_edited_mirror_is_set_right,
    edited_endpoints_are_set_right,
    what_users_add_to_a_mirror_stays,
    endpoints_come_and_go_with_readiness,
    an_unready_endpoint_is_none,
    gateway_to_flat_and_back,
];

async fn what_does_not_change_is_not_written(w: &mut World) -> Result<()> {
    // A12 c, F32
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export(
        "web",
        json!({EXPORTED: "true", objects::FEDERATED: "member"}),
    )
    .await?;
    w.mirror("web-federated").await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let before = w.quiet().await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let after = w.versions().await?;
    ensure!(before == after, "{before:?} {after:?}");
    Ok(())
}

async fn endpoints_come_and_go_with_readiness(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let up = ["192.0.2.127:888 up"; 2];
    w.ready("web", &["10.2.0.1"]).await?;
    w.has_addresses("web-remote", &up).await?;
    w.ready("web", &[]).await?;
    w.has_addresses("web-remote", &[]).await?;
    w.ready("web", &["10.2.0.7"]).await?;
    w.has_addresses("web-remote", &up).await?;
    w.r.delete("EndpointSlice", &w.ns, "web-ipv4").await?;
    w.has_addresses("web-remote", &[]).await
}

async fn an_unready_endpoint_is_none(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.2.0.1"]);
    slice["endpoints"][0]["conditions"]["ready"] = json!(false);
    w.r.apply(slice.clone()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.settle().await?;
    w.has_addresses("web-remote", &[]).await?;
    slice["endpoints"][0]["conditions"]["ready"] = json!(true);
    w.r.apply(slice).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn gateway_to_flat_and_back(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.label("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.until("web-remote", "is flat", |s| {
        map(s, "labels").contains_key(REMOTE)
    })
    .await?;
    w.has_addresses("web-remote", &[]).await?;
    w.label("web", json!({EXPORTED: "true"})).await?;
    w.until("web-remote", "is none", |s| {
        !map(s, "labels").contains_key(REMOTE)
    })
    .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_deleted_mirror_is_made_again(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let first = w.mirror("web-remote").await?;
    w.l.delete("Service", &w.ns, "web-remote").await?;
    w.until("web-remote", "is another", |s| {
        s["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await
    .map(drop)
}

async fn deleted_endpoints_are_made_again(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let slice = w.slices("web-remote").await?.remove(0);
    let name = slice["metadata"]["name"].as_str().context("a name")?;
    w.l.delete("EndpointSlice", &w.ns, name).await?;
    w.l.eventually("there is another slice", async |_: &Site| {
        let slices = w.slices("web-remote").await?;
        Ok(slices
            .iter()
            .any(|s| s["metadata"]["uid"] != slice["metadata"]["uid"])
            .then_some(()))
    })
    .await
}

async fn an_edited_mirror_is_set_right(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", "lk": "lv"}))
        .await?;
    w.mirror("web-remote").await?;
    let patch = json!({"metadata": {"labels": {"lk": "edited"}}, "spec": {"ports": [{"name": "x", "port": 1}]}});
    w.l.merge(("Service", &w.ns, "web-remote"), patch).await?;
    w.until("web-remote", "is right again", |s| {
        map(s, "labels").get("lk").map(String::as_str) == Some("lv")
            && ports(s).contains(&"port1/555/TCP".to_owned())
    })
    .await
    .map(drop)
}

async fn edited_endpoints_are_set_right(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let slice = w.slices("web-remote").await?.remove(0);
    let name = slice["metadata"]["name"].as_str().context("a name")?;
    w.l.merge(
        ("EndpointSlice", &w.ns, name),
        json!({"endpoints": [{"addresses": ["192.0.2.1"]}]}),
    )
    .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn what_users_add_to_a_mirror_stays(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let patch = json!({"metadata": {"labels": {"mine": "1"}, "annotations": {"mine": "2"}}});
    w.l.merge(("Service", &w.ns, "web-remote"), patch).await?;
    w.label("web", json!({"x": "y"})).await?;
    let now = w
        .until("web-remote", "has the new label", |s| {
            map(s, "labels").contains_key("x")
        })
        .await?;
    ensure!(
        map(&now, "labels").contains_key("mine") && map(&now, "annotations").contains_key("mine"),
        "{now}"
    );
    Ok(())
}
