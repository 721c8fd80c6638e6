//! Mirrors: through the gateway, and flat.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::cases;
use crate::conformance::objects::{
    self, CLUSTER, EXPORTED, FQ_NAME, IDENTITY, MIRRORED, REMOTE, REMOTE_SERVICE, RESOURCE_VERSION,
};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map, ports};

cases!["mirrors":
    a_gateway_export_becomes_a_service_and_its_endpoints,
    a_flat_export_becomes_a_service_without_endpoints,
    an_empty_selector_matches_nothing,
    an_empty_flat_selector_leaves_the_gateway_mode,
    no_selector_at_all_mirrors_nothing,
    absent_selectors_are_empty_ones,
    flat_wins_where_both_selectors_match,
    a_selector_by_expressions,
    changed_ports_are_followed,
    a_new_label_and_a_removed_one_are_followed,
    an_unexported_service_loses_its_mirror,
    a_deleted_service_loses_its_mirror,
    deleting_what_was_never_exported_does_nothing,
    the_version_of_the_remote_service_is_followed,
    an_empty_service_has_endpoints_without_addresses,
    a_gateway_of_several_addresses,
    a_gateway_of_both_families,
    a_link_without_gateway_has_mirrors_without_endpoints,
    without_identity_there_is_no_annotation,
    only_ports_are_taken_over_from_a_load_balancer,
    a_udp_port_stays_one,
    a_node_port_service_becomes_a_cluster_ip,
    mirrors_are_never_exported_again,
    an_external_name_is_refused,
    a_hundred_services_take_seconds,
];

async fn a_gateway_export_becomes_a_service_and_its_endpoints(w: &mut World) -> Result<()> {
    // A1.1
    w.link(|_| ()).await?;
    w.ready("service-one", &["10.2.0.1"]).await?;
    let remote = w
        .export("service-one", json!({EXPORTED: "true", "lk": "lv"}))
        .await?;
    let mirror = w.mirror("service-one-remote").await?;
    let labels = [("lk", "lv"), (CLUSTER, "remote"), (MIRRORED, "true")];
    ensure!(map(&mirror, "labels") == owned(&labels), "{mirror}");
    let version = remote["metadata"]["resourceVersion"]
        .as_str()
        .context("a version")?;
    let fq_name = format!("service-one.{}.svc.cluster.local", w.ns);
    let annotations = [(RESOURCE_VERSION, version), (FQ_NAME, &fq_name)];
    ensure!(
        map(&mirror, "annotations") == owned(&annotations),
        "{mirror}"
    );
    ensure!(
        ports(&mirror) == ["port1/555/TCP", "port2/666/TCP"],
        "{mirror}"
    );
    w.has_addresses(
        "service-one-remote",
        &["192.0.2.127:888 up", "192.0.2.127:888 up"],
    )
    .await?;
    let slice = w.slices("service-one-remote").await?.remove(0);
    ensure!(
        map(&slice, "annotations") == owned(&[(FQ_NAME, &fq_name), (IDENTITY, "gateway-identity")]),
        "{slice}"
    );
    let labels = map(&slice, "labels");
    ensure!(
        labels.contains_key("lk") && labels.contains_key(CLUSTER),
        "{slice}"
    );
    let names: Vec<_> = slice["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| p["name"].clone())
        .collect();
    ensure!(names == ["port1", "port2"], "{slice}");
    Ok(())
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn a_flat_export_becomes_a_service_without_endpoints(w: &mut World) -> Result<()> {
    // A1.3
    w.link(|_| ()).await?;
    w.ready("service-one", &["10.2.0.1"]).await?;
    w.export("service-one", json!({EXPORTED: "remote-discovery"}))
        .await?;
    let mirror = w.mirror("service-one-remote").await?;
    let labels = [
        (CLUSTER, "remote"),
        (MIRRORED, "true"),
        (REMOTE, "remote"),
        (REMOTE_SERVICE, "service-one"),
    ];
    ensure!(map(&mirror, "labels") == owned(&labels), "{mirror}");
    ensure!(
        ports(&mirror) == ["port1/555/TCP", "port2/666/TCP"],
        "{mirror}"
    );
    w.settle().await?;
    ensure!(w.slices("service-one-remote").await?.is_empty());
    ensure!(
        w.l.get("Endpoints", &w.ns, "service-one-remote")
            .await?
            .is_none()
    );
    Ok(())
}

async fn one_of_each_mode(w: &World) -> Result<()> {
    w.export("service-one", json!({EXPORTED: "true"})).await?;
    w.export("service-two", json!({EXPORTED: "remote-discovery"}))
        .await
        .map(drop)
}

async fn an_empty_selector_matches_nothing(w: &mut World) -> Result<()> {
    // A1.4, A7.2
    one_of_each_mode(w).await?;
    w.link(|spec| spec["selector"] = json!({})).await?;
    w.mirror("service-two-remote").await?;
    w.settle().await?;
    w.absent("service-one-remote").await
}

async fn an_empty_flat_selector_leaves_the_gateway_mode(w: &mut World) -> Result<()> {
    // A7.1
    one_of_each_mode(w).await?;
    w.link(|spec| spec["remoteDiscoverySelector"] = json!({}))
        .await?;
    w.mirror("service-one-remote").await?;
    w.absent("service-two-remote").await
}

async fn no_selector_at_all_mirrors_nothing(w: &mut World) -> Result<()> {
    // A7.3
    one_of_each_mode(w).await?;
    w.link(|spec| {
        spec["selector"] = json!({});
        spec["remoteDiscoverySelector"] = json!({});
    })
    .await?;
    w.says("remote", "Synced", "True").await?;
    w.absent("service-one-remote").await?;
    w.absent("service-two-remote").await
}

async fn absent_selectors_are_empty_ones(w: &mut World) -> Result<()> {
    // A7 with the field absent
    one_of_each_mode(w).await?;
    w.link(|spec| {
        spec.as_object_mut().unwrap().remove("selector");
    })
    .await?;
    w.mirror("service-two-remote").await?;
    w.absent("service-one-remote").await
}

async fn flat_wins_where_both_selectors_match(w: &mut World) -> Result<()> {
    w.link(|spec| {
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        spec["remoteDiscoverySelector"] = json!({"matchLabels": {"app": "web"}});
    })
    .await?;
    w.export("web", json!({"app": "web"})).await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(map(&mirror, "labels").contains_key(REMOTE), "{mirror}");
    Ok(())
}

async fn a_selector_by_expressions(w: &mut World) -> Result<()> {
    w.link(|spec| {
        spec["selector"] = json!({"matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front", "back"]},
            {"key": "private", "operator": "DoesNotExist"},
        ]});
    })
    .await?;
    w.export("a", json!({"tier": "front"})).await?;
    w.export("b", json!({"tier": "front", "private": "yes"}))
        .await?;
    w.export("c", json!({"tier": "middle"})).await?;
    w.mirror("a-remote").await?;
    w.settle().await?;
    w.absent("b-remote").await?;
    w.absent("c-remote").await
}

async fn changed_ports_are_followed(w: &mut World) -> Result<()> {
    // A6
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP"});
    let patch = json!({"spec": {"ports": [port("port1", 555), port("port3", 333)]}});
    w.r.merge(("Service", &w.ns, "web"), patch).await?;
    w.until("web-remote", "has the new ports", |s| {
        ports(s) == ["port1/555/TCP", "port3/333/TCP"]
    })
    .await?;
    w.l.eventually("its slice has them too", async |_: &Site| {
        let slice = w.slices("web-remote").await?.remove(0);
        let names: Vec<_> = slice["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p["name"].clone())
            .collect();
        Ok((names == ["port1", "port3"]).then_some(()))
    })
    .await
}

async fn a_new_label_and_a_removed_one_are_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", "a": "1"})).await?;
    w.mirror("web-remote").await?;
    w.label("web", json!({"a": null, "b": "2"})).await?;
    w.until("web-remote", "has the new label only", |s| {
        let labels = map(s, "labels");
        labels.contains_key("b") && !labels.contains_key("a")
    })
    .await
    .map(drop)
}

async fn an_unexported_service_loses_its_mirror(w: &mut World) -> Result<()> {
    // A5, A12 d
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.label("web", json!({EXPORTED: null})).await?;
    w.gone("web-remote").await?;
    w.has_addresses("web-remote", &[]).await
}

async fn a_deleted_service_loses_its_mirror(w: &mut World) -> Result<()> {
    // A5, A13 a
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("web-remote").await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await
}

async fn deleting_what_was_never_exported_does_nothing(w: &mut World) -> Result<()> {
    // A13 b
    w.link(|_| ()).await?;
    w.export("gateway", json!({})).await?;
    w.l.apply(objects::service(
        &w.ns,
        "gateway-remote",
        json!({"of": "a-user"}),
    ))
    .await?;
    w.r.delete("Service", &w.ns, "gateway").await?;
    w.settle().await?;
    w.mirror("gateway-remote").await.map(drop)
}

async fn the_version_of_the_remote_service_is_followed(w: &mut World) -> Result<()> {
    // A12 b
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.label("web", json!({"x": "y"})).await?;
    let now =
        w.r.get("Service", &w.ns, "web")
            .await?
            .context("it is there")?;
    let version = now["metadata"]["resourceVersion"].clone();
    w.until("web-remote", "has the new version", |s| {
        s["metadata"]["annotations"][RESOURCE_VERSION] == version
    })
    .await
    .map(drop)
}

async fn an_empty_service_has_endpoints_without_addresses(w: &mut World) -> Result<()> {
    // F1
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.l.eventually("there is an empty slice", async |_: &Site| {
        Ok((w.slices("web-remote").await?.len() == 1).then_some(()))
    })
    .await?;
    w.has_addresses("web-remote", &[]).await
}

async fn a_gateway_of_several_addresses(w: &mut World) -> Result<()> {
    w.link(|spec| spec["gatewayAddress"] = json!("192.0.2.9,192.0.2.8"))
        .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let want = [
        "192.0.2.8:888 up",
        "192.0.2.8:888 up",
        "192.0.2.9:888 up",
        "192.0.2.9:888 up",
    ];
    w.has_addresses("web-remote", &want).await
}

async fn a_gateway_of_both_families(w: &mut World) -> Result<()> {
    w.link(|spec| spec["gatewayAddress"] = json!("192.0.2.9,2001:db8::9"))
        .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let want = [
        "192.0.2.9:888 up",
        "192.0.2.9:888 up",
        "2001:db8::9:888 up",
        "2001:db8::9:888 up",
    ];
    w.has_addresses("web-remote", &want).await?;
    ensure!(w.slices("web-remote").await?.len() == 2);
    Ok(())
}

async fn a_link_without_gateway_has_mirrors_without_endpoints(w: &mut World) -> Result<()> {
    w.link(|spec| {
        for field in [
            "gatewayAddress",
            "gatewayPort",
            "gatewayIdentity",
            "probeSpec",
        ] {
            spec.as_object_mut().unwrap().remove(field);
        }
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.settle().await?;
    w.has_addresses("web-remote", &[]).await
}

async fn without_identity_there_is_no_annotation(w: &mut World) -> Result<()> {
    w.link(|spec| spec["gatewayIdentity"] = json!("")).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let slice = w.slices("web-remote").await?.remove(0);
    ensure!(
        !map(&slice, "annotations").contains_key(IDENTITY),
        "{slice}"
    );
    Ok(())
}

async fn only_ports_are_taken_over_from_a_load_balancer(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["spec"]["type"] = json!("LoadBalancer");
    service["spec"]["sessionAffinity"] = json!("ClientIP");
    service["spec"]["selector"] = json!({"app": "web"});
    service["spec"]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
    w.r.apply(service).await?;
    let mirror = w.mirror("web-remote").await?;
    let spec = &mirror["spec"];
    ensure!(
        spec["type"] == "ClusterIP" && spec["sessionAffinity"] == "None",
        "{spec}"
    );
    ensure!(spec.get("selector").is_none(), "{spec}");
    ensure!(
        spec["ports"][0].get("appProtocol").is_none() && spec["ports"][0].get("nodePort").is_none(),
        "{spec}"
    );
    Ok(())
}

async fn a_udp_port_stays_one(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "dns", json!({EXPORTED: "true"}));
    service["spec"]["ports"] = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]);
    w.r.apply(service).await?;
    let mirror = w.mirror("dns-remote").await?;
    ensure!(
        ports(&mirror) == ["dns/53/UDP", "dns-tcp/53/TCP"],
        "{mirror}"
    );
    Ok(())
}

async fn a_node_port_service_becomes_a_cluster_ip(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "remote-discovery"}));
    service["spec"]["type"] = json!("NodePort");
    w.r.apply(service).await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(mirror["spec"]["type"] == "ClusterIP", "{mirror}");
    ensure!(
        mirror["spec"]["ports"][0].get("nodePort").is_none(),
        "{mirror}"
    );
    Ok(())
}

async fn mirrors_are_never_exported_again(w: &mut World) -> Result<()> {
    // F25
    w.link(|spec| spec["remoteDiscoverySelector"] = json!({"matchLabels": {"app": "web"}}))
        .await?;
    w.export("web", json!({"app": "web"})).await?;
    w.export("web-other", json!({"app": "web", MIRRORED: "true"}))
        .await?;
    w.mirror("web-remote").await?;
    w.export("sentinel", json!({"app": "web"})).await?;
    w.mirror("sentinel-remote").await?;
    w.absent("web-other-remote").await
}

async fn an_external_name_is_refused(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    w.r.apply(service).await?;
    w.entry("mirrorServices", "web", ("False", "InvalidService"))
        .await?;
    w.absent("web-remote").await
}

async fn a_hundred_services_take_seconds(w: &mut World) -> Result<()> {
    // F33
    for n in 0..100 {
        w.export(&format!("s{n}"), json!({EXPORTED: "true"}))
            .await?;
    }
    w.link(|_| ()).await?;
    w.l.eventually("all are mirrored", async |s: &Site| {
        let mirrors = s.list("Service", &w.ns, MIRRORED).await?;
        Ok((mirrors.len() == 100).then_some(()))
    })
    .await
}
