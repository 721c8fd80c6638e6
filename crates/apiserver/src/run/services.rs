//! The APIServices of the built-in groups, which every cluster has: written if missing, never overwritten.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::db::{Db, WriteOptions};
use crate::registry::{Resource, builtin_groups};

const GROUP: &str = "apiregistration.k8s.io";

/// Writes what is missing.
pub(super) async fn write(db: &Db) -> anyhow::Result<()> {
    let res = db
        .registry()
        .find(GROUP, "v1", "apiservices")
        .context("APIServices are not served")?;
    let specs = specs();
    let missing = specs
        .iter()
        .filter(|(name, _)| db.get(&res, None, name).is_err());
    let res = &res;
    let writes = missing.map(|(name, spec)| async move {
        let written = write_one(db, res, name, spec.clone()).await;
        written.with_context(|| format!("write the APIService {name}"))
    });
    // Together, so that the store commits them as one batch.
    for written in futures_util::future::join_all(writes).await {
        written?;
    }
    Ok(())
}

async fn write_one(db: &Db, res: &Arc<Resource>, name: &str, spec: Value) -> anyhow::Result<()> {
    let options = WriteOptions::by("kube-apiserver");
    let object = json!({"metadata": {"name": name,
        "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}}, "spec": spec});
    db.create(res, None, object, &options).await?;
    Ok(())
}

/// Names and specs: of every version that has a priority.
fn specs() -> Vec<(String, Value)> {
    let versions = builtin_groups().iter().flat_map(|group| {
        let versions = group.versions.iter().zip(&group.priorities);
        versions.map(|(version, (minimum, priority))| {
            let mut spec = json!({"version": version, "groupPriorityMinimum": minimum,
                "versionPriority": priority});
            if !group.name.is_empty() {
                spec["group"] = group.name.into();
            }
            (format!("{version}.{}", group.name), spec)
        })
    });
    versions.collect()
}
