//! Which pod has which address of the cluster's range.
//!
//! An address that was given back is used again as late as possible, so that what a client still believes of
//! an old pod never hits a new one. Pure: what the pods of a restarted agent have is reserved first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of one range, by owner.
#[derive(Clone, Debug)]
pub(crate) struct AddressPool {
    range: Ipv4Net,
    by_owner: BTreeMap<String, Ipv4Addr>,
    used: BTreeSet<Ipv4Addr>,
    next: u32,
}

impl AddressPool {
    /// All addresses of `range` are free, but for the first and the last.
    #[must_use]
    pub(crate) fn new(range: Ipv4Net) -> Self {
        let next = u32::from(range.network()) + 1;
        Self {
            range,
            by_owner: BTreeMap::new(),
            used: BTreeSet::new(),
            next,
        }
    }

    /// Notes that `owner` has `address` from before. `false` if it is not of the range or another's.
    pub(crate) fn reserve(&mut self, owner: &str, address: Ipv4Addr) -> bool {
        if self.by_owner.get(owner) == Some(&address) {
            return true;
        }
        let inside = self.first() <= u32::from(address) && u32::from(address) <= self.last();
        if !inside || self.by_owner.contains_key(owner) || !self.used.insert(address) {
            return false;
        }
        self.by_owner.insert(owner.to_owned(), address);
        self.next = self.next.max(u32::from(address).saturating_add(1));
        true
    }

    /// The address of `owner`, a new one if it has none. `None` if all are taken.
    pub(crate) fn assign(&mut self, owner: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.by_owner.get(owner) {
            return Some(*address);
        }
        let (first, last) = (self.first(), self.last());
        let from = if (first..=last).contains(&self.next) {
            self.next
        } else {
            first
        };
        let free = (from..=last)
            .chain(first..from)
            .find(|n| !self.used.contains(&(*n).into()))?;
        let address = Ipv4Addr::from(free);
        self.used.insert(address);
        self.by_owner.insert(owner.to_owned(), address);
        self.next = free.saturating_add(1);
        Some(address)
    }

    /// Gives back what `owner` has.
    pub(crate) fn release(&mut self, owner: &str) {
        if let Some(address) = self.by_owner.remove(owner) {
            self.used.remove(&address);
        }
    }

    fn first(&self) -> u32 {
        u32::from(self.range.network()) + 1
    }

    fn last(&self) -> u32 {
        u32::from(self.range.broadcast()) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(range: &str) -> AddressPool {
        AddressPool::new(range.parse().unwrap())
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_given_back_is_used_again_last() {
        let mut pool = pool("127.100.0.0/29");
        assert_eq!(pool.assign("a"), Some(ip("127.100.0.1")));
        assert_eq!(pool.assign("a"), Some(ip("127.100.0.1")));
        pool.release("a");
        let rest: Vec<_> = ["b", "c", "d", "e", "f"]
            .map(|o| pool.assign(o).unwrap())
            .to_vec();
        assert!(!rest.contains(&ip("127.100.0.1")), "{rest:?}");
        assert_eq!(pool.assign("g"), Some(ip("127.100.0.1")));
        assert_eq!(pool.assign("h"), None, "the range is full");
    }

    #[test]
    fn a_restarted_agent_keeps_what_its_pods_have() {
        let mut pool = pool("127.100.0.0/24");
        assert!(pool.reserve("a", ip("127.100.0.7")));
        assert!(pool.reserve("a", ip("127.100.0.7")), "again is the same");
        assert!(!pool.reserve("b", ip("127.100.0.7")), "another's");
        assert!(!pool.reserve("b", ip("127.1.0.7")), "not of the range");
        assert_eq!(pool.assign("b"), Some(ip("127.100.0.8")));
        assert_eq!(pool.assign("a"), Some(ip("127.100.0.7")));
    }
}
