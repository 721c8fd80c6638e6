//! What a Link's status says.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{EXPORTED, FEDERATED, LINKS};
use crate::conformance::site::Site;
use crate::conformance::world::World;

cases!["status":
    an_entry_says_what_became_of_a_service,
    a_federated_entry_says_where_it_joined,
    an_unexported_service_leaves_the_status,
    the_last_entry_leaves_too,
    a_transition_keeps_its_time_while_nothing_changes,
    entries_are_sorted,
    an_unknown_mode_is_said,
    a_link_that_works_says_so,
    missing_credentials_are_said,
    the_schema_of_linkerd_itself_is_enough,
];

async fn link(w: &World) -> Result<Value> {
    w.l.get("Link", LINKS, "remote")
        .await?
        .context("the Link is there")
}

async fn an_entry_says_what_became_of_a_service(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let condition = w
        .entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    ensure!(
        condition["type"] == "Mirrored" && condition["message"] == "",
        "{condition}"
    );
    let local = &condition["localRef"];
    ensure!(
        local["name"] == "web-remote" && local["namespace"] == *w.ns && local["kind"] == "Service",
        "{local}"
    );
    let link = link(w).await?;
    let entry = &link["status"]["mirrorServices"][0];
    ensure!(
        entry["controllerName"] == "linkerd.io/service-mirror",
        "{entry}"
    );
    ensure!(
        entry["remoteRef"]["kind"] == "Service" && entry["remoteRef"]["group"] == "core",
        "{entry}"
    );
    ensure!(
        entry["conditions"].as_array().map(Vec::len) == Some(1),
        "{entry}"
    );
    Ok(())
}

async fn a_federated_entry_says_where_it_joined(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    let condition = w
        .entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    ensure!(
        condition["localRef"]["name"] == "web-federated",
        "{condition}"
    );
    Ok(())
}

async fn an_unexported_service_leaves_the_status(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.label("web", json!({EXPORTED: null})).await?;
    w.no_entry("mirrorServices", "web").await?;
    w.entry("mirrorServices", "api", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn the_last_entry_leaves_too(w: &mut World) -> Result<()> {
    // F11
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.no_entry("mirrorServices", "web").await?;
    w.no_entry("federatedServices", "web").await
}

async fn a_transition_keeps_its_time_while_nothing_changes(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let before = w
        .entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.entry("mirrorServices", "api", ("True", "Mirrored"))
        .await?;
    let after = w
        .entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    ensure!(before == after, "{before} {after}");
    Ok(())
}

async fn entries_are_sorted(w: &mut World) -> Result<()> {
    for name in ["c", "a", "b"] {
        w.export(name, json!({EXPORTED: "true"})).await?;
    }
    w.link(|_| ()).await?;
    for name in ["a", "b", "c"] {
        w.entry("mirrorServices", name, ("True", "Mirrored"))
            .await?;
    }
    let link = link(w).await?;
    let entries = link["status"]["mirrorServices"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let names: Vec<_> = entries
        .iter()
        .map(|e| e["remoteRef"]["name"].clone())
        .collect();
    ensure!(names == ["a", "b", "c"], "{names:?}");
    Ok(())
}

async fn an_unknown_mode_is_said(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "banana"})).await?;
    w.entry("mirrorServices", "web", ("False", "UnknownMode"))
        .await?;
    w.absent("web-remote").await
}

async fn a_link_that_works_says_so(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.says("remote", "Accepted", "True").await?;
    w.says("remote", "Synced", "True").await.map(drop)
}

async fn missing_credentials_are_said(w: &mut World) -> Result<()> {
    w.relink("remote", |_| ()).await?;
    let condition = w.says("remote", "Accepted", "False").await?;
    ensure!(condition["reason"] == "InvalidCredentials", "{condition}");
    w.link(|_| ()).await?;
    w.says("remote", "Accepted", "True").await.map(drop)
}

/// Linkerd's own definition has neither `conditions` nor `clusterUid` in the status.
async fn the_schema_of_linkerd_itself_is_enough(w: &mut World) -> Result<()> {
    let ours = tombolo_k8s::crd::links_crd();
    let mut theirs = ours.clone();
    for version in theirs["spec"]["versions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let status = version.pointer_mut("/schema/openAPIV3Schema/properties/status/properties");
        if let Some(status) = status.and_then(Value::as_object_mut) {
            status.remove("conditions");
            status.remove("clusterUid");
        }
        if let Some(version) = version.as_object_mut() {
            version.remove("additionalPrinterColumns");
        }
    }
    w.l.apply(theirs).await?;
    let held = with_the_schema_of_linkerd(w).await;
    w.l.apply(ours).await?;
    held
}

async fn with_the_schema_of_linkerd(w: &World) -> Result<()> {
    w.l.eventually("a status has no conditions any more", async |s: &Site| {
        w.link(|_| ()).await?;
        let written = async |s: &Site| {
            let link = s.get("Link", LINKS, "remote").await?;
            Ok(link.filter(|link| link["status"]["mirrorServices"].is_array()))
        };
        let link = s.eventually("a status is written", written).await?;
        if link["status"].get("conditions").is_none() {
            return Ok(Some(()));
        }
        // What was written before the schema changed stays until somebody writes again.
        s.delete("Link", LINKS, "remote").await?;
        Ok(None)
    })
    .await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    let before = link(w).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = link(w).await?;
    ensure!(
        before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"],
        "{before} {after}"
    );
    w.label("web", json!({EXPORTED: null})).await?;
    w.no_entry("mirrorServices", "web").await
}
