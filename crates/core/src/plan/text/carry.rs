//! Plans, carried out as a faithful API server would.
use super::parts::address_of;
use super::read::world;
use crate::plan::{Action, Plan, Precondition, plan};
use crate::world::{LocalService, LocalSlice, Uid, World};

/// The world after its plan was carried out by a faithful API server, which insists on preconditions.
pub(crate) fn carry_out(world: &mut World, plan: &Plan) {
    let local = &mut world.local;
    for action in &plan.actions {
        let new_uid = Uid(format!("uid-of-{}", action.service()).into());
        match action.clone() {
            Action::ApplyService {
                key,
                precondition,
                service: managed,
            } => {
                let present = match local.services.get(&key) {
                    None => None,
                    Some(LocalService::Ours { uid, .. } | LocalService::Left { uid, .. }) => {
                        Some(uid.clone())
                    }
                    Some(LocalService::Foreign(_)) => panic!("{key} is not ours"),
                };
                let left = matches!(local.services.get(&key), Some(LocalService::Left { .. }));
                assert_eq!(left, matches!(precondition, Precondition::Left(_)), "{key}");
                if left {
                    local.taken_over.insert(key.clone());
                }
                let uid = insist(precondition, present, new_uid);
                let ours = LocalService::Ours {
                    uid,
                    addresses: address_of(&key, &managed),
                    managed,
                };
                local.services.insert(key, ours);
            }
            Action::ApplySlice {
                key,
                precondition,
                slice: managed,
            } => {
                let present = match local.slices.get(&key) {
                    None => None,
                    Some(LocalSlice::Ours { uid, .. }) => Some(uid.clone()),
                    Some(LocalSlice::Foreign) => panic!("{key} is not ours"),
                };
                let uid = insist(precondition, present, new_uid);
                local.slices.insert(key, LocalSlice::Ours { uid, managed });
            }
            Action::DeleteService { key, uid } => {
                local.taken_over.remove(&key);
                let (LocalService::Ours { uid: present, .. }
                | LocalService::Left { uid: present, .. }) = local.services.remove(&key).unwrap()
                else {
                    panic!("{key} is not ours");
                };
                assert_eq!(present, uid);
            }
            Action::DeleteOldEndpoints { key, slices } => {
                assert_eq!(local.old_slices.remove(&key), Some(slices));
            }
            Action::DeleteSlice { key, uid } => {
                let gone = local.slices.remove(&key);
                assert!(matches!(gone, Some(LocalSlice::Ours { uid: u, .. }) if u == uid));
            }
        }
    }
}

fn insist(precondition: Precondition, present: Option<Uid>, new: Uid) -> Uid {
    match (precondition, present) {
        (Precondition::Absent, None) => new,
        (Precondition::Uid(uid) | Precondition::Left(uid), Some(present)) if uid == present => uid,
        (precondition, present) => panic!("{precondition:?} does not hold: {present:?}"),
    }
}

/// The world of `now`, with what was ours in the settled world of `before`.
pub(crate) fn after(before: &str, now: &str) -> World {
    let mut past = world(before);
    let plan = plan(&past);
    carry_out(&mut past, &plan);
    let mut world = world(now);
    for (key, service) in past.local.services {
        if matches!(service, LocalService::Ours { .. }) {
            world.local.services.entry(key).or_insert(service);
        }
    }
    for (key, slice) in past.local.slices {
        world.local.slices.entry(key).or_insert(slice);
    }
    world
}
