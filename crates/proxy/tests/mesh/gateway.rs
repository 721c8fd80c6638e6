//! The gateway role: named services of its domains, who asked, no circles, and its probe.
use std::net::SocketAddr;

use tombolo_shell::net;
use tombolo_shell::tls::{ClientTls, fixed};
use tombolo_wire::transport::TransportHeader;

use crate::app::App;
use crate::client::{self, DEADLINE};
use crate::control::{NAME, Served};
use crate::peer::{self, Peer};
use crate::world::{DAY, Proxy, World, eventually, identity};

const SUFFIXES: (&str, &str) = (
    "LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES",
    "svc.cluster.local.",
);
const SERVICE: &str = "analytics.shop.svc.cluster.local";

async fn gateway(world: &World) -> Proxy {
    world.proxy_with("gateway", 20, &[SUFFIXES]).await
}

#[tokio::test]
async fn request_through_a_gateway_says_who_asked() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("analytics", 10).await;
    let gateway = gateway(&world).await;
    let mirror = world.addr(200, 8080);
    let name = format!("{SERVICE}:8080");
    world.control.change(|known| {
        known
            .endpoints
            .insert(name.clone(), vec![server.serves(8080)]);
        known.services.insert(
            mirror,
            "analytics-east-gw.shop.svc.cluster.local:8080".into(),
        );
        let through = Served {
            addr: SocketAddr::new(gateway.ip, 4143),
            identity: gateway.identity.clone(),
            authority: Some(name.clone()),
        };
        let mirror = "analytics-east-gw.shop.svc.cluster.local:8080".to_owned();
        known.endpoints.insert(mirror, vec![through]);
    });
    let mut node = world.proxy("node", 4).await;
    node.listen(&[mirror]).await;

    let answer = client::get(mirror, "/report").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.body.starts_with("GET /report HTTP/1.1\n"),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains(&format!("host: {name}\n")),
        "{}",
        answer.body
    );
    let (by, from) = (identity("gateway"), identity("node"));
    let forwarded = format!("forwarded: by={by};for={from};host={name};proto=https\n");
    assert!(answer.body.contains(&forwarded), "{}", answer.body);
    let client_id = format!("l5d-client-id: {by}\n");
    assert!(answer.body.contains(&client_id), "{}", answer.body);
}

#[tokio::test]
async fn gateway_refuses_what_is_not_its_business() {
    let world = World::new(DAY);
    let gateway = gateway(&world).await;
    let plain = world.proxy("web", 10).await;
    for (proxy, account, name, want, why) in [
        (
            &gateway,
            "node",
            "web.shop.svc.example.com",
            404,
            "not in a domain",
        ),
        (
            &gateway,
            "node",
            "svc.cluster.local",
            404,
            "not in a domain",
        ),
        (&gateway, "node", SERVICE, 404, "not exported"),
        (&gateway, "gateway", SERVICE, 508, "through this gateway"),
        (&plain, "node", SERVICE, 404, "no gateway"),
    ] {
        let stream = peer::connect(&world, account, proxy).await;
        let peer = Peer::start(stream, &TransportHeader::http2(name, 8080)).await;
        let answer = peer.get("/").await;
        assert_eq!(answer.status, want, "{name}: {answer:?}");
        assert!(
            answer.header("l5d-proxy-error").contains(why),
            "{name}: {answer:?}"
        );
    }
    world.control.change(|known| {
        known
            .endpoints
            .insert(format!("{SERVICE}:8080"), vec![plain.serves(8080)]);
    });
    let stream = peer::connect(&world, "node", &gateway).await;
    let peer = Peer::start(stream, &TransportHeader::http2(SERVICE, 8080)).await;
    let trace = format!("by={};for=x", identity("gateway"));
    let answer = peer
        .send(
            peer::request("/")
                .header("forwarded", trace)
                .body(())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status, 508, "{answer:?}");
}

#[tokio::test]
async fn gateway_serves_a_name_as_long_as_its_owner_exports_it() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("analytics", 10).await;
    let gateway = gateway(&world).await;
    let (local, name) = (world.addr(200, 8080), format!("{SERVICE}:8080"));
    world.control.change(|known| {
        known.services.insert(local, name.clone());
        known
            .endpoints
            .insert(name.clone(), vec![server.serves(8080)]);
        known.kept.insert(name.clone());
    });
    let mut node = world.proxy("node", 4).await;
    node.listen(&[local]).await;
    let stream = peer::connect(&world, "node", &gateway).await;
    let peer = Peer::start(stream, &TransportHeader::http2(SERVICE, 8080)).await;

    let refused = peer.get("/").await;
    assert_eq!(refused.status, 404, "{refused:?}");
    let why = format!("{name} does not exist here or is not exported");
    assert_eq!(refused.header("l5d-proxy-error"), why);
    assert_eq!(refused.header("l5d-proxy-unsent"), "true");
    assert_eq!(client::get(local, "/").await.status, 200);

    world.control.change(|known| known.kept.clear());
    eventually("it is exported", async || peer.get("/").await.status == 200).await;
    world.control.change(|known| {
        known.kept.insert(name.clone());
    });
    eventually("it is not any more", async || {
        peer.get("/").await.status == 404
    })
    .await;
    assert_eq!(client::get(local, "/").await.status, 200);
}

#[tokio::test]
async fn gateway_is_probed_through_its_ports_with_an_identity() {
    let world = World::new(DAY);
    let gateway = gateway(&world).await;
    // As a peer: the transport header to the admin port.
    let stream = peer::connect(&world, "node", &gateway).await;
    let peer = Peer::start(stream, &TransportHeader::http2("", 4191)).await;
    assert_eq!(peer.get("/ready").await.status, 200);
    // As a control plane: TLS to the admin port itself.
    let authority = &world.control.authority;
    let stream = net::connect(world.addr(20, 4191), DEADLINE).await.unwrap();
    let tls = ClientTls::new(authority.anchors(), fixed(authority.credentials(NAME)), &[]);
    let stream = tls
        .connect(stream, &gateway.identity, DEADLINE)
        .await
        .unwrap()
        .stream;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tombolo_shell::task::Tasks::new().spawn_one("probe", async move {
        connection.await.ok();
    });
    let probe = http::Request::get("/ready").header("host", "a");
    let probe = probe
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = tokio::time::timeout(DEADLINE, sender.send_request(probe)).await;
    assert_eq!(answer.unwrap().unwrap().status(), 200);
}
