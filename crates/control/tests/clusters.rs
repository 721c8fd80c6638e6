//! The real control plane against real API servers, over HTTPS and gRPC: outcomes, never call sequences.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod clusters {
    pub(crate) mod cluster;
    mod exports;
    pub(crate) mod gateway;
    pub(crate) mod objects;
    pub(crate) mod proxy;
    mod refused;
    pub(crate) mod relay;
}

use std::time::Duration;

use clusters::cluster::{Cluster, Mesh};
use clusters::gateway::Gateway;
use clusters::objects;
use clusters::proxy::Proxy;
use clusters::relay::Relay;
use serde_json::{Value, json};

const NS: &str = "mc-demo";

/// Two clusters that serve `frontend` (federated), `api` (flat) and `analytics` (through a gateway).
async fn two() -> (Mesh, Cluster, Cluster) {
    let mesh = Mesh::new();
    let (west, east) = tokio::join!(Cluster::start(&mesh, "west"), Cluster::start(&mesh, "east"));
    for cluster in [&west, &east] {
        cluster.create(objects::namespace(NS)).await;
    }
    (mesh, west, east)
}

async fn serve(cluster: &Cluster, name: &str, label: (&str, &str), ip: &str) {
    cluster.create(objects::service(NS, name, label)).await;
    cluster.serve_from(NS, name, &[ip]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_modes_appear_and_vanish_with_their_labels() {
    let (mesh, mut west, east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    serve(&east, "analytics", objects::GATEWAY, "10.2.0.2").await;
    serve(&east, "frontend", objects::FEDERATED, "10.2.0.3").await;
    serve(&west, "frontend", objects::FEDERATED, "10.1.0.3").await;
    west.link("east", &east, Some("127.0.0.1:1")).await;
    west.control(&mesh).await;

    let api = west.service_exists(NS, "api-east").await;
    assert_eq!(
        api["metadata"]["labels"]["multicluster.linkerd.io/remote-discovery"],
        "east"
    );
    west.service_exists(NS, "analytics-east").await;
    west.service_exists(NS, "frontend-federated").await;
    west.link_says("east", "Accepted", "True").await;
    west.link_says("east", "Synced", "True").await;

    let proxy = Proxy::certified(&west, NS).await;
    proxy
        .reaches(
            "api-east.mc-demo.svc.cluster.local:8080",
            &["10.2.0.1:8080 east"],
        )
        .await;
    let both = ["10.1.0.3:8080 west", "10.2.0.3:8080 east"];
    proxy
        .reaches("frontend-federated.mc-demo.svc.cluster.local:8080", &both)
        .await;

    // From flat to gateway, then not at all; a deleted one goes; the other modes stay.
    east.label(NS, "api", json!({objects::FLAT.0: "true"}))
        .await;
    west.eventually(
        "api-east is mirrored through the gateway",
        async |c: &Cluster| {
            let service = c.get("Service", NS, "api-east").await?;
            let labels = &service["metadata"]["labels"];
            labels
                .get("multicluster.linkerd.io/remote-discovery")
                .is_none()
                .then_some(())
        },
    )
    .await;
    east.label(NS, "api", json!({objects::FLAT.0: null})).await;
    west.is_gone("Service", NS, "api-east").await;
    east.delete("Service", NS, "frontend").await;
    proxy
        .reaches(
            "frontend-federated.mc-demo.svc.cluster.local:8080",
            &both[..1],
        )
        .await;
    west.delete("Link", "tombolo", "east").await;
    west.is_gone("Service", NS, "analytics-east").await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_world_is_not_written_to() {
    let (mesh, mut west, east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    serve(&east, "frontend", objects::FEDERATED, "10.2.0.3").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    west.service_exists(NS, "api-east").await;
    west.service_exists(NS, "frontend-federated").await;
    west.link_says("east", "Synced", "True").await;
    let version = west.settled_version().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        west.version().await,
        version,
        "somebody writes though nothing changes"
    );
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_written_for_many_services_at_once() {
    const SERVICES: u64 = 40;
    let (mesh, mut west, east) = two().await;
    for n in 0..SERVICES {
        let service = objects::service(NS, &format!("s{n}"), objects::FLAT);
        east.create(service).await;
    }
    west.link("east", &east, None).await;
    let number = |version: String| version.parse::<u64>().unwrap();
    let before = number(west.settled_version().await);
    west.control(&mesh).await;
    west.eventually("all are in the status", async |c: &Cluster| {
        let link = c.get("Link", "tombolo", "east").await?;
        let entries = link["status"]["mirrorServices"].as_array()?.len();
        (entries as u64 == SERVICES).then_some(())
    })
    .await;
    let writes = number(west.settled_version().await) - before;
    assert!(
        (SERVICES..SERVICES + SERVICES / 4).contains(&writes),
        "{writes} writes for {SERVICES} mirrors and one status"
    );
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_a_user_is_never_touched() {
    let (mesh, mut west, east) = two().await;
    let mine = objects::service(NS, "api-east", ("owner", "me"));
    west.create(mine).await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    serve(&east, "other", objects::FLAT, "10.2.0.2").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    west.service_exists(NS, "other-east").await;
    let entry = west
        .eventually(
            "the status says that the name is taken",
            async |c: &Cluster| {
                let link = c.get("Link", "tombolo", "east").await?;
                let entries = link["status"]["mirrorServices"].as_array()?.clone();
                entries
                    .into_iter()
                    .find(|e| e["remoteRef"]["name"] == "api")
            },
        )
        .await;
    assert_eq!(entry["conditions"][0]["status"], "False");
    assert_eq!(entry["conditions"][0]["reason"], "NameConflict");
    east.delete("Service", NS, "api").await;
    east.delete("Service", NS, "other").await;
    west.is_gone("Service", NS, "other-east").await;
    let kept = west.get("Service", NS, "api-east").await.unwrap();
    assert_eq!(kept["metadata"]["labels"], json!({"owner": "me"}));
    let events = west.list("Event", "tombolo").await;
    let of_it = |event: &&Value| {
        event["message"]
            .as_str()
            .is_some_and(|m| m.contains("api-east"))
    };
    assert_eq!(events.iter().filter(of_it).count(), 1, "{events:#?}");
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_down_changes_nothing_and_is_heard_again_when_it_is_back() {
    let (mesh, mut west, mut east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    proxy
        .reaches(
            "api-east.mc-demo.svc.cluster.local:8080",
            &["10.2.0.1:8080 east"],
        )
        .await;

    east.stop_api().await;
    west.link_says("east", "Synced", "False").await;
    assert!(west.get("Service", NS, "api-east").await.is_some());
    proxy
        .reaches(
            "api-east.mc-demo.svc.cluster.local:8080",
            &["10.2.0.1:8080 east"],
        )
        .await;

    east.start_api().await;
    east.serve_from(NS, "api", &["10.2.0.1", "10.2.0.9"]).await;
    let more = ["10.2.0.1:8080 east", "10.2.0.9:8080 east"];
    proxy
        .reaches("api-east.mc-demo.svc.cluster.local:8080", &more)
        .await;
    west.link_says("east", "Synced", "True").await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_connections_hang_is_noticed_and_heard_anew() {
    let (mesh, mut west, mut east) = two().await;
    let relay = Relay::to(east.address()).await;
    east.via = Some(relay.address);
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    let name = "api-east.mc-demo.svc.cluster.local:8080";
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;
    west.link_says("east", "Synced", "True").await;

    relay.freeze();
    let stale = west.link_says("east", "Synced", "False").await;
    assert!(
        stale["message"].as_str().unwrap().starts_with("Stale"),
        "{stale}"
    );
    east.serve_from(NS, "api", &["10.2.0.8"]).await;
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;

    // The old connections stay dead: only watches that are opened anew can tell.
    relay.thaw();
    proxy.reaches(name, &["10.2.0.8:8080 east"]).await;
    west.link_says("east", "Synced", "True").await;
    relay.stop();
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_and_serves_while_a_peer_was_never_there() {
    let (mesh, mut west, mut east) = two().await;
    serve(&west, "web", ("app", "web"), "10.1.0.1").await;
    west.link("east", &east, Some("127.0.0.1:1")).await;
    east.stop_api().await;
    west.control(&mesh).await;
    west.link_says("east", "Synced", "False").await;
    west.link_says("east", "GatewayAlive", "False").await;
    let proxy = Proxy::certified(&west, NS).await;
    proxy
        .reaches(
            "web.mc-demo.svc.cluster.local:8080",
            &["10.1.0.1:8080 west"],
        )
        .await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_serving_while_its_own_api_server_is_down() {
    let (mesh, mut west, east) = two().await;
    serve(&west, "web", ("app", "web"), "10.1.0.1").await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    proxy
        .reaches(
            "web.mc-demo.svc.cluster.local:8080",
            &["10.1.0.1:8080 west"],
        )
        .await;
    west.stop_api().await;
    proxy
        .reaches(
            "web.mc-demo.svc.cluster.local:8080",
            &["10.1.0.1:8080 west"],
        )
        .await;
    assert!(Proxy::certify(&west, NS).await.is_err());
    west.start_api().await;
    west.serve_from(NS, "web", &["10.1.0.2"]).await;
    proxy
        .reaches(
            "web.mc-demo.svc.cluster.local:8080",
            &["10.1.0.2:8080 west"],
        )
        .await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_links_and_secrets_become_conditions_and_events() {
    let (mesh, mut west, east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    west.service_exists(NS, "api-east").await;

    let mut port = objects::link("bad-port");
    port["spec"]["gatewayAddress"] = "127.0.0.1".into();
    port["spec"]["gatewayPort"] = "http".into();
    west.create(port).await;
    west.create(objects::link("no-secret")).await;
    west.create(objects::credentials(
        "no-kubeconfig",
        "this: is no kubeconfig",
    ))
    .await;
    west.create(objects::link("no-kubeconfig")).await;
    for (link, field) in [
        ("bad-port", "gatewayPort"),
        ("no-secret", "clusterCredentialsSecret"),
        ("no-kubeconfig", "kubeconfig"),
    ] {
        let condition = west.link_says(link, "Accepted", "False").await;
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains(field), "{link}: {message}");
    }
    assert!(west.get("Service", NS, "api-east").await.is_some());
    west.eventually(
        "an Event tells of the malformed Link",
        async |c: &Cluster| {
            let told = c.list("Event", "tombolo").await;
            let of_it = |event: &Value| event["involvedObject"]["name"] == "bad-port";
            told.iter().any(of_it).then_some(())
        },
    )
    .await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_is_followed_without_losing_anything() {
    let (mesh, mut west, east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    let name = "api-east.mc-demo.svc.cluster.local:8080";
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;

    // Nonsense first: what is known stays. Then the credentials of another token.
    west.apply(objects::credentials("east", "nonsense")).await;
    west.link_says("east", "Accepted", "False").await;
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;
    east.create(objects::token("second-token")).await;
    west.link_with("east", &east, (None, "second-token")).await;
    west.link_says("east", "Accepted", "True").await;
    east.delete("Secret", "tombolo", "remote-access-token")
        .await;
    east.serve_from(NS, "api", &["10.2.0.7"]).await;
    proxy.reaches(name, &["10.2.0.7:8080 east"]).await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_given_for_the_own_name_only_and_needed_for_anything_else() {
    let (mesh, mut west, east) = two().await;
    serve(&west, "web", ("app", "web"), "10.1.0.1").await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    let profile = proxy
        .profile("web.mc-demo.svc.cluster.local:8080")
        .await
        .unwrap();
    assert_eq!(
        profile.fully_qualified_name,
        "web.mc-demo.svc.cluster.local"
    );
    let ip = west.get("Service", NS, "web").await.unwrap()["spec"]["clusterIP"].clone();
    let address = format!("{}:8080", ip.as_str().unwrap());
    let policy = proxy.outbound(&address).await.unwrap();
    assert!(format!("{policy:?}").contains("web.mc-demo.svc.cluster.local:8080"));
    let inbound = proxy.inbound("nobody", 8080).await.unwrap();
    assert_eq!(inbound.labels["name"], "all-unauthenticated");
    let missing = proxy
        .profile("none.mc-demo.svc.cluster.local:80")
        .await
        .unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    assert!(Proxy::certify_as(&west, NS, "other").await.is_err());
    assert!(
        Proxy::anonymous_profile(&west, "web.mc-demo.svc.cluster.local:8080")
            .await
            .is_err()
    );
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_silent_on_both_paths_leaves_discovery_and_comes_back() {
    let (mesh, mut west, mut east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    serve(&east, "analytics", objects::GATEWAY, "10.2.0.2").await;
    let gateway = Gateway::start(&mesh, None);
    let at = gateway.address();
    west.link("east", &east, Some(&at.to_string())).await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    let (api, analytics) = (
        "api-east.mc-demo.svc.cluster.local:8080",
        "analytics-east.mc-demo.svc.cluster.local:8080",
    );
    let through = format!("{at} east");
    west.link_says("east", "GatewayAlive", "True").await;
    proxy.reaches(api, &["10.2.0.1:8080 east"]).await;
    proxy.reaches(analytics, &[&through]).await;

    // Its API alone: what it said last holds. Its gateway too: it is dead.
    east.stop_api().await;
    let stale = west.link_says("east", "Synced", "False").await;
    assert!(
        stale["message"].as_str().unwrap().starts_with("Stale"),
        "{stale}"
    );
    proxy.reaches(api, &["10.2.0.1:8080 east"]).await;
    gateway.stop().await;
    proxy.reaches(api, &[]).await;
    proxy.reaches(analytics, &[]).await;
    west.eventually(
        "the Link says that the cluster is dead",
        async |c: &Cluster| {
            let condition = c.link_says("east", "Synced", "False").await;
            condition["message"]
                .as_str()?
                .starts_with("Dead")
                .then_some(())
        },
    )
    .await;

    let gateway = Gateway::start(&mesh, Some(at));
    proxy.reaches(api, &["10.2.0.1:8080 east"]).await;
    proxy.reaches(analytics, &[&through]).await;
    east.start_api().await;
    west.link_says("east", "Synced", "True").await;
    gateway.stop().await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_issuer_is_taken_up_without_a_restart() {
    let (mesh, mut west, east) = two().await;
    west.control(&mesh).await;
    let before = issuer_of(&west).await.unwrap();
    west.replace_issuer(&mesh);
    west.eventually(
        "certificates come from the new issuer",
        async |c: &Cluster| {
            let now = issuer_of(c).await.ok()?;
            (now != before).then_some(())
        },
    )
    .await;
    let proxy = Proxy::certified(&west, NS).await;
    assert!(
        proxy
            .profile("none.mc-demo.svc.cluster.local:80")
            .await
            .is_err()
    );
    west.stop().await;
    east.stop().await;
}

/// The certificate above the leaf that a workload gets.
async fn issuer_of(cluster: &Cluster) -> anyhow::Result<Vec<u8>> {
    let credentials = Proxy::certify(cluster, NS).await?;
    let credentials = credentials.borrow().clone();
    let chain = credentials.ok_or_else(|| anyhow::anyhow!("no credentials"))?;
    Ok(chain.chain()[1].to_vec())
}
