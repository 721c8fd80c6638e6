//! A plan in the making: which names are wanted, by whom, and what is said of it. Both planners claim
//! names here, so that no two of them want the same one.
use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{CLUSTER_NAME, LOCAL_DISCOVERY, REMOTE_DISCOVERY};
use crate::link::{LinkKey, Part};
use crate::name::{LabelError, ServiceName};
use crate::plan::{About, Problem};
use crate::roster::Roster;
use crate::service::{
    Family, ManagedService, ManagedSlice, Service, ServiceKey, ServiceKind, SliceKey,
};
use crate::status::{Condition, ConditionType, LinkStatus, Reason, ServiceStatus, Truth};
use crate::world::{GatewayView, LocalService, LocalSlice, World};

/// Why something wanted cannot be had.
#[derive(Clone)]
pub(crate) struct Obstacle {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Obstacle {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// A local Service that is wanted, and its slices.
pub(crate) struct Wanted {
    /// What it stands for, for the one who comes second.
    pub(crate) of: String,
    pub(crate) service: ManagedService,
    pub(crate) slices: Vec<(SliceKey, ManagedSlice)>,
}

/// Which of a Link's two lists an entry belongs to.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Mirrors,
    Federated,
}

/// A plan in the making.
pub(crate) struct Draft<'w> {
    pub(crate) world: &'w World,
    pub(crate) roster: Roster<'w>,
    /// Of Links whose gateway has no address now: the one that it had.
    recalled: &'w BTreeMap<&'w LinkKey, GatewayView>,
    pub(crate) wanted: BTreeMap<ServiceKey, Wanted>,
    /// Mirrors that stay as they are, whatever they are.
    pub(crate) held: BTreeSet<&'w ServiceKey>,
    pub(crate) problems: BTreeSet<Problem>,
    pub(crate) statuses: BTreeMap<&'w LinkKey, LinkStatus>,
    /// Links that have a mirror through their gateway.
    pub(crate) through_gateway: BTreeSet<&'w LinkKey>,
}

impl<'w> Draft<'w> {
    pub(crate) fn of(world: &'w World, recalled: &'w BTreeMap<&'w LinkKey, GatewayView>) -> Self {
        let roster = Roster::of(world);
        let held = world
            .local
            .services
            .iter()
            .filter_map(|(key, service)| match service {
                LocalService::Ours { managed, .. } if is_held(&roster, key, managed) => Some(key),
                LocalService::Ours { .. }
                | LocalService::Left { .. }
                | LocalService::Foreign(_) => None,
            });
        let held = held.collect();
        let statuses = roster
            .entries
            .iter()
            .map(|entry| (entry.key, LinkStatus::default()))
            .collect();
        let (wanted, problems) = (BTreeMap::new(), BTreeSet::new());
        let through_gateway = BTreeSet::new();
        Self {
            world,
            roster,
            recalled,
            wanted,
            held,
            problems,
            statuses,
            through_gateway,
        }
    }

    /// The gateway behind a Link: as it is, or as it was when it had an address.
    pub(crate) fn gateway(&self, rank: usize) -> &'w GatewayView {
        let entry = &self.roster.entries[rank];
        let recalled = self.recalled.get(entry.key);
        recalled.unwrap_or(&entry.view.gateway)
    }

    /// What keeps `key` from being ours to write, if anything does. `cluster`: which one it is to stand for, if one.
    pub(crate) fn obstacle(&self, key: &ServiceKey, cluster: Option<&str>) -> Option<Obstacle> {
        let local = &self.world.local;
        if !local.namespaces.contains(&key.namespace) {
            return Some(Obstacle::new(
                Reason::MissingNamespace,
                "Namespace does not exist",
            ));
        }
        if let Some(other) = self.wanted.get(key) {
            let message = format!("Service {key} is taken by {}", other.of);
            return Some(Obstacle::new(Reason::NameConflict, message));
        }
        if self.held.contains(key) {
            let message = format!("Service {key} is kept as it is until its Link is put right");
            return Some(Obstacle::new(Reason::NameConflict, message));
        }
        let anothers = match local.services.get(key) {
            Some(LocalService::Foreign(_)) => true,
            Some(LocalService::Left { managed, .. }) => {
                managed.labels.get(CLUSTER_NAME).map(String::as_str) != cluster
            }
            Some(LocalService::Ours { .. }) | None => false,
        };
        if anothers {
            let message = format!("Service {key} exists and is not ours");
            return Some(Obstacle::new(Reason::NameConflict, message));
        }
        None
    }

    /// As [`Self::obstacle`], for the slices of `key`.
    pub(crate) fn slice_obstacle(&self, key: &ServiceKey) -> Option<Obstacle> {
        [Family::V4, Family::V6].into_iter().find_map(|family| {
            let slice = SliceKey {
                service: key.clone(),
                family,
            };
            match self.world.local.slices.get(&slice)? {
                LocalSlice::Ours { .. } => None,
                LocalSlice::Foreign => {
                    let message = format!("EndpointSlice {slice} exists and is not ours");
                    Some(Obstacle::new(Reason::NameConflict, message))
                }
            }
        })
    }

    /// Says of a Service of a Link's cluster what became of it.
    pub(crate) fn report(&mut self, link: &LinkKey, list: List, status: ServiceStatus) {
        if let Some(of_link) = self.statuses.get_mut(link) {
            match list {
                List::Mirrors => of_link.mirrors.push(status),
                List::Federated => of_link.federated.push(status),
            }
        }
    }

    /// Says of a Service of a Link's cluster why nothing became of it, and tells the local users.
    pub(crate) fn refuse(
        &mut self,
        link: &LinkKey,
        list: List,
        remote: &ServiceKey,
        obstacle: Obstacle,
    ) {
        let Obstacle { reason, message } = obstacle;
        let what = match reason {
            // The wording that users of Linkerd look for.
            Reason::MissingNamespace => {
                format!("Skipped mirroring service: namespace does not exist ({remote})")
            }
            _ => format!("Skipped mirroring service: {message} ({remote})"),
        };
        self.problems.insert(Problem {
            about: About::Link(link.clone()),
            reason,
            message: what,
        });
        let kind = ConditionType::Mirrored;
        let condition = Condition {
            kind,
            truth: Truth::False,
            reason,
            message,
        };
        let remote = remote.clone();
        let status = ServiceStatus {
            remote,
            local: None,
            conditions: vec![condition],
        };
        self.report(link, list, status);
    }
}

/// The status of a Service that has what it wants.
pub(crate) fn mirrored(remote: ServiceKey, local: ServiceKey, message: &str) -> ServiceStatus {
    let condition = Condition {
        kind: ConditionType::Mirrored,
        truth: Truth::True,
        reason: Reason::Mirrored,
        message: message.to_owned(),
    };
    ServiceStatus {
        remote,
        local: Some(local),
        conditions: vec![condition],
    }
}

/// The status of a Service that has a mirror, of no use.
pub(crate) fn without_endpoints(remote: ServiceKey, why: &str) -> ServiceStatus {
    let condition = Condition {
        kind: ConditionType::Mirrored,
        truth: Truth::False,
        reason: Reason::Error,
        // The wording that users of Linkerd look for.
        message: format!("Failed to create mirror endpoints: {why}"),
    };
    ServiceStatus {
        remote,
        local: None,
        conditions: vec![condition],
    }
}

/// Why a Service cannot be had in any mode, if so.
pub(crate) fn unusable(service: &Service) -> Option<Obstacle> {
    let message = match service.kind {
        ServiceKind::ExternalName => "ExternalName service has no endpoints",
        ServiceKind::ClusterIp | ServiceKind::Headless if service.ports.is_empty() => {
            "object spec has no exposed ports"
        }
        ServiceKind::ClusterIp | ServiceKind::Headless => return None,
    };
    Some(Obstacle::new(Reason::InvalidService, message))
}

/// Names what stands here for `of`.
pub(crate) fn derived(of: &ServiceKey, suffix: &str) -> Result<ServiceKey, Obstacle> {
    let text = format!("{}-{suffix}", of.name);
    match ServiceName::parse(&text) {
        Ok(name) => Ok(ServiceKey {
            namespace: of.namespace.clone(),
            name,
        }),
        Err(error) => {
            let reason = match error {
                LabelError::TooLong { .. } => Reason::NameTooLong,
                LabelError::Empty | LabelError::Character => Reason::InvalidService,
            };
            Err(Obstacle::new(reason, format!("name \"{text}\" {error}")))
        }
    }
}

fn is_held(roster: &Roster<'_>, key: &ServiceKey, managed: &ManagedService) -> bool {
    match managed.labels.get(CLUSTER_NAME) {
        Some(cluster) => {
            let flat = managed.labels.contains_key(REMOTE_DISCOVERY);
            roster.holds(cluster, if flat { Part::Flat } else { Part::Gateway })
        }
        // Memberships are held one by one: see `federate`.
        None if managed.annotations.contains_key(REMOTE_DISCOVERY)
            || managed.annotations.contains_key(LOCAL_DISCOVERY) =>
        {
            false
        }
        None => roster.holds_unlabelled(key.name.as_str()),
    }
}
