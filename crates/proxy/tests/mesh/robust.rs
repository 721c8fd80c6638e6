//! What bad clients and bad peers get: a clear refusal, in time, and nobody else notices.
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tombolo_shell::net;
use tombolo_shell::testing::{Authority, Validity};
use tombolo_wire::transport::{ALPN, PREFACE, TransportHeader};

use crate::app::App;
use crate::client::{self, Answer, DEADLINE};
use crate::peer::{self, Peer, is_closed};
use crate::world::{DAY, World, eventually, identity};

#[tokio::test]
async fn peers_that_cannot_prove_who_they_are_are_refused() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let ours = &world.control.authority;
    let other = Authority::new();
    let name = identity("node");
    let expired = ours.issue(&name, Validity::expired()).credentials();
    for (case, credentials, metric) in [
        ("another root", other.credentials(&name), "other-root"),
        ("expired", expired, "expired"),
    ] {
        let stream = peer::connect_with(ours.anchors(), credentials, ALPN, &server).await;
        assert!(
            stream.is_err() || is_closed(stream.unwrap()).await,
            "{case}"
        );
        let line = format!("inbound_connections_refused_total{{why=\"{metric}\"}}");
        eventually(case, async || server.metric(&line).await == 1).await;
    }
    let good = ours.credentials(&name);
    let stream = peer::connect_with(ours.anchors(), good.clone(), b"", &server)
        .await
        .unwrap();
    assert!(is_closed(stream).await, "a peer without the protocol");
    let result = peer::connect_with(ours.anchors(), good.clone(), b"h2", &server).await;
    assert_eq!(result.unwrap_err().kind(), "no-protocol");
    let result = peer::connect_with(other.anchors(), good, ALPN, &server).await;
    assert_eq!(result.unwrap_err().kind(), "other-root");
    assert_eq!(app.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn certificate_for_another_name_is_not_sent_to() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    let name = "web.shop.svc.cluster.local:8080";
    world.service(service, name, &[&server]);
    world.control.change(|known| {
        for served in known.endpoints.get_mut(name).unwrap() {
            served.identity = identity("other");
        }
    });
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    let answer = client::get(service, "/").await;
    assert!(answer.status >= 502, "{answer:?}");
    assert!(!answer.header("l5d-proxy-error").is_empty(), "{answer:?}");
    assert_eq!(app.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn loopback_earns_no_trust() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let _server = world.proxy("web", 10).await;
    let preface = TransportHeader::http2("", 8080).to_bytes();
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\n",
        &preface,
    ] {
        let mut stream = net::connect(world.addr(10, 4143), DEADLINE).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A TLS alert may come, but nothing of HTTP.
        stream.read_to_end(&mut answer).await.ok();
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(app.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn garbage_instead_of_a_transport_header_ends_the_connection() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    // It holds for those that behave, too.
    let short = [("LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT", "3s")];
    let server = world.proxy_with("web", 10, &short).await;
    let endless = [PREFACE, &u32::MAX.to_be_bytes()].concat();
    let nonsense = [PREFACE, &3u32.to_be_bytes(), b"\xff\xff\xff"].concat();
    let half = PREFACE[..5].to_vec();
    let opaque = TransportHeader {
        port: 8080,
        ..TransportHeader::default()
    }
    .to_bytes()
    .to_vec();
    let no_port = TransportHeader::http2("", 0).to_bytes().to_vec();
    let itself = TransportHeader::http2("", 4143).to_bytes().to_vec();
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let all = [
        endless,
        nonsense,
        half,
        opaque,
        no_port,
        itself,
        http,
        Vec::new(),
    ];
    let ended = all.map(async |bytes| {
        let mut stream = peer::connect(&world, "node", &server).await;
        stream.write_all(&bytes).await.unwrap();
        assert!(is_closed(stream).await, "{bytes:?}");
    });
    join_all(ended).await;
    let stream = peer::connect(&world, "node", &server).await;
    let peer = Peer::start(stream, &TransportHeader::http2("", 8080)).await;
    assert_eq!(peer.get("/").await.status, 200, "others are served");
}

#[tokio::test]
async fn clients_that_speak_garbage_or_half_a_request_are_ended() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    // They hold for those that behave, too.
    let short = [
        ("LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT", "3s"),
        ("TOMBOLO_PROXY_OUTBOUND_HEAD_TIMEOUT", "3s"),
    ];
    let mut node = world.proxy_with("node", 4, &short).await;
    node.listen(&[service]).await;

    let endless = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1024 * 1024]].concat();
    let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(100_000)].concat();
    let all = [
        ("silence", Vec::new(), ""),
        (
            "garbage",
            b"\x00\xff\x13 garbage\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        (
            "half a request",
            b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec(),
            "",
        ),
        ("half a preface", b"PRI * HT".to_vec(), ""),
        (
            "a preface and garbage",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage!!".to_vec(),
            "",
        ),
        ("an endless header", endless, "HTTP/1.1 431"),
        ("endless headers", many, "HTTP/1.1 431"),
    ];
    let ended = all.map(async |(case, bytes, want)| {
        let stream = net::connect(service, DEADLINE).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let mut answer = Vec::new();
        let both = async {
            // The proxy may close before it has read everything.
            let write = async { write.write_all(&bytes).await.ok() };
            tokio::join!(write, async { read.read_to_end(&mut answer).await.ok() });
        };
        tokio::time::timeout(DEADLINE, both)
            .await
            .unwrap_or_else(|_| panic!("{case} is ended"));
        let text = String::from_utf8_lossy(&answer);
        // A close with unread input may lose the answer; a wrong one is never given.
        assert!(text.starts_with(want) || text.is_empty(), "{case}: {text}");
        assert_eq!(
            client::get(service, "/").await.status,
            200,
            "others are served after {case}"
        );
    });
    join_all(ended).await;
}

#[tokio::test]
async fn connections_have_a_bound() {
    let world = World::new(DAY);
    let bound = [("TOMBOLO_PROXY_OUTBOUND_CONNECTIONS_MAX", "4")];
    let mut node = world.proxy_with("node", 4, &bound).await;
    let service = world.addr(200, 8080);
    node.listen(&[service]).await;
    eventually("the probes of the test are gone", async || {
        node.metric("outbound_connections_open").await == 0
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(net::connect(service, DEADLINE).await.unwrap());
    }
    eventually("all are taken", async || {
        node.metric("outbound_connections_open").await == 4
    })
    .await;
    let fifth = net::connect(service, DEADLINE).await.unwrap();
    assert!(is_closed(fifth).await);
    assert_eq!(
        node.metric("outbound_connections_refused_total{why=\"too-many\"}")
            .await,
        1
    );
    drop(held);
    eventually("there is room again", async || {
        let answer = client::try_get(service, "/").await;
        answer.is_ok_and(|answer| answer.status == 502)
    })
    .await;
}

#[tokio::test]
async fn application_that_does_not_take_the_connection_is_told_as_unsent() {
    let world = World::new(DAY);
    let server = world.proxy("web", 10).await;
    let stream = peer::connect(&world, "node", &server).await;
    let peer = Peer::start(stream, &TransportHeader::http2("", 8080)).await;
    let answer = peer.get("/").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.header("l5d-proxy-unsent"), "true");
    let addr = world.addr(10, 8080).to_string();
    assert!(
        answer.header("l5d-proxy-error").contains(&addr),
        "{answer:?}"
    );

    let app = App::start(world.addr(10, 8080));
    let answer = peer.get("/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("l5d-proxy-unsent"),
        "",
        "an application cannot forge it"
    );
    assert_eq!(answer.header("l5d-proxy-error"), "");
    drop(app);
    eventually("its connection is known to be gone", async || {
        peer.get("/").await.header("l5d-proxy-unsent") == "true"
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered_however_slow_the_application_is() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let stream = peer::connect(&world, "node", &server).await;
    let mut peer = Peer::start(stream, &TransportHeader::http2("", 8080)).await;
    assert_eq!(peer.get("/").await.status, 200);
    let waiting = peer.begin("/wait").await;
    eventually("it waits", async || app.seen.load(Ordering::SeqCst) == 2).await;
    let at_once = Duration::from_millis(50);
    eventually("one is answered at once", async || {
        peer.ping().await < at_once
    })
    .await;
    app.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn head_that_grows_on_the_way_does_not_end_the_requests_of_others() {
    // A peer that was given no time for a while, and so answered no PING, says nothing about heads.
    let stalled = |answer: &Answer| answer.header("l5d-proxy-error").contains("silent for");
    let deadline = Instant::now() + DEADLINE;
    let mut answers = large_head_beside_a_request().await;
    while answers.iter().any(stalled) {
        assert!(
            Instant::now() < deadline,
            "the machine stalled: {answers:?}"
        );
        answers = large_head_beside_a_request().await;
    }
    let statuses = answers.each_ref().map(|answer| answer.status);
    assert_eq!(statuses, [200, 200], "{answers:?}");
}

/// What a request with a large head gets, and one that waits meanwhile.
async fn large_head_beside_a_request() -> [Answer; 2] {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;
    let mut other = client::Http1::connect(service).await;
    let mut post = client::request("/wait");
    *post.method_mut() = http::Method::POST;
    let waiting = tokio::spawn(async move { other.try_send(post).await });
    eventually("it waits", async || app.seen.load(Ordering::SeqCst) == 1).await;
    // Each takes 19 bits in HPACK: more than eight frames of the usual size.
    let mut request = client::request("/");
    let large = "\\".repeat(56_000).parse().unwrap();
    request.headers_mut().insert("x-large", large);
    let answer = client::Http1::connect(service)
        .await
        .try_send(request)
        .await;
    app.gate.add_permits(1);
    [answer.unwrap(), waiting.await.unwrap().unwrap()]
}

#[tokio::test]
async fn request_of_two_lengths_does_not_reach_the_application() {
    let world = World::new(DAY);
    let app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let stream = peer::connect(&world, "node", &server).await;
    let peer = Peer::start(stream, &TransportHeader::http2("", 8080)).await;
    let request = peer::request("/")
        .header("content-length", "0")
        .header("content-length", "50");
    let error = peer.begin_with(request).await.await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR));
    assert_eq!(app.seen.load(Ordering::SeqCst), 0);
    assert_eq!(peer.get("/").await.status, 200, "others are served");
}
