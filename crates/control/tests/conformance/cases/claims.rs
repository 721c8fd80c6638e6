//! Who has a name, at the edges.
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LINKS};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map};

cases!["claims":
    a_name_of_just_the_length_is_mirrored,
    a_federated_name_that_is_too_long_is_said,
    a_host_whose_name_a_user_has,
    two_headless_services_with_one_host_name,
    slices_of_a_user_stay,
    a_name_goes_to_the_other_link_when_the_first_is_deleted,
    unexported_while_its_namespace_is_missing,
    a_namespace_that_ends_keeps_nothing_else_waiting,
];

async fn a_name_of_just_the_length_is_mirrored(w: &mut World) -> Result<()> {
    // F27, N1: 63 bytes are a name, 64 none
    w.link(|_| ()).await?;
    let (fits, long) = ("x".repeat(56), "y".repeat(57));
    w.export(&long, json!({EXPORTED: "true"})).await?;
    w.export(&fits, json!({EXPORTED: "true"})).await?;
    w.mirror(&format!("{fits}-remote")).await?;
    w.entry("mirrorServices", &long, ("False", "NameTooLong"))
        .await
        .map(drop)
}

async fn a_federated_name_that_is_too_long_is_said(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let long = "x".repeat(54);
    w.export(&long, json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.entry("federatedServices", &long, ("False", "NameTooLong"))
        .await?;
    w.entry("mirrorServices", &long, ("True", "Mirrored"))
        .await
        .map(drop)
}

/// A headless Service of one host.
pub(super) async fn headless(w: &World, name: &str, host: &str) -> Result<()> {
    let mut service = objects::service(&w.ns, name, json!({EXPORTED: "true"}));
    service["spec"]["clusterIP"] = json!("None");
    w.r.apply(service).await?;
    let mut slice = objects::slice(&w.ns, name, &["10.2.0.1"]);
    slice["endpoints"][0]["hostname"] = json!(host);
    w.r.apply(slice).await.map(drop)
}

async fn a_host_whose_name_a_user_has(w: &mut World) -> Result<()> {
    // F3, for hosts
    let user = objects::service(&w.ns, "pod-0-remote", json!({"of": "a-user"}));
    let before = w.l.apply(user).await?;
    w.link(|_| ()).await?;
    headless(w, "two", "pod-0").await?;
    w.mirror("two-remote").await?;
    w.settle().await?;
    w.r.delete("Service", &w.ns, "two").await?;
    w.gone("two-remote").await?;
    let after = w.mirror("pod-0-remote").await?;
    ensure!(before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]);
    Ok(())
}

async fn two_headless_services_with_one_host_name(w: &mut World) -> Result<()> {
    // 10.3 (17): "two headless Services with equal pod hostnames share endpoint mirrors"
    const ROOT: &str = "mirror.linkerd.io/headless-mirror-svc-name";
    w.link(|_| ()).await?;
    headless(w, "one", "pod-0").await?;
    w.mirror("pod-0-remote").await?;
    headless(w, "two", "pod-0").await?;
    w.mirror("two-remote").await?;
    w.settle().await?;
    let before = w.mirror("pod-0-remote").await?;
    ensure!(map(&before, "labels")[ROOT] == "one-remote", "{before}");
    w.settle().await?;
    ensure!(w.mirror("pod-0-remote").await? == before);
    w.r.delete("Service", &w.ns, "one").await?;
    w.until("pod-0-remote", "is of the other", |s| {
        map(s, "labels")[ROOT] == "two-remote"
    })
    .await
    .map(drop)
}

async fn slices_of_a_user_stay(w: &mut World) -> Result<()> {
    // architecture: "nothing that a user or another program made is ever overwritten or deleted"
    let mut slice = objects::slice(&w.ns, "web-remote", &["10.1.0.77"]);
    slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = json!("a-user");
    let before = w.l.apply(slice).await?;
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await?;
    w.settle().await?;
    let name = before["metadata"]["name"].as_str().context("a name")?;
    let after = w.l.get("EndpointSlice", &w.ns, name).await?;
    ensure!(after.is_some_and(|after| after["endpoints"] == before["endpoints"]));
    Ok(())
}

async fn a_name_goes_to_the_other_link_when_the_first_is_deleted(w: &mut World) -> Result<()> {
    // 10.3 (17)
    w.export("a", json!({EXPORTED: "true"})).await?;
    w.export("a-b", json!({EXPORTED: "true"})).await?;
    w.link_named("b-c", |_| ()).await?;
    w.entry_of("b-c", "mirrorServices", "a", ("True", "Mirrored"))
        .await?;
    w.link_named("c", |_| ()).await?;
    w.entry_of("c", "mirrorServices", "a-b", ("False", "NameConflict"))
        .await?;
    w.l.delete("Link", LINKS, "b-c").await?;
    w.entry_of("c", "mirrorServices", "a-b", ("True", "Mirrored"))
        .await?;
    w.until("a-b-c", "is of the other cluster", |s| {
        map(s, "labels")[objects::CLUSTER] == "c"
    })
    .await
    .map(drop)
}

async fn unexported_while_its_namespace_is_missing(w: &mut World) -> Result<()> {
    // A2, F11
    let there = format!("{}-there", w.ns);
    w.r.apply(objects::namespace(&there)).await?;
    w.link(|_| ()).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    let entries = async |s: &Site| {
        let link = s.get("Link", LINKS, "remote").await?.context("a Link")?;
        let list = link["status"]["mirrorServices"].as_array().cloned();
        Ok::<_, anyhow::Error>(list.unwrap_or_default().len())
    };
    w.l.eventually("it is said", async |s: &Site| {
        Ok((entries(s).await? == 1).then_some(()))
    })
    .await?;
    w.r.delete("Service", &there, "web").await?;
    w.l.eventually("it is said no more", async |s: &Site| {
        Ok((entries(s).await? == 0).then_some(()))
    })
    .await?;
    w.l.apply(objects::namespace(&there)).await?;
    w.settle().await?;
    ensure!(w.l.get("Service", &there, "web-remote").await?.is_none());
    Ok(())
}

async fn a_namespace_that_ends_keeps_nothing_else_waiting(w: &mut World) -> Result<()> {
    // Nothing can be made in it; without controllers it stays so for ever.
    let ends = format!("{}-ends", w.ns);
    w.l.apply(objects::namespace(&ends)).await?;
    w.r.apply(objects::namespace(&ends)).await?;
    w.link(|_| ()).await?;
    w.r.apply(objects::service(&ends, "web", json!({EXPORTED: "true"})))
        .await?;
    w.l.service(&ends, "web-remote").await?;
    w.l.delete("Namespace", "", &ends).await?;
    w.r.apply(objects::service(&ends, "late", json!({EXPORTED: "true"})))
        .await?;
    w.settle().await?;
    let said = async |s: &Site| {
        let link = s.get("Link", LINKS, "remote").await?.context("a Link")?;
        let list = link["status"]["mirrorServices"].as_array().cloned();
        let late = list.unwrap_or_default().into_iter();
        let mut late = late.filter(|e| e["remoteRef"]["name"] == "late");
        Ok(late
            .next()
            .filter(|e| e["conditions"][0]["status"] == "False"))
    };
    w.l.eventually("it is said", said).await?;
    // Asked for a while later, it is not tried all the time.
    let refused = async || w.l.metric("code=\"403\"").await;
    let before = refused().await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let tried = refused().await? - before;
    ensure!(tried <= 8.0, "tried {tried} times in 2 s");
    w.r.delete("Service", &ends, "web").await?;
    w.l.gone("Service", &ends, "web-remote").await
}
