//! Namespaces that are not there, or not yet.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{cases, secrets};
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LINKS};
use crate::conformance::site::Site;
use crate::conformance::world::World;

cases!["namespaces":
    a_missing_namespace_is_said_and_not_made,
    what_waited_for_its_namespace_is_mirrored_when_it_comes,
    what_waited_for_its_namespace_is_federated_when_it_comes,
    a_missing_namespace_keeps_nothing_else_from_being_mirrored,
    the_event_is_written_once,
    the_owner_of_the_service_is_told_beside_it,
];

/// A namespace in the remote cluster only.
async fn there(w: &World) -> Result<String> {
    let name = format!("{}-there", w.ns);
    w.r.apply(objects::namespace(&name)).await?;
    Ok(name)
}

async fn condition(w: &World, list: &str, namespace: &str) -> Result<Value> {
    w.l.eventually(
        "the Link says that the namespace is missing",
        async |s: &Site| {
            let link = s
                .get("Link", LINKS, "remote")
                .await?
                .context("the Link is there")?;
            let entries = link["status"][list].as_array().cloned().unwrap_or_default();
            let mut of_it = entries
                .iter()
                .filter(|e| e["remoteRef"]["namespace"] == namespace);
            let condition = of_it.next().map(|e| e["conditions"][0].clone());
            Ok(condition.filter(|c| c["reason"] == "MissingNamespace"))
        },
    )
    .await
}

async fn a_missing_namespace_is_said_and_not_made(w: &mut World) -> Result<()> {
    // A2
    let there = there(w).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.link(|_| ()).await?;
    let condition = condition(w, "mirrorServices", &there).await?;
    ensure!(
        condition["status"] == "False" && condition["message"] == "Namespace does not exist",
        "{condition}"
    );
    ensure!(w.l.get("Namespace", "", &there).await?.is_none());
    Ok(())
}

async fn what_waited_for_its_namespace_is_mirrored_when_it_comes(w: &mut World) -> Result<()> {
    // A2
    let there = there(w).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.r.apply(objects::service(
        &there,
        "api",
        json!({EXPORTED: "remote-discovery"}),
    ))
    .await?;
    w.link(|_| ()).await?;
    condition(w, "mirrorServices", &there).await?;
    w.l.apply(objects::namespace(&there)).await?;
    w.l.service(&there, "web-remote").await?;
    w.l.service(&there, "api-remote").await.map(drop)
}

async fn what_waited_for_its_namespace_is_federated_when_it_comes(w: &mut World) -> Result<()> {
    let there = there(w).await?;
    w.r.apply(objects::service(
        &there,
        "web",
        json!({FEDERATED: "member"}),
    ))
    .await?;
    w.link(|_| ()).await?;
    condition(w, "federatedServices", &there).await?;
    w.l.apply(objects::namespace(&there)).await?;
    w.l.service(&there, "web-federated").await.map(drop)
}

async fn a_missing_namespace_keeps_nothing_else_from_being_mirrored(w: &mut World) -> Result<()> {
    let there = there(w).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn the_event_is_written_once(w: &mut World) -> Result<()> {
    // A2
    let there = there(w).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.link(|_| ()).await?;
    condition(w, "mirrorServices", &there).await?;
    let told = async |s: &Site| {
        let events = s.list("Event", LINKS, "").await?;
        let of_it = |e: &&Value| e["message"].as_str().is_some_and(|m| m.contains(&there));
        let told: Vec<Value> = events.iter().filter(of_it).cloned().collect();
        Ok((!told.is_empty()).then_some(told))
    };
    w.l.eventually("an Event tells of it", told).await?;
    w.settle().await?;
    let events = told(&w.l).await?.context("still there")?;
    ensure!(events.len() == 1, "{events:?}");
    ensure!(
        events[0]["reason"] == "ServiceMirroringSkipped" && events[0]["type"] == "Normal",
        "{events:?}"
    );
    let message = events[0]["message"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with("Skipped mirroring service: namespace does not exist"),
        "{message}"
    );
    Ok(())
}

async fn the_owner_of_the_service_is_told_beside_it(w: &mut World) -> Result<()> {
    // A2, where the credentials may write Events: those of Links that Linkerd made
    let there = there(w).await?;
    let service = objects::service(&there, "web", json!({EXPORTED: "true"}));
    let service = w.r.apply(service).await?;
    let access = secrets::of_linkerd(w).await?;
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    let told = async |s: &Site| {
        let events = s.list("Event", &there, "").await?;
        Ok((!events.is_empty()).then_some(events))
    };
    w.r.eventually("an Event tells of it", told).await?;
    w.stop_control().await?;
    w.start_control();
    w.settle().await?;
    let events = told(&w.r).await?.context("still there")?;
    ensure!(events.len() == 1, "{events:?}");
    let event = &events[0];
    for (pointer, want) in [
        ("/type", "Normal"),
        ("/reason", "ServiceMirroringSkipped"),
        (
            "/message",
            "Skipped mirroring service: namespace does not exist",
        ),
        ("/source/component", "linkerd-service-mirror-remote"),
        ("/involvedObject/kind", "Service"),
        ("/involvedObject/name", "web"),
    ] {
        ensure!(
            event.pointer(pointer) == Some(&json!(want)),
            "{pointer} in {event}"
        );
    }
    ensure!(
        event["involvedObject"]["uid"] == service["metadata"]["uid"],
        "{event}"
    );
    Ok(())
}
