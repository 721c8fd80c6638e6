//! A control plane that was away.
use anyhow::{Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LINKS, REMOTE};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map};

cases!["restarts":
    nothing_is_written_because_of_a_restart,
    what_was_exported_meanwhile_is_mirrored,
    what_was_deleted_meanwhile_goes,
    what_left_meanwhile_leaves,
    a_link_that_was_deleted_meanwhile_takes_its_mirrors_with_it,
    what_changed_meanwhile_is_followed,
    discovery_answers_again,
];

async fn nothing_is_written_because_of_a_restart(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let link = async |w: &World| w.l.get("Link", LINKS, "remote").await;
    // By then it is known which cluster that is, too.
    let whole = async |s: &Site| {
        let link = s.get("Link", LINKS, "remote").await?;
        Ok(link.filter(|link| link["status"]["clusterUid"].is_string()))
    };
    w.l.eventually("the cluster is known", whole).await?;
    let before = (w.mirror("web-remote").await?, link(w).await?);
    w.stop_control().await?;
    w.start_control();
    // Its status would be written after what it is about.
    w.says("remote", "Synced", "True").await?;
    w.talk("web-remote:555").await?.next().await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let after = (w.mirror("web-remote").await?, link(w).await?);
    ensure!(before == after, "{before:?} {after:?}");
    Ok(())
}

async fn what_was_exported_meanwhile_is_mirrored(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.settle().await?;
    w.stop_control().await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.start_control();
    w.mirror("web-remote").await.map(drop)
}

async fn what_was_deleted_meanwhile_goes(w: &mut World) -> Result<()> {
    // A11
    w.link(|_| ()).await?;
    w.export("one", json!({EXPORTED: "true"})).await?;
    w.export("two", json!({EXPORTED: "true"})).await?;
    w.mirror("one-remote").await?;
    w.mirror("two-remote").await?;
    w.stop_control().await?;
    w.r.delete("Service", &w.ns, "two").await?;
    w.start_control();
    w.gone("two-remote").await?;
    w.mirror("one-remote").await.map(drop)
}

async fn what_left_meanwhile_leaves(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.until("web-federated", "has the remote member", |s| {
        map(s, "annotations").contains_key(REMOTE)
    })
    .await?;
    w.stop_control().await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.start_control();
    w.until("web-federated", "has the local member only", |s| {
        !map(s, "annotations").contains_key(REMOTE)
    })
    .await
    .map(drop)
}

async fn a_link_that_was_deleted_meanwhile_takes_its_mirrors_with_it(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.stop_control().await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.start_control();
    w.gone("web-remote").await
}

async fn what_changed_meanwhile_is_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.stop_control().await?;
    w.label("web", json!({"new": "1"})).await?;
    w.ready("web", &[]).await?;
    w.start_control();
    w.until("web-remote", "has the new label", |s| {
        map(s, "labels").contains_key("new")
    })
    .await?;
    w.has_addresses("web-remote", &[]).await
}

async fn discovery_answers_again(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.talk("web-remote:555")
        .await?
        .reaches(&["10.2.0.1:555"])
        .await?;
    w.stop_control().await?;
    w.start_control();
    w.talk("web-remote:555")
        .await?
        .reaches(&["10.2.0.1:555"])
        .await
}
