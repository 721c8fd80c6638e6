//! What a Linkerd made before us and left: mirrors, hosts of headless ones, federated services.
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tombolo_judge::Kind;

use super::cases;
use crate::conformance::objects::{
    self, CLUSTER, EXPORTED, FEDERATED, FQ_NAME, GATEWAY_IP, IDENTITY, LINKS, LOCAL, MIRRORED,
    REMOTE, RESOURCE_VERSION,
};
use crate::conformance::world::{World, map};

cases!["inherited":
    a_mirror_that_is_right_is_not_written,
    a_mirror_of_an_old_version_is_brought_up_to_date,
    a_mirror_of_an_unexported_service_goes,
    a_mirror_of_a_deleted_service_goes_and_others_stay,
    a_mirror_goes_with_its_link,
    a_mirror_of_no_link_is_left_alone,
    hosts_of_a_headless_mirror_are_kept,
    a_member_joins,
    a_local_member_joins,
    a_member_leaves,
    a_member_that_left_before_is_taken_out,
    a_local_member_leaves,
    a_federated_service_without_labels_is_left_alone,
    endpoints_are_replaced_by_slices,
];

/// A mirror as Linkerd writes it.
fn mirror(w: &World, of: &str, version: &str) -> Value {
    let mut service = objects::service(
        &w.ns,
        &format!("{of}-remote"),
        json!({MIRRORED: "true", CLUSTER: "remote"}),
    );
    service["metadata"]["annotations"] = json!({
        RESOURCE_VERSION: version, FQ_NAME: format!("{of}.{}.svc.cluster.local", w.ns),
    });
    service
}

fn federated(w: &World, annotations: Value) -> Value {
    let mut service = objects::service(&w.ns, "web-federated", json!({MIRRORED: "true"}));
    service["metadata"]["annotations"] = annotations;
    service
}

fn version(service: &Value) -> &str {
    service["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
}

async fn a_mirror_that_is_right_is_not_written(w: &mut World) -> Result<()> {
    // A12 c
    w.ready("web", &["10.2.0.1"]).await?;
    let remote = w.export("web", json!({EXPORTED: "true"})).await?;
    w.l.put(mirror(w, "web", version(&remote))).await?;
    let before = w.mirror("web-remote").await?;
    w.link(|_| ()).await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.settle().await?;
    ensure!(w.mirror("web-remote").await? == before);
    // What came through a Link goes with it, also if nothing had to be written.
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-remote").await
}

async fn a_mirror_of_an_old_version_is_brought_up_to_date(w: &mut World) -> Result<()> {
    // A6, A12 b
    let mut old = mirror(w, "web", "past");
    old["metadata"]["labels"]["gone"] = json!("true");
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP"});
    old["spec"]["ports"] = json!([port("port1", 555), port("port2", 222), port("port3", 333)]);
    w.l.put(old).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    let remote = w
        .export("web", json!({EXPORTED: "true", "lk": "lv"}))
        .await?;
    w.link(|_| ()).await?;
    let now = w
        .until("web-remote", "has the version of the remote one", |s| {
            map(s, "annotations")
                .get(RESOURCE_VERSION)
                .map(String::as_str)
                == Some(version(&remote))
        })
        .await?;
    let numbers: Vec<_> = now["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let numbers: Vec<_> = numbers.iter().map(|p| p["port"].clone()).collect();
    ensure!(numbers == [555, 666], "{now}");
    let labels = [("lk", "lv"), (CLUSTER, "remote"), (MIRRORED, "true")];
    let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned()));
    ensure!(map(&now, "labels") == labels.into(), "{now}");
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let slices = w.slices("web-remote").await?;
    ensure!(
        map(&slices[0], "annotations")[IDENTITY] == "gateway-identity",
        "{slices:?}"
    );
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-remote").await
}

async fn a_mirror_of_an_unexported_service_goes(w: &mut World) -> Result<()> {
    // A12 d
    let remote = w.export("web", json!({})).await?;
    w.l.put(mirror(w, "web", version(&remote))).await?;
    w.link(|_| ()).await?;
    w.gone("web-remote").await
}

async fn a_mirror_of_a_deleted_service_goes_and_others_stay(w: &mut World) -> Result<()> {
    // A11
    w.l.put(mirror(w, "one", "1")).await?;
    w.l.put(mirror(w, "two", "1")).await?;
    w.export("one", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.gone("two-remote").await?;
    w.settle().await?;
    w.mirror("one-remote").await.map(drop)
}

async fn a_mirror_goes_with_its_link(w: &mut World) -> Result<()> {
    // A10
    for name in ["one", "two"] {
        w.l.put(mirror(w, name, "past")).await?;
        w.export(name, json!({EXPORTED: "true"})).await?;
    }
    w.link(|_| ()).await?;
    w.settle().await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("one-remote").await?;
    w.gone("two-remote").await
}

async fn a_mirror_of_no_link_is_left_alone(w: &mut World) -> Result<()> {
    let mut other = mirror(w, "web", "1");
    other["metadata"]["name"] = json!("web-other");
    other["metadata"]["labels"][CLUSTER] = json!("other");
    w.l.put(other).await?;
    let before = w.mirror("web-other").await?;
    w.link(|_| ()).await?;
    w.settle().await?;
    ensure!(w.mirror("web-other").await? == before);
    Ok(())
}

async fn hosts_of_a_headless_mirror_are_kept(w: &mut World) -> Result<()> {
    // A8
    let mut root = mirror(w, "web", "past");
    root["spec"]["clusterIP"] = json!("None");
    w.l.put(root).await?;
    let mut host = mirror(w, "pod-0", "333");
    host["metadata"]["labels"]["mirror.linkerd.io/headless-mirror-svc-name"] = json!("web-remote");
    host["metadata"]["annotations"][FQ_NAME] =
        json!(format!("pod-0.web.{}.svc.cluster.local", w.ns));
    w.l.put(host).await?;
    let before = w.mirror("pod-0-remote").await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["spec"]["clusterIP"] = json!("None");
    w.r.apply(service).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.2.0.1", "10.2.0.2"]);
    for (index, endpoint) in slice["endpoints"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .enumerate()
    {
        endpoint["hostname"] = json!(format!("pod-{index}"));
    }
    w.r.apply(slice).await?;
    w.link(|_| ()).await?;
    w.mirror("pod-1-remote").await?;
    w.has_addresses("pod-0-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.has_addresses("pod-1-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.settle().await?;
    ensure!(w.mirror("pod-0-remote").await? == before);
    let listed = w.slices("web-remote").await?;
    let of = |e: &Value| (e["hostname"].clone(), e["addresses"][0].clone());
    let listed: Vec<_> = listed[0]["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .map(of)
        .collect();
    ensure!(
        listed[0] == (json!("pod-0"), before["spec"]["clusterIP"].clone()),
        "{listed:?}"
    );
    ensure!(listed[1].0 == "pod-1", "{listed:?}");
    Ok(())
}

async fn members(w: &World, local: Option<&str>, remote: Option<&str>) -> Result<Value> {
    w.until("web-federated", "has its members", |s| {
        let annotations = map(s, "annotations");
        let of = |key: &str| annotations.get(key).map(String::as_str);
        of(LOCAL) == local && of(REMOTE) == remote
    })
    .await
}

async fn a_member_joins(w: &mut World) -> Result<()> {
    // A1.6
    w.l.put(federated(w, json!({REMOTE: "web@other"}))).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.link(|_| ()).await?;
    members(w, None, Some("web@other,web@remote")).await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn a_local_member_joins(w: &mut World) -> Result<()> {
    // A1.9
    w.l.put(federated(w, json!({REMOTE: "web@other"}))).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    members(w, Some("web"), Some("web@other")).await.map(drop)
}

async fn a_member_leaves(w: &mut World) -> Result<()> {
    // A1.7
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.l.put(federated(w, json!({REMOTE: "web@other,web@remote"})))
        .await?;
    w.link(|_| ()).await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    members(w, None, Some("web@other,web@remote")).await?;
    w.label("web", json!({FEDERATED: null})).await?;
    members(w, None, Some("web@other")).await?;
    w.stop_control().await?;
    w.start_control();
    w.settle().await?;
    members(w, None, Some("web@other")).await.map(drop)
}

async fn a_member_that_left_before_is_taken_out(w: &mut World) -> Result<()> {
    w.l.put(federated(w, json!({REMOTE: "web@other,web@remote"})))
        .await?;
    w.link(|_| ()).await?;
    members(w, None, Some("web@other")).await.map(drop)
}

async fn a_local_member_leaves(w: &mut World) -> Result<()> {
    // A1.10
    w.l.put(federated(w, json!({LOCAL: "web", REMOTE: "web@other"})))
        .await?;
    let service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    w.l.apply(service).await?;
    // Nothing is to be changed: that it was taken note of can be seen in who manages it.
    w.until("web-federated", "is taken over", |s| {
        s["metadata"]["managedFields"]
            .to_string()
            .contains("\"tombolo\"")
    })
    .await?;
    w.l.merge(
        ("Service", &w.ns, "web"),
        json!({"metadata": {"labels": {FEDERATED: null}}}),
    )
    .await?;
    members(w, None, Some("web@other")).await.map(drop)
}

async fn a_federated_service_without_labels_is_left_alone(w: &mut World) -> Result<()> {
    let mut service = federated(w, json!({REMOTE: "web@remote", LOCAL: "web"}));
    service["metadata"]["labels"] = json!({});
    w.l.put(service).await?;
    let before = w.mirror("web-federated").await?;
    w.link(|_| ()).await?;
    w.settle().await?;
    ensure!(w.mirror("web-federated").await? == before);
    Ok(())
}

async fn endpoints_are_replaced_by_slices(w: &mut World) -> Result<()> {
    // On the real one their deletion would count as the use of a deprecated API, which it is.
    if w.kind == Kind::Real {
        return Ok(());
    }
    w.l.put(mirror(w, "web", "past")).await?;
    let mut old = objects::slice(&w.ns, "web-remote", &["192.0.2.9"]);
    old["metadata"]["name"] = json!("web-remote-x7k2p");
    old["metadata"]["labels"][MIRRORED] = json!("true");
    old["metadata"]["labels"][CLUSTER] = json!("remote");
    old["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] =
        json!("endpointslicemirroring-controller.k8s.io");
    w.l.apply(old).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    let gateway = format!("{GATEWAY_IP}:888 up");
    w.has_addresses("web-remote", &[&gateway, &gateway]).await
}
