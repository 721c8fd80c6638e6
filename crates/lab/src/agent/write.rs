//! The writes of the node to its API server: at most one of a kind under way per object, and again later
//! after a failure.
//!
//! What is to be written is decided by the owner, anew at every turn; here is only when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;
use tokio::sync::mpsc;
use tombolo_shell::task::Tasks;

use super::inject::Binding;
use super::node::Input;
use super::pod::PodSpec;

/// How soon a write that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long after its success a write is not repeated, since the watch needs a moment to show it.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the API server may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many writes are under way at once.
const UNDER_WAY_MAX: usize = 16;
const MANAGER: &str = "tombolo-agent";

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Binds a pod to the node.
    Bind {
        uid: String,
        namespace: String,
        name: String,
        binding: Binding,
    },
    /// The status of a pod.
    Status {
        uid: String,
        namespace: String,
        name: String,
        patch: Value,
    },
    /// Deletes the object of a pod that has ended.
    Delete {
        uid: String,
        namespace: String,
        name: String,
    },
    /// The address of a Service of type LoadBalancer.
    Ingress {
        namespace: String,
        name: String,
        patch: Value,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Bind(String),
    Status(String),
    Delete(String),
    Ingress(String, String),
}

#[derive(Clone, Debug)]
enum State {
    UnderWay,
    HeldUntil(Instant),
}

impl Write {
    pub(super) fn bind(pod: &Pod, binding: Binding) -> Self {
        let uid = pod.uid().unwrap_or_default();
        Self::Bind {
            uid,
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            binding,
        }
    }

    pub(super) fn status(pod: &PodSpec, patch: Value) -> Self {
        let PodSpec {
            uid,
            namespace,
            name,
            ..
        } = pod.clone();
        Self::Status {
            uid,
            namespace,
            name,
            patch,
        }
    }

    pub(super) fn delete(pod: &PodSpec) -> Self {
        let PodSpec {
            uid,
            namespace,
            name,
            ..
        } = pod.clone();
        Self::Delete {
            uid,
            namespace,
            name,
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Bind { uid, .. } => Key::Bind(uid.clone()),
            Self::Status { uid, .. } => Key::Status(uid.clone()),
            Self::Delete { uid, .. } => Key::Delete(uid.clone()),
            Self::Ingress {
                namespace, name, ..
            } => Key::Ingress(namespace.clone(), name.clone()),
        }
    }

    async fn send(&self, client: &kube::Client) -> Result<(), kube::Error> {
        let pods = |namespace: &str| Api::<Pod>::namespaced(client.clone(), namespace);
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match self {
            Self::Bind {
                namespace,
                name,
                binding,
                ..
            } => bind(&pods(namespace), name, binding, &params).await?,
            Self::Status {
                namespace,
                name,
                patch,
                ..
            } => {
                pods(namespace)
                    .patch_status(name, &params, &Patch::Merge(patch))
                    .await?;
            }
            Self::Delete {
                uid,
                namespace,
                name,
            } => {
                let preconditions = Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                };
                let params = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(preconditions),
                    ..DeleteParams::default()
                };
                pods(namespace).delete(name, &params).await?;
            }
            Self::Ingress {
                namespace,
                name,
                patch,
            } => {
                let services = Api::<Service>::namespaced(client.clone(), namespace);
                services
                    .patch_status(name, &params, &Patch::Merge(patch))
                    .await?;
            }
        }
        Ok(())
    }
}

async fn bind(
    pods: &Api<Pod>,
    name: &str,
    binding: &Binding,
    params: &PatchParams,
) -> Result<(), kube::Error> {
    match binding {
        Binding::WithProxy(patch) => {
            pods.patch(name, params, &Patch::Merge(patch)).await?;
        }
        Binding::Plain(binding) => {
            let params = PostParams::default();
            pods.create_subresource::<Value, Value>("binding", name, &params, binding)
                .await?;
        }
    }
    Ok(())
}

/// Sends writes.
pub(super) struct Writer {
    client: kube::Client,
    states: BTreeMap<Key, State>,
    wanted: Vec<Write>,
}

impl Writer {
    pub(super) fn new(client: kube::Client) -> Self {
        Self {
            client,
            states: BTreeMap::new(),
            wanted: Vec::new(),
        }
    }

    /// Asks for a write; what was asked for before this turn is forgotten by [`Self::begin`].
    pub(super) fn start(&mut self, write: Write) {
        self.wanted.push(write);
    }

    /// Sends what may be sent now.
    pub(super) fn begin(&mut self, now: Instant, tasks: &Tasks, owner: &mpsc::Sender<Input>) {
        self.states.retain(|_, state| match state {
            State::UnderWay => true,
            State::HeldUntil(until) => *until > now,
        });
        for write in std::mem::take(&mut self.wanted) {
            let under_way = self
                .states
                .values()
                .filter(|s| matches!(s, State::UnderWay))
                .count();
            if self.states.contains_key(&write.key()) || under_way >= UNDER_WAY_MAX {
                continue;
            }
            self.states.insert(write.key(), State::UnderWay);
            let (client, owner) = (self.client.clone(), owner.clone());
            tasks.spawn("write", async move {
                let result = match tokio::time::timeout(TIMEOUT, write.send(&client)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(super::token::brief(&error)),
                    Err(_) => Err("the API server does not answer".to_owned()),
                };
                if owner.send(Input::Wrote { write, result }).await.is_err() {
                    tracing::debug!("the node ended during a write");
                }
            });
        }
    }

    /// A write has been answered.
    pub(super) fn done(&mut self, write: &Write, result: Result<(), String>, now: Instant) {
        let key = write.key();
        match (&key, result) {
            // The owner knows what has been written.
            (Key::Status(_), Ok(())) => {
                self.states.remove(&key);
            }
            (Key::Bind(_) | Key::Delete(_) | Key::Ingress(..), Ok(())) => {
                self.states.insert(key, State::HeldUntil(now + SETTLE));
            }
            (_, Err(error)) => {
                tracing::debug!(?key, error, "a write failed and is tried again");
                self.states.insert(key, State::HeldUntil(now + RETRY));
            }
        }
    }

    /// When a write that is held may be sent again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.states.values().filter_map(|state| match state {
            State::HeldUntil(until) => Some(*until),
            State::UnderWay => None,
        });
        held.min()
    }
}
