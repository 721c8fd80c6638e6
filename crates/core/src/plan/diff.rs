//! Wanted minus present: the actions that turn one into the other, restricted to what is ours.
use crate::draft::{Draft, Wanted};
use crate::keys::{CLUSTER_NAME, REMOTE_DISCOVERY};
use crate::left;
use crate::link::Part;
use crate::plan::{Action, Precondition};
use crate::service::{ManagedService, ManagedSlice, ServiceKey, ServicePort, SliceKey};
use crate::world::{LocalService, LocalSlice};

/// What is to be done, sorted by Service.
pub(super) fn actions(draft: &Draft<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (key, wanted) in &draft.wanted {
        fulfil(draft, key, wanted, &mut actions);
    }
    remove(draft, &mut actions);
    // Stable: what was pushed for one Service stays in its order.
    actions.sort_by(|a, b| a.service().cmp(b.service()));
    actions
}

fn fulfil(draft: &Draft<'_>, key: &ServiceKey, wanted: &Wanted, actions: &mut Vec<Action>) {
    let service = match draft.world.local.services.get(key) {
        None => Some(apply_service(key, Precondition::Absent, wanted)),
        // The kind of an address cannot be changed.
        Some(LocalService::Ours { uid, managed, .. } | LocalService::Left { uid, managed, .. })
            if managed.kind != wanted.service.kind =>
        {
            actions.push(Action::DeleteService {
                key: key.clone(),
                uid: uid.clone(),
            });
            Some(apply_service(key, Precondition::Absent, wanted))
        }
        Some(LocalService::Ours { uid, managed, .. }) => (!same(managed, &wanted.service))
            .then(|| apply_service(key, Precondition::Uid(uid.clone()), wanted)),
        Some(LocalService::Left { uid, managed, .. }) => {
            // A mirror that is as it shall be is left alone. Who was a member can be said of what is ours only.
            let as_it_is =
                managed.labels.contains_key(CLUSTER_NAME) && same(managed, &wanted.service);
            (!as_it_is).then(|| apply_service(key, Precondition::Left(uid.clone()), wanted))
        }
        // Claimed names are never foreign; if this one is, it stays what it is.
        Some(LocalService::Foreign(_)) => return,
    };
    let slices = wanted.slices.iter().filter_map(|(key, slice)| {
        let precondition = match draft.world.local.slices.get(key) {
            None => Precondition::Absent,
            Some(LocalSlice::Ours { managed, .. }) if same_slice(managed, slice) => return None,
            Some(LocalSlice::Ours { uid, .. }) => Precondition::Uid(uid.clone()),
            Some(LocalSlice::Foreign) => return None,
        };
        Some(Action::ApplySlice {
            key: key.clone(),
            precondition,
            slice: slice.clone(),
        })
    });
    match service {
        // A mirror that exists gets its endpoints first, so that it has some at every moment.
        Some(Action::ApplyService {
            precondition: Precondition::Uid(_) | Precondition::Left(_),
            ..
        })
        | None => {
            actions.extend(slices);
            actions.extend(service);
        }
        // A new one must not lend endpoints to a user's Service that came between.
        Some(_) => {
            actions.extend(service);
            actions.extend(slices);
        }
    }
    if let Some(slices) = draft.world.local.old_slices.get(key) {
        let (key, slices) = (key.clone(), slices.clone());
        actions.push(Action::DeleteOldEndpoints { key, slices });
    }
}

fn apply_service(key: &ServiceKey, precondition: Precondition, wanted: &Wanted) -> Action {
    Action::ApplyService {
        key: key.clone(),
        precondition,
        service: wanted.service.clone(),
    }
}

/// Order of ports is their owner's and means nothing.
fn same(present: &ManagedService, wanted: &ManagedService) -> bool {
    let sorted = |ports: &[ServicePort]| {
        let mut ports = ports.to_vec();
        ports.sort_by_key(|p| (p.port, p.protocol));
        ports
    };
    present.labels == wanted.labels
        && present.annotations == wanted.annotations
        && (present.ports == wanted.ports || sorted(&present.ports) == sorted(&wanted.ports))
}

fn same_slice(present: &ManagedSlice, wanted: &ManagedSlice) -> bool {
    let differently_ordered = || {
        let sorted = |slice: &ManagedSlice| {
            let mut ports = slice.ports.clone();
            ports.sort_by(|a, b| (a.port, a.protocol, &a.name).cmp(&(b.port, b.protocol, &b.name)));
            ports
        };
        sorted(present) == sorted(wanted)
    };
    present.labels == wanted.labels
        && present.annotations == wanted.annotations
        && present.endpoints == wanted.endpoints
        && (present.ports == wanted.ports || differently_ordered())
}

fn remove(draft: &Draft<'_>, actions: &mut Vec<Action>) {
    for (key, service) in &draft.world.local.services {
        let going = draft.world.local.going.contains(key);
        if going || draft.wanted.contains_key(key) || draft.held.contains(key) {
            continue;
        }
        let uid = match service {
            LocalService::Ours { uid, .. } => uid,
            LocalService::Left { uid, managed, .. } if is_over(draft, key, managed) => uid,
            LocalService::Left { .. } | LocalService::Foreign(_) => continue,
        };
        let (key, uid) = (key.clone(), uid.clone());
        actions.push(Action::DeleteService { key, uid });
    }
    for (key, slice) in &draft.world.local.slices {
        let LocalSlice::Ours { uid, managed } = slice else {
            continue;
        };
        let going = draft.world.local.going_slices.contains(key);
        if !going && !is_wanted(draft, key) && !is_held(draft, key, managed) {
            actions.push(Action::DeleteSlice {
                key: key.clone(),
                uid: uid.clone(),
            });
        }
    }
}

/// Whether what a Linkerd left has nothing to stand for any more: a Link tells so, or went itself.
fn is_over(draft: &Draft<'_>, key: &ServiceKey, managed: &ManagedService) -> bool {
    let told = |cluster: &str| draft.roster.speaks_for(cluster);
    let gone = |cluster: &String| {
        draft.roster.rank(cluster).is_none()
            && draft
                .world
                .unlinked
                .contains(&(key.clone(), cluster.clone()))
    };
    match managed.labels.get(CLUSTER_NAME) {
        Some(cluster) => told(cluster) || gone(cluster),
        None => managed
            .annotations
            .get(REMOTE_DISCOVERY)
            .is_some_and(|list| left::members(list).any(|(_, cluster)| told(cluster))),
    }
}

fn is_wanted(draft: &Draft<'_>, key: &SliceKey) -> bool {
    let wanted = draft.wanted.get(&key.service);
    wanted.is_some_and(|wanted| wanted.slices.iter().any(|(slice, _)| slice == key))
}

/// A slice without its Service, which somebody deleted, is told by its own label.
fn is_held(draft: &Draft<'_>, key: &SliceKey, managed: &ManagedSlice) -> bool {
    if draft.wanted.contains_key(&key.service) {
        return false;
    }
    draft.held.contains(&key.service)
        || match managed.labels.get(CLUSTER_NAME) {
            // Flat mirrors have none.
            Some(cluster) => draft.roster.holds(cluster, Part::Gateway),
            None => draft.roster.holds_unlabelled(key.service.name.as_str()),
        }
}
