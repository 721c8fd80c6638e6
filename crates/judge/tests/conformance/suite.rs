//! Which cases there are, and how one is run.
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tombolo_judge::{Cluster, Kind, Parts};

use crate::world::{self, Case, World};
use crate::{access, apply, deletes, hooks, kinds, lists, watches, writes};

/// The cluster of one kind, or why there is none: every case says it, none tries again.
type Shared = OnceCell<Result<Cluster, String>>;

/// Every case on every kind of server. The clusters end with the tests, which own them.
pub(crate) fn trials() -> Result<Vec<Trial>> {
    let available = Kind::available()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let runtime = Arc::new(runtime);
    let mut trials = Vec::new();
    for kind in [Kind::Ours, Kind::Real] {
        let cluster = Arc::new(Shared::new());
        for case in cases() {
            let name = format!("{}::{}", kind.name(), case.name);
            let (runtime, cluster) = (Arc::clone(&runtime), Arc::clone(&cluster));
            let can_run = available.contains(&kind);
            let trial = Trial::test(name, move || run(&runtime, kind, &cluster, &case));
            trials.push(trial.with_ignored_flag(!can_run));
        }
    }
    Ok(trials)
}

fn cases() -> Vec<Case> {
    let mut cases = writes::cases();
    cases.extend(deletes::cases());
    cases.extend(watches::cases());
    cases.extend(lists::cases());
    cases.extend(apply::cases());
    cases.extend(kinds::cases());
    cases.extend(access::cases());
    cases.extend(hooks::cases());
    cases
}

/// Runs one case on the cluster that all cases of its kind share.
fn run(runtime: &Runtime, kind: Kind, cluster: &Shared, case: &Case) -> Result<(), Failed> {
    let ran = runtime.block_on(async {
        let started = || async {
            let cluster = Cluster::start(kind, "conformance", Parts::All).await;
            cluster.map_err(|error| format!("{error:#}"))
        };
        let cluster = cluster.get_or_init(started).await.as_ref();
        let cluster = cluster.map_err(|error| anyhow::anyhow!("{error}"))?;
        let world = World::new(cluster, case.name).await?;
        let done = tokio::time::timeout(world::DEADLINE, (case.body)(world)).await;
        done.map_err(|_elapsed| anyhow::anyhow!("not done in time"))??;
        Ok::<_, anyhow::Error>(())
    });
    ran.map_err(|error| format!("{error:#}").into())
}
