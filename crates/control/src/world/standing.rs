//! Which Links lead to one and the same cluster, what it is called, and how it stands.
//!
//! Pure. A failure domain is a cluster, not a Link: known by the uid of its namespace `kube-system`,
//! or, where that cannot be read, by the address of its API server.
use std::collections::BTreeMap;
use std::sync::Arc;

use tombolo_core::cluster::{Decision, Signal, judge};
use tombolo_core::link::LinkKey;

use crate::discovery::directory::PeerId;

/// A Link, as far as the cluster behind it is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Lead<'a> {
    /// The Link.
    pub(crate) link: &'a LinkKey,
    /// What it calls the cluster.
    pub(crate) target: &'a str,
    /// What the cluster is known by.
    pub(crate) uid: Option<&'a str>,
    /// The address of its API server.
    pub(crate) server: Option<&'a str>,
    /// Through what it is heard, and whether it answers there.
    pub(crate) control: Option<(PeerId, &'a Signal)>,
    /// Whether its gateway answers, if it is probed.
    pub(crate) gateway: Option<&'a Signal>,
}

/// A cluster behind one or more Links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Its one name.
    pub(crate) name: Arc<str>,
    /// How it stands.
    pub(crate) decision: Decision,
}

/// The cluster behind each Link.
pub(crate) fn domains(
    leads: &[Lead<'_>],
    (own_uid, own_name): (Option<&str>, &str),
) -> BTreeMap<LinkKey, Domain> {
    let mut uid_of_server: BTreeMap<&str, &str> = BTreeMap::new();
    for lead in leads {
        if let (Some(server), Some(uid)) = (lead.server, lead.uid) {
            uid_of_server.entry(server).or_insert(uid);
        }
    }
    let mut groups: BTreeMap<Id<'_>, Vec<&Lead<'_>>> = BTreeMap::new();
    for lead in leads {
        let by_server = || {
            lead.server
                .and_then(|server| uid_of_server.get(server).copied())
        };
        let id = match (lead.uid.or_else(by_server), lead.server) {
            (Some(uid), _) => Id::Uid(uid),
            (None, Some(server)) => Id::Server(server),
            (None, None) => Id::Target(lead.target),
        };
        groups.entry(id).or_default().push(lead);
    }
    let mut domains = BTreeMap::new();
    for (id, group) in groups {
        let ours = own_uid.is_some_and(|uid| id == Id::Uid(uid));
        let smallest = group.iter().map(|lead| lead.target).min();
        let name = if ours {
            own_name
        } else {
            smallest.unwrap_or_default()
        };
        let control: BTreeMap<PeerId, &Signal> =
            group.iter().filter_map(|lead| lead.control).collect();
        let data = group.iter().filter_map(|lead| lead.gateway);
        let domain = Domain {
            name: name.into(),
            decision: judge(control.into_values(), data),
        };
        for lead in group {
            domains.insert(lead.link.clone(), domain.clone());
        }
    }
    domains
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id<'a> {
    Uid(&'a str),
    Server(&'a str),
    Target(&'a str),
}

#[cfg(test)]
mod tests {
    use tombolo_core::cluster::Verdict;
    use tombolo_core::name::Namespace;

    use super::*;

    fn key(name: &str) -> LinkKey {
        LinkKey {
            namespace: Namespace::parse("tombolo").unwrap(),
            name: name.into(),
        }
    }

    fn lead<'a>(link: &'a LinkKey, uid: Option<&'a str>, server: &'a str) -> Lead<'a> {
        Lead {
            target: &link.name,
            link,
            uid,
            server: Some(server),
            control: None,
            gateway: None,
        }
    }

    #[test]
    fn two_links_to_one_cluster_give_one_name_and_share_their_evidence() {
        let (east, gw, north) = (key("east"), key("east-gw"), key("north"));
        let down = Signal::Down {
            because: "refused".to_owned(),
        };
        let up = Signal::Up { failures: 0 };
        let mut flat = lead(&east, Some("u1"), "https://e");
        flat.control = Some((1, &down));
        let mut gateway = lead(&gw, Some("u1"), "https://e");
        gateway.control = Some((1, &down));
        gateway.gateway = Some(&down);
        let mut other = lead(&north, Some("u2"), "https://n");
        other.control = Some((2, &up));
        let found = domains(&[flat, gateway, other], (Some("u0"), "west"));
        assert_eq!(&*found[&east].name, "east");
        assert_eq!(found[&gw], found[&east]);
        assert_eq!(found[&east].decision.verdict, Verdict::Dead);
        assert_eq!(found[&north].decision.verdict, Verdict::Alive);
    }

    #[test]
    fn a_cluster_whose_uid_is_not_known_yet_is_known_by_its_server() {
        let (east, gw) = (key("east"), key("east-gw"));
        for uid in [None, Some("u1")] {
            let leads = [lead(&east, None, "https://e"), lead(&gw, uid, "https://e")];
            let found = domains(&leads, (None, "west"));
            assert_eq!(&*found[&gw].name, "east", "{uid:?}");
        }
    }

    #[test]
    fn a_link_to_oneself_has_ones_own_name() {
        let me = key("me");
        let found = domains(&[lead(&me, Some("u0"), "https://w")], (Some("u0"), "west"));
        assert_eq!(&*found[&me].name, "west");
    }
}
