//! Black-box cases of Linkerd's multicluster model and of what we promise beyond it, one body on both kinds of API server.
//!
//! The control plane runs outside the clusters, in plaintext, with exactly the rights that `tombolo manifests` prints. Cases of
//! one kind run one after the other on the same clusters, each in a namespace of its own. Without the real Kubernetes its cases
//! count as ignored, unless `TOMBOLO_REAL=required` makes that a failure.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::needless_pass_by_ref_mut,
    reason = "all cases have one signature"
)]
#![expect(clippy::print_stderr, reason = "times, to whoever asks for them")]
mod conformance {
    pub(crate) mod cases;
    pub(crate) mod liar;
    pub(crate) mod objects;
    pub(crate) mod relay;
    pub(crate) mod site;
    pub(crate) mod steady;
    pub(crate) mod talk;
    pub(crate) mod world;
}

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use conformance::cases::{Case, all};
use conformance::steady;
use conformance::world::World;
use futures_util::FutureExt as _;
use libtest_mimic::{Arguments, Failed, Trial};
use tombolo_judge::Kind;

/// A case takes no longer. Each wait in it says earlier what it waits for.
const CASE_DEADLINE: Duration = Duration::from_secs(180);

/// What a case says that leaves no clusters behind.
const LOST: &str = "cannot go on";

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let available = Kind::available()?;
    let mut trials = Vec::new();
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let steady = steady::NAME.contains(filter) && !arguments.list;
    // A minute in which nothing happens passes beside the others.
    let steady = (steady && available.contains(&Kind::Real)).then(|| {
        let steady = || runtime()?.block_on(steady::nothing_is_written_for_a_minute());
        std::thread::spawn(steady)
    });
    for kind in [Kind::Ours, Kind::Real] {
        let wanted = |case: &&Case| {
            let filter = arguments.filter.as_deref().unwrap_or_default();
            name(kind, case).contains(filter)
        };
        let cases: Vec<Case> = all().iter().filter(wanted).copied().collect();
        if arguments.list || !available.contains(&kind) {
            let ignored =
                |case: &Case| Trial::test(name(kind, case), || Ok(())).with_ignored_flag(true);
            trials.extend(cases.iter().map(ignored));
        } else if !cases.is_empty() {
            trials.extend(run(kind, &cases)?);
        }
    }
    trials.push(match steady {
        None => Trial::test(steady::NAME, || Ok(())).with_ignored_flag(true),
        Some(steady) => Trial::test(steady::NAME, move || match steady.join() {
            Ok(outcome) => outcome.map_err(|error| Failed::from(format!("{error:#}"))),
            Err(panic) => Err(Failed::from(said(&*panic))),
        }),
    });
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn name(kind: Kind, case: &Case) -> String {
    format!("{}::{}", kind.name(), case.name)
}

fn run(kind: Kind, cases: &[Case]) -> Result<Vec<Trial>> {
    runtime()?.block_on(async {
        let mut world = World::start(kind).await.context("start the clusters")?;
        let mut trials = Vec::new();
        let mut lost = None;
        for case in cases {
            let begun = Instant::now();
            // Where the clusters are lost, each case would wait for them anew.
            let outcome = match &lost {
                Some(why) => Err(format!("not played: {why}")),
                None => play(case, &mut world).await,
            };
            if let Err(why) = &outcome
                && why.starts_with(LOST)
            {
                lost.get_or_insert_with(|| why.clone());
            }
            if std::env::var_os("CONFORMANCE_TIMES").is_some() {
                let verdict = outcome.as_ref().err().map_or("held", String::as_str);
                eprintln!(
                    "{} after {:?}: {verdict}",
                    name(kind, case),
                    begun.elapsed()
                );
            }
            trials.push(Trial::test(name(kind, case), move || {
                outcome.map_err(Failed::from)
            }));
        }
        let end = world.end().await.map_err(|error| format!("{error:#}"));
        let last = format!(
            "{}::nothing_was_denied_and_nothing_deprecated_asked_for",
            kind.name()
        );
        trials.push(Trial::test(last, move || end.map_err(Failed::from)));
        Ok(trials)
    })
}

async fn play(case: &Case, world: &mut World) -> Result<(), String> {
    let tried = async {
        world.prepare().await?;
        (case.body)(world).await
    };
    let outcome = tokio::time::timeout(CASE_DEADLINE, AssertUnwindSafe(tried).catch_unwind()).await;
    if !matches!(outcome, Ok(Ok(Ok(())))) {
        world
            .restore()
            .await
            .map_err(|error| format!("{LOST}: {error:#}"))?;
        // The real one knows no roles yet when it answers again.
        world.provokes = true;
    }
    let cleaned = match world.clean().await {
        Ok(()) => world.was_allowed().await,
        left => left,
    };
    match (outcome, cleaned) {
        (Ok(Ok(Ok(()))), Ok(())) => Ok(()),
        (Ok(Ok(Err(error))), _) => Err(format!("{error:#}")),
        (Ok(Err(panic)), _) => Err(said(&*panic)),
        (Err(_elapsed), _) => Err(format!("not done within {CASE_DEADLINE:?}")),
        (_, Err(error)) => Err(format!("held, but did or left too much: {error:#}")),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}
