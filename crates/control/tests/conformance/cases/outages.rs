//! A remote API server that is down, hangs, talks nonsense or refuses; and the own one that is down.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tombolo_judge::Cluster;

use super::cases;
use crate::conformance::liar::Liar;
use crate::conformance::objects::{self, EXPORTED};
use crate::conformance::relay::{Passage, Relay};
use crate::conformance::world::World;

cases!["outages":
    a_remote_api_that_breaks_changes_nothing_and_is_heard_again,
    a_remote_api_that_hangs_changes_nothing_and_is_heard_again,
    a_remote_api_that_talks_nonsense_changes_nothing_and_is_heard_again,
    a_cluster_that_is_down_when_it_is_linked_is_mirrored_when_it_comes,
    a_restart_while_the_remote_api_is_down_keeps_its_mirrors,
    a_remote_api_that_refuses_changes_nothing_and_is_heard_again,
    a_link_that_fails_keeps_no_other_waiting,
    a_remote_api_that_restarts_is_heard_again,
    the_own_api_may_be_down_and_come_back,
    a_remote_api_that_says_what_is_not_so_changes_nothing,
    a_remote_api_that_is_stopped_changes_nothing_and_is_heard_again,
];

/// The Link `remote` through a relay.
async fn linked(w: &World, passage: Passage) -> Result<Relay> {
    let relay = Relay::to(w.r.cluster.address()).await?;
    relay.set(passage);
    let mut access = w.access.clone();
    access["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", relay.address));
    let name = w.r.cluster.address().ip().to_string();
    access["clusters"][0]["cluster"]["tls-server-name"] = json!(name);
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    Ok(relay)
}

async fn through(w: &World, passage: Passage) -> Result<()> {
    // F13
    let relay = linked(w, Passage::Open).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.ready("api", &["10.2.0.2"]).await?;
    w.export("api", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let mut talk = w.talk("api-remote:555").await?;
    talk.reaches(&["10.2.0.2:555"]).await?;
    relay.set(passage);
    w.says("remote", "Synced", "False").await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.ready("api", &["10.2.0.3"]).await?;
    w.mirror("web-remote").await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    talk.is_silent().await?;
    w.talk("api-remote:555")
        .await?
        .reaches(&["10.2.0.2:555"])
        .await?;
    relay.set(Passage::Open);
    talk.reaches(&["10.2.0.3:555"]).await?;
    w.gone("web-remote").await?;
    w.says("remote", "Synced", "True").await.map(drop)
}

async fn a_remote_api_that_breaks_changes_nothing_and_is_heard_again(w: &mut World) -> Result<()> {
    through(w, Passage::Broken).await
}

async fn a_remote_api_that_hangs_changes_nothing_and_is_heard_again(w: &mut World) -> Result<()> {
    through(w, Passage::Frozen).await
}

async fn a_remote_api_that_talks_nonsense_changes_nothing_and_is_heard_again(
    w: &mut World,
) -> Result<()> {
    through(w, Passage::Nonsense).await
}

async fn a_cluster_that_is_down_when_it_is_linked_is_mirrored_when_it_comes(
    w: &mut World,
) -> Result<()> {
    // F14
    w.export("web", json!({EXPORTED: "true"})).await?;
    let relay = linked(w, Passage::Broken).await?;
    w.says("remote", "Synced", "False").await?;
    w.absent("web-remote").await?;
    relay.set(Passage::Open);
    w.mirror("web-remote").await.map(drop)
}

async fn a_restart_while_the_remote_api_is_down_keeps_its_mirrors(w: &mut World) -> Result<()> {
    let relay = linked(w, Passage::Open).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export(
        "web",
        json!({EXPORTED: "true", objects::FEDERATED: "member"}),
    )
    .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.mirror("web-federated").await?;
    relay.set(Passage::Broken);
    w.stop_control().await?;
    w.start_control();
    w.says("remote", "Synced", "False").await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.mirror("web-federated").await?;
    w.talk("web-remote:555")
        .await?
        .reaches(&["192.0.2.127:888"])
        .await?;
    relay.set(Passage::Open);
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await
}

async fn a_remote_api_that_refuses_changes_nothing_and_is_heard_again(w: &mut World) -> Result<()> {
    // F15
    w.provokes = true;
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let name = "tombolo-remote-access";
    let binding =
        w.r.get("ClusterRoleBinding", "", name)
            .await?
            .context("it is bound")?;
    w.r.delete("ClusterRoleBinding", "", name).await?;
    // New watches are refused, old ones go on: a new token opens new ones.
    let fresh = w.r.access("tombolo", "remote-access").await?;
    w.l.apply(objects::credentials("remote", &fresh)).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.l.apply(objects::service(
        &w.ns,
        "local",
        json!({objects::FEDERATED: "member"}),
    ))
    .await?;
    w.mirror("local-federated").await?;
    w.mirror("web-remote").await?;
    let again = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name}, "roleRef": binding["roleRef"], "subjects": binding["subjects"],
    });
    w.r.apply(again).await?;
    w.mirror("api-remote").await.map(drop)
}

async fn a_link_that_fails_keeps_no_other_waiting(w: &mut World) -> Result<()> {
    let mut access: Value = w.access.clone();
    access["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    w.l.apply(objects::credentials("gone", &access)).await?;
    w.relink("gone", |_| ()).await?;
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let condition = w.says("gone", "Synced", "False").await?;
    ensure!(
        condition["message"].as_str().is_some_and(|m| !m.is_empty()),
        "{condition}"
    );
    Ok(())
}

async fn a_remote_api_that_restarts_is_heard_again(w: &mut World) -> Result<()> {
    // The real one knows no roles yet when it answers again.
    w.provokes = true;
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.r.stop_api().await;
    w.says("remote", "Synced", "False").await?;
    w.mirror("web-remote").await?;
    w.r.start_api().await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.mirror("api-remote").await.map(drop)
}

async fn the_own_api_may_be_down_and_come_back(w: &mut World) -> Result<()> {
    // The real one knows no roles yet when it answers again.
    w.provokes = true;
    w.link(|_| ()).await?;
    w.ready("api", &["10.2.0.2"]).await?;
    w.export("api", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.talk("api-remote:555")
        .await?
        .reaches(&["10.2.0.2:555"])
        .await?;
    w.l.stop_api().await;
    w.ready("api", &["10.2.0.3"]).await?;
    w.talk("api-remote:555")
        .await?
        .reaches(&["10.2.0.3:555"])
        .await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.l.start_api().await?;
    w.mirror("web-remote").await.map(drop)
}

/// All with status 200.
const LIES: [&str; 9] = [
    "<html>please log in</html>",
    "{}",
    "null",
    r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[]}"#,
    r#"{"metadata":{"resourceVersion":"9"},"items":[]}"#,
    r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[{"metadata""#,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#,
    r#"{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"NS"}}}"#,
    r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Gone","message":"too old"}}"#,
];

async fn a_remote_api_that_says_what_is_not_so_changes_nothing(w: &mut World) -> Result<()> {
    let liar = Liar::before(w.r.client.clone()).await?;
    let mut access = w.access.clone();
    let server = format!("https://{}", liar.address);
    access["clusters"][0]["cluster"] = json!({"server": server, "insecure-skip-tls-verify": true});
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export(
        "web",
        json!({EXPORTED: "true", objects::FEDERATED: "member"}),
    )
    .await?;
    w.ready("api", &["10.2.0.2"]).await?;
    w.export("api", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let mut talk = w.talk("api-remote:555").await?;
    talk.reaches(&["10.2.0.2:555"]).await?;
    let before = [
        w.mirror("web-remote").await?,
        w.mirror("api-remote").await?,
        w.mirror("web-federated").await?,
    ];
    for lie in LIES {
        liar.says(Some(lie));
        // Long enough for several watches to be opened anew.
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        for mirror in &before {
            let name = mirror["metadata"]["name"].as_str().unwrap_or_default();
            ensure!(w.mirror(name).await? == *mirror, "{name} after {lie}");
        }
        w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
            .await?;
        talk.is_silent().await.with_context(|| lie.to_owned())?;
    }
    liar.says(None);
    w.ready("api", &["10.2.0.3"]).await?;
    talk.reaches(&["10.2.0.3:555"]).await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await?;
    w.gone("web-federated").await
}

async fn a_remote_api_that_is_stopped_changes_nothing_and_is_heard_again(
    w: &mut World,
) -> Result<()> {
    // Ours has no process of its own that could be stopped.
    let Cluster::Real(_) = &w.r.cluster else {
        return Ok(());
    };
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    if let Cluster::Real(real) = &w.r.cluster {
        real.freeze_api()?;
    }
    let said = w.says("remote", "Synced", "False").await;
    let stays = w
        .has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await;
    if let Cluster::Real(real) = &w.r.cluster {
        real.thaw_api()?;
    }
    said?;
    stays?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await?;
    w.says("remote", "Synced", "True").await.map(drop)
}
