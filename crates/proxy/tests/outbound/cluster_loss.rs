//! A cluster is lost under load, and comes back.
use std::time::{Duration, Instant};

use crate::load::load;
use crate::machine::{alone, ensure};
use crate::peer::Peer;
use crate::world::{DEADLINE, World};

const RATE: u32 = 300;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn equal_replicas_of_three_clusters_get_a_third_each() {
    alone(async |machine| {
        let mut world = World::new(3);
        let fed = world.federated();
        world.settle(&fed, 9).await;
        let records = load(machine, &mut world, &fed, (RATE, seconds(4)), |_, _| {}).await;
        records.none_failed_or_slow(seconds(1))?;
        for cluster in ["west", "east", "north"] {
            records.share(cluster, (1_500, 4_000), 28..=38)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn killed_cluster_loses_no_request_and_returns_to_a_third() {
    alone(async |machine| {
        let mut world = World::new(3);
        let fed = world.federated();
        world.settle(&fed, 9).await;
        let (mut killed, mut back) = (false, false);
        let act = |world: &mut World, at| {
            if at >= seconds(1) && !killed {
                killed = true;
                world.east.iter_mut().for_each(Peer::kill);
            }
            if at >= seconds(2) && !back {
                back = true;
                world.east.iter_mut().for_each(Peer::restart);
            }
        };
        let records = load(machine, &mut world, &fed, (RATE, seconds(8)), act).await;
        records.none_failed_or_slow(seconds(1))?;
        records.share("east", (1_100, 2_000), 0..=0)?;
        records.share("east", (7_000, 8_000), 28..=38)
    })
    .await;
}

#[tokio::test]
async fn frozen_cluster_loses_no_request_and_returns_smoothly() {
    alone(async |machine| {
        let mut world = World::new(3);
        let fed = world.federated();
        world.settle(&fed, 9).await;
        let (mut frozen, mut back) = (false, false);
        let act = |world: &mut World, at| {
            if at >= seconds(1) && !frozen {
                frozen = true;
                world.east.iter_mut().for_each(Peer::freeze);
            }
            if at >= seconds(3) && !back {
                back = true;
                world.east.iter_mut().for_each(Peer::thaw);
            }
        };
        let records = load(machine, &mut world, &fed, (RATE, seconds(9)), act).await;
        records.none_failed_or_slow(seconds(1))?;
        records.share("east", (1_500, 3_000), 0..=0)?;
        records.share("east", (8_000, 9_000), 28..=38)
    })
    .await;
}

#[tokio::test]
async fn mirror_of_a_frozen_cluster_fails_by_name_then_at_once_and_recovers() {
    alone(async |_| {
        let mut world = World::new(2);
        let fed = world.mirror();
        world.settle(&fed, 2).await;
        world.east.iter_mut().for_each(Peer::freeze);
        let first = world.get(&fed, "/").await;
        let named = first.error.contains("api-east") && first.error.contains("east");
        let clear = named && matches!(first.status, 503 | 504);
        ensure(clear && first.took < seconds(1), || format!("{first:?}"))?;
        // At once, as the best of a few shows.
        let mut best = seconds(1);
        for _ in 0..3 {
            let next = world.get(&fed, "/").await;
            let is_out = next.status == 503 && next.error.contains("cluster east is out");
            ensure(is_out, || format!("{next:?}"))?;
            best = best.min(next.took);
        }
        ensure(best < Duration::from_millis(150), || format!("{best:?}"))?;
        world.east.iter_mut().for_each(Peer::thaw);
        let deadline = Instant::now() + DEADLINE;
        while !world.get(&fed, "/").await.ok() {
            assert!(Instant::now() < deadline, "never recovered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn one_frozen_pod_does_not_take_its_cluster_out() {
    alone(async |machine| {
        let mut world = World::new(3);
        let fed = world.federated();
        world.settle(&fed, 9).await;
        let mut frozen = false;
        let act = |world: &mut World, at| {
            if at >= Duration::from_millis(500) && !frozen {
                frozen = true;
                world.east[0].freeze();
            }
        };
        let records = load(machine, &mut world, &fed, (RATE, seconds(3)), act).await;
        records.none_failed_or_slow(seconds(1))?;
        // Two of eight.
        records.share("east", (2_000, 3_000), 20..=30)
    })
    .await;
}

#[tokio::test]
async fn when_everything_looks_dead_everything_is_tried() {
    alone(async |_| {
        let mut world = World::new(1);
        let fed = world.federated();
        world.settle(&fed, 3).await;
        for peers in [&mut world.west, &mut world.east, &mut world.north] {
            peers.iter_mut().for_each(Peer::kill);
        }
        for _ in 0..2 {
            let lost = world.get(&fed, "/").await;
            let clear = (502..=504).contains(&lost.status) && lost.took < seconds(1);
            let named = lost.error.contains("frontend-federated");
            ensure(clear && named, || format!("{lost:?}"))?;
        }
        world.west[0].restart();
        let first = world.get(&fed, "/").await;
        ensure(first.ok(), || {
            format!("a request tries by itself, before any probe: {first:?}")
        })
    })
    .await;
}
