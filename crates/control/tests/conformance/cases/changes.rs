//! Links, memberships and credentials that change, at the edges.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cases;
use super::claims::headless;
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LINKS, LOCAL, REMOTE};
use crate::conformance::relay::{Passage, Relay};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map, ports};

cases!["changes":
    exclusions_that_are_lifted,
    selectors_that_change_places,
    a_federated_selector_that_is_removed,
    an_identity_that_is_removed,
    a_gateway_that_is_removed,
    other_credentials_are_named,
    a_link_deleted_while_its_cluster_is_silent,
    a_link_deleted_leaves_that_of_the_other_link_alone,
    a_status_that_is_wiped_comes_back,
    a_transition_has_a_new_time,
    a_membership_edited_by_hand_is_set_right,
    a_headless_local_service_beside_a_remote_member,
    ports_of_the_local_member_are_followed,
    all_members_leave_at_once,
    a_token_that_is_revoked_is_said_and_put_right,
    a_token_without_rights_is_said,
    a_mirror_that_cannot_go_is_asked_to_only_once,
    a_mirror_that_is_on_its_way_out_is_made_anew,
    a_link_that_changed_while_nobody_looked_is_followed,
    a_gateway_of_a_name_keeps_its_endpoints_across_a_restart,
    the_second_link_takes_over_from_the_first,
    nothing_of_any_kind_is_written_because_of_a_restart,
];

async fn exclusions_that_are_lifted(w: &mut World) -> Result<()> {
    // 10.3 (23)
    w.link(|spec| spec["excludedLabels"] = json!(["team"]))
        .await?;
    w.export(
        "web",
        json!({EXPORTED: "true", FEDERATED: "member", "team": "a"}),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(!map(&mirror, "labels").contains_key("team"), "{mirror}");
    w.link(|_| ()).await?;
    for name in ["web-remote", "web-federated"] {
        w.until(name, "has the label", |s| {
            map(s, "labels").contains_key("team")
        })
        .await?;
    }
    Ok(())
}

async fn selectors_that_change_places(w: &mut World) -> Result<()> {
    // 3.9: "or selectors such that the mode flips between gateway and RD" does "not rewrite existing mirrors"
    w.link(|_| ()).await?;
    for (name, mode) in [("one", "true"), ("two", "remote-discovery")] {
        w.ready(name, &["10.2.0.1"]).await?;
        w.export(name, json!({EXPORTED: mode})).await?;
    }
    w.has_addresses("one-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.mirror("two-remote").await?;
    w.link(|spec| {
        let flat = spec["selector"].take();
        spec["selector"] = spec["remoteDiscoverySelector"].take();
        spec["remoteDiscoverySelector"] = flat;
    })
    .await?;
    w.has_addresses("two-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.has_addresses("one-remote", &[]).await?;
    w.until("one-remote", "is flat", |s| {
        map(s, "labels").contains_key(REMOTE)
    })
    .await?;
    w.until("two-remote", "is not flat", |s| {
        !map(s, "labels").contains_key(REMOTE)
    })
    .await
    .map(drop)
}

async fn a_federated_selector_that_is_removed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.mirror("web-federated").await?;
    w.link(|spec| {
        spec.as_object_mut()
            .unwrap()
            .remove("federatedServiceSelector");
    })
    .await?;
    w.gone("web-federated").await?;
    w.no_entry("federatedServices", "web").await?;
    w.mirror("web-remote").await.map(drop)
}

async fn an_identity_that_is_removed(w: &mut World) -> Result<()> {
    // 3.8: "identity annotation only if non-empty"
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.link(|spec| spec["gatewayIdentity"] = json!("")).await?;
    w.l.eventually("the annotation is gone", async |_: &Site| {
        let slices = w.slices("web-remote").await?;
        let without = |s: &Value| {
            map(s, "annotations")
                .get(objects::IDENTITY)
                .is_none_or(String::is_empty)
        };
        Ok((!slices.is_empty() && slices.iter().all(without)).then_some(()))
    })
    .await
}

async fn a_gateway_that_is_removed(w: &mut World) -> Result<()> {
    // 2.2: "empty = no gateway"
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
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
    w.has_addresses("web-remote", &[]).await?;
    w.mirror("web-remote").await?;
    w.says("remote", "GatewayAlive", "False").await.map(drop)
}

async fn other_credentials_are_named(w: &mut World) -> Result<()> {
    // 2.2: `clusterCredentialsSecret`, "Secret name in the Link's namespace"
    w.relink("remote", |spec| {
        spec["clusterCredentialsSecret"] = json!("another")
    })
    .await?;
    w.says("remote", "Accepted", "False").await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let mut secret = objects::credentials("remote", &w.access);
    secret["metadata"]["name"] = json!("another");
    w.l.apply(secret).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn a_link_deleted_while_its_cluster_is_silent(w: &mut World) -> Result<()> {
    // F10, F13 together
    let relay = Relay::to(w.r.cluster.address()).await?;
    let mut access = w.access.clone();
    let name = w.r.cluster.address().ip().to_string();
    access["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", relay.address));
    access["clusters"][0]["cluster"]["tls-server-name"] = json!(name);
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    headless(w, "two", "pod-0").await?;
    for name in ["web-remote", "web-federated", "two-remote", "pod-0-remote"] {
        w.mirror(name).await?;
    }
    relay.set(Passage::Frozen);
    w.says("remote", "Synced", "False").await?;
    w.l.delete("Link", LINKS, "remote").await?;
    for name in ["web-remote", "web-federated", "two-remote", "pod-0-remote"] {
        w.gone(name).await?;
    }
    w.has_addresses("web-remote", &[]).await
}

async fn a_link_deleted_leaves_that_of_the_other_link_alone(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.link_named("other", |_| ()).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.until("web-federated", "has both", |s| {
        map(s, "annotations").get(REMOTE).map(String::as_str) == Some("web@other,web@remote")
    })
    .await?;
    let before = w.mirror("web-other").await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-remote").await?;
    w.until("web-federated", "has the other", |s| {
        map(s, "annotations").get(REMOTE).map(String::as_str) == Some("web@other")
    })
    .await?;
    ensure!(w.mirror("web-other").await? == before);
    Ok(())
}

async fn a_status_that_is_wiped_comes_back(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.l.wipe_status("Link", LINKS, "remote").await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    w.says("remote", "Synced", "True").await.map(drop)
}

async fn a_transition_has_a_new_time(w: &mut World) -> Result<()> {
    let user = objects::service(&w.ns, "web-remote", json!({}));
    w.l.apply(user).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    let first = w
        .entry("mirrorServices", "web", ("False", "NameConflict"))
        .await?;
    // Times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    w.l.delete("Service", &w.ns, "web-remote").await?;
    let second = w
        .entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    ensure!(
        first["lastTransitionTime"].as_str() < second["lastTransitionTime"].as_str(),
        "{first} {second}"
    );
    Ok(())
}

async fn a_membership_edited_by_hand_is_set_right(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    let whole = |s: &Value| {
        let annotations = map(s, "annotations");
        annotations.get(REMOTE).map(String::as_str) == Some("web@remote")
            && annotations.get(LOCAL).map(String::as_str) == Some("web")
    };
    w.until("web-federated", "has both", whole).await?;
    for edit in [
        json!({REMOTE: null}),
        json!({REMOTE: "web@remote,evil@remote"}),
        json!({LOCAL: "evil"}),
    ] {
        let patch = json!({"metadata": {"annotations": edit}});
        w.l.merge(("Service", &w.ns, "web-federated"), patch)
            .await?;
        w.until("web-federated", "has both again", whole).await?;
    }
    Ok(())
}

async fn a_headless_local_service_beside_a_remote_member(w: &mut World) -> Result<()> {
    // 3.11: "Headless => as above": it does not join, the other does
    let mut service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    service["spec"]["clusterIP"] = json!("None");
    w.l.apply(service).await?;
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    let federated = w.mirror("web-federated").await?;
    w.settle().await?;
    let annotations = map(&w.mirror("web-federated").await?, "annotations");
    ensure!(
        annotations.get(REMOTE).map(String::as_str) == Some("web@remote")
            && !annotations.contains_key(LOCAL),
        "{federated}"
    );
    Ok(())
}

async fn ports_of_the_local_member_are_followed(w: &mut World) -> Result<()> {
    // 3.11: "If authority: labels, annotations, ports replaced by this member's"
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    let mut service = objects::service(&w.ns, "web", json!({FEDERATED: "member"}));
    service["spec"]["ports"] = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    w.l.apply(service).await?;
    w.until("web-federated", "has the local port", |s| {
        ports(s) == ["http/80/TCP"]
    })
    .await?;
    w.l.delete("Service", &w.ns, "web").await?;
    w.until("web-federated", "has the remote ports", |s| {
        ports(s) == ["port1/555/TCP", "port2/666/TCP"]
    })
    .await
    .map(drop)
}

async fn all_members_leave_at_once(w: &mut World) -> Result<()> {
    // F6
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.until("web-federated", "has both", |s| {
        let annotations = map(s, "annotations");
        annotations.contains_key(REMOTE) && annotations.contains_key(LOCAL)
    })
    .await?;
    w.l.delete("Service", &w.ns, "web").await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-federated").await
}

async fn a_token_that_is_revoked_is_said_and_put_right(w: &mut World) -> Result<()> {
    // F12. The real one knows no roles yet when it answers again.
    w.provokes = true;
    w.r.apply(objects::account(LINKS, "revoked")).await?;
    let api = "rbac.authorization.k8s.io";
    w.r.apply(json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "revoked"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "tombolo-remote-access"},
        "subjects": [{"kind": "ServiceAccount", "namespace": LINKS, "name": "revoked"}],
    }))
    .await?;
    let access = w.r.access(LINKS, "revoked").await?;
    w.r.lets(&access, "services").await?;
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.r.delete("ServiceAccount", LINKS, "revoked").await?;
    // Watches that are open go on: with the API server they end.
    w.r.stop_api().await;
    w.r.start_api().await?;
    told(w, "401").await?;
    w.mirror("web-remote").await?;
    w.link(|_| ()).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.mirror("api-remote").await?;
    w.says("remote", "Synced", "True").await.map(drop)
}

/// Waits for a Warning about the Link that contains this, and for a condition.
async fn told(w: &World, what: &str) -> Result<()> {
    let said = async |s: &Site| {
        let link = s.get("Link", LINKS, "remote").await?.context("a Link")?;
        let text = link["status"]["conditions"].to_string();
        ensure!(text.contains(what) && text.contains("\"False\""), "{text}");
        let events = s.list("Event", LINKS, "").await?;
        let of_it = |e: &Value| {
            e["type"] == "Warning" && e["message"].as_str().is_some_and(|m| m.contains(what))
        };
        ensure!(events.iter().any(of_it), "no Event: {text}");
        Ok(Some(()))
    };
    w.l.eventually(&format!("a condition and an Event say {what}"), said)
        .await
}

async fn a_token_without_rights_is_said(w: &mut World) -> Result<()> {
    // F15: told as loudly as a token that is not known
    w.provokes = true;
    w.r.apply(objects::account(LINKS, "nobody")).await?;
    let access = w.r.access(LINKS, "nobody").await?;
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    told(w, "403").await
}

async fn a_mirror_that_cannot_go_is_asked_to_only_once(w: &mut World) -> Result<()> {
    // F32: nothing is written while nothing changes
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    w.l.merge(("Service", &w.ns, "web-remote"), held).await?;
    w.label("web", json!({EXPORTED: null})).await?;
    w.until("web-remote", "is to go", |s| {
        s["metadata"]["deletionTimestamp"].is_string()
    })
    .await?;
    w.settle().await?;
    let deletions = async || match w.kind {
        tombolo_judge::Kind::Real => {
            let counted = |line: &str| {
                line.starts_with("apiserver_request_total{")
                    && line.contains("resource=\"services\"")
                    && line.contains("verb=\"DELETE\"")
            };
            w.l.sum(counted).await
        }
        tombolo_judge::Kind::Ours => Ok(0.0),
    };
    let before = deletions().await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = deletions().await?;
    let free = json!({"metadata": {"finalizers": null}});
    w.l.merge(("Service", &w.ns, "web-remote"), free).await?;
    w.gone("web-remote").await?;
    ensure!(after - before <= 1.0, "{} deletions in 2 s", after - before);
    Ok(())
}

async fn a_mirror_that_is_on_its_way_out_is_made_anew(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let first = w.mirror("web-remote").await?;
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    w.l.merge(("Service", &w.ns, "web-remote"), held).await?;
    w.l.delete("Service", &w.ns, "web-remote").await?;
    w.settle().await?;
    let free = json!({"metadata": {"finalizers": null}});
    w.l.merge(("Service", &w.ns, "web-remote"), free).await?;
    w.until("web-remote", "is another", |s| {
        s["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await
    .map(drop)
}

async fn a_link_that_changed_while_nobody_looked_is_followed(w: &mut World) -> Result<()> {
    // 10.3 (23), across a restart
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export(
        "web",
        json!({EXPORTED: "true", FEDERATED: "member", "team": "a"}),
    )
    .await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.mirror("web-federated").await?;
    w.stop_control().await?;
    w.link(|spec| {
        spec["gatewayAddress"] = json!("192.0.2.128");
        spec["targetClusterDomain"] = json!("other.local");
        spec["excludedLabels"] = json!(["team"]);
        spec["federatedServiceSelector"] = json!({});
    })
    .await?;
    w.start_control();
    w.has_addresses("web-remote", &["192.0.2.128:888 up"; 2])
        .await?;
    w.gone("web-federated").await?;
    w.until("web-remote", "is as the Link says now", |s| {
        !map(s, "labels").contains_key("team")
            && map(s, "annotations")[objects::FQ_NAME].ends_with(".svc.other.local")
    })
    .await
    .map(drop)
}

async fn a_gateway_of_a_name_keeps_its_endpoints_across_a_restart(w: &mut World) -> Result<()> {
    // F13: what is known is not lost because a name does not resolve now
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let before = w.slices("web-remote").await?;
    w.link(|spec| spec["gatewayAddress"] = json!("nowhere.invalid"))
        .await?;
    w.settle().await?;
    w.stop_control().await?;
    w.start_control();
    w.settle().await?;
    ensure!(w.slices("web-remote").await? == before, "they were written");
    Ok(())
}

async fn the_second_link_takes_over_from_the_first(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.mirror("web-remote").await?;
    w.l.apply(objects::credentials("second", &w.access)).await?;
    w.relink("second", |spec| {
        spec["targetClusterName"] = json!("remote");
        spec["clusterCredentialsSecret"] = json!("cluster-credentials-second");
        spec["gatewayAddress"] = json!("192.0.2.200");
    })
    .await?;
    w.says("second", "Accepted", "False").await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.says("second", "Accepted", "True").await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.has_addresses("web-remote", &["192.0.2.200:888 up"; 2])
        .await?;
    w.mirror("web-federated").await.map(drop)
}

async fn nothing_of_any_kind_is_written_because_of_a_restart(w: &mut World) -> Result<()> {
    let there = format!("{}-there", w.ns);
    w.r.apply(objects::namespace(&there)).await?;
    w.r.apply(objects::service(&there, "web", json!({EXPORTED: "true"})))
        .await?;
    w.l.apply(objects::service(&w.ns, "taken-remote", json!({})))
        .await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.link(|_| ()).await?;
    for (name, labels) in [
        ("web", json!({EXPORTED: "true", FEDERATED: "member"})),
        ("api", json!({EXPORTED: "remote-discovery"})),
        ("taken", json!({EXPORTED: "true"})),
        ("odd", json!({EXPORTED: "yes"})),
    ] {
        w.ready(name, &["10.2.0.1"]).await?;
        w.export(name, labels).await?;
    }
    headless(w, "two", "pod-0").await?;
    w.has_addresses("pod-0-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.entry("mirrorServices", "odd", ("False", "UnknownMode"))
        .await?;
    w.entry("mirrorServices", "two", ("True", "Mirrored"))
        .await?;
    w.settle().await?;
    let before = w.quiet().await?;
    w.stop_control().await?;
    w.start_control();
    w.talk("api-remote:555").await?.next().await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let after = w.versions().await?;
    let differ: Vec<_> = after.iter().filter(|v| !before.contains(v)).collect();
    ensure!(before == after, "{differ:?}");
    Ok(())
}
