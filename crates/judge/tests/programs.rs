//! Programs of others against both kinds of API server: one test per check of the client-go program, and kind.
//!
//! Without Go (and without what it has built before) all count as ignored, without the real Kubernetes those of the
//! real one, unless `TOMBOLO_REAL=required` makes that a failure.
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Trial};
use tombolo_judge::client::{self, Outcome};
use tombolo_judge::{Cluster, Kind, Parts, binaries};

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let filter = arguments.filter.clone().unwrap_or_default();
    let wanted = |kind: Kind| {
        client::checks()
            .iter()
            .any(|check| name(kind, check).contains(&filter))
    };
    let program = if arguments.list {
        None
    } else {
        client::built()?
    };
    if program.is_none() && !arguments.list && binaries::required() {
        bail!("Go is required (TOMBOLO_REAL=required) and not on this machine");
    }
    let here = Kind::available()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut trials = Vec::new();
    for kind in [Kind::Ours, Kind::Real] {
        match program.as_deref().filter(|_| here.contains(&kind)) {
            Some(program) if wanted(kind) => {
                let outcomes = runtime.block_on(run(kind, program))?;
                trials.extend(outcomes.into_iter().map(|outcome| trial(kind, outcome)));
            }
            _ => trials.extend(not_run(kind)),
        }
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn name(kind: Kind, check: &str) -> String {
    format!("client-go on {}: {check}", kind.name())
}

fn not_run(kind: Kind) -> impl Iterator<Item = Trial> {
    let checks = client::checks().into_iter();
    checks.map(move |check| Trial::test(name(kind, check), || Ok(())).with_ignored_flag(true))
}

async fn run(kind: Kind, program: &Path) -> Result<Vec<Outcome>> {
    let cluster = Cluster::start(kind, "programs", Parts::All).await?;
    client::run(program, &cluster).await
}

fn trial(kind: Kind, outcome: Outcome) -> Trial {
    Trial::test(name(kind, &outcome.name), move || match outcome.failure {
        None => Ok(()),
        Some(why) => Err(why.into()),
    })
}
