//! A cluster is lost under load, and comes back.
use std::time::{Duration, Instant};

use crate::load::load;
use crate::world::World;

const RATE: u32 = 300;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn equal_replicas_of_three_clusters_get_a_third_each() {
    let mut world = World::new(3);
    let fed = world.federated();
    world.settle(&fed, 9).await;
    let records = load(&mut world, &fed, (RATE, seconds(4)), |_, _| {}).await;
    records.assert_none_failed_or_slow(seconds(1));
    for cluster in ["west", "east", "north"] {
        let share = records.share(cluster, (1_500, 4_000));
        assert!((28..=38).contains(&share), "{cluster}: {share} %");
    }
}

#[tokio::test]
async fn killed_cluster_loses_no_request_and_returns_to_a_third() {
    let mut world = World::new(3);
    let fed = world.federated();
    world.settle(&fed, 9).await;
    let (mut killed, mut back) = (false, false);
    let records = load(&mut world, &fed, (RATE, seconds(8)), |world, at| {
        if at >= seconds(1) && !killed {
            killed = true;
            world.east.iter_mut().for_each(super::peer::Peer::kill);
        }
        if at >= seconds(2) && !back {
            back = true;
            world.east.iter_mut().for_each(super::peer::Peer::restart);
        }
    });
    let records = records.await;
    records.assert_none_failed_or_slow(seconds(1));
    assert_eq!(records.share("east", (1_100, 2_000)), 0);
    let share = records.share("east", (7_000, 8_000));
    assert!((28..=38).contains(&share), "after the return: {share} %");
}

#[tokio::test]
async fn frozen_cluster_loses_no_request_and_returns_smoothly() {
    let mut world = World::new(3);
    let fed = world.federated();
    world.settle(&fed, 9).await;
    let (mut frozen, mut back) = (false, false);
    let records = load(&mut world, &fed, (RATE, seconds(9)), |world, at| {
        if at >= seconds(1) && !frozen {
            frozen = true;
            world.east.iter_mut().for_each(super::peer::Peer::freeze);
        }
        if at >= seconds(3) && !back {
            back = true;
            world.east.iter_mut().for_each(super::peer::Peer::thaw);
        }
    });
    let records = records.await;
    records.assert_none_failed_or_slow(seconds(1));
    assert_eq!(records.share("east", (1_500, 3_000)), 0);
    let share = records.share("east", (8_000, 9_000));
    assert!(
        (28..=38).contains(&share),
        "after the return: {share} %, worst {:?}",
        records.worst()
    );
}

#[tokio::test]
async fn mirror_of_a_frozen_cluster_fails_by_name_then_at_once_and_recovers() {
    let mut world = World::new(2);
    let fed = world.mirror();
    world.settle(&fed, 2).await;
    world.east.iter_mut().for_each(super::peer::Peer::freeze);
    let first = world.get(&fed, "/").await;
    assert!(first.took < seconds(1), "{first:?}");
    assert!(matches!(first.status, 503 | 504), "{first:?}");
    assert!(
        first.error.contains("api-east") && first.error.contains("east"),
        "{first:?}"
    );
    let next = world.get(&fed, "/").await;
    assert_eq!(next.status, 503);
    assert!(next.took < Duration::from_millis(150), "{next:?}");
    assert!(next.error.contains("cluster east is out"), "{next:?}");
    world.east.iter_mut().for_each(super::peer::Peer::thaw);
    let deadline = Instant::now() + seconds(4);
    while !world.get(&fed, "/").await.ok() {
        assert!(Instant::now() < deadline, "never recovered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_frozen_pod_does_not_take_its_cluster_out() {
    let mut world = World::new(3);
    let fed = world.federated();
    world.settle(&fed, 9).await;
    let mut frozen = false;
    let records = load(&mut world, &fed, (RATE, seconds(3)), |world, at| {
        if at >= Duration::from_millis(500) && !frozen {
            frozen = true;
            world.east[0].freeze();
        }
    });
    let records = records.await;
    records.assert_none_failed_or_slow(seconds(1));
    let share = records.share("east", (2_000, 3_000));
    assert!((20..=30).contains(&share), "two of eight: {share} %");
}

#[tokio::test]
async fn when_everything_looks_dead_everything_is_tried() {
    let mut world = World::new(1);
    let fed = world.federated();
    world.settle(&fed, 3).await;
    for peers in [&mut world.west, &mut world.east, &mut world.north] {
        peers.iter_mut().for_each(super::peer::Peer::kill);
    }
    for _ in 0..2 {
        let lost = world.get(&fed, "/").await;
        assert!((502..=504).contains(&lost.status), "{lost:?}");
        assert!(lost.took < seconds(1), "{lost:?}");
        assert!(lost.error.contains("frontend-federated"), "{lost:?}");
    }
    world.west[0].restart();
    let first = world.get(&fed, "/").await;
    assert!(
        first.ok(),
        "a request tries by itself, before any probe: {first:?}"
    );
}
