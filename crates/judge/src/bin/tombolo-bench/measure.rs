//! Every measurement of one server after the other, and what they come to.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http::Method;
use tombolo_judge::Kind;

use crate::asked::Asked;
use crate::load::{Run, Spread};
use crate::report::{Figure, Report, Want};
use crate::side::Side;
use crate::{crash, fanout, load, say};

/// What one server's run came to.
struct Measured {
    began: Duration,
    idle: u64,
    per_object: f64,
    list: Duration,
    writes: f64,
    paced: Spread,
    busy: Spread,
    fanout: fanout::Fanout,
    crashes: Option<crash::Crashes>,
}

/// Measures the servers that are asked for.
pub(crate) async fn measure(asked: &Asked) -> Result<Report> {
    let mut report = Report::default();
    let mut all = Vec::new();
    for &kind in &asked.kinds {
        all.push(one(kind, asked).await.with_context(|| kind.name())?);
    }
    let mut all = all.into_iter();
    let Some(ours) = all.next() else {
        bail!("nothing was measured")
    };
    tell(&mut report, &ours, all.next().as_ref(), asked);
    Ok(report)
}

async fn one(kind: Kind, asked: &Asked) -> Result<Measured> {
    let clock = Instant::now();
    let step = |what: &str| {
        let seconds = clock.elapsed().as_secs_f64();
        say(&format!("{seconds:6.1} s  {}: {what}", kind.name()));
    };
    step("starting");
    let mut side = Side::start(kind).await?;
    let measured = of(&mut side, asked, &step).await;
    measured.with_context(|| side.tail())
}

async fn of(side: &mut Side, asked: &Asked, step: &dyn Fn(&str)) -> Result<Measured> {
    let began = side.began_in;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = side.resident()?;
    let seconds = if asked.quick { 3 } else { 10 };
    let objects = if asked.quick { 2000 } else { 10_000 };
    step(&format!("{objects} Services: memory and lists"));
    let (per_object, list) = objects_of(side, objects).await?;
    step("writes");
    let run = Run {
        prefix: "write",
        seconds,
        watchers: 0,
        rate: None,
    };
    let writes = load::run(side, run).await?.writes_per_second;
    step("watch latency, 200 writes a second");
    let run = Run {
        prefix: "paced",
        watchers: load::WATCHERS,
        rate: Some(200),
        ..run
    };
    let paced = load::run(side, run).await?.latency;
    step("watch latency, as many writes as it takes");
    let run = Run {
        prefix: "busy",
        rate: None,
        ..run
    };
    let busy = load::run(side, run).await?.latency;
    step("1,000 watchers");
    let fanout = fanout::run(side).await?;
    let crashes = if side.is_ours() {
        step(&format!("{} times kill -9", asked.kills));
        let mut connection = side.open().await?;
        let maps = load::path("configmaps");
        connection.ask(Method::DELETE, &maps, Vec::new()).await?;
        let told = |round| {
            if round % 10 == 0 {
                step(&format!("killed {round} times"));
            }
        };
        Some(crash::run(side, asked.kills, told).await?)
    } else {
        None
    };
    step("done");
    Ok(Measured {
        began,
        idle,
        per_object,
        list,
        writes,
        paced: paced.context("no latencies")?,
        busy: busy.context("no latencies")?,
        fanout,
        crashes,
    })
}

/// What one more Service takes in memory above its JSON, and how long a list of all takes.
async fn objects_of(side: &Side, count: usize) -> Result<(f64, Duration)> {
    let before = side.resident()?;
    load::create_services(side, count).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = side.resident()?.saturating_sub(before) as f64;
    // Only now: a server ends a connection that asks nothing.
    let mut connection = side.open().await?;
    let path = load::path("services");
    let mut took = Vec::new();
    let mut json = 0;
    for _ in 0..21 {
        let began = Instant::now();
        json = connection.ask(Method::GET, &path, Vec::new()).await?.len();
        took.push(began.elapsed());
    }
    let above = (grown - json as f64) / count as f64;
    Ok((above, Spread::of(took)?.p50))
}

#[expect(clippy::too_many_lines, reason = "a table of figures")]
fn tell(report: &mut Report, ours: &Measured, real: Option<&Measured>, asked: &Asked) {
    let mut add = |name: &str, unit, figure: &dyn Fn(&Measured) -> f64, want| {
        report.add(Figure {
            name: name.to_owned(),
            unit,
            ours: figure(ours),
            real: real.map(figure),
            want,
        });
    };
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    add("ready after", "ms", &|m| ms(m.began), Want::AtMost(200.0));
    add(
        "memory, idle",
        "MiB",
        &|m| mib(m.idle as f64),
        Want::AtMost(25.0),
    );
    let per_object = |m: &Measured| m.per_object / 1024.0;
    add(
        "memory of an object above its JSON",
        "KiB",
        &per_object,
        Want::AtMost(3.0),
    );
    let third = Want::PartOfReal(1.0 / 3.0);
    add("list of all Services", "ms", &|m| ms(m.list), third);
    add(
        "writes, 8 writers",
        "1/s",
        &|m| m.writes,
        Want::TimesReal(5.0),
    );
    let fifth = Want::PartOfReal(0.2);
    add(
        "watch latency p50, 200 writes/s",
        "ms",
        &|m| ms(m.paced.p50),
        fifth,
    );
    add(
        "watch latency p99, 200 writes/s",
        "ms",
        &|m| ms(m.paced.p99),
        fifth,
    );
    add(
        "watch latency p50, all it takes",
        "ms",
        &|m| ms(m.busy.p50),
        fifth,
    );
    add(
        "watch latency p99, all it takes",
        "ms",
        &|m| ms(m.busy.p99),
        fifth,
    );
    let waiting = |m: &Measured| m.fanout.idle_bytes_each / 1024.0;
    add(
        "memory of a watch that waits",
        "KiB",
        &waiting,
        Want::Nothing,
    );
    // A copy for each of 1,000 watchers would be far beyond.
    let most = mib(fanout::events_bytes() * fanout::WATCHERS as f64) / 10.0;
    let burst = |m: &Measured| mib(m.fanout.burst_bytes);
    add(
        "memory while 1,000 watchers get 1.25 MiB each",
        "MiB",
        &burst,
        Want::AtMost(most),
    );
    add(
        "until all of them have it",
        "ms",
        &|m| ms(m.fanout.took),
        Want::Nothing,
    );
    if let Some(crashes) = &ours.crashes {
        for (name, unit, value, want) in [
            (
                "ready again after kill -9, slowest",
                "ms",
                ms(crashes.slowest),
                Want::AtMost(1000.0),
            ),
            (
                "kills under load",
                "",
                f64::from(asked.kills),
                Want::Nothing,
            ),
            (
                "writes acknowledged before kills",
                "",
                crashes.acknowledged as f64,
                Want::Nothing,
            ),
            ("of these lost", "", 0.0, Want::AtMost(0.0)),
        ] {
            report.add(Figure {
                name: name.to_owned(),
                unit,
                ours: value,
                real: None,
                want,
            });
        }
    }
}
