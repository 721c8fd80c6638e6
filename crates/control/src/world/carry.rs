//! Carries out plans: writes to this cluster's API server, a few at a time, each with a deadline.
//!
//! Decides only what is skipped: the rest of a Service's actions after one failed, and statuses that
//! would not say so. What came of it goes back to the owner, which plans again.
use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::Value;
use tokio::sync::mpsc;
use tombolo_core::limits::OUTSIDE_WAIT;
use tombolo_core::link::LinkKey;
use tombolo_core::plan::Action;
use tombolo_core::service::ServiceKey;

use super::Input;
use super::feed::{causes, link_resource};

/// Services that are written at the same time.
const CONCURRENT_MAX: usize = 8;

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Job {
    /// Actions in order; those of one Service are adjacent.
    pub(crate) actions: Vec<Action>,
    /// What the statuses already say of failures.
    pub(crate) failures: BTreeMap<ServiceKey, String>,
    /// Statuses that differ from what is written.
    pub(crate) statuses: Vec<(LinkKey, Value)>,
    /// Events, as objects.
    pub(crate) events: Vec<Value>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Per Service that was to be written: how often it was, or the first failure.
    pub(crate) outcomes: BTreeMap<ServiceKey, Result<(), String>>,
    /// Statuses that were written.
    pub(crate) statuses: Vec<(LinkKey, Written)>,
    /// Whether statuses are still to be written.
    pub(crate) left: Left,
    /// Writes that were made.
    pub(crate) written: u64,
    /// Writes that failed.
    pub(crate) failed: u64,
}

/// A status that was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// All of it.
    pub(crate) status: Value,
    /// The resourceVersion of the Link since then; none if the Link went away meanwhile.
    pub(crate) version: Option<u64>,
}

/// Whether something planned was not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    #[default]
    Nothing,
    /// A status, or an action.
    Something,
}

/// Carries out one job after the other, for ever.
pub(crate) async fn carry(
    client: kube::Client,
    mut jobs: mpsc::Receiver<Job>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(job) = jobs.recv().await {
        let carried = carry_out(&client, job).await;
        if inputs.send(Input::Carried(carried)).await.is_err() {
            return;
        }
    }
}

async fn carry_out(client: &kube::Client, job: Job) -> Carried {
    let mut carried = Carried::default();
    let groups: Vec<_> = job
        .actions
        .chunk_by(|a, b| a.service() == b.service())
        .map(|group| write_group(client.clone(), group.to_vec()).boxed())
        .collect();
    let mut results = stream::iter(groups).buffer_unordered(CONCURRENT_MAX);
    while let Some((service, written, result)) = results.next().await {
        carried.written += written;
        carried.failed += u64::from(result.is_err());
        carried.outcomes.insert(service, result);
    }
    let failures = carried.outcomes.iter().filter_map(|(service, result)| {
        let text = result.as_ref().err()?;
        Some((service, text))
    });
    let told = failures
        .clone()
        .all(|(service, text)| job.failures.get(service) == Some(text));
    if failures.count() > 0 {
        carried.left = Left::Something;
    }
    if told {
        for (link, status) in job.statuses {
            match write_status(client, &link, &status).await {
                Ok(version) => {
                    carried.written += 1;
                    carried.statuses.push((link, Written { status, version }));
                }
                Err(error) => {
                    carried.failed += 1;
                    carried.left = Left::Something;
                    tracing::warn!(link = %link, error, "a status could not be written");
                }
            }
        }
    }
    for event in job.events {
        match write_event(client, event).await {
            Ok(()) => carried.written += 1,
            Err(error) => {
                carried.failed += 1;
                tracing::warn!(error, "an event could not be written");
            }
        }
    }
    carried
}

/// The Service, how many writes succeeded, and the first failure.
async fn write_group(
    client: kube::Client,
    group: Vec<Action>,
) -> (ServiceKey, u64, Result<(), String>) {
    let service = group[0].service().clone();
    let mut written = 0;
    for action in &group {
        let outcome = tokio::time::timeout(
            OUTSIDE_WAIT,
            tombolo_k8s::action::carry_out(&client, action),
        )
        .await;
        let failure = match outcome {
            Ok(Ok(())) => {
                written += 1;
                continue;
            }
            Ok(Err(error)) => causes(&error),
            Err(_elapsed) => format!("no answer within {} s", OUTSIDE_WAIT.as_secs()),
        };
        tracing::warn!(service = %service, error = failure, "a write failed");
        return (service, written, Err(failure));
    }
    let deletes = |action: &&Action| match action {
        Action::DeleteService { .. }
        | Action::DeleteSlice { .. }
        | Action::DeleteOldEndpoints { .. } => true,
        Action::ApplyService { .. } | Action::ApplySlice { .. } => false,
    };
    match group.iter().filter(deletes).count() {
        0 => tracing::info!(service = %service, writes = written, "written"),
        deletions if deletions == group.len() => {
            tracing::info!(service = %service, deletions, "deleted");
        }
        deletions => {
            let writes = group.len() - deletions;
            tracing::info!(service = %service, writes, deletions, "written, and deleted in part");
        }
    }
    (service, written, Ok(()))
}

async fn write_status(
    client: &kube::Client,
    link: &LinkKey,
    status: &Value,
) -> Result<Option<u64>, String> {
    let namespace = link.namespace.as_str();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &link_resource());
    let params = PatchParams {
        field_manager: Some(tombolo_k8s::names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(tombolo_k8s::status::patch(status));
    match tokio::time::timeout(OUTSIDE_WAIT, api.patch_status(&link.name, &params, &patch)).await {
        Ok(Ok(link)) => Ok(tombolo_k8s::link::version(
            link.metadata.resource_version.as_deref(),
        )),
        // The Link went away meanwhile.
        Ok(Err(kube::Error::Api(error))) if error.code == 404 => Ok(None),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_elapsed) => Err(format!("no answer within {} s", OUTSIDE_WAIT.as_secs())),
    }
}

async fn write_event(client: &kube::Client, event: Value) -> Result<(), String> {
    let event: Event = serde_json::from_value(event).map_err(|error| error.to_string())?;
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let params = PostParams::default();
    match tokio::time::timeout(OUTSIDE_WAIT, api.create(&params, &event)).await {
        Ok(Ok(_)) => Ok(()),
        // It was written before, by this process or the one before it.
        Ok(Err(kube::Error::Api(error))) if error.code == 409 => Ok(()),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_elapsed) => Err(format!("no answer within {} s", OUTSIDE_WAIT.as_secs())),
    }
}
