//! Federated services.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{
    self, CLUSTER, EXPORTED, FEDERATED, FQ_NAME, LOCAL, MIRRORED, REMOTE, RESOURCE_VERSION,
};
use crate::conformance::world::{World, map, ports};

cases!["federation":
    a_remote_member_makes_the_service,
    a_local_member_makes_the_service_without_any_link,
    a_remote_member_joins_a_local_one,
    a_local_member_joins_a_remote_one,
    the_last_member_takes_the_service_with_it,
    a_member_that_is_deleted_leaves,
    the_last_remote_member_takes_the_annotation_with_it,
    a_local_member_leaves,
    the_local_member_decides_labels_and_ports,
    when_the_local_member_leaves_the_remote_one_decides,
    other_ports_are_a_condition,
    a_headless_service_cannot_join,
    a_local_headless_service_cannot_join,
    a_service_may_be_mirrored_and_a_member,
    the_federated_service_is_no_member,
    a_label_of_another_value_is_no_membership,
    an_empty_selector_federates_nothing,
    the_link_takes_its_members_with_it,
    a_deleted_federated_service_is_made_again,
];

fn annotations(service: &Value) -> (Option<String>, Option<String>) {
    let all = map(service, "annotations");
    (all.get(LOCAL).cloned(), all.get(REMOTE).cloned())
}

fn is(local: Option<&str>, remote: Option<&str>) -> impl Fn(&Value) -> bool {
    let want = (local.map(str::to_owned), remote.map(str::to_owned));
    move |service| annotations(service) == want
}

async fn local(w: &World, labels: Value) -> Result<Value> {
    w.l.apply(objects::service(&w.ns, "web", labels)).await
}

async fn a_remote_member_makes_the_service(w: &mut World) -> Result<()> {
    // A1.5
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    let service = w.mirror("web-federated").await?;
    let labels: Vec<_> = map(&service, "labels").into_iter().collect();
    ensure!(
        labels == [(MIRRORED.to_owned(), "true".to_owned())],
        "{service}"
    );
    let all: Vec<_> = map(&service, "annotations").into_iter().collect();
    ensure!(
        all == [(REMOTE.to_owned(), "web@remote".to_owned())],
        "{service}"
    );
    ensure!(
        ports(&service) == ["port1/555/TCP", "port2/666/TCP"],
        "{service}"
    );
    for key in [CLUSTER, FQ_NAME, RESOURCE_VERSION] {
        ensure!(
            !map(&service, "annotations").contains_key(key)
                && !map(&service, "labels").contains_key(key)
        );
    }
    ensure!(w.slices("web-federated").await?.is_empty());
    w.absent("web-remote").await
}

async fn a_local_member_makes_the_service_without_any_link(w: &mut World) -> Result<()> {
    // A1.8
    local(w, json!({FEDERATED: "member"})).await?;
    w.until(
        "web-federated",
        "has the local member",
        is(Some("web"), None),
    )
    .await
    .map(drop)
}

async fn a_remote_member_joins_a_local_one(w: &mut World) -> Result<()> {
    local(w, json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.until(
        "web-federated",
        "has both",
        is(Some("web"), Some("web@remote")),
    )
    .await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn a_local_member_joins_a_remote_one(w: &mut World) -> Result<()> {
    // A1.9
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    local(w, json!({FEDERATED: "member"})).await?;
    w.until(
        "web-federated",
        "has both",
        is(Some("web"), Some("web@remote")),
    )
    .await
    .map(drop)
}

async fn the_last_member_takes_the_service_with_it(w: &mut World) -> Result<()> {
    // F6
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    w.label("web", json!({FEDERATED: null})).await?;
    w.gone("web-federated").await?;
    w.no_entry("federatedServices", "web").await
}

async fn a_member_that_is_deleted_leaves(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    w.r.delete("Service", &w.ns, "web").await?;
    w.gone("web-federated").await
}

async fn both(w: &World) -> Result<()> {
    w.link(|_| ()).await?;
    local(w, json!({FEDERATED: "member", "of": "west"})).await?;
    w.export("web", json!({FEDERATED: "member", "of": "east"}))
        .await?;
    w.until(
        "web-federated",
        "has both",
        is(Some("web"), Some("web@remote")),
    )
    .await
    .map(drop)
}

async fn the_last_remote_member_takes_the_annotation_with_it(w: &mut World) -> Result<()> {
    // F7
    both(w).await?;
    w.label("web", json!({FEDERATED: null})).await?;
    w.until(
        "web-federated",
        "has the local member",
        is(Some("web"), None),
    )
    .await
    .map(drop)
}

async fn a_local_member_leaves(w: &mut World) -> Result<()> {
    // A1.10
    both(w).await?;
    let patch = json!({"metadata": {"labels": {FEDERATED: null}}});
    w.l.merge(("Service", &w.ns, "web"), patch).await?;
    w.until(
        "web-federated",
        "has the remote member",
        is(None, Some("web@remote")),
    )
    .await
    .map(drop)
}

async fn the_local_member_decides_labels_and_ports(w: &mut World) -> Result<()> {
    both(w).await?;
    w.until("web-federated", "is as the local one", |s| {
        map(s, "labels").get("of").map(String::as_str) == Some("west")
    })
    .await
    .map(drop)
}

async fn when_the_local_member_leaves_the_remote_one_decides(w: &mut World) -> Result<()> {
    both(w).await?;
    w.l.delete("Service", &w.ns, "web").await?;
    w.until("web-federated", "is as the remote one", |s| {
        map(s, "labels").get("of").map(String::as_str) == Some("east")
    })
    .await
    .map(drop)
}

async fn other_ports_are_a_condition(w: &mut World) -> Result<()> {
    // F9
    w.link(|_| ()).await?;
    local(w, json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    let mut service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    service["spec"]["ports"] = json!([{"name": "other", "port": 555}]);
    w.r.apply(service).await?;
    w.entry("federatedServices", "web", ("True", "Mirrored"))
        .await?;
    let link = w.l.get("Link", objects::LINKS, "remote").await?;
    let text = link
        .map(|link| link["status"]["federatedServices"].to_string())
        .unwrap_or_default();
    ensure!(
        text.contains("PortConflict") && text.contains("666"),
        "{text}"
    );
    Ok(())
}

async fn a_headless_service_cannot_join(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    service["spec"]["clusterIP"] = json!("None");
    w.r.apply(service).await?;
    let condition = w
        .entry("federatedServices", "web", ("False", "InvalidService"))
        .await?;
    ensure!(
        condition["message"] == "Headless service cannot join federated service",
        "{condition}"
    );
    w.absent("web-federated").await
}

async fn a_local_headless_service_cannot_join(w: &mut World) -> Result<()> {
    let mut service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    service["spec"]["clusterIP"] = json!("None");
    w.l.apply(service).await?;
    w.l.apply(objects::service(
        &w.ns,
        "other",
        json!({FEDERATED: "member"}),
    ))
    .await?;
    w.mirror("other-federated").await?;
    w.absent("web-federated").await
}

async fn a_service_may_be_mirrored_and_a_member(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.mirror("web-federated").await?;
    w.mirror("web-remote").await.map(drop)
}

async fn the_federated_service_is_no_member(w: &mut World) -> Result<()> {
    w.link(|spec| spec["federatedServiceSelector"] = json!({"matchLabels": {"app": "web"}}))
        .await?;
    w.export("web", json!({"app": "web"})).await?;
    w.mirror("web-federated").await?;
    w.settle().await?;
    w.absent("web-federated-federated").await
}

async fn a_label_of_another_value_is_no_membership(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "true"})).await?;
    w.settle().await?;
    w.absent("web-federated").await
}

async fn an_empty_selector_federates_nothing(w: &mut World) -> Result<()> {
    w.link(|spec| spec["federatedServiceSelector"] = json!({}))
        .await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.settle().await?;
    w.absent("web-federated").await
}

async fn the_link_takes_its_members_with_it(w: &mut World) -> Result<()> {
    both(w).await?;
    w.l.delete("Link", objects::LINKS, "remote").await?;
    w.until(
        "web-federated",
        "has the local member",
        is(Some("web"), None),
    )
    .await
    .map(drop)
}

async fn a_deleted_federated_service_is_made_again(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    let first = w.mirror("web-federated").await?;
    w.l.delete("Service", &w.ns, "web-federated").await?;
    w.until("web-federated", "is another", |s| {
        s["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await
    .map(drop)
}
