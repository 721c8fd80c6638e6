//! The owner of the node's state: takes in what watches, processes and writes say, and does what follows.
//!
//! Every turn is the same computation over the whole state, wanted minus present, so no order of events can
//! be got wrong and an API server that was away is no special case. It never waits for the outside world
//! itself: writes and processes are tasks that report back.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::ResourceExt as _;
use kube::runtime::watcher;
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tombolo_shell::task::Tasks;

use super::address::AddressPool;
use super::cache::Cache;
use super::logs::LogFiles;
use super::machine::{Effect, Event, Now, PodMachine};
use super::pod::PodSpec;
use super::run::{self, Job, Running, Shared};
use super::write::{Write, Writer};
use super::{inject, processes, service, status};

/// The uid of the node's own proxy, which is no object of the API server.
pub(super) const NODE_PROXY_UID: &str = "node-proxy";
/// How many inputs are taken in before the next turn.
const BATCH_MAX: usize = 256;
/// How long the owner sleeps at most when nothing happens.
const TURN_MAX: Duration = Duration::from_secs(60);

/// What the owner is told.
#[derive(Debug)]
pub(super) enum Input {
    Pods(Box<watcher::Event<Pod>>),
    Namespaces(Box<watcher::Event<Namespace>>),
    Services(Box<watcher::Event<Service>>),
    /// A process runs.
    Started {
        uid: String,
        container: usize,
        running: Running,
    },
    /// Something else happened to a pod.
    Pod {
        uid: String,
        event: Event,
    },
    /// A write has been answered.
    Wrote {
        write: Write,
        result: Result<(), String>,
    },
}

/// One pod of the node.
struct Local {
    machine: PodMachine,
    processes: BTreeMap<usize, Running>,
    dir: PathBuf,
    /// The resourceVersion of the object that the machine has seen.
    seen: Option<String>,
    /// The status that the API server has acknowledged.
    written: Option<Value>,
}

/// What the owner publishes.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) listeners: watch::Sender<Arc<str>>,
    pub(super) logs: watch::Sender<Arc<LogFiles>>,
}

/// The node.
pub(super) struct Node {
    shared: Arc<Shared>,
    tasks: Tasks,
    sender: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    writer: Writer,
    outlets: Outlets,
    pods: Cache<Pod>,
    namespaces: Cache<Namespace>,
    services: Cache<Service>,
    pool: AddressPool,
    local: BTreeMap<String, Local>,
    /// Where the pods' files and the list of processes are.
    dir: PathBuf,
    reported: Vec<processes::Entry>,
}

/// What a new node is made of.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Tasks,
    pub(super) sender: mpsc::Sender<Input>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) writer: Writer,
    pub(super) outlets: Outlets,
    pub(super) pool: AddressPool,
    pub(super) dir: PathBuf,
}

fn now() -> Now {
    Now {
        monotonic: Instant::now(),
        wall: Timestamp::now(),
    }
}

impl Node {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            shared,
            tasks,
            sender,
            inputs,
            writer,
            outlets,
            pool,
            dir,
        } = parts;
        Self {
            shared,
            tasks,
            sender,
            inputs,
            writer,
            outlets,
            pods: Cache::default(),
            namespaces: Cache::default(),
            services: Cache::default(),
            pool,
            local: BTreeMap::new(),
            dir,
            reported: Vec::new(),
        }
    }

    /// Adds the node's own proxy, which is there as long as the node.
    pub(super) fn add_node_proxy(&mut self, spec: PodSpec, address: Ipv4Addr) {
        let machine = PodMachine::new(spec, address, &[], now());
        let dir = self.dir.join("pods").join(NODE_PROXY_UID);
        let local = Local {
            machine,
            processes: BTreeMap::new(),
            dir,
            seen: None,
            written: None,
        };
        self.local.insert(NODE_PROXY_UID.to_owned(), local);
    }

    /// Runs until every sender is gone, which is never while the process lives.
    pub(super) async fn run(mut self) {
        loop {
            self.turn();
            let deadline = self.deadline();
            let first = tokio::select! {
                biased;
                input = self.inputs.recv() => match input {
                    Some(input) => input,
                    None => return,
                },
                () = tokio::time::sleep_until(deadline.into()) => continue,
            };
            self.take(first);
            for _ in 0..BATCH_MAX {
                let Ok(input) = self.inputs.try_recv() else {
                    break;
                };
                self.take(input);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let machines = self
            .local
            .values()
            .filter_map(|local| local.machine.poll_timeout());
        let latest = Instant::now() + TURN_MAX;
        machines
            .chain(self.writer.poll_timeout())
            .min()
            .map_or(latest, |at| at.min(latest))
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Pods(event) => self.pods.on(*event),
            Input::Namespaces(event) => self.namespaces.on(*event),
            Input::Services(event) => self.services.on(*event),
            Input::Started {
                uid,
                container,
                running,
            } => {
                let event = Event::Started {
                    container,
                    pid: running.pid,
                };
                if let Some(local) = self.local.get_mut(&uid) {
                    local.processes.insert(container, running);
                }
                self.happened(&uid, event);
            }
            Input::Pod { uid, event } => {
                if let (Event::Exited { container, .. }, Some(local)) =
                    (&event, self.local.get_mut(&uid))
                {
                    local.processes.remove(container);
                }
                self.happened(&uid, event);
            }
            Input::Wrote { write, result } => {
                if let (Write::Status { uid, patch, .. }, Ok(())) = (&write, &result)
                    && let Some(local) = self.local.get_mut(uid)
                {
                    local.written = Some(patch.clone());
                }
                self.writer.done(&write, result, Instant::now());
            }
        }
    }

    fn happened(&mut self, uid: &str, event: Event) {
        if let Some(local) = self.local.get_mut(uid) {
            let effects = local.machine.on(now(), event);
            self.perform(uid, effects);
        }
    }

    fn turn(&mut self) {
        self.adopt();
        self.due();
        self.write();
        self.forget();
        self.publish();
    }

    /// Binds new pods, takes in those of this node, and lets go those whose object is gone.
    fn adopt(&mut self) {
        if !self.pods.complete() || !self.namespaces.complete() {
            return;
        }
        let node_name = &self.shared.mesh.node_name;
        let mut ours: Vec<(PodSpec, &Pod)> = Vec::new();
        for pod in self.pods.iter() {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            match bound.filter(|name| !name.is_empty()) {
                Some(name) if name == node_name => {
                    ours.extend(PodSpec::read(pod).map(|spec| (spec, pod)));
                }
                None if pod.metadata.deletion_timestamp.is_none() => {
                    let namespace = pod.namespace().unwrap_or_default();
                    let labels = self
                        .namespaces
                        .find("", &namespace)
                        .map(|n| n.annotations().clone());
                    let binding = inject::binding(pod, &labels.unwrap_or_default(), node_name);
                    self.writer.start(Write::bind(pod, binding));
                }
                _ => {}
            }
        }
        // What pods have from before is reserved before anything new is given out.
        ours.sort_by_key(|(spec, _)| spec.address.is_none());
        let mut events = Vec::new();
        for (spec, pod) in &ours {
            let version = pod.resource_version();
            match self.local.get_mut(&spec.uid) {
                Some(local) if local.seen == version => {}
                Some(local) => {
                    local.seen = version;
                    events.push((spec.uid.clone(), Event::Object(spec.clone())));
                }
                None => {
                    let Some(local) = take_in(&mut self.pool, &self.dir, spec, pod) else {
                        tracing::error!(pod = spec.key(), "every address of the range is taken");
                        continue;
                    };
                    self.local.insert(spec.uid.clone(), local);
                    events.push((spec.uid.clone(), Event::Object(spec.clone())));
                }
            }
        }
        let exists = |uid: &str| ours.iter().any(|(spec, _)| spec.uid == uid);
        for (uid, local) in &mut self.local {
            if uid != NODE_PROXY_UID && !exists(uid) && local.seen.take().is_some() {
                events.push((uid.clone(), Event::Gone));
            }
        }
        for (uid, event) in events {
            self.happened(&uid, event);
        }
    }

    fn due(&mut self) {
        let uids: Vec<String> = self.local.keys().cloned().collect();
        for uid in uids {
            if let Some(local) = self.local.get_mut(&uid) {
                let effects = local.machine.handle_timeout(now());
                self.perform(&uid, effects);
            }
        }
    }

    fn perform(&self, uid: &str, effects: Vec<Effect>) {
        let Some(local) = self.local.get(uid) else {
            return;
        };
        for effect in effects {
            let (container, signal) = match effect {
                Effect::Start { container } => {
                    self.start(local, container);
                    continue;
                }
                Effect::Terminate { container } => (container, Signal::TERM),
                Effect::Kill { container } => (container, Signal::KILL),
                Effect::Finished => continue,
            };
            if let Some(running) = local.processes.get(&container)
                && !running.signaller.signal(signal)
            {
                tracing::debug!(uid, container, "already gone when it was to be ended");
            }
        }
    }

    fn start(&self, local: &Local, container: usize) {
        let pod = Arc::new(local.machine.spec().clone());
        if let Err(error) = std::fs::create_dir_all(&local.dir) {
            tracing::error!(dir = %local.dir.display(), %error, "cannot make the pod's directory");
        }
        let job = Job {
            is_node_proxy: pod.uid == NODE_PROXY_UID,
            pod,
            index: container,
            address: local.machine.address(),
            dir: local.dir.clone(),
        };
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        self.tasks.spawn("container", run::run(shared, job, sender));
    }

    /// Starts the writes that the API server lacks.
    fn write(&mut self) {
        for (uid, local) in &self.local {
            if uid == NODE_PROXY_UID || local.seen.is_none() {
                continue;
            }
            let spec = local.machine.spec();
            if local.machine.finished() {
                self.writer.start(Write::delete(spec));
                continue;
            }
            let patch = status::patch(&local.machine, self.shared.node_address);
            if local.written.as_ref() != Some(&patch) {
                self.writer.start(Write::status(spec, patch));
            }
        }
        if self.pods.complete() && self.services.complete() {
            for write in service::ingress_writes(self.services.iter(), self.pods.iter()) {
                self.writer.start(write);
            }
        }
        self.writer.begin(Instant::now(), &self.tasks, &self.sender);
    }

    /// Forgets the pods of which neither process nor object is left.
    fn forget(&mut self) {
        let gone = |local: &Local| local.machine.finished() && local.seen.is_none();
        let uids: Vec<String> = self
            .local
            .iter()
            .filter(|(_, local)| gone(local))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in uids {
            self.pool.release(&uid);
            if let Some(local) = self.local.remove(&uid)
                && let Err(error) = std::fs::remove_dir_all(&local.dir)
            {
                tracing::debug!(dir = %local.dir.display(), %error, "the pod's directory stays");
            }
        }
    }

    fn publish(&mut self) {
        if self.services.complete() {
            let line: Arc<str> = service::listeners(self.services.iter()).into();
            self.outlets.listeners.send_if_modified(|old| {
                let changed = *old != line;
                *old = line;
                changed
            });
        }
        let mut entries = Vec::new();
        let mut files = LogFiles::new();
        for local in self.local.values() {
            let spec = local.machine.spec();
            for (index, container) in spec.containers.iter().enumerate() {
                let key = (
                    spec.namespace.clone(),
                    spec.name.clone(),
                    container.name.clone(),
                );
                files.insert(key, local.dir.join(format!("{}.log", container.name)));
                if let Some(running) = local.processes.get(&index) {
                    entries.push(processes::Entry::new(
                        running.pid,
                        &local.machine,
                        container,
                    ));
                }
            }
        }
        self.outlets.logs.send_if_modified(|old| {
            let changed = **old != files;
            *old = Arc::new(files);
            changed
        });
        if entries != self.reported {
            match processes::write(&self.dir, &entries) {
                Ok(()) => self.reported = entries,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "processes not listed"),
            }
        }
    }
}

/// A pod that this agent has not seen before. It keeps the address that its status has.
fn take_in(pool: &mut AddressPool, dir: &Path, spec: &PodSpec, pod: &Pod) -> Option<Local> {
    let before = spec
        .address
        .filter(|address| pool.reserve(&spec.uid, *address));
    let address = before.or_else(|| pool.assign(&spec.uid))?;
    tracing::info!(pod = spec.key(), %address, "taken in");
    Some(Local {
        machine: PodMachine::new(spec.clone(), address, &processes::restarts(pod), now()),
        processes: BTreeMap::new(),
        dir: dir
            .join("pods")
            .join(format!("{}_{}", spec.key(), spec.uid)),
        seen: pod.resource_version(),
        written: None,
    })
}
