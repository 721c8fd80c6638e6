//! The cases, by what they are about. The comment of each names the row that it restates.
use std::pin::Pin;

use anyhow::Result;

use super::world::World;

mod answers;
mod changes;
mod claims;
mod collisions;
mod discovery;
mod exclusions;
mod federation;
mod gateways;
mod headless;
mod inherited;
mod links;
mod mirrors;
mod namespaces;
mod outages;
mod profiles;
mod repair;
mod restarts;
mod rights;
mod secrets;
mod servers;
mod shapes;
mod status;
mod zones;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: for<'w> fn(&'w mut World) -> Outcome<'w>,
}

/// What comes of a case.
type Outcome<'w> = Pin<Box<dyn Future<Output = Result<()>> + 'w>>;

/// Lists functions as cases.
macro_rules! cases {
    ($module:literal: $($case:ident),+ $(,)?) => {
        pub(super) const CASES: &[$crate::conformance::cases::Case] = &[$(
            $crate::conformance::cases::Case {
                name: concat!($module, "::", stringify!($case)),
                body: |world| Box::pin($case(world)),
            }
        ),+];
    };
}
pub(crate) use cases;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let lists = [
        mirrors::CASES,
        repair::CASES,
        exclusions::CASES,
        collisions::CASES,
        namespaces::CASES,
        federation::CASES,
        gateways::CASES,
        headless::CASES,
        inherited::CASES,
        links::CASES,
        status::CASES,
        discovery::CASES,
        profiles::CASES,
        secrets::CASES,
        servers::CASES,
        rights::CASES,
        restarts::CASES,
        outages::CASES,
        shapes::CASES,
        claims::CASES,
        changes::CASES,
        answers::CASES,
        zones::CASES,
    ];
    lists.concat()
}
