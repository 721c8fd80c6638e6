//! Gateways whose names have not been resolved, since this process began or at all: where they were last is
//! written in the slices of their mirrors. A restart, or a DNS that is down, takes no endpoint away.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::keys::CLUSTER_NAME;
use crate::link::{LinkKey, LinkSpec};
use crate::world::{GatewayView, LocalSlice, World};

/// Of Links whose gateway has no address now: the one that it had.
pub(crate) fn gateways(world: &World) -> BTreeMap<&LinkKey, GatewayView> {
    let mut found = BTreeMap::new();
    for (key, view) in &world.links {
        let LinkSpec::Accepted(link) = &view.spec else {
            continue;
        };
        if link.gateway.is_none() || !view.gateway.addresses.is_empty() {
            continue;
        }
        let addresses = written(world, link.target.as_str());
        if !addresses.is_empty() {
            let health = view.gateway.health.clone();
            found.insert(key, GatewayView { addresses, health });
        }
    }
    found
}

fn written(world: &World, cluster: &str) -> BTreeSet<IpAddr> {
    let ours = world.local.slices.values().filter_map(|slice| match slice {
        LocalSlice::Ours { managed, .. } => Some(managed),
        LocalSlice::Foreign => None,
    });
    let of_it = ours.filter(|slice| {
        let label = slice.labels.get(CLUSTER_NAME);
        label.is_some_and(|label| label == cluster)
    });
    // What has a host name is a host of a headless mirror, not a gateway.
    let endpoints = of_it.flat_map(|slice| &slice.endpoints);
    let gateways = endpoints.filter(|endpoint| endpoint.hostname.is_none());
    gateways.map(|endpoint| endpoint.address).collect()
}
