//! Headless Services through a gateway, whose hosts are reached by name.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{self, EXPORTED, FQ_NAME, IDENTITY, RESOURCE_VERSION};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map, ports};

cases!["headless":
    each_named_host_becomes_a_service_behind_the_gateway,
    hosts_come_and_go,
    a_host_that_is_down_keeps_its_address,
    endpoints_without_names_make_an_ordinary_mirror,
    an_address_without_a_pod_does_no_harm,
    an_unexported_service_takes_its_hosts_with_it,
    a_flat_one_is_resolved_to_its_pods,
    without_ports_it_is_refused,
    a_host_is_resolved_to_its_address,
];

const ROOT: &str = "mirror.linkerd.io/headless-mirror-svc-name";

async fn headless(w: &World, mode: &str) -> Result<Value> {
    let mut service = objects::service(&w.ns, "two", json!({EXPORTED: mode, "lk": "lv"}));
    service["spec"]["clusterIP"] = json!("None");
    w.r.apply(service).await
}

/// `name` or `name:down`; a bare `-` has no name.
async fn hosts(w: &World, names: &[&str]) -> Result<()> {
    let ips: Vec<_> = (1..=names.len()).map(|n| format!("10.2.0.{n}")).collect();
    let ips: Vec<_> = ips.iter().map(String::as_str).collect();
    let mut slice = objects::slice(&w.ns, "two", &ips);
    for (n, name) in names.iter().enumerate() {
        let endpoint = &mut slice["endpoints"][n];
        endpoint["conditions"]["ready"] = json!(!name.ends_with(":down"));
        if *name != "-" {
            endpoint["hostname"] = json!(name.trim_end_matches(":down"));
        }
    }
    w.r.apply(slice).await.map(drop)
}

/// `hostname ready` of what the headless mirror lists, once it is this.
async fn lists(w: &World, want: &[&str]) -> Result<Vec<Value>> {
    w.l.eventually(&format!("it lists {want:?}"), async |_: &Site| {
        let slices = w.slices("two-remote").await?;
        let endpoints = slices
            .iter()
            .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default());
        let endpoints: Vec<Value> = endpoints.collect();
        let text = |e: &Value| {
            format!(
                "{} {}",
                e["hostname"].as_str().unwrap_or("-"),
                e["conditions"]["ready"]
            )
        };
        let found: Vec<_> = endpoints.iter().map(text).collect();
        ensure!(found == want, "{found:?}");
        Ok(Some(endpoints))
    })
    .await
}

async fn each_named_host_becomes_a_service_behind_the_gateway(w: &mut World) -> Result<()> {
    // A1.2
    w.link(|_| ()).await?;
    hosts(w, &["pod-0"]).await?;
    headless(w, "true").await?;
    let listed = lists(w, &["pod-0 true"]).await?;
    let mirror = w.mirror("two-remote").await?;
    ensure!(
        mirror["spec"]["clusterIP"] == "None"
            && ports(&mirror) == ["port1/555/TCP", "port2/666/TCP"],
        "{mirror}"
    );
    let host = w.mirror("pod-0-remote").await?;
    ensure!(
        listed[0]["addresses"][0] == host["spec"]["clusterIP"],
        "{listed:?}"
    );
    let labels = map(&host, "labels");
    ensure!(
        labels[ROOT] == "two-remote" && labels["lk"] == "lv",
        "{host}"
    );
    let annotations = map(&host, "annotations");
    ensure!(
        annotations[FQ_NAME] == format!("pod-0.two.{}.svc.cluster.local", w.ns),
        "{host}"
    );
    ensure!(
        annotations.contains_key(RESOURCE_VERSION) && annotations.len() == 2,
        "{host}"
    );
    w.has_addresses("pod-0-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let slice = w.slices("pod-0-remote").await?.remove(0);
    ensure!(
        map(&slice, "annotations")[IDENTITY] == "gateway-identity",
        "{slice}"
    );
    w.entry("mirrorServices", "two", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn hosts_come_and_go(w: &mut World) -> Result<()> {
    // A8
    w.link(|_| ()).await?;
    headless(w, "true").await?;
    w.mirror("two-remote").await?;
    hosts(w, &["pod-0"]).await?;
    lists(w, &["pod-0 true"]).await?;
    let first = w.mirror("pod-0-remote").await?;
    hosts(w, &["pod-0", "pod-1"]).await?;
    lists(w, &["pod-0 true", "pod-1 true"]).await?;
    let same = w.mirror("pod-0-remote").await?;
    ensure!(
        first["metadata"]["resourceVersion"] == same["metadata"]["resourceVersion"],
        "{same}"
    );
    hosts(w, &["pod-0"]).await?;
    w.gone("pod-1-remote").await?;
    lists(w, &["pod-0 true"]).await.map(drop)
}

async fn a_host_that_is_down_keeps_its_address(w: &mut World) -> Result<()> {
    // F31
    w.link(|_| ()).await?;
    hosts(w, &["pod-0", "pod-1"]).await?;
    headless(w, "true").await?;
    lists(w, &["pod-0 true", "pod-1 true"]).await?;
    let before = w.mirror("pod-1-remote").await?;
    hosts(w, &["pod-0", "pod-1:down"]).await?;
    lists(w, &["pod-0 true", "pod-1 false"]).await?;
    let after = w.mirror("pod-1-remote").await?;
    ensure!(
        before["spec"]["clusterIP"] == after["spec"]["clusterIP"],
        "{after}"
    );
    w.has_addresses("pod-1-remote", &["192.0.2.127:888 down"; 2])
        .await
}

async fn endpoints_without_names_make_an_ordinary_mirror(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    hosts(w, &["-"]).await?;
    headless(w, "true").await?;
    w.until("two-remote", "has an address", |s| {
        s["spec"]["clusterIP"] != "None"
    })
    .await?;
    w.has_addresses("two-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    hosts(w, &["pod-0"]).await?;
    w.until("two-remote", "is headless", |s| {
        s["spec"]["clusterIP"] == "None"
    })
    .await?;
    lists(w, &["pod-0 true"]).await.map(drop)
}

async fn an_address_without_a_pod_does_no_harm(w: &mut World) -> Result<()> {
    // F30
    w.link(|_| ()).await?;
    hosts(w, &["-", "pod-0"]).await?;
    headless(w, "true").await?;
    lists(w, &["pod-0 true"]).await?;
    w.settle().await
}

async fn an_unexported_service_takes_its_hosts_with_it(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    hosts(w, &["pod-0"]).await?;
    headless(w, "true").await?;
    lists(w, &["pod-0 true"]).await?;
    w.label("two", json!({EXPORTED: null})).await?;
    w.gone("two-remote").await?;
    w.gone("pod-0-remote").await?;
    w.has_addresses("pod-0-remote", &[]).await
}

async fn a_flat_one_is_resolved_to_its_pods(w: &mut World) -> Result<()> {
    // F29
    w.link(|_| ()).await?;
    hosts(w, &["pod-0"]).await?;
    headless(w, "remote-discovery").await?;
    w.entry("mirrorServices", "two", ("True", "Mirrored"))
        .await?;
    w.talk("two-remote:555")
        .await?
        .reaches(&["10.2.0.1:555"])
        .await?;
    w.absent("pod-0-remote").await
}

async fn without_ports_it_is_refused(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "two", json!({EXPORTED: "true"}));
    service["spec"] = json!({"clusterIP": "None"});
    w.r.apply(service).await?;
    w.entry("mirrorServices", "two", ("False", "InvalidService"))
        .await?;
    w.absent("two-remote").await
}

async fn a_host_is_resolved_to_its_address(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    hosts(w, &["pod-0", "pod-1"]).await?;
    headless(w, "true").await?;
    lists(w, &["pod-0 true", "pod-1 true"]).await?;
    let host = w.mirror("pod-1-remote").await?;
    let ip = host["spec"]["clusterIP"].as_str().context("an address")?;
    let path = format!("pod-1.{}", w.authority("two-remote:555"));
    let mut talk = w.client()?.get(&path).await?;
    talk.reaches(&[&format!("{ip}:555")]).await
}
