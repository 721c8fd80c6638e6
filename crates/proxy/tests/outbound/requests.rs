//! What single requests get: safety of rescue, bodies, cancellation, and errors that say why.
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tombolo_proxy::body::Body;
use tombolo_proxy::endpoint::{EndpointSet, Peer as Kind};

use crate::machine::{alone, ensure};
use crate::peer::Peer;
use crate::world::{Answer, DEADLINE, Fed, World, endpoint, feed, request};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(millis(5)).await;
    }
}

#[tokio::test]
async fn response_comes_whole_with_trailers_and_the_clients_authority() {
    let world = World::new(1);
    let fed = world.mirror();
    let answer = world.get(&fed, "/").await;
    assert!(answer.ok() && answer.trailers, "{answer:?}");
    assert_eq!(answer.body.unwrap(), "svc:8080 from east");
}

#[tokio::test]
async fn gateway_is_given_the_name_by_which_it_knows_the_service() {
    let world = World::new(1);
    let mut gateway = endpoint(&world.east[0], "east");
    gateway.authority = Some("analytics.mc-demo.svc.cluster.local:8080".into());
    let fed = feed(
        "analytics-east-gw:8080",
        EndpointSet::Present([gateway].into()),
    );
    let answer = world.get(&fed, "/").await;
    assert_eq!(
        answer.body.unwrap(),
        "analytics.mc-demo.svc.cluster.local:8080 from east"
    );
}

#[tokio::test]
async fn slow_application_is_not_a_dead_path() {
    alone(async |_| {
        let world = World::new(1);
        let fed = world.mirror();
        let answer = world.get(&fed, "/slow/1500").await;
        let slow = answer.ok() && answer.took >= millis(1_500);
        ensure(slow, || format!("{answer:?}"))?;
        let requests = world.east[0].seen.requests.load(SeqCst);
        ensure(requests == 1, || format!("it was asked {requests} times"))
    })
    .await;
}

#[tokio::test]
async fn post_that_was_sent_to_a_frozen_peer_fails_and_never_runs_twice() {
    alone(async |_| {
        let mut world = World::new(1);
        let fed = world.federated();
        world.settle(&fed, 3).await;
        for peer in [&mut world.west[0], &mut world.east[0], &mut world.north[0]] {
            peer.freeze();
        }
        let post = request("POST", "/", Body::whole(Bytes::from_static(b"once")));
        let answer = world.call(&fed, post).await;
        for peer in [&mut world.west[0], &mut world.east[0], &mut world.north[0]] {
            peer.thaw();
        }
        world.settle(&fed, 3).await;
        let peers = [&world.west[0], &world.east[0], &world.north[0]];
        let posts = peers.map(|peer| peer.seen.posts.load(SeqCst));
        assert!(posts.iter().sum::<usize>() <= 1, "{posts:?}");
        let clear = answer.status == 504 && answer.error.contains("not idempotent");
        let in_time = answer.took < millis(1_000);
        ensure(clear && in_time, || format!("{answer:?}"))
    })
    .await;
}

#[tokio::test]
async fn post_that_the_application_never_got_runs_elsewhere() {
    let world = World::new(1);
    let fed = world.federated();
    world.settle(&fed, 3).await;
    for _ in 0..6 {
        let post = request("POST", "/app-down", Body::whole(Bytes::from_static(b"x")));
        let answer = world.call(&fed, post).await;
        assert!(answer.ok() && answer.cluster != "east", "{answer:?}");
    }
}

#[tokio::test]
async fn peers_error_is_rescued_for_get_but_is_the_answer_for_post() {
    let world = World::new(1);
    let (fed, mirror) = (world.federated(), world.mirror());
    world.settle(&fed, 3).await;
    for _ in 0..6 {
        assert!(world.get(&fed, "/broken").await.ok());
    }
    let answer = world
        .call(&mirror, request("POST", "/broken", Body::Empty))
        .await;
    assert_eq!((answer.status, &*answer.error), (502, "application: reset"));
    let answer = world.get(&mirror, "/broken").await;
    assert_eq!(
        answer.status, 502,
        "with nowhere else to go the peer's answer counts"
    );
}

#[tokio::test]
async fn refused_streams_are_sent_again_with_their_whole_body_until_none_is_left() {
    let world = World::new(1);
    let fed = world.federated();
    world.settle(&fed, 3).await;
    let body = Body::whole(Bytes::from(vec![b'x'; 40_000]));
    let answer = world.call(&fed, request("POST", "/refuse", body)).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.error.contains("refused"), "{answer:?}");
    let peers = [&world.west[0], &world.east[0], &world.north[0]];
    for peer in peers {
        assert!(peer.seen.requests.load(SeqCst) >= 1, "each was tried");
    }
}

#[tokio::test]
async fn large_bodies_pass_in_both_windows() {
    let world = World::new(1);
    let fed = world.mirror();
    let body = Body::whole(Bytes::from(vec![b'x'; 3_000_000]));
    let answer = world.call(&fed, request("POST", "/", body)).await;
    assert!(answer.ok(), "{answer:?}");
    assert_eq!(world.east[0].seen.body_bytes.load(SeqCst), 3_000_000);
}

#[tokio::test]
async fn dropped_call_resets_the_stream_at_the_peer() {
    let world = World::new(1);
    let fed = world.mirror();
    world.settle(&fed, 1).await;
    let before = world.east[0].seen.requests.load(SeqCst);
    let sent = until("not sent", || {
        world.east[0].seen.requests.load(SeqCst) > before
    });
    tokio::select! {
        answer = world.get(&fed, "/slow/60000") => panic!("{answer:?}"),
        () = sent => {}
    }
    let resets = &world.east[0].seen.resets;
    until("the stream was not reset", || resets.load(SeqCst) == 1).await;
}

/// A request that the peer has and takes its time for.
async fn slow(world: &Arc<World>, fed: &Arc<Fed>) -> JoinHandle<Answer> {
    let seen = world.east[0].seen.clone();
    let before = seen.requests.load(SeqCst);
    let (world, fed) = (world.clone(), fed.clone());
    let slow = tokio::task::spawn(async move { world.get(&fed, "/slow/300").await });
    until("not sent", || seen.requests.load(SeqCst) > before).await;
    slow
}

#[tokio::test]
async fn peer_that_leaves_in_good_order_loses_nothing() {
    let world = Arc::new(World::new(1));
    let fed = Arc::new(world.mirror());
    world.settle(&fed, 1).await;
    let slow = slow(&world, &fed).await;
    world.east[0].drain();
    for _ in 0..20 {
        let answer = world.call(&fed, request("POST", "/", Body::Empty)).await;
        assert!(answer.ok(), "{answer:?}");
    }
    assert!(slow.await.unwrap().ok());
    assert_eq!(world.east[0].seen.connections.load(SeqCst), 2);
}

#[tokio::test]
async fn removed_endpoint_finishes_what_it_has() {
    let world = Arc::new(World::new(1));
    let fed = Arc::new(world.mirror());
    world.settle(&fed, 1).await;
    let slow = slow(&world, &fed).await;
    fed.feed.send_replace(EndpointSet::Present([].into()));
    tokio::task::yield_now().await;
    let answer = world.get(&fed, "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.error.ends_with("no endpoints"), "{answer:?}");
    assert!(slow.await.unwrap().ok());
}

#[tokio::test]
async fn request_waits_for_discoverys_first_answer() {
    let world = Arc::new(World::new(1));
    let fed = Arc::new(feed("late:80", EndpointSet::Unknown));
    let (a, b) = (world.clone(), fed.clone());
    let early = tokio::task::spawn(async move { a.get(&b, "/").await });
    tokio::time::sleep(millis(50)).await;
    fed.feed.send_replace(EndpointSet::Present(
        [endpoint(&world.west[0], "west")].into(),
    ));
    assert!(early.await.unwrap().ok());
    fed.feed.send_replace(EndpointSet::Absent);
    tokio::task::yield_now().await;
    let answer = world.get(&fed, "/").await;
    assert_eq!(answer.status, 502, "{answer:?}");
}

#[tokio::test]
async fn application_without_a_proxy_is_spoken_to_in_http1_and_its_connection_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buf = vec![0; 4096];
        while stream.read(&mut buf).await.is_ok_and(|n| n > 0) {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    });
    let world = World::new(0);
    let stand_in = Peer::start("west");
    let mut plain = endpoint(&stand_in, "west");
    (plain.addr, plain.peer) = (addr, Kind::Plain);
    let fed = feed("plain:80", EndpointSet::Present([plain].into()));
    for _ in 0..5 {
        let answer = world.get(&fed, "/").await;
        assert_eq!(
            answer.body.as_ref().unwrap(),
            "ok",
            "one connection serves all: {answer:?}"
        );
    }
}

#[tokio::test]
async fn grpc_fails_with_a_status_of_its_own() {
    let world = World::new(0);
    let fed = feed("none:80", EndpointSet::Present([].into()));
    let mut request = request("POST", "/svc/Method", Body::Empty);
    request
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let response = world.outbound.call(&fed.destination, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn large_set_is_connected_little_by_little_until_all_serve() {
    let mut world = World::new(0);
    world.east = (0..24).map(|_| Peer::start("east")).collect();
    let fed = world.mirror();
    let deadline = Instant::now() + DEADLINE;
    let idle = |world: &World| {
        let served = |peer: &&Peer| peer.seen.requests.load(SeqCst) == 0;
        world.east.iter().filter(served).count()
    };
    while idle(&world) > 0 {
        assert!(world.get(&fed, "/").await.ok());
        assert!(
            Instant::now() < deadline,
            "{} were never used",
            idle(&world)
        );
    }
}
