//! Tables (one world, one plan) and laws (any world).
mod federated;
mod gateway;
mod headless;
mod laws;
mod left;
mod refusals;
mod scale;

use super::text::carry::{after, carry_out};
use super::text::read::world;
use super::text::show::render;
use super::{Action, Plan, plan};

/// The plan of a world, as text.
fn planned(text: &str) -> String {
    settles(world(text))
}

/// The plan of the world of `now`, where the one of `before` has settled.
fn replanned(before: &str, now: &str) -> String {
    settles(after(before, now))
}

/// Every table checks the first law too: once carried out, nothing is left to do. Addresses of hosts are
/// known only after their Services were created, so that their mirror takes a second plan.
fn settles(mut world: super::World) -> String {
    let first = plan(&world);
    carry_out(&mut world, &first);
    let mut second = plan(&world);
    let mut text = render(&first);
    if !second.actions.is_empty() {
        text = format!("{text}then\n{}", render(&second));
        carry_out(&mut world, &second);
        second = plan(&world);
    }
    assert_eq!(
        second.actions,
        Vec::<Action>::new(),
        "the plan does not settle"
    );
    if world.failures.is_empty() {
        let Plan {
            statuses, problems, ..
        } = second;
        assert_eq!((&first.statuses, &first.problems), (&statuses, &problems));
    }
    text
}
