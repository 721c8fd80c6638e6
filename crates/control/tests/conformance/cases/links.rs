//! Links that come, change and go.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{
    self, EXPORTED, FEDERATED, FQ_NAME, IDENTITY, LINKS, LOCAL, REMOTE,
};
use crate::conformance::talk::Said;
use crate::conformance::world::{World, map};

cases!["links":
    a_deleted_link_takes_its_mirrors_with_it,
    a_link_deleted_in_a_settled_world_takes_its_mirrors_with_it,
    a_link_that_comes_back_mirrors_again,
    another_domain_is_another_name,
    another_target_renames_the_mirrors,
    another_gateway_address_is_followed,
    another_gateway_port_and_identity_are_followed,
    a_gateway_that_is_added_brings_endpoints,
    an_emptied_selector_withdraws_its_mirrors,
    another_selector_mirrors_others,
    a_selector_that_moves_to_flat_moves_its_mirrors,
    two_links_to_one_cluster_mirror_and_federate_twice,
    two_links_share_the_modes_between_them,
    a_second_link_to_the_same_name_does_nothing,
    a_link_in_another_namespace_has_its_secret_there,
    a_malformed_link_is_refused_and_others_go_on,
    a_link_that_becomes_malformed_keeps_its_mirrors,
    a_link_repaired_is_followed,
    a_link_to_oneself_does_no_harm,
    a_probe_that_makes_no_sense_keeps_nothing_from_being_mirrored,
];

async fn a_deleted_link_takes_its_mirrors_with_it(w: &mut World) -> Result<()> {
    // F10, A10
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.export("api", json!({EXPORTED: "remote-discovery"}))
        .await?;
    for name in ["web-remote", "web-federated", "api-remote"] {
        w.mirror(name).await?;
    }
    w.l.delete("Link", LINKS, "remote").await?;
    for name in ["web-remote", "web-federated", "api-remote"] {
        w.gone(name).await?;
    }
    w.has_addresses("web-remote", &[]).await
}

async fn a_link_deleted_in_a_settled_world_takes_its_mirrors_with_it(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-remote").await
}

async fn a_link_that_comes_back_mirrors_again(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-remote").await?;
    w.link(|_| ()).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn exported(w: &World) -> Result<()> {
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn another_domain_is_another_name(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| spec["targetClusterDomain"] = json!("other.domain"))
        .await?;
    let want = format!("web.{}.svc.other.domain", w.ns);
    w.until("web-remote", "has the new name", |s| {
        map(s, "annotations").get(FQ_NAME) == Some(&want)
    })
    .await
    .map(drop)
}

async fn another_target_renames_the_mirrors(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| spec["targetClusterName"] = json!("renamed"))
        .await?;
    w.mirror("web-renamed").await?;
    w.gone("web-remote").await
}

async fn another_gateway_address_is_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| spec["gatewayAddress"] = json!("192.0.2.200"))
        .await?;
    w.has_addresses("web-remote", &["192.0.2.200:888 up"; 2])
        .await
}

async fn another_gateway_port_and_identity_are_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| {
        spec["gatewayPort"] = json!("999");
        spec["gatewayIdentity"] = json!("other-identity");
    })
    .await?;
    w.has_addresses("web-remote", &["192.0.2.127:999 up"; 2])
        .await?;
    let slice = w.slices("web-remote").await?.remove(0);
    ensure!(
        map(&slice, "annotations")[IDENTITY] == "other-identity",
        "{slice}"
    );
    Ok(())
}

async fn a_gateway_that_is_added_brings_endpoints(w: &mut World) -> Result<()> {
    w.link(|spec| {
        spec["gatewayAddress"] = json!("");
        spec["gatewayPort"] = json!("");
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.link(|_| ()).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn an_emptied_selector_withdraws_its_mirrors(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.export(
        "api",
        json!({EXPORTED: "remote-discovery", FEDERATED: "member"}),
    )
    .await?;
    w.mirror("api-federated").await?;
    w.link(|spec| {
        spec["selector"] = json!({});
        spec["federatedServiceSelector"] = json!({});
    })
    .await?;
    w.gone("web-remote").await?;
    w.gone("api-federated").await?;
    w.mirror("api-remote").await.map(drop)
}

async fn another_selector_mirrors_others(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.export("plain", json!({"app": "plain"})).await?;
    w.link(|spec| spec["selector"] = json!({"matchLabels": {"app": "plain"}}))
        .await?;
    w.mirror("plain-remote").await?;
    w.gone("web-remote").await
}

async fn a_selector_that_moves_to_flat_moves_its_mirrors(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| {
        spec["selector"] = json!({});
        spec["remoteDiscoverySelector"] = json!({"matchLabels": {EXPORTED: "true"}});
    })
    .await?;
    w.until("web-remote", "is flat", |s| {
        map(s, "labels").contains_key(REMOTE)
    })
    .await?;
    w.has_addresses("web-remote", &[]).await
}

async fn two_links_to_one_cluster_mirror_and_federate_twice(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.mirror("web-federated").await?;
    w.link_named("second", |_| ()).await?;
    w.mirror("web-second").await?;
    w.mirror("web-remote").await?;
    let members = async |want: &str| {
        w.until("web-federated", "has its members", |s| {
            map(s, "annotations").get(REMOTE).map(String::as_str) == Some(want)
        })
        .await
    };
    members("web@remote,web@second").await?;
    // However many lead there, there is one endpoint.
    let mut talk = w.talk("web-federated:555").await?;
    talk.reaches(&["10.2.0.1:555"]).await?;
    w.l.delete("Link", LINKS, "remote").await?;
    members("web@second").await?;
    w.gone("web-remote").await?;
    // It may be told again, as one of the other Link's cluster, but is never taken away.
    while let Ok(said) = talk
        .next_within(std::time::Duration::from_millis(300))
        .await
    {
        ensure!(matches!(said, Said::Add(_)), "{said:?}");
    }
    Ok(())
}

async fn two_links_share_the_modes_between_them(w: &mut World) -> Result<()> {
    w.link(|spec| spec["selector"] = json!({})).await?;
    w.link_named("remote-gw", |spec| {
        spec["remoteDiscoverySelector"] = json!({});
        spec["federatedServiceSelector"] = json!({});
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true", FEDERATED: "member"}))
        .await?;
    w.export("api", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.has_addresses("web-remote-gw", &["192.0.2.127:888 up"; 2])
        .await?;
    w.mirror("api-remote").await?;
    let service = w.mirror("web-federated").await?;
    ensure!(
        map(&service, "annotations")[REMOTE] == "web@remote",
        "{service}"
    );
    w.absent("web-remote").await?;
    w.absent("api-remote-gw").await
}

async fn a_second_link_to_the_same_name_does_nothing(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    // A timestamp has seconds: of equals, the name decides.
    w.link_named("z-same", |spec| spec["targetClusterName"] = json!("remote"))
        .await?;
    let condition = w.says("z-same", "Accepted", "False").await?;
    ensure!(condition["reason"] == "DuplicateTarget", "{condition}");
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_link_in_another_namespace_has_its_secret_there(w: &mut World) -> Result<()> {
    let mut link = objects::link("remote");
    link["metadata"]["namespace"] = json!(w.ns);
    let mut secret = objects::credentials("remote", &w.access);
    secret["metadata"]["namespace"] = json!(w.ns);
    w.l.apply(secret).await?;
    w.l.apply(link).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn a_malformed_link_is_refused_and_others_go_on(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.link_named("bad", |spec| spec["gatewayPort"] = json!("http"))
        .await?;
    let condition = w.says("bad", "Accepted", "False").await?;
    ensure!(
        condition["message"]
            .as_str()
            .is_some_and(|m| m.contains("gatewayPort")),
        "{condition}"
    );
    exported(w).await
}

async fn a_link_that_becomes_malformed_keeps_its_mirrors(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    exported(w).await?;
    w.link(|spec| spec["gatewayPort"] = json!("http")).await?;
    w.says("remote", "Accepted", "False").await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_link_repaired_is_followed(w: &mut World) -> Result<()> {
    w.link(|spec| spec["gatewayPort"] = json!("http")).await?;
    w.says("remote", "Accepted", "False").await?;
    w.link(|_| ()).await?;
    exported(w).await
}

async fn a_link_to_oneself_does_no_harm(w: &mut World) -> Result<()> {
    let own = w.l.access("tombolo", "remote-access").await;
    let own: Value = match own {
        Ok(own) => own,
        Err(error) => return Err(error),
    };
    w.l.apply(objects::credentials("remote", &own)).await?;
    w.relink("remote", |_| ()).await?;
    w.l.apply(objects::service(
        &w.ns,
        "web",
        json!({FEDERATED: "member", EXPORTED: "remote-discovery"}),
    ))
    .await?;
    w.mirror("web-remote").await?;
    w.until("web-federated", "has both members", |s| {
        let annotations = map(s, "annotations");
        let of = |key: &str| annotations.get(key).map(String::as_str);
        of(LOCAL) == Some("web") && of(REMOTE) == Some("web@remote")
    })
    .await
    .map(drop)
}

async fn a_probe_that_makes_no_sense_keeps_nothing_from_being_mirrored(
    w: &mut World,
) -> Result<()> {
    // A1.2 has a port that is none
    w.link(|spec| {
        spec["probeSpec"] = json!({"path": "/probe1", "port": "123456", "period": "120s"});
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let condition = w.says("remote", "GatewayAlive", "Unknown").await?;
    ensure!(
        condition["message"]
            .as_str()
            .is_some_and(|m| m.contains("123456 is no port")),
        "{condition}"
    );
    Ok(())
}
