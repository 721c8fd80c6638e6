//! What planning costs grows with what is imported.
use std::collections::BTreeMap;

use super::{carry_out, plan, world};
use crate::plan::Action;
use crate::world::World;

/// A thousand exports from each of ten clusters: every third in each of the modes.
fn large() -> World {
    let mut text = "ns ns1\n".to_owned();
    for link in 0..10 {
        text.push_str(&format!(
            "link c{link} age={link} gateway=192.0.2.{link}:4143\n"
        ));
        for service in 0..1000 {
            let label = [
                "@m/exported=true",
                "@m/exported=remote-discovery",
                "@m/federated=member",
            ];
            text.push_str(&format!(
                "export c{link} ns1/s{service} {}\n",
                label[service % 3]
            ));
        }
    }
    world(&text)
}

#[test]
fn ten_thousand_exports_are_planned_once_and_then_only_what_changed() {
    let mut world = large();
    let first = plan(&world);
    let mut counts = BTreeMap::new();
    for action in &first.actions {
        let what = match action {
            Action::ApplyService { .. } => "services",
            Action::ApplySlice { .. } => "slices",
            Action::DeleteService { .. }
            | Action::DeleteSlice { .. }
            | Action::DeleteOldEndpoints { .. } => "deletions",
        };
        *counts.entry(what).or_insert(0) += 1;
    }
    // 334 of a thousand through the gateway, 333 flat; 333 federated services have ten members each.
    assert_eq!(
        counts,
        BTreeMap::from([("services", 10 * 667 + 333), ("slices", 3340)])
    );
    assert!(first.problems.is_empty());
    carry_out(&mut world, &first);
    assert!(plan(&world).actions.is_empty());

    world.links.pop_first();
    let one_less = plan(&world).actions;
    assert_eq!(
        one_less.len(),
        667 + 334 + 333,
        "its mirrors go, its memberships end"
    );
}
