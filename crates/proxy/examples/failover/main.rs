//! Outbound by hand: nine peers in three clusters, each a process with mTLS, under load from here;
//! one cluster is killed or frozen and comes back, and what happened is printed.
//!
//! `cargo run --release --example failover -- freeze` (or `kill`, `none`, `bench`; then rate and seconds).
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
use std::time::Duration;

use anyhow::{Context, Result, bail};

mod load;
mod peer;
mod world;

/// How the cluster is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is not.
    None,
    /// Every process is killed.
    Kill,
    /// Every process is stopped.
    Freeze,
    /// It is not, and the load is as much as goes.
    Bench,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = args.iter().map(String::as_str).collect();
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_unset| "warn".into());
    tombolo_shell::log::init(&filter, tombolo_shell::log::Format::Plain)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if let ["peer", cluster, addr, dir] = texts[..] {
        return runtime.block_on(peer::run(cluster, addr.parse()?, dir.as_ref()));
    }
    let way = match texts.first().copied().unwrap_or("freeze") {
        "none" => Way::None,
        "kill" => Way::Kill,
        "freeze" => Way::Freeze,
        "bench" => Way::Bench,
        other => bail!("unknown way {other}: none, kill, freeze or bench"),
    };
    let number = |i: usize, otherwise: u64| match texts.get(i) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number")),
        None => Ok(otherwise),
    };
    let (rate, seconds) = (number(1, 500)?, number(2, 20)?);
    let world = runtime.block_on(world::World::start())?;
    let report = if way == Way::Bench {
        runtime.block_on(load::bench(world, Duration::from_secs(seconds)))?
    } else {
        runtime.block_on(load::failover(world, way, rate, seconds))?
    };
    println!("{report}");
    Ok(())
}
