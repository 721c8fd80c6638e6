//! Which Links count, in which order, and what of an unreadable or silent one must be left as it is.
//! Knows nothing of Services.
use std::collections::{BTreeMap, BTreeSet};

use crate::link::{Fault, Link, LinkKey, LinkSpec, Part};
use crate::world::{Exports, LinkView, Remote, World};

/// What a Link may do in this plan.
pub(crate) enum Standing<'w> {
    /// It is well formed and its cluster has spoken: it is planned for.
    Active(&'w Link, &'w Exports),
    /// It is well formed and its cluster has not spoken yet: all that came from it stays.
    Waiting,
    /// It was refused: all that came from it stays.
    Refused(&'w [Fault]),
    /// An older Link has the same target: it does nothing.
    Duplicate(&'w LinkKey),
}

/// A Link and its standing.
pub(crate) struct Entry<'w> {
    pub(crate) key: &'w LinkKey,
    pub(crate) view: &'w LinkView,
    pub(crate) standing: Standing<'w>,
}

/// All Links, oldest first.
pub(crate) struct Roster<'w> {
    pub(crate) entries: Vec<Entry<'w>>,
    /// Each target and the place of the Link that has it.
    by_target: BTreeMap<&'w str, usize>,
    held: BTreeSet<&'w str>,
    nameless: bool,
}

impl<'w> Roster<'w> {
    /// Ranks the Links of a world: by age, then by name.
    pub(crate) fn of(world: &'w World) -> Self {
        let mut ranked: Vec<_> = world.links.iter().collect();
        ranked.sort_by_key(|(key, view)| (view.created, *key));
        let mut roster = Self {
            entries: Vec::with_capacity(ranked.len()),
            by_target: BTreeMap::new(),
            held: BTreeSet::new(),
            nameless: false,
        };
        for (key, view) in ranked {
            roster.add(key, view);
        }
        roster
    }

    fn add(&mut self, key: &'w LinkKey, view: &'w LinkView) {
        let rank = self.entries.len();
        let target = view.spec.target().map(|target| target.as_str());
        let standing = match target.and_then(|t| self.by_target.get(t)) {
            Some(&older) => Standing::Duplicate(self.entries[older].key),
            None => match (&view.spec, &view.remote) {
                (LinkSpec::Accepted(link), Remote::Known(exports)) => {
                    Standing::Active(link, exports)
                }
                (LinkSpec::Accepted(_), Remote::Unknown { .. }) => Standing::Waiting,
                (LinkSpec::Refused { faults, .. }, _) => Standing::Refused(faults),
            },
        };
        match (&standing, target) {
            (Standing::Duplicate(_), _) => {}
            (Standing::Active(..), target) => {
                self.by_target.extend(target.map(|t| (t, rank)));
            }
            (Standing::Waiting | Standing::Refused(_), Some(target)) => {
                self.by_target.insert(target, rank);
                self.held.insert(target);
            }
            // Nobody can say what came from it, hence nothing unclaimed may go.
            (Standing::Waiting | Standing::Refused(_), None) => self.nameless = true,
        }
        self.entries.push(Entry {
            key,
            view,
            standing,
        });
    }

    /// Whether what came from the cluster of that name in that way must stay as it is.
    pub(crate) fn holds(&self, cluster: &str, part: Part) -> bool {
        let broken = || match self.rank(cluster).map(|rank| &self.entries[rank].standing) {
            Some(Standing::Active(link, _)) => link.broken.contains_key(&part),
            _ => false,
        };
        self.held.contains(cluster)
            || (self.nameless && !self.by_target.contains_key(cluster))
            || broken()
    }

    /// Whether an object of ours, whose label no longer says where it came from, must stay.
    pub(crate) fn holds_unlabelled(&self, name: &str) -> bool {
        let is_of = |cluster: &&str| {
            name.strip_suffix(*cluster)
                .is_some_and(|front| front.ends_with('-'))
        };
        self.nameless || self.held.iter().any(is_of)
    }

    /// Whether a Link tells what there is of the cluster of that name.
    pub(crate) fn speaks_for(&self, cluster: &str) -> bool {
        let entry = self.rank(cluster).map(|rank| &self.entries[rank]);
        entry.is_some_and(|entry| matches!(entry.standing, Standing::Active(..)))
    }

    /// The place of the Link that has this target.
    pub(crate) fn rank(&self, cluster: &str) -> Option<usize> {
        self.by_target.get(cluster).copied()
    }
}
