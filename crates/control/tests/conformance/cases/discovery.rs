//! What the destination service says.
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tombolo_wire::proxy_api::destination::protocol_hint::Protocol;
use tonic::Code;

use super::cases;
use crate::conformance::objects::{
    self, CLUSTER, EXPORTED, FEDERATED, FQ_NAME, IDENTITY, MIRRORED,
};
use crate::conformance::talk::{Said, authority, identity};
use crate::conformance::world::World;

cases!["discovery":
    the_first_message_has_all_endpoints,
    endpoints_are_added_and_removed_one_by_one,
    an_empty_service_is_said_to_exist,
    a_service_that_loses_its_last_endpoint_exists,
    a_deleted_service_does_not_exist_any_more,
    a_name_that_is_none_is_an_invalid_argument,
    a_service_that_is_not_there_is_not_found,
    an_external_name_is_an_invalid_argument,
    a_flat_mirror_reaches_the_remote_pods,
    a_flat_mirror_follows_the_remote_pods,
    a_federated_service_is_the_union_of_its_members,
    members_join_and_leave_an_open_stream,
    a_gateway_mirror_speaks_to_the_far_name,
    a_gateway_mirror_without_identity,
    a_gateway_mirror_with_an_empty_identity,
    a_gateway_on_another_port,
    a_gateway_that_is_down_is_withheld,
    a_meshed_pod_has_identity_and_hint,
    a_pod_of_another_control_plane_has_none,
    a_skipped_port_has_none,
    an_opaque_port_is_hinted,
    an_unmeshed_endpoint_has_none,
    endpoints_are_labelled_and_weighted,
    a_port_is_found_by_its_name,
    a_port_that_is_not_declared_is_taken_as_it_is,
    of_both_families_the_pod_is_told_once,
    a_host_is_asked_for_by_name,
    unready_endpoints_are_not_told,
    slices_add_up,
    a_slow_client_keeps_nobody_waiting,
];

async fn web(w: &World, ips: &[&str]) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    w.l.apply(objects::slice(&w.ns, "web", ips)).await.map(drop)
}

async fn the_first_message_has_all_endpoints(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1", "10.1.0.2"]).await?;
    w.talk("web:555")
        .await?
        .reaches(&["10.1.0.1:555", "10.1.0.2:555"])
        .await?;
    let mut talk = w.talk("web:555").await?;
    ensure!(
        talk.next().await? == Said::Add(vec!["10.1.0.1:555".to_owned(), "10.1.0.2:555".to_owned()])
    );
    talk.is_silent().await
}

async fn endpoints_are_added_and_removed_one_by_one(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1", "10.1.0.2"]).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555", "10.1.0.2:555"]).await?;
    w.l.apply(objects::slice(
        &w.ns,
        "web",
        &["10.1.0.1", "10.1.0.2", "10.1.0.3"],
    ))
    .await?;
    ensure!(talk.next().await? == Said::Add(vec!["10.1.0.3:555".to_owned()]));
    w.l.apply(objects::slice(&w.ns, "web", &["10.1.0.2", "10.1.0.3"]))
        .await?;
    ensure!(talk.next().await? == Said::Remove(vec!["10.1.0.1:555".to_owned()]));
    talk.is_silent().await
}

async fn an_empty_service_is_said_to_exist(w: &mut World) -> Result<()> {
    // F18
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut talk = w.talk("web:555").await?;
    ensure!(talk.next().await? == Said::NoEndpoints(true));
    Ok(())
}

async fn a_service_that_loses_its_last_endpoint_exists(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    w.l.apply(objects::slice(&w.ns, "web", &[])).await?;
    talk.reaches(&[]).await?;
    w.l.apply(objects::slice(&w.ns, "web", &["10.1.0.9"]))
        .await?;
    talk.reaches(&["10.1.0.9:555"]).await
}

async fn a_deleted_service_does_not_exist_any_more(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    w.l.delete("Service", &w.ns, "web").await?;
    ensure!(talk.next().await? == Said::NoEndpoints(false));
    Ok(())
}

async fn a_name_that_is_none_is_an_invalid_argument(w: &mut World) -> Result<()> {
    let client = w.client()?;
    for path in [
        "",
        "linkerd.io",
        "web.ns:80",
        "10.0.0.1:80",
        "[::1]:80",
        "web.ns.svc.other.domain:80",
        "web.ns.svc.cluster.local:http",
        "web.ns.svc.cluster.local:0",
        "web.ns.svc.cluster.local:70000",
    ] {
        let code = client.refusal(path).await?;
        ensure!(code == Code::InvalidArgument, "{path}: {code:?}");
    }
    Ok(())
}

async fn a_service_that_is_not_there_is_not_found(w: &mut World) -> Result<()> {
    let code = w.client()?.refusal(&w.authority("nobody:80")).await?;
    ensure!(code == Code::NotFound, "{code:?}");
    Ok(())
}

async fn an_external_name_is_an_invalid_argument(w: &mut World) -> Result<()> {
    let mut service = objects::service(&w.ns, "web", json!({}));
    service["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    w.l.apply(service).await?;
    let path = w.authority("web:80");
    let client = w.client()?;
    w.l.eventually("it is refused", async |_: &_| {
        Ok((client.refusal(&path).await? == Code::InvalidArgument).then_some(()))
    })
    .await
}

async fn pods(w: &World, name: &str, ips: &[&str]) -> Result<()> {
    let mut slice = objects::slice(&w.ns, name, ips);
    for (n, ip) in ips.iter().enumerate() {
        let pod = format!("{name}-{}", ip.replace('.', "-"));
        w.r.apply(objects::pod(&w.ns, &pod, ip)).await?;
        slice["endpoints"][n]["targetRef"] = json!({"kind": "Pod", "namespace": w.ns, "name": pod});
    }
    w.r.apply(slice).await.map(drop)
}

async fn a_flat_mirror_reaches_the_remote_pods(w: &mut World) -> Result<()> {
    // D2
    w.link(|_| ()).await?;
    pods(w, "web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("web-remote").await?;
    let mut talk = w.talk("web-remote:555").await?;
    talk.reaches(&["10.2.0.1:555"]).await?;
    let want = format!(
        "default.{}.serviceaccount.identity.linkerd.cluster.local",
        w.ns
    );
    let endpoint = talk.endpoint("10.2.0.1:555")?;
    ensure!(identity(endpoint) == want, "{endpoint:?}");
    ensure!(
        talk.labels["service"] == "web" || talk.labels["service"] == "web-remote",
        "{:?}",
        talk.labels
    );
    Ok(())
}

async fn a_flat_mirror_follows_the_remote_pods(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    pods(w, "web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("web-remote").await?;
    let mut talk = w.talk("web-remote:555").await?;
    talk.reaches(&["10.2.0.1:555"]).await?;
    pods(w, "web", &["10.2.0.1", "10.2.0.2"]).await?;
    talk.reaches(&["10.2.0.1:555", "10.2.0.2:555"]).await?;
    pods(w, "web", &["10.2.0.2"]).await?;
    talk.reaches(&["10.2.0.2:555"]).await?;
    pods(w, "web", &[]).await?;
    talk.reaches(&[]).await
}

async fn a_federated_service_is_the_union_of_its_members(w: &mut World) -> Result<()> {
    // D1.1
    w.link(|_| ()).await?;
    pods(w, "web", &["10.2.0.1"]).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.l.apply(objects::slice(&w.ns, "web", &["10.1.0.1"]))
        .await?;
    w.talk("web-federated:555")
        .await?
        .reaches(&["10.1.0.1:555", "10.2.0.1:555"])
        .await
}

async fn members_join_and_leave_an_open_stream(w: &mut World) -> Result<()> {
    // D1.2 - D1.4
    w.link(|_| ()).await?;
    pods(w, "web", &["10.2.0.1"]).await?;
    w.export("web", json!({})).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.l.apply(objects::slice(&w.ns, "web", &["10.1.0.1"]))
        .await?;
    let mut talk = w.talk("web-federated:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    w.label("web", json!({FEDERATED: "member"})).await?;
    ensure!(talk.next().await? == Said::Add(vec!["10.2.0.1:555".to_owned()]));
    w.label("web", json!({FEDERATED: null})).await?;
    ensure!(talk.next().await? == Said::Remove(vec!["10.2.0.1:555".to_owned()]));
    w.label("web", json!({FEDERATED: "member"})).await?;
    talk.reaches(&["10.1.0.1:555", "10.2.0.1:555"]).await?;
    let leave = json!({"metadata": {"labels": {FEDERATED: null}}});
    w.l.merge(("Service", &w.ns, "web"), leave).await?;
    talk.reaches(&["10.2.0.1:555"]).await?;
    w.r.delete("Service", &w.ns, "web").await?;
    talk.reaches(&[]).await
}

/// A mirror that somebody else keeps, as in D6.
async fn their_mirror(w: &World, identity: Option<&str>, port: u16) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": w.ns, "name": "name1-remote", "labels": {MIRRORED: "true", CLUSTER: "remote"}},
        "spec": {"ports": [{"port": 8989}]},
    });
    w.l.apply(service).await?;
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": w.ns, "name": "name1-remote-x",
            "labels": {"kubernetes.io/service-name": "name1-remote", MIRRORED: "true", CLUSTER: "remote"},
            "annotations": {FQ_NAME: "name1-remote-fq"},
        },
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["172.17.0.12"], "conditions": {"ready": true}}],
    });
    if let Some(identity) = identity {
        slice["metadata"]["annotations"][IDENTITY] = json!(identity);
    }
    w.l.apply(slice).await.map(drop)
}

async fn a_gateway_mirror_speaks_to_the_far_name(w: &mut World) -> Result<()> {
    // D6.2
    their_mirror(w, Some("gateway-identity-1"), 8989).await?;
    let mut talk = w.talk("name1-remote:8989").await?;
    talk.reaches(&["172.17.0.12:8989"]).await?;
    let endpoint = talk.endpoint("172.17.0.12:8989")?;
    ensure!(
        identity(endpoint) == "gateway-identity-1" && authority(endpoint) == "name1-remote-fq:8989",
        "{endpoint:?}"
    );
    ensure!(
        endpoint.protocol_hint.is_some() && endpoint.http2.is_some(),
        "{endpoint:?}"
    );
    ensure!(
        talk.labels.get("target_cluster").map(String::as_str) == Some("remote"),
        "{:?}",
        talk.labels
    );
    Ok(())
}

async fn a_gateway_mirror_without_identity(w: &mut World) -> Result<()> {
    // D6.3
    their_mirror(w, None, 8989).await?;
    let mut talk = w.talk("name1-remote:8989").await?;
    talk.reaches(&["172.17.0.12:8989"]).await?;
    let endpoint = talk.endpoint("172.17.0.12:8989")?;
    ensure!(
        endpoint.tls_identity.is_none() && authority(endpoint) == "name1-remote-fq:8989",
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_gateway_mirror_with_an_empty_identity(w: &mut World) -> Result<()> {
    // D6.5
    their_mirror(w, Some(""), 9999).await?;
    let mut talk = w.talk("name1-remote:8989").await?;
    talk.reaches(&["172.17.0.12:9999"]).await?;
    let endpoint = talk.endpoint("172.17.0.12:9999")?;
    ensure!(
        endpoint.tls_identity.is_none() && authority(endpoint) == "name1-remote-fq:8989",
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_gateway_on_another_port(w: &mut World) -> Result<()> {
    // D6.4, through our own mirror
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    let mut talk = w.talk("web-remote:555").await?;
    talk.reaches(&["192.0.2.127:888"]).await?;
    let endpoint = talk.endpoint("192.0.2.127:888")?;
    let want = format!("web.{}.svc.cluster.local:555", w.ns);
    ensure!(
        authority(endpoint) == want && identity(endpoint) == "gateway-identity",
        "{endpoint:?}"
    );
    for (key, want) in [
        ("target_cluster", "remote"),
        ("target_service", "web"),
        ("target_service_namespace", &*w.ns),
    ] {
        ensure!(
            talk.labels.get(key).map(String::as_str) == Some(want),
            "{:?}",
            talk.labels
        );
    }
    Ok(())
}

async fn a_gateway_that_is_down_is_withheld(w: &mut World) -> Result<()> {
    // F20: nobody listens there, and the first probe comes at once
    w.link(|spec| {
        spec["probeSpec"] = json!({"path": "/probe", "port": "12345", "period": "1s", "timeout": "1s", "failureThreshold": "1"});
    })
    .await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 down"; 2])
        .await?;
    w.says("remote", "GatewayAlive", "False").await?;
    let mut talk = w.talk("web-remote:555").await?;
    talk.next().await?;
    talk.reaches(&[]).await
}

/// A Service with one meshed pod.
pub(super) async fn meshed(w: &World, change: impl Fn(&mut Value)) -> Result<()> {
    let mut pod = objects::pod(&w.ns, "web-1", "10.1.0.1");
    change(&mut pod);
    w.l.apply(pod).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1"]);
    slice["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "namespace": w.ns, "name": "web-1"});
    slice["endpoints"][0]["zone"] = json!("zone-a");
    w.l.apply(slice).await.map(drop)
}

async fn a_meshed_pod_has_identity_and_hint(w: &mut World) -> Result<()> {
    meshed(w, |pod| pod["spec"]["serviceAccountName"] = json!("robot")).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    let want = format!(
        "robot.{}.serviceaccount.identity.linkerd.cluster.local",
        w.ns
    );
    ensure!(identity(endpoint) == want, "{endpoint:?}");
    let hint = endpoint
        .protocol_hint
        .as_ref()
        .and_then(|hint| hint.protocol);
    ensure!(
        matches!(hint, Some(Protocol::H2(_))) && endpoint.http2.is_some(),
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_pod_of_another_control_plane_has_none(w: &mut World) -> Result<()> {
    meshed(w, |pod| {
        pod["metadata"]["labels"]["linkerd.io/control-plane-ns"] = json!("other")
    })
    .await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    ensure!(endpoint.tls_identity.is_none(), "{endpoint:?}");
    Ok(())
}

async fn a_skipped_port_has_none(w: &mut World) -> Result<()> {
    meshed(w, |pod| {
        pod["metadata"]["annotations"]["config.linkerd.io/skip-inbound-ports"] = json!("555")
    })
    .await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    ensure!(
        endpoint.tls_identity.is_none() && endpoint.protocol_hint.is_none(),
        "{endpoint:?}"
    );
    Ok(())
}

async fn an_opaque_port_is_hinted(w: &mut World) -> Result<()> {
    meshed(w, |pod| {
        pod["metadata"]["annotations"]["config.linkerd.io/opaque-ports"] = json!("555")
    })
    .await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let hint = talk.endpoint("10.1.0.1:555")?.protocol_hint.unwrap();
    ensure!(
        matches!(hint.protocol, Some(Protocol::Opaque(_))),
        "{hint:?}"
    );
    ensure!(
        hint.opaque_transport
            .map(|transport| transport.inbound_port)
            == Some(4143),
        "{hint:?}"
    );
    Ok(())
}

async fn an_unmeshed_endpoint_has_none(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    ensure!(
        endpoint.tls_identity.is_none()
            && endpoint.protocol_hint.is_none()
            && endpoint.http2.is_none(),
        "{endpoint:?}"
    );
    Ok(())
}

async fn endpoints_are_labelled_and_weighted(w: &mut World) -> Result<()> {
    meshed(w, |_| ()).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    ensure!(endpoint.weight == 10_000, "{endpoint:?}");
    for (key, want) in [
        ("pod", "web-1"),
        ("serviceaccount", "default"),
        ("control_plane_ns", "linkerd"),
        ("zone", "zone-a"),
        ("cluster", "west"),
    ] {
        ensure!(
            endpoint.metric_labels.get(key).map(String::as_str) == Some(want),
            "{key}: {endpoint:?}"
        );
    }
    ensure!(
        talk.labels["service"] == "web" && talk.labels["namespace"] == w.ns,
        "{:?}",
        talk.labels
    );
    Ok(())
}

async fn a_port_is_found_by_its_name(w: &mut World) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1"]);
    slice["ports"] = json!([{"name": "port2", "port": 7777}, {"name": "port1", "port": 8888}]);
    w.l.apply(slice).await?;
    w.talk("web:555").await?.reaches(&["10.1.0.1:8888"]).await?;
    w.talk("web:666").await?.reaches(&["10.1.0.1:7777"]).await
}

async fn a_port_that_is_not_declared_is_taken_as_it_is(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    w.talk("web:9999").await?.reaches(&["10.1.0.1:9999"]).await
}

async fn of_both_families_the_pod_is_told_once(w: &mut World) -> Result<()> {
    meshed(w, |_| ()).await?;
    let mut slice = objects::slice(&w.ns, "web", &["2001:db8::94"]);
    slice["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "namespace": w.ns, "name": "web-1"});
    w.l.apply(slice).await?;
    w.talk("web:555")
        .await?
        .reaches(&["[2001:db8::94]:555"])
        .await?;
    w.l.delete("EndpointSlice", &w.ns, "web-ipv6").await?;
    w.talk("web:555").await?.reaches(&["10.1.0.1:555"]).await
}

async fn a_host_is_asked_for_by_name(w: &mut World) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1", "10.1.0.2"]);
    slice["endpoints"][1]["hostname"] = json!("pod-1");
    w.l.apply(slice).await?;
    w.talk("web:555")
        .await?
        .reaches(&["10.1.0.1:555", "10.1.0.2:555"])
        .await?;
    let path = format!("pod-1.{}", w.authority("web:555"));
    let mut talk = w.client()?.get(&path).await?;
    talk.reaches(&["10.1.0.2:555"]).await
}

async fn unready_endpoints_are_not_told(w: &mut World) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1", "10.1.0.2", "10.1.0.3"]);
    slice["endpoints"][0]["conditions"] =
        json!({"ready": false, "serving": true, "terminating": true});
    slice["endpoints"][1]["conditions"] = json!({});
    w.l.apply(slice).await?;
    w.talk("web:555")
        .await?
        .reaches(&["10.1.0.2:555", "10.1.0.3:555"])
        .await
}

async fn slices_add_up(w: &mut World) -> Result<()> {
    web(w, &["10.1.0.1"]).await?;
    let mut second = objects::slice(&w.ns, "web", &["10.1.0.2"]);
    second["metadata"]["name"] = json!("web-second");
    w.l.apply(second).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555", "10.1.0.2:555"]).await?;
    w.l.delete("EndpointSlice", &w.ns, "web-second").await?;
    talk.reaches(&["10.1.0.1:555"]).await
}

async fn a_slow_client_keeps_nobody_waiting(w: &mut World) -> Result<()> {
    // D4
    web(w, &["10.1.0.1"]).await?;
    let mut slow = w.talk("web:555").await?;
    slow.reaches(&["10.1.0.1:555"]).await?;
    let mut quick = w.talk("web:555").await?;
    quick.reaches(&["10.1.0.1:555"]).await?;
    for n in 2..30 {
        let ip = format!("10.1.0.{n}");
        w.l.apply(objects::slice(&w.ns, "web", &[&ip])).await?;
        quick.reaches(&[&format!("{ip}:555")]).await?;
    }
    slow.reaches(&["10.1.0.29:555"]).await
}
