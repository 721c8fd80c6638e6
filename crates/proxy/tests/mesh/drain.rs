//! A proxy that is asked to stop finishes what it has, and loses nothing.
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tombolo_wire::transport::TransportHeader;

use crate::app::App;
use crate::client::{self, Http1};
use crate::peer;
use crate::world::{DAY, World, eventually};

#[tokio::test]
async fn draining_server_proxy_loses_no_request() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let _other = App::start(world.addr(11, 8080));
    let mut first = world.proxy("web", 10).await;
    let second = world.proxy("web", 11).await;
    let service = world.addr(200, 8080);
    let name = "web.shop.svc.cluster.local:8080";
    world.service(service, name, &[&first, &second]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;

    let clients = (0..16).map(|_| async {
        let mut client = Http1::connect(service).await;
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(client.get("/").await.status);
            answers.push(client.get("/slow").await.status);
        }
        answers
    });
    let stop = async {
        let seen = || app.seen.load(Ordering::SeqCst);
        eventually("it has work", async || seen() >= 20).await;
        first.terminate();
        first.exit_code().await
    };
    let (answers, code) = tokio::join!(futures_util::future::join_all(clients), stop);
    assert_eq!(code, Some(0));
    assert!(
        answers.iter().flatten().all(|status| *status == 200),
        "{answers:?}"
    );
    assert!(
        second
            .metric("inbound_responses_total{class=\"2xx\"}")
            .await
            > 0
    );
}

#[tokio::test]
async fn draining_client_proxy_answers_what_it_took_and_takes_no_more() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;

    let mut idle = Http1::connect(service).await;
    assert_eq!(idle.get("/").await.status, 200);
    let waiting = tokio::spawn(async move { client::get(service, "/wait").await.status });
    eventually("the request waits", async || {
        app.seen.load(Ordering::SeqCst) == 2
    })
    .await;
    node.terminate();
    eventually("nothing new is taken", async || {
        tombolo_shell::net::connect(service, client::DEADLINE)
            .await
            .is_err()
    })
    .await;
    eventually("idle connections are closed", async || idle.is_closed()).await;
    assert!(idle.try_send(client::request("/")).await.is_err());
    app.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(node.exit_code().await, Some(0));
}

#[tokio::test]
async fn end_of_standard_input_ends_the_proxy() {
    let world = World::new(DAY);
    let mut node = world.proxy("node", 4).await;
    node.close_stdin();
    assert_eq!(node.exit_code().await, Some(0));
}

#[tokio::test]
async fn drain_ends_at_its_deadline() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let grace = [("LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD", "200ms")];
    let mut server = world.proxy_with("web", 10, &grace).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    let endless = tokio::spawn(async move { client::get(service, "/wait").await.status });
    eventually("the request waits", async || {
        app.seen.load(Ordering::SeqCst) == 1
    })
    .await;
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
    assert!(endless.await.unwrap() >= 502);
}

#[tokio::test]
async fn frozen_peer_does_not_hold_up_a_drain() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let mut server = world.proxy("web", 10).await;
    let mut stream = peer::connect(&world, "node", &server).await;
    stream
        .write_all(&TransportHeader::http2("", 8080).to_bytes())
        .await
        .unwrap();
    // From here on the peer neither reads nor writes.
    let _frozen = h2::client::handshake(stream).await.unwrap();
    eventually("it is served", async || {
        server.metric("inbound_connections_open").await == 1
    })
    .await;
    server.terminate();
    // Long before the grace period ends.
    let code = server.exit_code_within(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0));
}
