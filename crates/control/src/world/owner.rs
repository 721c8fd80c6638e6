//! The owner task: wait, drain what is ready, bring together, publish, plan, have it carried out.
//!
//! Decides when: answers go out after every batch, plans at most every few hundredths of a second and
//! never two at a time, after failures with a growing pause. Nothing here waits for another cluster.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tombolo_core::backoff::Backoff;
use tombolo_core::cluster::{Change, Path};
use tombolo_core::link::LinkKey;
use tombolo_core::plan::{About, Plan, Problem, plan};
use tombolo_core::service::ServiceKey;
use tombolo_core::world::{LinkView, LocalService, World};
use tombolo_k8s::link::LinkObject;
use tombolo_shell::ready::Condition;

use super::Input;
use super::carry::{Carried, Job, Left};
use super::feed::Source;
use super::intake::Listings;
use super::links::{Links, is_waiting};
use super::metrics::Counts;
use super::roll::Roll;
use super::tell::Skipped;
use crate::discovery::directory::{Directory, PeerId};
use crate::discovery::model::Key;
use crate::server::Shared;

mod others;
mod peer;
mod take;

/// Inputs that are taken in before the rest of the work gets its turn.
const DRAINED_MAX: usize = 1024;
/// Between two plans: a burst of changes is one plan.
const PLAN_EVERY: Duration = Duration::from_millis(30);
/// After writes, until the watches can be expected to have told of them.
const ECHO: Duration = Duration::from_millis(150);
/// First and longest pause after a failed write.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often what only time changes is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What the owner needs from the rest of the process.
pub(crate) struct Parts {
    /// What all services of this process share.
    pub(crate) shared: Arc<Shared>,
    /// Met once the local cluster was heard.
    pub(crate) heard: Condition,
    /// Links and peers.
    pub(crate) links: Links,
    /// Who carries out plans.
    pub(crate) jobs: mpsc::Sender<Job>,
    /// What is counted.
    pub(crate) counts: Counts,
}

/// Everything that this process knows.
pub(crate) struct Owner {
    parts: Parts,
    directory: Directory,
    listings: Listings,
    world: World,
    own_uid: Option<String>,
    /// Whether this cluster's own API server answers.
    own_api: Path,
    /// Why each watch of this cluster failed last, to be said once.
    complaints: BTreeMap<&'static str, String>,
    namespaces: Roll<()>,
    /// The zones of nodes that have one.
    nodes: Roll<Arc<str>>,
    links: Roll<LinkObject>,
    secrets: Roll<Arc<Secret>>,
    /// Problems that Events were written for.
    told: BTreeSet<Problem>,
    /// What Events in other clusters were written for.
    told_others: BTreeSet<(LinkKey, Skipped)>,
    due: Due,
    backoff: Backoff,
}

/// What has to be done about what was taken in.
struct Due {
    /// Links or Secrets changed.
    attend: bool,
    /// How a cluster stands may have changed.
    judge: bool,
    /// What planners see may have changed.
    plan: bool,
    /// A plan is being carried out.
    busy: bool,
    /// No plan before.
    not_before: Instant,
}

impl Owner {
    /// Knows nothing yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let shared = &parts.shared;
        Self {
            directory: Directory::new(&shared.cluster, shared.scheme.clone()),
            listings: Listings::default(),
            world: World::default(),
            own_uid: None,
            own_api: Path::new(1),
            complaints: BTreeMap::new(),
            namespaces: Roll::default(),
            nodes: Roll::default(),
            links: Roll::default(),
            secrets: Roll::default(),
            told: BTreeSet::new(),
            told_others: BTreeSet::new(),
            due: Due {
                attend: false,
                judge: false,
                plan: false,
                busy: false,
                not_before: Instant::now(),
            },
            backoff: Backoff::new(RETRY.0, RETRY.1),
            parts,
        }
    }

    /// Runs until nobody hands over any more.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut batch = Vec::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let planning = self.due.plan && !self.due.busy && self.may_plan();
            let not_before = self.due.not_before;
            tokio::select! {
                biased;
                count = inputs.recv_many(&mut batch, DRAINED_MAX) => if count == 0 { return },
                () = tokio::time::sleep_until(not_before), if planning => {}
                _ = ticks.tick() => self.measure(),
            }
            let received_at = Instant::now();
            for input in batch.drain(..) {
                self.take(input);
            }
            self.bring_together();
            self.publish(received_at);
            let free = self.due.plan && !self.due.busy && self.may_plan();
            if free && Instant::now() >= self.due.not_before {
                self.plan();
            }
        }
    }

    /// What is missing in a world that was not heard completely would be deleted.
    fn may_plan(&self) -> bool {
        self.directory.local.is_complete()
            && self.namespaces.was_heard()
            && self.links.was_heard()
            && self.secrets.was_heard()
    }

    fn bring_together(&mut self) {
        let links = &mut self.parts.links;
        if self.due.attend && self.links.was_heard() && self.secrets.was_heard() {
            self.due.attend = false;
            let before: BTreeSet<_> = links.states.keys().cloned().collect();
            links.attend(&self.links, &self.secrets);
            for gone in before.iter().filter(|key| !links.states.contains_key(key)) {
                let view = self.world.links.remove(gone);
                if let Some(target) = view.as_ref().and_then(|view| view.spec.target()) {
                    self.world.unlink(target.as_str());
                }
                self.due.plan = true;
                self.parts.counts.forget(&gone.to_string());
            }
            self.due.judge = true;
        }
        if self.due.judge {
            self.due.judge = false;
            for gone in links.change_over(&mut self.directory) {
                self.listings.forget(Source::Peer(gone));
            }
            let own = (self.own_uid.as_deref(), &*self.parts.shared.cluster);
            links.judge(own, &mut self.directory);
            for key in links.states.keys() {
                let Some(view) = links.view(key, &self.directory) else {
                    continue;
                };
                if self.world.links.get(key) != Some(&view) {
                    show(&mut self.world, key, view);
                    self.due.plan = true;
                }
            }
            self.measure();
        }
    }

    fn publish(&mut self, received_at: Instant) {
        let delta = self.directory.refresh();
        // What was passed over so far is said to be awaited before anybody is told that it is not there.
        let more = self.ask().then(|| self.directory.refresh());
        let delta = match more {
            Some(more) => delta.then(more),
            None => delta,
        };
        let services = delta.services.len();
        self.parts.shared.board.apply(delta);
        if self.directory.local.is_complete() {
            self.parts.shared.board.know_everything();
            self.parts.heard.met();
        }
        self.parts.counts.published(services, received_at.elapsed());
    }

    fn plan(&mut self) {
        self.due.plan = false;
        self.due.not_before = Instant::now() + PLAN_EVERY;
        self.world.local.namespaces = self
            .namespaces
            .iter()
            .filter_map(|(key, ())| tombolo_core::name::Namespace::parse(&key.name).ok())
            .collect();
        let plan = plan(&self.world);
        self.parts.counts.planned();
        self.tell_others(&plan);
        let job = self.job(plan);
        if job.actions.is_empty() && job.statuses.is_empty() && job.events.is_empty() {
            return;
        }
        match self.parts.jobs.try_send(job) {
            Ok(()) => self.due.busy = true,
            // The carrier takes one job at a time, and tells when it is done.
            Err(error) => {
                tracing::error!(%error, "a plan found nobody to carry it out");
                self.due.plan = true;
            }
        }
    }

    fn job(&mut self, plan: Plan) -> Job {
        let now = Timestamp::now();
        let states = &self.parts.links.states;
        let statuses = plan.statuses.iter().filter_map(|(key, status)| {
            let written = &states.get(key)?.status;
            let waits = self.world.links.get(key).is_some_and(is_waiting);
            if waits && !written.is_null() {
                return None;
            }
            let changed = tombolo_k8s::status::changed(status, Some(written), now)?;
            Some((key.clone(), changed))
        });
        let statuses = statuses.collect();
        let problems: BTreeSet<Problem> = plan.problems.into_iter().collect();
        let news = problems.difference(&self.told);
        let events = news
            .map(|problem| {
                tracing::warn!(about = %problem.about, reason = %problem.reason, message = problem.message, "a problem");
                tombolo_k8s::event::of(problem, self.uid_of(&problem.about), now)
            })
            .collect();
        self.told = problems;
        Job {
            actions: plan.actions,
            failures: self.world.failures.clone(),
            statuses,
            events,
        }
    }

    fn uid_of(&self, about: &About) -> Option<&str> {
        match about {
            About::Link(key) => self.parts.links.states.get(key)?.object.uid.as_deref(),
            About::Service(key) => match self.world.local.services.get(key)? {
                LocalService::Ours { uid, .. } => Some(&uid.0),
                LocalService::Left { .. } | LocalService::Foreign(_) => None,
            },
        }
    }

    fn carried(&mut self, carried: Carried) {
        self.due.busy = false;
        self.parts.counts.wrote(carried.written, carried.failed);
        let acted = !carried.outcomes.is_empty();
        let failed = carried.failed > 0 || carried.left == Left::Something;
        for (service, outcome) in carried.outcomes {
            match outcome {
                Ok(()) => self.world.failures.remove(&service),
                Err(why) => self.world.failures.insert(service, why),
            };
        }
        for (link, written) in carried.statuses {
            if let Some(state) = self.parts.links.states.get_mut(&link) {
                state.status = written.status;
                state.written = written.version;
            }
        }
        let pause = if failed {
            self.backoff.failed(&mut rand::rng())
        } else {
            self.backoff.succeeded();
            ECHO
        };
        if failed || acted {
            self.due.plan = true;
            self.due.not_before = Instant::now() + pause;
        }
    }

    fn measure(&self) {
        let links = &self.parts.links;
        self.parts.counts.links(links.states.len());
        for (key, state) in &links.states {
            if let Some(domain) = &state.domain {
                let silent = links.silence(state);
                let name = key.to_string();
                self.parts
                    .counts
                    .link(&name, domain.decision.verdict, silent);
            }
        }
    }

    /// The exports of a peer changed: what planners see of the Links that show it.
    fn show_export(&mut self, peer: PeerId, key: &ServiceKey) {
        use tombolo_core::world::Remote;
        let links = &self.parts.links;
        let export = links.peers.get(peer).and_then(|p| p.exports.get(key));
        let showing: Vec<LinkKey> = links.showing(peer).cloned().collect();
        for link in showing {
            let wanted = links.wants(&link, export);
            if let Some(view) = self.world.links.get_mut(&link)
                && let Remote::Known(exports) = &mut view.remote
            {
                match (export, wanted) {
                    (Some(export), true) => exports.services.insert(key.clone(), export.clone()),
                    _ => exports.services.remove(key),
                };
                self.due.plan = true;
            }
        }
    }

    fn turned(&mut self, change: Change) {
        if change == Change::Turned {
            self.due.judge = true;
        }
    }
}

/// Shows a Link to planners; one that leads elsewhere now is another one.
fn show(world: &mut World, key: &LinkKey, view: LinkView) {
    let target = |view: &LinkView| view.spec.target().cloned();
    let (old, new) = (world.links.get(key).and_then(target), target(&view));
    if let Some(target) = old.filter(|old| Some(old) != new.as_ref()) {
        world.unlink(target.as_str());
    }
    world.links.insert(key.clone(), view);
}

fn model_key(key: &ServiceKey) -> Key {
    Key::new(key.namespace.as_str(), key.name.as_str())
}
