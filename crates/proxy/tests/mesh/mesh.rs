//! What a request looks like at both ends, and that it goes on when the control plane does not.
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app::App;
use crate::client::{self, Http1};
use crate::world::{DAY, World, eventually, identity};

#[tokio::test]
async fn request_reaches_the_application_as_its_client_sent_it() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;

    let answer = client::get(service, "/a?b=c").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.body.starts_with("GET /a?b=c HTTP/1.1\n"),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("host: web.shop:8080\n"),
        "{}",
        answer.body
    );
    let client_id = format!("l5d-client-id: {}\n", identity("node"));
    assert!(answer.body.contains(&client_id), "{}", answer.body);
    assert!(!answer.body.contains("forged"), "{}", answer.body);
    assert_eq!(answer.header("x-app"), "yes");
    assert_eq!(
        answer
            .headers
            .keys()
            .filter(|name| name.as_str().starts_with("l5d-"))
            .count(),
        0
    );

    let answer = client::post_http2(service, "http://web.shop:8080/b", "the body").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer
            .body
            .starts_with("POST http://web.shop:8080/b HTTP/2.0\n"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("body: the body\n"), "{}", answer.body);

    // Its own port takes requests for whatever service they name.
    let mut own = Http1::connect(world.addr(4, 4140)).await;
    let mut request = client::request("/c");
    request
        .headers_mut()
        .insert("host", "web.shop.svc.cluster.local:8080".parse().unwrap());
    assert_eq!(own.try_send(request).await.unwrap().status, 200);

    // The application's connection is kept.
    let before = app.connections.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(client::get(service, "/").await.status, 200);
    }
    assert_eq!(app.connections.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn unknown_service_and_closed_port_are_refused_by_name() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let (service, nothing) = (world.addr(200, 8080), world.addr(201, 8080));
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service, nothing]).await;

    let answer = client::get(nothing, "/").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer
            .header("l5d-proxy-error")
            .contains(&nothing.to_string()),
        "{answer:?}"
    );

    assert_eq!(client::get(service, "/").await.status, 200);
    world.control.change(|known| {
        known.closed.insert(8080);
    });
    eventually("the port is closed", async || {
        client::get(service, "/").await.status == 403
    })
    .await;
    let seen = app.seen.load(Ordering::SeqCst);
    assert_eq!(client::get(service, "/").await.status, 403);
    assert_eq!(
        app.seen.load(Ordering::SeqCst),
        seen,
        "nothing reaches the application"
    );
}

#[tokio::test]
async fn certificates_are_renewed_without_dropping_a_connection() {
    let world = World::new(Duration::from_secs(2));
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;

    let mut client = Http1::connect(service).await;
    assert_eq!(client.get("/").await.status, 200);
    let taken = server.metric("inbound_connections_total").await;
    let certified = world.control.certified.load(Ordering::SeqCst);
    while world.control.certified.load(Ordering::SeqCst) < certified + 6 {
        let answer = client.get("/slow").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(server.metric("inbound_connections_total").await, taken);
}

#[tokio::test]
async fn everything_known_is_served_while_the_control_plane_is_away() {
    let mut world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let _other = App::start(world.addr(11, 8080));
    let server = world.proxy("web", 10).await;
    let second = world.proxy("web", 11).await;
    let service = world.addr(200, 8080);
    let name = "web.shop.svc.cluster.local:8080";
    world.service(service, name, &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    assert_eq!(client::get(service, "/").await.status, 200);

    world.serving = None;
    for _ in 0..20 {
        assert_eq!(client::get(service, "/").await.status, 200);
    }
    // What changed meanwhile is learned when it is back: the first message of the new stream is
    // the whole set.
    world.service(service, name, &[&second]);
    world.serving = Some(world.control.serve());
    let mut served = second
        .metric("inbound_responses_total{class=\"2xx\"}")
        .await;
    eventually("the other endpoint serves", async || {
        assert_eq!(client::get(service, "/").await.status, 200);
        let before = served;
        served = second
            .metric("inbound_responses_total{class=\"2xx\"}")
            .await;
        served > before
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_how_each_cluster_stands() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    assert_eq!(client::get(service, "/").await.status, 200);
    assert_eq!(
        node.metric("outbound_cluster_up{dst_cluster=\"west\"}")
            .await,
        1
    );
    let answered = "outbound_cluster_attempts_total{dst_cluster=\"west\",outcome=\"answered\"}";
    assert_eq!(node.metric(answered).await, 1);
    assert!(
        server
            .metric("identity_cert_expiration_timestamp_seconds")
            .await
            > 0
    );
}

#[tokio::test]
async fn address_that_is_served_by_itself_is_no_circle() {
    let world = World::new(DAY);
    let service = world.addr(200, 8080);
    world.control.change(|known| {
        known.forwards.insert(service);
    });
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    assert_eq!(client::get(service, "/").await.status, 502);
    let refused = node.metric("outbound_responses_total{class=\"5xx\"}").await;
    assert_eq!(refused, 1, "one request, one answer");
}
