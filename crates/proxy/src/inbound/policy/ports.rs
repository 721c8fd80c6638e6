//! Which ports' policies are followed: those of the pod for ever, others while there is room.
//!
//! A peer may ask for any port, so that what it asks for must never change what another port answers:
//! room is made by forgetting a port without connections, its last rules are kept, and when all are in
//! use nobody is admitted. Knows nothing of how a policy is followed.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tombolo_shell::task::Tasks;

use super::{Policy, Rule};

/// The policies in use, and the last rules of those that were.
#[derive(Debug)]
pub(super) struct Ports {
    max: usize,
    default: Vec<Rule>,
    followed: BTreeMap<u16, Followed>,
    /// At most one entry for each port that there is; equal rules share one list.
    last: HashMap<u16, Arc<Vec<Rule>>>,
    shared: Arc<Vec<Rule>>,
    /// Counts the lookups: the clock of `used`.
    lookups: u64,
}

#[derive(Debug)]
struct Followed {
    /// Also held by each connection to the port.
    policy: Arc<Policy>,
    tasks: Tasks,
    used: u64,
    keep: Keep,
}

/// Whether a port may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Never: it is one of the pod's own.
    Always,
    /// When it has no connection and room is needed.
    WhileUsed,
}

/// What a lookup found.
#[derive(Debug)]
pub(super) enum Lookup {
    /// It is followed already.
    Known(Arc<Policy>),
    /// From now on it has to be followed, by a task among these.
    New(Arc<Policy>, Tasks),
    /// There is no room: what this returns admits nobody.
    Full(Arc<Policy>),
}

impl Ports {
    /// None yet. At most `max` that are not kept always; what was never heard of has `default`.
    pub(super) fn new(max: usize, default: Vec<Rule>) -> Self {
        Self {
            max,
            shared: Arc::new(default.clone()),
            default,
            followed: BTreeMap::new(),
            last: HashMap::new(),
            lookups: 0,
        }
    }

    pub(super) fn find(&mut self, port: u16, keep: Keep, tasks: &Tasks) -> Lookup {
        self.lookups += 1;
        if let Some(known) = self.followed.get_mut(&port) {
            known.used = self.lookups;
            return Lookup::Known(known.policy.clone());
        }
        if keep == Keep::WhileUsed && !self.make_room() {
            return Lookup::Full(Arc::new(Policy::new(Vec::new())));
        }
        let rules = self.last.remove(&port);
        let rules = rules.map_or_else(|| self.default.clone(), |last| last.to_vec());
        let followed = Followed {
            policy: Arc::new(Policy::new(rules)),
            tasks: tasks.child(),
            used: self.lookups,
            keep,
        };
        let found = Lookup::New(followed.policy.clone(), followed.tasks.clone());
        self.followed.insert(port, followed);
        found
    }

    /// Whether there is room for another, if need be after forgetting the one that was not used for
    /// the longest time.
    fn make_room(&mut self) -> bool {
        let passing = |followed: &&Followed| followed.keep == Keep::WhileUsed;
        if self.followed.values().filter(passing).count() < self.max {
            return true;
        }
        let idle = self.followed.iter().filter(|(_, followed)| {
            // New holders come only through `find`, so that one holder stays one here.
            passing(followed) && Arc::strong_count(&followed.policy) == 1
        });
        let Some(oldest) = idle.min_by_key(|(_, followed)| followed.used) else {
            return false;
        };
        let port = *oldest.0;
        if let Some(forgotten) = self.followed.remove(&port) {
            forgotten.tasks.cancel();
            self.remember(port, forgotten.policy.rules.load_full());
        }
        true
    }

    /// A port that comes back must not have the default until it is answered again.
    fn remember(&mut self, port: u16, rules: Arc<Vec<Rule>>) {
        if *rules == self.default {
            return;
        }
        if *rules != *self.shared {
            self.shared = rules;
        }
        self.last.insert(port, self.shared.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Admitted, Block, everywhere};
    use super::*;

    const MAX: usize = 4;

    fn all() -> Vec<Rule> {
        let block = |net| Block {
            net,
            except: Vec::new(),
        };
        vec![Rule {
            networks: everywhere().into_iter().map(block).collect(),
            clients: Admitted::Meshed,
        }]
    }

    /// The policy of `port`, and the tasks that follow it if it is new.
    fn find(ports: &mut Ports, port: u16) -> (Arc<Policy>, Option<Tasks>) {
        match ports.find(port, Keep::WhileUsed, &Tasks::new()) {
            Lookup::Known(policy) | Lookup::Full(policy) => (policy, None),
            Lookup::New(policy, tasks) => (policy, Some(tasks)),
        }
    }

    fn admits(policy: &Policy) -> bool {
        policy.admits("web.shop.mesh", std::net::IpAddr::from([10, 1, 2, 3]))
    }

    #[test]
    fn bogus_ports_leave_room_for_later_ones() {
        let mut ports = Ports::new(MAX, all());
        let (_, first) = find(&mut ports, 1);
        for port in 2..1000 {
            let (policy, tasks) = find(&mut ports, port);
            assert!(tasks.is_some() && admits(&policy), "port {port}");
        }
        assert!(first.is_some_and(|tasks| tasks.is_cancelled()));
        assert_eq!(ports.followed.len(), MAX);
        assert!(ports.last.is_empty(), "nothing is kept of the default");
    }

    #[test]
    fn a_port_without_room_admits_nobody_until_there_is_some() {
        let mut ports = Ports::new(MAX, all());
        let mut held: Vec<_> = (1..=4).map(|port| find(&mut ports, port)).collect();
        assert!(!admits(&find(&mut ports, 9).0));
        // The others go on, and so does the one that is never forgotten.
        assert!(admits(&find(&mut ports, 1).0));
        let own = ports.find(8080, Keep::Always, &Tasks::new());
        assert!(matches!(own, Lookup::New(..)));

        let (_, ended) = held.remove(2);
        assert!(admits(&find(&mut ports, 9).0));
        assert!(ended.is_some_and(|tasks| tasks.is_cancelled()));
        assert!(ports.followed.contains_key(&8080));
    }

    #[test]
    fn a_forgotten_port_comes_back_with_its_last_rules() {
        let mut ports = Ports::new(MAX, all());
        for port in 1..=2 {
            let (policy, _) = find(&mut ports, port);
            policy.rules.store(Arc::new(Vec::new()));
        }
        for port in 100..200 {
            find(&mut ports, port);
        }
        assert!(!ports.followed.contains_key(&1));
        assert!(Arc::ptr_eq(&ports.last[&1], &ports.last[&2]));
        let (policy, tasks) = find(&mut ports, 1);
        assert!(tasks.is_some() && !admits(&policy));
    }
}
