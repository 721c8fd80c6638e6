//! What the destination service says, at the edges.
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tonic::Code;

use super::cases;
use crate::conformance::objects::{self, EXPORTED, FEDERATED, LOCAL, REMOTE};
use crate::conformance::talk::{Said, authority, identity};
use crate::conformance::world::World;

cases!["answers":
    without_a_port_it_is_80,
    a_flat_mirror_without_endpoints_exists,
    a_federated_service_without_endpoints_exists,
    a_flat_mirror_that_names_no_service_fails_the_precondition,
    a_flat_mirror_of_an_unknown_cluster_is_not_found,
    a_remote_external_name_is_an_invalid_argument,
    members_at_one_address_leave_one_by_one,
    entries_that_are_none_are_skipped,
    a_federated_service_that_is_none_any_more,
    a_host_of_a_flat_mirror,
    readiness_that_is_not_said_is_ready,
    the_account_of_a_pod_is_in_its_identity,
    a_proxy_that_is_an_init_container,
    a_gateway_mirror_asked_for_another_port,
    a_profile_of_a_pod_is_its_endpoint,
    a_profile_of_a_host_is_its_endpoint,
    a_profile_of_an_address_of_nobody,
];

async fn without_a_port_it_is_80(w: &mut World) -> Result<()> {
    // 5.2: "parse `host[:port]`, default port 80"
    let mut service = objects::service(&w.ns, "web", json!({}));
    service["spec"]["ports"] = json!([{"name": "http", "port": 80}]);
    w.l.apply(service).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1"]);
    slice["ports"] = json!([{"name": "http", "port": 8080}]);
    w.l.apply(slice).await?;
    w.talk("web:80").await?.reaches(&["10.1.0.1:8080"]).await?;
    let path = format!("web.{}.svc.cluster.local", w.ns);
    let mut talk = w.client()?.get(&path).await?;
    talk.reaches(&["10.1.0.1:8080"]).await
}

async fn a_flat_mirror_without_endpoints_exists(w: &mut World) -> Result<()> {
    // F18: "send `no_endpoints{exists:true}`"
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("web-remote").await?;
    let mut talk = w.talk("web-remote:555").await?;
    ensure!(talk.next().await? == Said::NoEndpoints(true));
    w.ready("web", &["10.2.0.1"]).await?;
    talk.reaches(&["10.2.0.1:555"]).await?;
    w.ready("web", &[]).await?;
    talk.reaches(&[]).await?;
    w.ready("web", &["10.2.0.2"]).await?;
    talk.reaches(&["10.2.0.2:555"]).await
}

async fn a_federated_service_without_endpoints_exists(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.mirror("web-federated").await?;
    let mut talk = w.talk("web-federated:555").await?;
    ensure!(talk.next().await? == Said::NoEndpoints(true));
    w.ready("web", &["10.2.0.1"]).await?;
    talk.reaches(&["10.2.0.1:555"]).await
}

async fn refused(w: &World, path: &str, want: Code) -> Result<()> {
    let path = w.authority(path);
    let client = w.client()?;
    w.l.eventually(
        &format!("{path} is refused with {want:?}"),
        async |_: &_| {
            let code = client.refusal(&path).await?;
            ensure!(code == want, "{code:?}");
            Ok(Some(()))
        },
    )
    .await
}

async fn a_flat_mirror_that_names_no_service_fails_the_precondition(w: &mut World) -> Result<()> {
    // 5.2: "`remote-service` label missing: `FailedPrecondition`"
    w.l.apply(objects::service(&w.ns, "web", json!({REMOTE: "remote"})))
        .await?;
    refused(w, "web:555", Code::FailedPrecondition).await
}

async fn a_flat_mirror_of_an_unknown_cluster_is_not_found(w: &mut World) -> Result<()> {
    // 5.2: "cluster not in ClusterStore: `NotFound`"
    let labels = json!({REMOTE: "nowhere", objects::REMOTE_SERVICE: "web"});
    w.l.apply(objects::service(&w.ns, "web", labels)).await?;
    refused(w, "web:555", Code::NotFound).await
}

async fn a_remote_external_name_is_an_invalid_argument(w: &mut World) -> Result<()> {
    // 5.2: "remote Service is ExternalName: `InvalidArgument`"
    w.link(|_| ()).await?;
    let mut service = objects::service(&w.ns, "ext", json!({}));
    service["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    w.r.apply(service).await?;
    let labels = json!({REMOTE: "remote", objects::REMOTE_SERVICE: "ext"});
    w.l.apply(objects::service(&w.ns, "mine", labels)).await?;
    refused(w, "mine:555", Code::InvalidArgument).await
}

async fn members_at_one_address_leave_one_by_one(w: &mut World) -> Result<()> {
    // 5.8: "Same IP:port in two clusters ... collide: one `remove` removes both"
    w.link(|_| ()).await?;
    w.ready("web", &["10.1.0.1", "10.2.0.2"]).await?;
    w.export("web", json!({FEDERATED: "member"})).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({FEDERATED: "member"})))
        .await?;
    w.l.apply(objects::slice(&w.ns, "web", &["10.1.0.1"]))
        .await?;
    let mut talk = w.talk("web-federated:555").await?;
    talk.reaches(&["10.1.0.1:555", "10.2.0.2:555"]).await?;
    w.ready("web", &["10.2.0.2", "10.2.0.3"]).await?;
    talk.reaches(&["10.1.0.1:555", "10.2.0.2:555", "10.2.0.3:555"])
        .await
}

async fn entries_that_are_none_are_skipped(w: &mut World) -> Result<()> {
    // 5.8: "each must be exactly `svc@cluster`; bad entries logged and skipped"
    w.link(|_| ()).await?;
    w.ready("bb", &["10.2.0.1"]).await?;
    w.export("bb", json!({})).await?;
    let mut service = objects::service(&w.ns, "bb-federated", json!({}));
    service["metadata"]["annotations"] =
        json!({REMOTE: "bb,,bb@,@remote,bb@remote@remote,bb@remote", LOCAL: ""});
    w.l.apply(service).await?;
    w.talk("bb-federated:555")
        .await?
        .reaches(&["10.2.0.1:555"])
        .await
}

async fn a_federated_service_that_is_none_any_more(w: &mut World) -> Result<()> {
    // 5.8: "On ... loss of both annotations: everything unsubscribed and the stream closed"; or followed as what it is
    let mut service = objects::service(&w.ns, "bb-federated", json!({}));
    service["metadata"]["annotations"] = json!({LOCAL: "bb"});
    w.l.apply(service).await?;
    w.l.apply(objects::service(&w.ns, "bb", json!({}))).await?;
    w.l.apply(objects::slice(&w.ns, "bb", &["10.1.0.1"]))
        .await?;
    let mut talk = w.talk("bb-federated:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let patch = json!({"metadata": {"annotations": {LOCAL: null}}});
    w.l.merge(("Service", &w.ns, "bb-federated"), patch).await?;
    match talk.next().await {
        Ok(said) => ensure!(
            said == Said::NoEndpoints(true) || said == Said::Remove(vec!["10.1.0.1:555".into()]),
            "{said:?}"
        ),
        Err(error) => ensure!(error.to_string().contains("ended"), "{error:?}"),
    }
    Ok(())
}

async fn a_host_of_a_flat_mirror(w: &mut World) -> Result<()> {
    // 5.2: "A hostname is passed on as a filter"
    w.link(|_| ()).await?;
    w.export("db", json!({EXPORTED: "remote-discovery"}))
        .await?;
    let mut slice = objects::slice(&w.ns, "db", &["10.2.0.1", "10.2.0.2"]);
    slice["endpoints"][0]["hostname"] = json!("db-0");
    slice["endpoints"][1]["hostname"] = json!("db-1");
    w.r.apply(slice).await?;
    w.talk("db-remote:555").await?;
    let path = format!("db-1.db-remote.{}.svc.cluster.local:555", w.ns);
    let mut talk = w.client()?.get(&path).await?;
    talk.reaches(&["10.2.0.2:555"]).await
}

async fn readiness_that_is_not_said_is_ready(w: &mut World) -> Result<()> {
    // 5.3: "`conditions.ready` nil or true only"
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1", "10.1.0.2"]);
    slice["endpoints"][0]
        .as_object_mut()
        .unwrap()
        .remove("conditions");
    slice["endpoints"][1]["conditions"] =
        json!({"ready": false, "serving": true, "terminating": true});
    w.l.apply(slice).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    talk.is_silent().await
}

/// A pod behind a Service, both in the local cluster.
async fn with_pod(w: &World, change: impl Fn(&mut Value)) -> Result<()> {
    let mut pod = objects::pod(&w.ns, "web-1", "10.1.0.1");
    change(&mut pod);
    w.l.apply(pod).await?;
    w.l.apply(objects::service(&w.ns, "web", json!({}))).await?;
    let mut slice = objects::slice(&w.ns, "web", &["10.1.0.1"]);
    slice["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "namespace": w.ns, "name": "web-1"});
    w.l.apply(slice).await.map(drop)
}

async fn the_account_of_a_pod_is_in_its_identity(w: &mut World) -> Result<()> {
    // 5.3: `<sa>.<ns>.serviceaccount.identity.<label value>.<trust domain>`
    with_pod(w, |pod| pod["spec"]["serviceAccountName"] = json!("robot")).await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let want = format!(
        "robot.{}.serviceaccount.identity.linkerd.cluster.local",
        w.ns
    );
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    ensure!(identity(endpoint) == want, "{endpoint:?}");
    ensure!(
        endpoint.metric_labels["serviceaccount"] == "robot",
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_proxy_that_is_an_init_container(w: &mut World) -> Result<()> {
    // 5.3: "in container `linkerd-proxy` (or init container)"
    with_pod(w, |pod| {
        let containers = pod["spec"]["containers"].as_array_mut().unwrap();
        let mut proxy = containers.remove(1);
        proxy["restartPolicy"] = json!("Always");
        pod["spec"]["initContainers"] = json!([proxy]);
    })
    .await?;
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let endpoint = talk.endpoint("10.1.0.1:555")?;
    let hint = endpoint.protocol_hint.as_ref();
    let port = hint.and_then(|hint| hint.opaque_transport.as_ref());
    ensure!(
        port.map(|port| port.inbound_port) == Some(4143),
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_gateway_mirror_asked_for_another_port(w: &mut World) -> Result<()> {
    // 5.3: "`<remote-svc-fq-name>:<requested port>`"; D6.4
    w.link(|_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    for port in [555, 666] {
        let mut talk = w.talk(&format!("web-remote:{port}")).await?;
        talk.reaches(&["192.0.2.127:888"]).await?;
        let endpoint = talk.endpoint("192.0.2.127:888")?;
        let want = format!("web.{}.svc.cluster.local:{port}", w.ns);
        ensure!(authority(endpoint) == want, "{endpoint:?}");
        for (label, want) in [("target_cluster", "remote"), ("target_service", "web")] {
            ensure!(
                talk.labels.get(label).map(String::as_str) == Some(want),
                "{:?}",
                talk.labels
            );
        }
    }
    Ok(())
}

async fn a_profile_of_a_pod_is_its_endpoint(w: &mut World) -> Result<()> {
    // 5.5: "IP not a Service: endpoint profile: pod ... with `endpoint` WeightedAddr, `opaque_protocol`"
    with_pod(w, |pod| {
        pod["metadata"]["annotations"] = json!({"config.linkerd.io/opaque-ports": "666"});
    })
    .await?;
    w.talk("web:555").await?.reaches(&["10.1.0.1:555"]).await?;
    let profile = w.client()?.profile("10.1.0.1:666").await?;
    let endpoint = profile.endpoint.as_ref();
    ensure!(
        profile.opaque_protocol && endpoint.is_some_and(|e| e.tls_identity.is_some()),
        "{profile:?}"
    );
    Ok(())
}

async fn a_profile_of_a_host_is_its_endpoint(w: &mut World) -> Result<()> {
    // 5.5: "name with hostname: endpoint profile of that pod"
    let mut service = objects::service(&w.ns, "db", json!({}));
    service["spec"]["clusterIP"] = json!("None");
    w.l.apply(service).await?;
    let mut slice = objects::slice(&w.ns, "db", &["10.1.0.1"]);
    slice["endpoints"][0]["hostname"] = json!("db-0");
    w.l.apply(slice).await?;
    w.talk("db:555").await?.reaches(&["10.1.0.1:555"]).await?;
    let path = format!("db-0.db.{}.svc.cluster.local:555", w.ns);
    let profile = w.client()?.profile(&path).await?;
    ensure!(profile.endpoint.is_some(), "{profile:?}");
    Ok(())
}

async fn a_profile_of_an_address_of_nobody(w: &mut World) -> Result<()> {
    // 5.5: "IP not a Service: endpoint profile"
    let profile = w.client()?.profile("192.0.2.9:443").await?;
    ensure!(profile.endpoint.is_some(), "{profile:?}");
    ensure!(profile.fully_qualified_name.is_empty(), "{profile:?}");
    Ok(())
}
