//! What `GetProfile` says.
use anyhow::{Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::{self, EXPORTED};
use crate::conformance::world::World;

cases!["profiles":
    a_profile_names_the_service,
    a_profile_says_that_a_port_is_opaque,
    a_profile_of_an_address_is_that_of_its_service,
    a_mirror_keeps_the_opaque_ports_of_its_service,
];

async fn web(w: &World, ips: &[&str]) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    w.l.apply(objects::slice(&w.ns, "web", ips)).await.map(drop)
}

async fn a_profile_names_the_service(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    w.talk("web:555").await?;
    let profile = w.client()?.profile(&w.authority("web:555")).await?;
    ensure!(
        profile.fully_qualified_name == format!("web.{}.svc.cluster.local", w.ns),
        "{profile:?}"
    );
    ensure!(
        !profile.opaque_protocol && profile.parent_ref.is_some() && profile.retry_budget.is_some(),
        "{profile:?}"
    );
    let undeclared = w.client()?.profile(&w.authority("web:1")).await?;
    ensure!(undeclared.fully_qualified_name.is_empty(), "{undeclared:?}");
    let missing = w.client()?.profile(&w.authority("nobody:1")).await;
    ensure!(missing.is_err());
    Ok(())
}

async fn a_profile_says_that_a_port_is_opaque(w: &mut World) -> Result<()> {
    let mut service = objects::service(&w.ns, "web", json!({}));
    service["metadata"]["annotations"] = json!({"config.linkerd.io/opaque-ports": "666"});
    w.l.apply(service).await?;
    w.talk("web:555").await?;
    let (first, second) = (
        w.client()?.profile(&w.authority("web:555")).await?,
        w.client()?.profile(&w.authority("web:666")).await?,
    );
    ensure!(!first.opaque_protocol && second.opaque_protocol);
    Ok(())
}

async fn a_profile_of_an_address_is_that_of_its_service(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    w.talk("web:555").await?;
    let service = w.mirror("web").await?;
    let ip = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    let profile = w.client()?.profile(&format!("{ip}:555")).await?;
    ensure!(
        profile.fully_qualified_name == format!("web.{}.svc.cluster.local", w.ns),
        "{profile:?}"
    );
    Ok(())
}

async fn a_mirror_keeps_the_opaque_ports_of_its_service(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "remote-discovery"}));
    service["metadata"]["annotations"] = json!({"config.linkerd.io/opaque-ports": "555"});
    w.r.apply(service).await?;
    w.talk("web-remote:555").await?;
    let profile = w.client()?.profile(&w.authority("web-remote:555")).await?;
    ensure!(profile.opaque_protocol, "{profile:?}");
    Ok(())
}
