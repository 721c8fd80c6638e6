//! `kill -9` under write load, again and again: what was acknowledged is there, and soon.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use http::Method;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::load::{WRITERS, config_map, path};
use crate::side::Side;

/// What many rounds came to.
pub(crate) struct Crashes {
    pub(crate) acknowledged: usize,
    pub(crate) slowest: Duration,
}

/// What one writer was told that it has written.
#[derive(Default)]
struct Told {
    created: Vec<String>,
    counter: u64,
}

/// Kills so many times, each at a random moment within the load.
pub(crate) async fn run(
    side: &mut Side,
    rounds: u32,
    mut progress: impl FnMut(u32),
) -> Result<Crashes> {
    let mut crashes = Crashes {
        acknowledged: 0,
        slowest: Duration::ZERO,
    };
    for round in 0..rounds {
        let told = killed_under_load(side, round, &mut crashes).await?;
        crashes.acknowledged += check(side, &told)
            .await
            .with_context(|| format!("after kill {round}"))?;
        let mut connection = side.open().await?;
        connection
            .ask(Method::DELETE, &path("configmaps"), Vec::new())
            .await?;
        progress(round + 1);
    }
    Ok(crashes)
}

async fn killed_under_load(
    side: &mut Side,
    round: u32,
    crashes: &mut Crashes,
) -> Result<Vec<Told>> {
    let connections = side.open_many(WRITERS).await?.into_iter().enumerate();
    let moment = Duration::from_millis(rand::rng().random_range(20..200));
    let total = AtomicU64::new(0);
    let writers =
        connections.map(|(writer, connection)| write(connection, (round, writer), &total));
    let kill = async {
        tokio::time::sleep(moment).await;
        side.crash().await
    };
    let (told, took) = tokio::join!(join_all(writers), kill);
    crashes.slowest = crashes.slowest.max(took?);
    ensure!(
        total.load(Ordering::Relaxed) > 0,
        "nothing was acknowledged within {moment:?}"
    );
    Ok(told)
}

/// Creates ConfigMaps and counts in one of its own, until the server is gone.
async fn write(
    mut connection: Connection,
    (round, writer): (u32, usize),
    total: &AtomicU64,
) -> Told {
    let mut told = Told::default();
    let counter = format!("counter-{writer}");
    let map = path("configmaps");
    let made = connection
        .ask(Method::POST, &map, config_map(&counter))
        .await;
    if made.is_err() {
        return told;
    }
    for number in 1.. {
        let name = format!("crash-{round}-{writer}-{number}");
        let created = connection.ask(Method::POST, &map, config_map(&name)).await;
        if created.is_err() {
            break;
        }
        told.created.push(name);
        let patch = json!({"data": {"count": number.to_string()}}).to_string();
        let path = format!("{map}/{counter}");
        let counted = connection
            .ask(Method::PATCH, &path, patch.into_bytes())
            .await;
        if counted.is_err() {
            break;
        }
        told.counter = number;
        total.fetch_add(2, Ordering::Relaxed);
    }
    told
}

/// How many acknowledged writes there are, all of which must be there.
async fn check(side: &Side, told: &[Told]) -> Result<usize> {
    let mut connection = side.open().await?;
    let list = connection
        .ask(Method::GET, &path("configmaps"), Vec::new())
        .await?;
    let list: Value = serde_json::from_slice(&list)?;
    let items = list["items"].as_array().context("a list without items")?;
    let name = |item: &Value| item["metadata"]["name"].as_str().map(str::to_owned);
    let there: BTreeSet<String> = items.iter().filter_map(name).collect();
    let mut count = 0;
    for (writer, told) in told.iter().enumerate() {
        for name in &told.created {
            ensure!(there.contains(name), "{name} was acknowledged and is lost");
        }
        let counter = format!("counter-{writer}");
        let counted = items
            .iter()
            .find(|item| item["metadata"]["name"] == counter.as_str())
            .and_then(|item| item["data"]["count"].as_str()?.parse::<u64>().ok())
            .unwrap_or(0);
        ensure!(
            counted >= told.counter,
            "{counter}: {} was acknowledged, and {counted} is there",
            told.counter
        );
        count += told.created.len() + usize::try_from(told.counter)?;
    }
    Ok(count)
}
