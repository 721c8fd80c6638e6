//! What is said in other clusters, beside the Services that are not mirrored. Decides which are spoken of.
use std::collections::BTreeSet;

use tombolo_core::link::LinkKey;
use tombolo_core::plan::Plan;
use tombolo_core::status::{Reason, ServiceStatus};

use super::Owner;
use crate::world::tell::Skipped;

impl Owner {
    /// Each once, for as long as it stays so.
    pub(super) fn tell_others(&mut self, plan: &Plan) {
        let links = &self.parts.links;
        let mut now: BTreeSet<(LinkKey, Skipped)> = BTreeSet::new();
        for (link, status) in &plan.statuses {
            let state = links.states.get(link);
            let target = state.and_then(|state| state.object.spec.target());
            let peer = state.and_then(|state| links.peers.get(state.peer()?));
            let Some((target, peer)) = target.zip(peer) else {
                continue;
            };
            for entry in status.mirrors.iter().chain(&status.federated) {
                let Some(why) = why(entry) else { continue };
                let skipped = Skipped {
                    service: entry.remote.clone(),
                    cluster: target.to_string(),
                    why,
                };
                let told = (link.clone(), skipped);
                if self.told_others.contains(&told) || peer.tell(told.1.clone()) {
                    now.insert(told);
                }
            }
        }
        self.told_others = now;
    }
}

/// The two reasons that Linkerd writes Events for.
fn why(entry: &ServiceStatus) -> Option<&'static str> {
    entry.conditions.iter().find_map(|condition| {
        let ports = "object spec has no exposed ports";
        match condition.reason {
            Reason::MissingNamespace => Some("namespace does not exist"),
            Reason::InvalidService if condition.message == ports => Some(ports),
            _ => None,
        }
    })
}
