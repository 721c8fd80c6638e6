//! What the agent needs to know of a Pod, read from the object once.
//!
//! Decides which images it can run and what a container's environment and probes mean. Bad input becomes a
//! reason that the pod's status shows; it never stops the agent.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::inject;

/// The image of the small application of the lab.
pub(crate) const ECHO_IMAGE: &str = "tombolo/echo";
/// The image that does nothing: a pod which is only its proxy.
pub(crate) const PAUSE_IMAGE: &str = "tombolo/pause";
/// The image of the proxy.
pub(crate) const PROXY_IMAGE: &str = "tombolo/proxy";

/// How long a pod may take to end unless it says otherwise, as in Kubernetes.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// The longest grace that is honoured.
const GRACE_MAX: Duration = Duration::from_secs(3600);
const PROBE_PERIOD_DEFAULT: Duration = Duration::from_secs(10);
const FAILURES_DEFAULT: u32 = 3;

/// A Pod, as far as the agent cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSpec {
    /// The object's uid: another object of the same name is another pod.
    pub(crate) uid: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its service account.
    pub(crate) service_account: String,
    /// Its containers, in the order of the object.
    pub(crate) containers: Vec<ContainerSpec>,
    /// How long it may take to end.
    pub(crate) grace: Duration,
    /// Whether its end has been asked for.
    pub(crate) life: Life,
    /// The address that its status already has.
    pub(crate) address: Option<Ipv4Addr>,
    /// What its proxy is told beside the usual.
    pub(crate) role: inject::Role,
}

/// Whether a pod's end has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It shall run.
    Wanted,
    /// It shall end: the object has a deletion timestamp.
    Ending,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerSpec {
    /// Its name, unique in the pod.
    pub(crate) name: String,
    /// The image as the object names it.
    pub(crate) image: String,
    /// What it runs.
    pub(crate) kind: Kind,
    /// Its arguments, before `$(NAME)` is replaced.
    pub(crate) args: Vec<String>,
    /// Its environment, in the order of the object.
    pub(crate) env: Vec<(String, Value)>,
    /// The first port that it names.
    pub(crate) port: Option<u16>,
    /// How its readiness is found out.
    pub(crate) probe: Option<Probe>,
    /// How long its end waits before the signal.
    pub(crate) pre_stop: Duration,
}

/// What a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The small application.
    Echo,
    /// Nothing at all; it is ready and never ends by itself.
    Pause,
    /// The proxy.
    Proxy,
    /// An image that this agent does not have.
    Unknown,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text, in which `$(NAME)` stands for an earlier variable.
    Text(String),
    /// A field of the pod.
    Field(String),
}

/// How a container's readiness is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The question.
    pub(crate) check: Check,
    /// How often it is asked once the container is ready.
    pub(crate) period: Duration,
    /// How many failures in a row make it unready.
    pub(crate) failures_max: u32,
}

/// One question to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Answers GET with a status below 400.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: String,
    },
    /// Accepts a connection.
    Tcp {
        /// The port.
        port: u16,
    },
}

impl PodSpec {
    /// Reads the object. `None` if it lacks what every object of an API server has.
    #[must_use]
    pub(crate) fn read(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let metadata = &pod.metadata;
        let seconds = metadata
            .deletion_grace_period_seconds
            .or(spec.termination_grace_period_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok());
        let status_ip = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref());
        Some(Self {
            uid: metadata.uid.clone()?,
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            service_account: account_of(pod),
            containers: spec.containers.iter().map(ContainerSpec::read).collect(),
            grace: seconds
                .map_or(GRACE_DEFAULT, Duration::from_secs)
                .min(GRACE_MAX),
            life: match metadata.deletion_timestamp {
                Some(_) => Life::Ending,
                None => Life::Wanted,
            },
            address: status_ip.and_then(|text| text.parse().ok()),
            role: inject::Role::of(pod),
        })
    }

    /// How the pod is called in logs and file names.
    #[must_use]
    pub(crate) fn key(&self) -> String {
        format!("{}_{}", self.namespace, self.name)
    }
}

/// The service account of a pod.
pub(super) fn account_of(pod: &Pod) -> String {
    let named = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.clone());
    named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned())
}

impl ContainerSpec {
    fn read(container: &Container) -> Self {
        let image = container.image.clone().unwrap_or_default();
        let ports = container.ports.as_deref().unwrap_or_default();
        let port = ports
            .first()
            .and_then(|port| u16::try_from(port.container_port).ok());
        let kind = Kind::of(&image);
        let env = container.env.as_deref().unwrap_or_default();
        Self {
            name: container.name.clone(),
            kind,
            args: [container.command.as_deref(), container.args.as_deref()]
                .into_iter()
                .flatten()
                .flatten()
                .cloned()
                .collect(),
            env: env
                .iter()
                .map(|var| (var.name.clone(), value_of(var)))
                .collect(),
            port: match kind {
                Kind::Echo => Some(port.unwrap_or(crate::topology::SERVICE_PORT)),
                Kind::Pause | Kind::Proxy | Kind::Unknown => port,
            },
            probe: probe_of(container, port),
            pre_stop: pre_stop_of(container),
            image,
        }
    }
}

impl Kind {
    /// What an image runs, whatever its registry and tag.
    fn of(image: &str) -> Self {
        let tag = image
            .rfind(':')
            .filter(|colon| !image[*colon..].contains('/'));
        let name = &image[..tag.unwrap_or(image.len())];
        let is = |known: &str| name == known || name.ends_with(&format!("/{known}"));
        match () {
            () if is(ECHO_IMAGE) => Self::Echo,
            () if is(PAUSE_IMAGE) || name.ends_with("/pause") => Self::Pause,
            () if is(PROXY_IMAGE) => Self::Proxy,
            () => Self::Unknown,
        }
    }
}

fn value_of(var: &k8s_openapi::api::core::v1::EnvVar) -> Value {
    let field = var
        .value_from
        .as_ref()
        .and_then(|from| from.field_ref.as_ref());
    match field {
        Some(field) => Value::Field(field.field_path.clone()),
        None => Value::Text(var.value.clone().unwrap_or_default()),
    }
}

fn pre_stop_of(container: &Container) -> Duration {
    let hook = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let seconds = hook
        .and_then(|hook| hook.sleep.as_ref())
        .map_or(0, |sleep| sleep.seconds);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn probe_of(container: &Container, port: Option<u16>) -> Option<Probe> {
    let Some(probe) = &container.readiness_probe else {
        // Kubernetes would call it ready at once; whether it answers at all is worth one connection.
        let period = PROBE_PERIOD_DEFAULT;
        return Some(Probe {
            check: Check::Tcp { port: port? },
            period,
            failures_max: FAILURES_DEFAULT,
        });
    };
    let number = |wanted: &IntOrString| match wanted {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name))?;
            u16::try_from(named.container_port).ok()
        }
    };
    let check = match (&probe.http_get, &probe.tcp_socket) {
        (Some(http), _) => Check::Http {
            port: number(&http.port)?,
            path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
        },
        (None, Some(tcp)) => Check::Tcp {
            port: number(&tcp.port)?,
        },
        (None, None) => return None,
    };
    let positive =
        |value: Option<i32>| value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0);
    Some(Probe {
        check,
        period: positive(probe.period_seconds).map_or(PROBE_PERIOD_DEFAULT, |seconds| {
            Duration::from_secs(seconds.into())
        }),
        failures_max: positive(probe.failure_threshold).unwrap_or(FAILURES_DEFAULT),
    })
}

/// What the fields of a pod are worth once it has an address.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    /// The pod.
    pub(crate) pod: &'a PodSpec,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// The node's name.
    pub(crate) node_name: &'a str,
    /// The node's address.
    pub(crate) node_address: Ipv4Addr,
}

impl Facts<'_> {
    fn field(&self, path: &str) -> String {
        match path {
            "metadata.name" => self.pod.name.clone(),
            "metadata.namespace" => self.pod.namespace.clone(),
            "metadata.uid" => self.pod.uid.clone(),
            "spec.nodeName" => self.node_name.to_owned(),
            "spec.serviceAccountName" => self.pod.service_account.clone(),
            "status.podIP" => self.address.to_string(),
            "status.hostIP" => self.node_address.to_string(),
            _ => String::new(),
        }
    }

    /// The environment and the arguments of a container, with every reference replaced.
    #[must_use]
    pub(crate) fn resolve(
        &self,
        container: &ContainerSpec,
    ) -> (BTreeMap<String, String>, Vec<String>) {
        let mut env = BTreeMap::new();
        for (name, value) in &container.env {
            let value = match value {
                Value::Text(text) => expand(text, &env),
                Value::Field(path) => self.field(path),
            };
            env.insert(name.clone(), value);
        }
        let args = container.args.iter().map(|arg| expand(arg, &env)).collect();
        (env, args)
    }
}

/// Replaces `$(NAME)` by the variable; an unknown one stays as it is, and `$$` is a dollar, as in Kubernetes.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let reference = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        match (rest.strip_prefix('$'), reference) {
            (Some(after), _) => {
                out.push('$');
                rest = after;
            }
            (None, Some((name, after))) if env.contains_key(name) => {
                out.push_str(&env[name]);
                rest = after;
            }
            (None, _) => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
