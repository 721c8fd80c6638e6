//! What cannot be used is named on the Link, with object and field, and nothing else suffers from it.
use serde_json::Value;

use super::cluster::Cluster;
use super::objects;
use super::proxy::Proxy;
use crate::{NS, serve, two};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_no_longer_valid_are_named_and_lose_nothing() {
    let (mesh, mut west, east) = two().await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    let proxy = Proxy::certified(&west, NS).await;
    let name = "api-east.mc-demo.svc.cluster.local:8080";
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;

    east.delete("Secret", "tombolo", "remote-access-token")
        .await;
    let refused = west.link_says("east", "Accepted", "False").await;
    assert_eq!(refused["reason"], "InvalidCredentials");
    let message = refused["message"].as_str().unwrap();
    let named = "Secret tombolo/cluster-credentials-east: data.kubeconfig: ";
    assert!(
        message.starts_with(named) && message.contains("(401)"),
        "{message}"
    );
    assert!(west.get("Service", NS, "api-east").await.is_some());
    proxy.reaches(name, &["10.2.0.1:8080 east"]).await;
    west.eventually("an Event tells of it", async |c: &Cluster| {
        let told = c.list("Event", "tombolo").await;
        let of_it = |event: &Value| event["message"].as_str().is_some_and(|m| m.contains(named));
        told.iter().any(of_it).then_some(())
    })
    .await;

    east.create(objects::token("another-token")).await;
    west.link_with("east", &east, (None, "another-token")).await;
    west.link_says("east", "Accepted", "True").await;
    west.stop().await;
    east.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mirrored_is_said_and_the_rest_is_served() {
    let (mesh, mut west, east) = two().await;
    let long = "a".repeat(60);
    let mut headless = objects::service(NS, "headless", objects::FEDERATED);
    headless["spec"]["clusterIP"] = "None".into();
    let no_mode = ("mirror.linkerd.io/exported", "banana");
    east.create(objects::service(NS, "odd", no_mode)).await;
    east.create(objects::service(NS, &long, objects::FLAT))
        .await;
    east.create(headless).await;
    serve(&east, "api", objects::FLAT, "10.2.0.1").await;
    west.link("east", &east, None).await;
    west.control(&mesh).await;
    west.service_exists(NS, "api-east").await;
    let mut twin = objects::link("twin");
    twin["spec"]["targetClusterName"] = "east".into();
    west.create(twin).await;

    let condition = west.link_says("twin", "Accepted", "False").await;
    assert_eq!(condition["reason"], "DuplicateTarget");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.starts_with("Link tombolo/twin: spec.targetClusterName: "),
        "{message}"
    );
    for (list, service, reason, why) in [
        (
            "mirrorServices",
            "odd",
            "UnknownMode",
            "label mirror.linkerd.io/exported",
        ),
        ("mirrorServices", &*long, "NameTooLong", "more than 63"),
        (
            "federatedServices",
            "headless",
            "InvalidService",
            "Headless",
        ),
    ] {
        let condition = west
            .eventually(service, async |c: &Cluster| {
                let link = c.get("Link", "tombolo", "east").await?;
                let entries = link["status"][list].as_array()?.clone();
                let mut entries = entries.into_iter();
                let entry = entries.find(|entry| entry["remoteRef"]["name"] == service)?;
                Some(entry["conditions"][0].clone())
            })
            .await;
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&"False".into(), &reason.into())
        );
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains(why), "{service}: {message}");
    }
    let services = west.list("Service", NS).await;
    let names: Vec<_> = services.iter().map(|s| &s["metadata"]["name"]).collect();
    assert_eq!(names, ["api-east"], "nothing of the others was made");
    west.stop().await;
    east.stop().await;
}
