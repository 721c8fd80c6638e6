//! Federated services: the union of all members of one name and namespace, this cluster's own
//! included. Claims names in the draft and says per member what became of it.
//!
//! The first member decides labels, annotations and ports: the local one if there is one, else that of
//! the oldest Link. Every Link joins, also where several lead to one cluster: what serves is one set of
//! addresses, and each Link may come to lead elsewhere.
use std::collections::{BTreeMap, BTreeSet};

use crate::copy;
use crate::draft::{Draft, List, Obstacle, Wanted, derived, mirrored, unusable};
use crate::keys::{
    FEDERATED, FEDERATED_KNOWN, LOCAL_DISCOVERY, MIRRORED_SERVICE, REMOTE_DISCOVERY,
};
use crate::left;
use crate::link::{Link, Part};
use crate::mirror::{is_derived, put, unknown_mode};
use crate::name::ServiceName;
use crate::plan::{About, Problem};
use crate::roster::Standing;
use crate::selector::{Exclusions, Selector};
use crate::service::{
    Labels, ManagedService, Protocol, Service, ServiceKey, ServiceKind, ServicePort,
};
use crate::status::{Condition, ConditionType, Reason, Truth};
use crate::world::LocalService;

/// What follows the name of the members.
const SUFFIX: &str = left::FEDERATED_SUFFIX;

/// One who wants to be, or is, a member.
#[derive(Clone, Copy)]
enum Member<'w> {
    /// This cluster's own Service.
    Local(&'w Service),
    /// A Service of the cluster behind the Link of that rank.
    Remote(usize, &'w Link, &'w Service),
    /// A membership of a cluster that cannot be asked, so it stays.
    Held(usize, &'w str),
    /// A membership that a Linkerd left, of a cluster to which no Link leads, so it stays, too.
    Left(&'w str),
}

impl Member<'_> {
    /// Who decides comes first.
    const fn precedence(&self) -> (u8, usize) {
        match self {
            Member::Local(_) => (0, 0),
            Member::Remote(rank, ..) | Member::Held(rank, _) => (1, *rank),
            Member::Left(_) => (2, 0),
        }
    }
}

/// Wants every federated service.
pub(crate) fn want(draft: &mut Draft<'_>) {
    let mut groups = BTreeMap::new();
    gather_local(draft, &mut groups);
    gather_remote(draft, &mut groups);
    gather_held(draft, &mut groups);
    for (base, mut candidates) in groups {
        candidates.sort_by_key(Member::precedence);
        want_one(draft, &base, candidates);
    }
}

type Groups<'w> = BTreeMap<ServiceKey, Vec<Member<'w>>>;

fn gather_local<'w>(draft: &mut Draft<'w>, groups: &mut Groups<'w>) {
    let world = draft.world;
    for (key, local) in &world.local.services {
        let LocalService::Foreign(service) = local else {
            continue;
        };
        match wish(&world.settings.federated_selector, service) {
            Ok(Wish::Join) => {
                groups
                    .entry(key.clone())
                    .or_default()
                    .push(Member::Local(service));
            }
            Ok(Wish::None) => {}
            Err(obstacle) => refuse(draft, key, Member::Local(service), &obstacle),
        }
    }
}

fn gather_remote<'w>(draft: &mut Draft<'w>, groups: &mut Groups<'w>) {
    for rank in 0..draft.roster.entries.len() {
        let Standing::Active(link, exports) = draft.roster.entries[rank].standing else {
            continue;
        };
        for (key, export) in &exports.services {
            let member = Member::Remote(rank, link, &export.service);
            match wish(&link.federated_selector, &export.service) {
                Ok(Wish::Join) => groups.entry(key.clone()).or_default().push(member),
                Ok(Wish::None) => {}
                Err(obstacle) => refuse(draft, key, member, &obstacle),
            }
        }
    }
}

/// Memberships of clusters that cannot be asked are known only from what is written here.
fn gather_held<'w>(draft: &Draft<'w>, groups: &mut Groups<'w>) {
    for (key, local) in &draft.world.local.services {
        let (managed, left) = match local {
            LocalService::Ours { managed, .. } => {
                (managed, draft.world.local.taken_over.contains(key))
            }
            LocalService::Left { managed, .. } => (managed, true),
            LocalService::Foreign(_) => continue,
        };
        let list = managed.annotations.get(REMOTE_DISCOVERY);
        let name = left::base_of(key).and_then(|n| ServiceName::parse(n).ok());
        let Some((list, name)) = list.zip(name) else {
            continue;
        };
        let of_it = left::members(list).filter(|(member, _)| *member == name.as_str());
        let kept: Vec<_> = of_it
            .filter_map(|(_, cluster)| kept(draft, key, cluster, left))
            .collect();
        let base = ServiceKey {
            namespace: key.namespace.clone(),
            name,
        };
        // What a Linkerd left is touched only where something is to be changed about it.
        let touched = match local {
            LocalService::Left { .. } => {
                let told = |(_, cluster)| draft.roster.speaks_for(cluster);
                groups.contains_key(&base) || left::members(list).any(told)
            }
            LocalService::Ours { .. } | LocalService::Foreign(_) => true,
        };
        if touched && !kept.is_empty() {
            groups.entry(base).or_default().extend(kept);
        }
    }
}

fn kept<'w>(
    draft: &Draft<'w>,
    of: &ServiceKey,
    cluster: &'w str,
    left: bool,
) -> Option<Member<'w>> {
    let rank = draft.roster.rank(cluster);
    if draft.roster.holds(cluster, Part::Federation) {
        return Some(Member::Held(rank.unwrap_or(usize::MAX), cluster));
    }
    let gone = (of.clone(), cluster.to_owned());
    let is_left =
        left && rank.is_none() && !cluster.is_empty() && !draft.world.unlinked.contains(&gone);
    is_left.then_some(Member::Left(cluster))
}

enum Wish {
    Join,
    None,
}

fn wish(selector: &Selector, service: &Service) -> Result<Wish, Obstacle> {
    if is_derived(service) || selector.is_nothing() {
        return Ok(Wish::None);
    }
    if selector.matches(&service.labels) {
        return Ok(Wish::Join);
    }
    match unknown_mode(&service.labels, FEDERATED, &FEDERATED_KNOWN) {
        Some(obstacle) => Err(obstacle),
        None => Ok(Wish::None),
    }
}

fn want_one<'w>(draft: &mut Draft<'w>, base: &ServiceKey, candidates: Vec<Member<'w>>) {
    let mut members = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match admit(candidate) {
            Ok(()) => members.push(candidate),
            Err(obstacle) => refuse(draft, base, candidate, &obstacle),
        }
    }
    let Some(&first) = members.first() else {
        return;
    };
    let claim = derived(base, SUFFIX).and_then(|key| match draft.obstacle(&key, None) {
        Some(obstacle) => Err(obstacle),
        None => Ok(key),
    });
    let local = match claim {
        Ok(key) => key,
        Err(obstacle) => {
            for member in members {
                refuse(draft, base, member, &obstacle);
            }
            return;
        }
    };
    let service = build(draft, base, &local, first, &members);
    for member in members {
        report(draft, base, &local, member, &service.ports);
    }
    let of = format!("the federated service of {base}");
    draft.wanted.insert(
        local,
        Wanted {
            of,
            service,
            slices: Vec::new(),
        },
    );
}

/// Whether a candidate may join: only with an address of its own. Who cannot be asked keeps what it has.
fn admit(candidate: Member<'_>) -> Result<(), Obstacle> {
    match candidate {
        Member::Local(service) | Member::Remote(_, _, service) => check(service),
        Member::Held(..) | Member::Left(_) => Ok(()),
    }
}

fn check(service: &Service) -> Result<(), Obstacle> {
    if service.kind == ServiceKind::Headless {
        let message = "Headless service cannot join federated service";
        return Err(Obstacle::new(Reason::InvalidService, message));
    }
    unusable(service).map_or(Ok(()), Err)
}

fn build<'w>(
    draft: &Draft<'w>,
    base: &ServiceKey,
    local: &ServiceKey,
    first: Member<'w>,
    members: &[Member<'w>],
) -> ManagedService {
    let settings = &draft.world.settings;
    let mut service = match first {
        Member::Local(service) => copied(
            service,
            &settings.excluded_labels,
            &settings.excluded_annotations,
        ),
        Member::Remote(_, link, service) => {
            copied(service, &link.excluded_labels, &link.excluded_annotations)
        }
        // Whoever decides cannot be asked: what it decided holds.
        Member::Held(..) | Member::Left(_) => match draft.world.local.services.get(local) {
            Some(LocalService::Ours { managed, .. } | LocalService::Left { managed, .. }) => {
                managed.clone()
            }
            Some(LocalService::Foreign(_)) | None => ManagedService::default(),
        },
    };
    put(&mut service.labels, MIRRORED_SERVICE, "true");
    discovery(&mut service.annotations, base, members);
    service
}

fn copied(service: &Service, labels: &Exclusions, annotations: &Exclusions) -> ManagedService {
    ManagedService {
        kind: ServiceKind::ClusterIp,
        labels: copy::labels(&service.labels, labels),
        annotations: copy::annotations(&service.annotations, annotations),
        ports: service.ports.clone(),
    }
}

fn discovery(annotations: &mut Labels, base: &ServiceKey, members: &[Member<'_>]) {
    // What a held member decided says who was in then. It is listed below itself, so that the remote
    // list is always written anew.
    annotations.remove(LOCAL_DISCOVERY);
    annotations.remove(REMOTE_DISCOVERY);
    let mut remote = BTreeSet::new();
    for member in members {
        match member {
            Member::Local(_) => put(annotations, LOCAL_DISCOVERY, base.name.as_str()),
            Member::Remote(_, link, _) => {
                remote.insert(format!("{}@{}", base.name, link.target));
            }
            Member::Held(_, cluster) | Member::Left(cluster) => {
                remote.insert(format!("{}@{cluster}", base.name));
            }
        }
    }
    if !remote.is_empty() {
        let list: Vec<_> = remote.into_iter().collect();
        put(annotations, REMOTE_DISCOVERY, &list.join(","));
    }
}

fn report(
    draft: &mut Draft<'_>,
    base: &ServiceKey,
    local: &ServiceKey,
    member: Member<'_>,
    ports: &[ServicePort],
) {
    let (rank, message) = match member {
        // No Link speaks for the local member.
        Member::Local(_) | Member::Left(_) => return,
        Member::Remote(rank, ..) => (rank, ""),
        Member::Held(rank, _) => (rank, "kept as it was"),
    };
    let Some(key) = draft.roster.entries.get(rank).map(|entry| entry.key) else {
        return;
    };
    let mut status = mirrored(base.clone(), local.clone(), message);
    if let Member::Remote(_, _, service) = member
        && let Some(message) = port_conflict(ports, &service.ports)
    {
        let (kind, truth, reason) = (
            ConditionType::PortsAgree,
            Truth::False,
            Reason::PortConflict,
        );
        status.conditions.push(Condition {
            kind,
            truth,
            reason,
            message,
        });
    }
    draft.report(key, List::Federated, status);
}

/// How a member's ports differ from those of the federated service. Where they lead is each cluster's
/// own affair.
fn port_conflict(decided: &[ServicePort], member: &[ServicePort]) -> Option<String> {
    let by_number = |ports: &[ServicePort]| -> BTreeMap<(u16, Protocol), Option<String>> {
        ports
            .iter()
            .map(|p| ((p.port, p.protocol), p.name.clone()))
            .collect()
    };
    let (decided, member) = (by_number(decided), by_number(member));
    let quoted = |name: &Option<String>| match name {
        Some(name) => format!("named {name:?}"),
        None => "unnamed".to_owned(),
    };
    let mut conflicts = Vec::new();
    for ((port, protocol), name) in &decided {
        match member.get(&(*port, *protocol)) {
            None => conflicts.push(format!("port {port}/{protocol} is missing")),
            Some(other) if other != name => conflicts.push(format!(
                "port {port}/{protocol} is {}, not {}",
                quoted(other),
                quoted(name)
            )),
            Some(_) => {}
        }
    }
    let extra = member.keys().filter(|port| !decided.contains_key(port));
    conflicts.extend(extra.map(|(port, protocol)| format!("port {port}/{protocol} is left out")));
    (!conflicts.is_empty()).then(|| conflicts.join(", "))
}

fn refuse(draft: &mut Draft<'_>, base: &ServiceKey, member: Member<'_>, obstacle: &Obstacle) {
    match member {
        Member::Remote(rank, ..) => {
            let key = draft.roster.entries[rank].key;
            draft.refuse(key, List::Federated, base, obstacle.clone());
        }
        // A Service whose namespace is on its way out needs no advice.
        Member::Local(_) if obstacle.reason == Reason::MissingNamespace => {}
        Member::Local(_) => {
            let message = format!("Skipped joining federated service: {}", obstacle.message);
            let (about, reason) = (About::Service(base.clone()), obstacle.reason);
            draft.problems.insert(Problem {
                about,
                reason,
                message,
            });
        }
        Member::Held(..) | Member::Left(_) => {}
    }
}
