//! What of a Service is taken over, at the edges.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::conformance::objects::{
    self, CLUSTER, EXPORTED, FEDERATED, FQ_NAME, IDENTITY, MIRRORED, REMOTE, REMOTE_SERVICE,
    RESOURCE_VERSION,
};
use crate::conformance::site::Site;
use crate::conformance::world::{World, map, ports};

cases!["shapes":
    nothing_of_the_spec_but_ports_is_copied,
    one_number_for_two_protocols,
    a_port_without_a_name,
    a_gateway_name_that_does_not_resolve_is_skipped,
    a_gateway_that_does_not_resolve_is_said_and_put_right,
    a_gateway_port_that_is_none_costs_only_gateway_mirrors,
    a_selector_that_makes_no_sense_costs_only_its_mode,
    names_of_the_mirror_are_not_taken_from_the_remote_side,
    annotations_under_mirror_are_copied_and_ours_win,
    a_prefix_spares_the_key_of_the_same_name,
    a_selector_for_what_has_no_label,
    one_name_in_two_namespaces,
    another_mode_that_means_nothing_withdraws_the_mirror,
    endpoints_that_change_do_not_touch_the_service,
    a_service_made_anew_at_once_is_followed,
    a_headless_service_that_becomes_another,
    every_mode_in_turn,
    a_headless_mirror_follows_its_gateway,
    labels_of_a_headless_service_are_followed,
    ports_that_change_name_protocol_and_order_are_followed,
    a_gateway_address_that_is_none_is_skipped_and_said,
];

async fn nothing_of_the_spec_but_ports_is_copied(w: &mut World) -> Result<()> {
    // 3.6: "`nodePort`, `appProtocol` dropped ... `sessionAffinity`, `internalTrafficPolicy`, `trafficDistribution`,
    // `publishNotReadyAddresses` ... are not copied"
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["spec"] = json!({
        "type": "NodePort", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local", "publishNotReadyAddresses": true, "trafficDistribution": "PreferClose",
        "ports": [{"name": "web", "port": 80, "targetPort": "named", "appProtocol": "kubernetes.io/h2c"}],
    });
    w.r.apply(service).await?;
    let spec = w.mirror("web-remote").await?["spec"].take();
    let port = json!([{"name": "web", "port": 80, "targetPort": "named", "protocol": "TCP"}]);
    ensure!(spec["ports"] == port, "{spec}");
    for (field, want) in [
        ("type", json!("ClusterIP")),
        ("sessionAffinity", json!("None")),
        ("internalTrafficPolicy", json!("Cluster")),
        ("publishNotReadyAddresses", Value::Null),
        ("trafficDistribution", Value::Null),
        ("selector", Value::Null),
    ] {
        ensure!(spec[field] == want, "{field}: {spec}");
    }
    Ok(())
}

async fn one_number_for_two_protocols(w: &mut World) -> Result<()> {
    // 3.6: "for each Service port `{name, protocol, port=<gatewayPort>}`"
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "dns", json!({EXPORTED: "true"}));
    service["spec"]["ports"] = json!([
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]);
    w.r.apply(service).await?;
    w.ready("dns", &["10.2.0.1"]).await?;
    w.has_addresses("dns-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let mirror = w.mirror("dns-remote").await?;
    ensure!(
        ports(&mirror) == ["dns-tcp/53/TCP", "dns/53/UDP"],
        "{mirror}"
    );
    let slices = w.slices("dns-remote").await?;
    let mut told: Vec<String> = slices
        .iter()
        .flat_map(|s| s["ports"].as_array().cloned().unwrap_or_default())
        .map(|p| format!("{} {}", p["name"], p["protocol"]))
        .collect();
    told.sort();
    ensure!(
        told == ["\"dns\" \"UDP\"", "\"dns-tcp\" \"TCP\""],
        "{told:?}"
    );
    Ok(())
}

async fn a_port_without_a_name(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["spec"]["ports"] = json!([{"port": 80}]);
    w.r.apply(service).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"])
        .await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(mirror["spec"]["ports"][0].get("name").is_none(), "{mirror}");
    Ok(())
}

async fn a_gateway_name_that_does_not_resolve_is_skipped(w: &mut World) -> Result<()> {
    // 3.6: "pieces that fail are skipped"
    w.link(|spec| spec["gatewayAddress"] = json!("nowhere.invalid,192.0.2.127"))
        .await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_gateway_that_does_not_resolve_is_said_and_put_right(w: &mut World) -> Result<()> {
    // 3.8 (5): "Service exists without EP ... nothing recreates the EP [bug]"
    w.link(|spec| spec["gatewayAddress"] = json!("nowhere.invalid"))
        .await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.mirror("web-remote").await?;
    let said = async |s: &Site| {
        let link = s.get("Link", objects::LINKS, "remote").await?;
        let text = link.map(|l| l["status"].to_string()).unwrap_or_default();
        Ok(text.contains("could be resolved").then_some(()))
    };
    w.l.eventually("the Link says that nothing resolves", said)
        .await?;
    w.link(|_| ()).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.entry("mirrorServices", "web", ("True", "Mirrored"))
        .await
        .map(drop)
}

async fn a_gateway_port_that_is_none_costs_only_gateway_mirrors(w: &mut World) -> Result<()> {
    // 2.2: "`gatewayPort` ... parsed base 10, 32 bit, per event", so flat mirrors know nothing of it
    w.link(|spec| spec["gatewayPort"] = json!("abc")).await?;
    w.export("flat", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("flat-remote").await.map(drop)
}

async fn a_selector_that_makes_no_sense_costs_only_its_mode(w: &mut World) -> Result<()> {
    // 2.2: "An invalid selector logs and matches nothing"
    w.link(|spec| {
        spec["selector"] =
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": []}]});
    })
    .await?;
    w.export("flat", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.export("web", json!({EXPORTED: "true", "app": "web"}))
        .await?;
    w.mirror("flat-remote").await?;
    w.settle().await?;
    w.absent("web-remote").await
}

async fn names_of_the_mirror_are_not_taken_from_the_remote_side(w: &mut World) -> Result<()> {
    // 3.6: "drop keys with string prefix `mirror.linkerd.io`", "Linkerd-owned keys are written last and win"; F41
    w.link(|_| ()).await?;
    w.export(
        "web",
        json!({
            EXPORTED: "true", CLUSTER: "evil", "mirror.linkerd.io/headless-mirror-svc-name": "evil",
            "mirror.linkerd.io/mirrored-gateway": "true", REMOTE: "evil", REMOTE_SERVICE: "evil",
            "multicluster.linkerd.io/cluster-name": "evil", "app.kubernetes.io/name": "web",
        }),
    )
    .await?;
    let mirror = w.mirror("web-remote").await?;
    let want = [
        ("app.kubernetes.io/name", "web"),
        (CLUSTER, "remote"),
        (MIRRORED, "true"),
    ];
    let want = want.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ensure!(map(&mirror, "labels") == want, "{mirror}");
    Ok(())
}

async fn annotations_under_mirror_are_copied_and_ours_win(w: &mut World) -> Result<()> {
    // 3.6: "Annotations: ... no `mirror.linkerd.io` prefix drop"; "Linkerd-owned keys are written last and win"
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "web", json!({EXPORTED: "true"}));
    service["metadata"]["annotations"] =
        json!({FQ_NAME: "evil", RESOURCE_VERSION: "evil", "mirror.linkerd.io/note": "kept"});
    let remote = w.r.apply(service).await?;
    let annotations = map(&w.mirror("web-remote").await?, "annotations");
    ensure!(
        annotations[FQ_NAME] == format!("web.{}.svc.cluster.local", w.ns)
            && remote["metadata"]["resourceVersion"] == annotations[RESOURCE_VERSION],
        "{annotations:?}"
    );
    ensure!(
        annotations
            .get("mirror.linkerd.io/note")
            .map(String::as_str)
            == Some("kept"),
        "{annotations:?}"
    );
    Ok(())
}

async fn a_prefix_spares_the_key_of_the_same_name(w: &mut World) -> Result<()> {
    // F22: "drop only `foo/`"
    w.link(|spec| spec["excludedLabels"] = json!(["foo/*"]))
        .await?;
    w.export(
        "web",
        json!({EXPORTED: "true", "foo": "1", "foo/a": "2", "foobar/b": "3"}),
    )
    .await?;
    let labels = map(&w.mirror("web-remote").await?, "labels");
    let keys: Vec<_> = labels.keys().filter(|k| k.starts_with("foo")).collect();
    ensure!(keys == ["foo", "foobar/b"], "{labels:?}");
    Ok(())
}

async fn a_selector_for_what_has_no_label(w: &mut World) -> Result<()> {
    // 2.2: operator DoesNotExist; F25
    w.link(|spec| {
        spec["selector"] = json!({
            "matchLabels": {"case": w.ns}, "matchExpressions": [{"key": "private", "operator": "DoesNotExist"}],
        });
    })
    .await?;
    w.export("open", json!({"case": w.ns})).await?;
    w.export("shut", json!({"case": w.ns, "private": ""}))
        .await?;
    w.mirror("open-remote").await?;
    w.settle().await?;
    w.absent("shut-remote").await?;
    w.label("open", json!({"private": ""})).await?;
    w.gone("open-remote").await
}

async fn one_name_in_two_namespaces(w: &mut World) -> Result<()> {
    let other = format!("{}-other", w.ns);
    w.l.apply(objects::namespace(&other)).await?;
    w.r.apply(objects::namespace(&other)).await?;
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true", "of": "one"}))
        .await?;
    w.r.apply(objects::service(
        &other,
        "web",
        json!({EXPORTED: "true", "of": "two"}),
    ))
    .await?;
    let (one, two) = (
        w.mirror("web-remote").await?,
        w.l.service(&other, "web-remote").await?,
    );
    ensure!(map(&one, "labels")["of"] == "one" && map(&two, "labels")["of"] == "two");
    w.r.delete("Service", &other, "web").await?;
    w.l.gone("Service", &other, "web-remote").await?;
    w.mirror("web-remote").await.map(drop)
}

async fn another_mode_that_means_nothing_withdraws_the_mirror(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.label("web", json!({EXPORTED: "yes"})).await?;
    w.gone("web-remote").await
}

async fn endpoints_that_change_do_not_touch_the_service(w: &mut World) -> Result<()> {
    // 3.14: "Only transitions of `has at least one ready address` matter"
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let before = (w.mirror("web-remote").await?, w.slices("web-remote").await?);
    w.ready("web", &["10.2.0.1", "10.2.0.2", "10.2.0.3"])
        .await?;
    w.settle().await?;
    ensure!(before == (w.mirror("web-remote").await?, w.slices("web-remote").await?));
    w.ready("web", &[]).await?;
    w.has_addresses("web-remote", &[]).await?;
    ensure!(before.0 == w.mirror("web-remote").await?);
    Ok(())
}

async fn a_service_made_anew_at_once_is_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.r.delete("Service", &w.ns, "web").await?;
    let again = w
        .export("web", json!({EXPORTED: "true", "new": "1"}))
        .await?;
    w.until("web-remote", "is of the new one", |s| {
        again["metadata"]["resourceVersion"] == map(s, "annotations")[RESOURCE_VERSION]
            && map(s, "labels").contains_key("new")
    })
    .await
    .map(drop)
}

async fn headless(w: &World) -> Result<()> {
    let mut service = objects::service(&w.ns, "db", json!({EXPORTED: "true", "of": "one"}));
    service["spec"]["clusterIP"] = json!("None");
    w.r.apply(service).await?;
    let mut slice = objects::slice(&w.ns, "db", &["10.2.0.1"]);
    slice["endpoints"][0]["hostname"] = json!("db-0");
    w.r.apply(slice).await?;
    w.has_addresses("db-0-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_headless_service_that_becomes_another(w: &mut World) -> Result<()> {
    // 3.10: "delete all Services ... labelled `headless-mirror-svc-name`"
    w.link(|_| ()).await?;
    headless(w).await?;
    w.r.delete("Service", &w.ns, "db").await?;
    w.export("db", json!({EXPORTED: "true"})).await?;
    w.until("db-remote", "has an address of its own", |s| {
        s["spec"]["clusterIP"] != "None"
    })
    .await?;
    w.gone("db-0-remote").await?;
    w.has_addresses("db-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn a_headless_mirror_follows_its_gateway(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    headless(w).await?;
    w.link(|spec| {
        spec["gatewayAddress"] = json!("192.0.2.128");
        spec["gatewayIdentity"] = json!("another");
    })
    .await?;
    w.has_addresses("db-0-remote", &["192.0.2.128:888 up"; 2])
        .await?;
    let slice = w.slices("db-0-remote").await?.remove(0);
    ensure!(map(&slice, "annotations")[IDENTITY] == "another", "{slice}");
    Ok(())
}

async fn labels_of_a_headless_service_are_followed(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    headless(w).await?;
    w.label("db", json!({"of": "two"})).await?;
    for name in ["db-remote", "db-0-remote"] {
        w.until(name, "has the new label", |s| {
            map(s, "labels")["of"] == "two"
        })
        .await?;
    }
    Ok(())
}

async fn every_mode_in_turn(w: &mut World) -> Result<()> {
    // 3.9: "Switching gateway->RD ... works; RD->gateway works too ... and the RD labels vanish"
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    w.label(
        "web",
        json!({EXPORTED: "remote-discovery", FEDERATED: "member"}),
    )
    .await?;
    w.until("web-remote", "is flat", |s| {
        map(s, "labels").contains_key(REMOTE)
    })
    .await?;
    w.mirror("web-federated").await?;
    w.has_addresses("web-remote", &[]).await?;
    ensure!(w.slices("web-remote").await?.is_empty());
    w.label("web", json!({EXPORTED: null})).await?;
    w.gone("web-remote").await?;
    w.mirror("web-federated").await?;
    w.label("web", json!({EXPORTED: "true", FEDERATED: null}))
        .await?;
    w.gone("web-federated").await?;
    let mirror = w.mirror("web-remote").await?;
    ensure!(!map(&mirror, "labels").contains_key(REMOTE), "{mirror}");
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await
}

async fn ports_that_change_name_protocol_and_order_are_followed(w: &mut World) -> Result<()> {
    // 3.6: "`name`, `protocol`, `port`, `targetPort` copied in order"
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    for ports in [
        json!([{"name": "port2", "port": 666, "protocol": "TCP"}, {"name": "port1", "port": 555, "protocol": "TCP"}]),
        json!([{"name": "port2", "port": 666, "protocol": "UDP"}, {"name": "other", "port": 555, "protocol": "TCP"}]),
        json!([{"name": "new", "port": 444, "protocol": "TCP"}, {"name": "port2", "port": 666, "protocol": "TCP"}]),
    ] {
        let patch = json!({"spec": {"ports": ports}});
        w.r.merge(("Service", &w.ns, "web"), patch).await?;
        let want: Vec<_> = ports
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| {
                format!(
                    "{}/{}/{}",
                    p["name"].as_str().unwrap_or_default(),
                    p["port"],
                    p["protocol"].as_str().unwrap_or_default()
                )
            })
            .collect();
        w.until("web-remote", &format!("has {want:?}"), |s| {
            self::ports(s) == want
        })
        .await?;
        let named = async |_: &Site| {
            let slices = w.slices("web-remote").await?;
            let told = slices
                .iter()
                .flat_map(|s| s["ports"].as_array().cloned().unwrap_or_default());
            let told: std::collections::BTreeSet<_> = told
                .map(|p| {
                    format!(
                        "{} {}",
                        p["name"].as_str().unwrap_or_default(),
                        p["protocol"].as_str().unwrap_or_default()
                    )
                })
                .collect();
            let wanted = want.iter().map(|text| {
                let parts: Vec<_> = text.split('/').collect();
                format!("{} {}", parts[0], parts[2])
            });
            ensure!(told == wanted.collect(), "{told:?}");
            Ok(Some(()))
        };
        w.l.eventually("its endpoints have the same ports", named)
            .await?;
    }
    Ok(())
}

async fn a_gateway_address_that_is_none_is_skipped_and_said(w: &mut World) -> Result<()> {
    // 3.6: "pieces that fail are skipped"
    w.link(|spec| spec["gatewayAddress"] = json!("what?,192.0.2.127, "))
        .await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let condition = w.says("remote", "Accepted", "True").await?;
    ensure!(
        condition["message"]
            .as_str()
            .is_some_and(|m| m.contains("what?")),
        "{condition}"
    );
    Ok(())
}
