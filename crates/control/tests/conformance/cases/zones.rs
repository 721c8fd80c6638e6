//! Clients that say on which node they run: its zone, and what is kept in it.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{self, EXPORTED};
use crate::conformance::site::Site;
use crate::conformance::world::World;

cases!["zones":
    zones_are_compared_with_the_clients,
    local_traffic_stays_on_the_node,
    local_traffic_is_no_matter_of_flat_mirrors,
    hints_keep_traffic_in_the_zone,
    hints_for_other_zones_give_all,
    hints_that_are_not_complete_are_none,
];

/// Two nodes in two zones, and a Service with one endpoint on each.
async fn zoned(w: &World, change: impl Fn(&mut Value)) -> Result<()> {
    let slice = nodes(w, &w.l).await?;
    let mut service = objects::service(&w.ns, "web", json!({}));
    let mut both = json!([service, slice]);
    change(&mut both);
    service = both[0].take();
    w.l.apply(service).await?;
    w.l.apply(both[1].take()).await.map(drop)
}

async fn nodes(w: &World, site: &Site) -> Result<Value> {
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1", "10.1.0.2"]);
    for (n, zone) in ["a", "b"].into_iter().enumerate() {
        let name = format!("node-{zone}");
        site.apply(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        }))
        .await?;
        slice["endpoints"][n]["zone"] = json!(zone);
        slice["endpoints"][n]["nodeName"] = json!(name);
    }
    Ok(slice)
}

async fn reaches(w: &World, node: &str, want: &[&str]) -> Result<()> {
    let client = w.client()?;
    let token = json!({"ns": w.ns, "nodeName": node, "pod": "client"}).to_string();
    w.talk("web:555").await?;
    let path = w.authority("web:555");
    w.l.eventually(&format!("{node} reaches {want:?}"), async |_: &_| {
        let mut talk = client.get_as(&path, &token).await?;
        let said = talk.next().await?;
        ensure!(talk.pool.keys().eq(want), "{said:?}");
        Ok(Some(()))
    })
    .await
}

const BOTH: &[&str] = &["10.1.0.1:555", "10.1.0.2:555"];

async fn zones_are_compared_with_the_clients(w: &mut World) -> Result<()> {
    // 5.3: "`zone_locality`: `local` / `remote` / `unknown`, comparing endpoint zone with the zone label of the client's
    // node ..., for pods"
    zoned(w, |both| {
        both[1]["endpoints"][0]["targetRef"] =
            json!({"kind": "Pod", "namespace": both[0]["metadata"]["namespace"], "name": "web-1"});
    })
    .await?;
    w.l.apply(objects::pod(&w.ns, "web-1", "10.1.0.1")).await?;
    w.talk("web:555").await?.reaches(BOTH).await?;
    let client = w.client()?;
    let path = w.authority("web:555");
    for (node, want) in [("node-a", "local"), ("node-b", "remote"), ("", "unknown")] {
        let token = json!({"ns": w.ns, "nodeName": node, "pod": "client"}).to_string();
        // The node is looked up beside the endpoints.
        let says = async |_: &Site| {
            let mut talk = client.get_as(&path, &token).await?;
            talk.reaches(BOTH).await?;
            let labels = &talk.endpoint("10.1.0.1:555")?.metric_labels;
            let zone = labels.get("zone_locality").map(String::as_str);
            ensure!(zone == Some(want), "{node}: {labels:?}");
            Ok(Some(()))
        };
        w.l.eventually("the zone is compared", says).await?;
    }
    Ok(())
}

async fn local_traffic_stays_on_the_node(w: &mut World) -> Result<()> {
    // 5.4: "`internalTrafficPolicy: Local` => pods on the client's node only"
    zoned(w, |both| {
        both[0]["spec"]["internalTrafficPolicy"] = json!("Local")
    })
    .await?;
    reaches(w, "node-a", &["10.1.0.1:555"]).await?;
    reaches(w, "node-b", &["10.1.0.2:555"]).await?;
    reaches(w, "node-c", &[]).await
}

async fn local_traffic_is_no_matter_of_flat_mirrors(w: &mut World) -> Result<()> {
    // 5.4: "RD and federated-remote: only 1 and 4"
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "remote-discovery"}));
    service["spec"]["internalTrafficPolicy"] = json!("Local");
    w.r.apply(service).await?;
    let slice = nodes(w, &w.r).await?;
    w.r.apply(slice).await?;
    w.talk("web-remote:555").await?.reaches(BOTH).await
}

async fn hints_keep_traffic_in_the_zone(w: &mut World) -> Result<()> {
    // 5.4: "If every candidate has `hints.forZones` => keep those hinting the client node's zone"
    zoned(w, |both| {
        both[1]["endpoints"][0]["hints"] = json!({"forZones": [{"name": "a"}]});
        both[1]["endpoints"][1]["hints"] = json!({"forZones": [{"name": "b"}]});
    })
    .await?;
    reaches(w, "node-a", &["10.1.0.1:555"]).await?;
    reaches(w, "node-b", &["10.1.0.2:555"]).await
}

async fn hints_for_other_zones_give_all(w: &mut World) -> Result<()> {
    // 5.4: "if none left => all"
    zoned(w, |both| {
        both[1]["endpoints"][0]["hints"] = json!({"forZones": [{"name": "b"}]});
        both[1]["endpoints"][1]["hints"] = json!({"forZones": [{"name": "b"}]});
    })
    .await?;
    reaches(w, "node-a", BOTH).await?;
    reaches(w, "node-b", BOTH).await
}

async fn hints_that_are_not_complete_are_none(w: &mut World) -> Result<()> {
    // 5.4: "every candidate"
    zoned(w, |both| {
        both[1]["endpoints"][0]["hints"] = json!({"forZones": [{"name": "a"}]});
    })
    .await?;
    reaches(w, "node-a", BOTH).await?;
    reaches(w, "node-b", BOTH).await
}
