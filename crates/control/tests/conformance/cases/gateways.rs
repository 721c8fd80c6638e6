//! Gateways that answer, stop answering, and do so all the time.
use std::net::{IpAddr, UdpSocket};

use anyhow::{Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::EXPORTED;
use crate::conformance::relay::Prober;
use crate::conformance::world::World;

cases!["gateways":
    endpoints_follow_the_gateway,
    a_service_that_comes_while_the_gateway_is_down_waits,
    a_gateway_that_flaps_settles,
    a_gateway_that_was_down_is_so_after_a_restart,
];

/// An address of this machine that is not a loopback one, which the real one would refuse.
fn own_address() -> Result<Option<IpAddr>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nothing is sent.
    let ip = match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr()?.ip(),
        Err(_no_route) => return Ok(None),
    };
    Ok((!ip.is_loopback()).then_some(ip))
}

/// A Link whose gateway is probed, and who answers; none where this machine has no address for it.
async fn probed(w: &World) -> Result<Option<Prober>> {
    let Some(ip) = own_address()? else {
        return Ok(None);
    };
    let prober = Prober::at(ip).await?;
    let port = prober.address.port().to_string();
    w.link(|spec| {
        spec["gatewayAddress"] = json!(ip.to_string());
        spec["probeSpec"] = json!({"path": "/probe", "port": port, "period": "100ms", "timeout": "1s", "failureThreshold": "2"});
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    Ok(Some(prober))
}

async fn is(w: &World, service: &str, prober: &Prober, state: &str) -> Result<()> {
    let address = format!("{}:888 {state}", prober.address.ip());
    w.has_addresses(service, &[&address, &address]).await
}

async fn endpoints_follow_the_gateway(w: &mut World) -> Result<()> {
    // A3
    let Some(prober) = probed(w).await? else {
        return Ok(());
    };
    is(w, "web-remote", &prober, "up").await?;
    w.says("remote", "GatewayAlive", "True").await?;
    prober.answers(503);
    is(w, "web-remote", &prober, "down").await?;
    w.says("remote", "GatewayAlive", "False").await?;
    prober.answers(200);
    is(w, "web-remote", &prober, "up").await?;
    ensure!(prober.path() == "/probe", "{}", prober.path());
    Ok(())
}

async fn a_service_that_comes_while_the_gateway_is_down_waits(w: &mut World) -> Result<()> {
    // A4
    let Some(prober) = probed(w).await? else {
        return Ok(());
    };
    prober.answers(404);
    w.says("remote", "GatewayAlive", "False").await?;
    w.ready("api", &["10.2.0.2"]).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    is(w, "api-remote", &prober, "down").await?;
    prober.answers(200);
    is(w, "api-remote", &prober, "up").await
}

async fn a_gateway_that_flaps_settles(w: &mut World) -> Result<()> {
    // B1
    let Some(prober) = probed(w).await? else {
        return Ok(());
    };
    for round in 0..10 {
        prober.answers(if round % 2 == 0 { 500 } else { 200 });
        w.export(&format!("s{round}"), json!({EXPORTED: "true"}))
            .await?;
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    }
    prober.answers(200);
    for round in 0..10 {
        w.mirror(&format!("s{round}-remote")).await?;
    }
    is(w, "web-remote", &prober, "up").await?;
    w.says("remote", "GatewayAlive", "True").await.map(drop)
}

async fn a_gateway_that_was_down_is_so_after_a_restart(w: &mut World) -> Result<()> {
    let Some(prober) = probed(w).await? else {
        return Ok(());
    };
    prober.answers(500);
    is(w, "web-remote", &prober, "down").await?;
    w.says("remote", "GatewayAlive", "False").await?;
    let before = w.slices("web-remote").await?;
    w.stop_control().await?;
    w.start_control();
    w.settle().await?;
    ensure!(w.slices("web-remote").await? == before, "they were written");
    prober.answers(200);
    is(w, "web-remote", &prober, "up").await
}
