//! A world in which nothing changes: for a minute nothing is written, to either cluster.
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tombolo_judge::Kind;

use super::objects::{self, EXPORTED, FEDERATED};
use super::site::Site;
use super::world::World;

pub(crate) const NAME: &str = "real::steady::nothing_is_written_for_a_minute";
const MINUTE: Duration = Duration::from_secs(60);
/// What nobody but the control plane writes here.
const RESOURCES: [&str; 5] = ["services", "endpointslices", "links", "events", "endpoints"];
const WRITES: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];

/// Only the real one counts requests.
pub(crate) async fn nothing_is_written_for_a_minute() -> Result<()> {
    let mut w = World::start(Kind::Real).await?;
    w.prepare().await?;
    fill(&w).await?;
    // The last of what the world was filled with.
    let mut quiet = writes(&w).await?;
    let counts = async |_: &Site| {
        let before = writes(&w).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok((writes(&w).await? == before).then_some(before))
    };
    quiet = quiet.max(w.l.eventually("the world settles", counts).await?);
    let before = w.versions().await?;
    tokio::time::sleep(MINUTE).await;
    let after = writes(&w).await?;
    ensure!(after == quiet, "{} writes in a minute", after - quiet);
    ensure!(w.versions().await? == before);
    w.clean().await?;
    w.end().await
}

/// One of everything that is mirrored, and of what cannot be; the gateway is down all the time.
async fn fill(w: &World) -> Result<()> {
    for (name, labels) in [
        ("web", json!({EXPORTED: "true", FEDERATED: "member"})),
        ("api", json!({EXPORTED: "remote-discovery"})),
        ("taken", json!({EXPORTED: "true"})),
    ] {
        w.export(name, labels).await?;
        w.ready(name, &["10.2.0.1"]).await?;
    }
    let mut headless = objects::service(&w.ns, "db", json!({EXPORTED: "true"}));
    headless["spec"]["clusterIP"] = json!("None");
    w.r.apply(headless).await?;
    let mut hosts = objects::slice(&w.ns, "db", &["10.2.0.2"]);
    hosts["endpoints"][0]["hostname"] = json!("db-0");
    w.r.apply(hosts).await?;
    let user = objects::service(&w.ns, "taken-remote", json!({"of": "a-user"}));
    w.l.apply(user).await?;
    let member = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    w.l.apply(member).await?;
    let there = format!("{}-there", w.ns);
    w.r.apply(objects::namespace(&there)).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.link(|spec| {
        spec["probeSpec"] = json!({"path": "/probe", "port": "12345", "period": "1s", "timeout": "1s", "failureThreshold": "1"});
    })
    .await?;
    w.mirror("db-0-remote").await?;
    w.says("remote", "GatewayAlive", "False").await?;
    w.entry("mirrorServices", "taken", ("False", "NameConflict"))
        .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn writes(w: &World) -> Result<f64> {
    let has = |line: &str, label: &str, values: &[&str]| {
        let is = |value: &&str| line.contains(&format!("{label}=\"{value}\""));
        values.iter().any(is)
    };
    let counted = |line: &str| {
        line.starts_with("apiserver_request_total{")
            && has(line, "resource", &RESOURCES)
            && has(line, "verb", &WRITES)
    };
    Ok(w.l.sum(counted).await? + w.r.sum(counted).await?)
}
