//! The laws, in any small world: a plan settles, however one got there; nothing of others is touched;
//! nothing of a silent or unreadable Link is lost.
use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{carry_out, plan};
use crate::keys::{
    CLUSTER_NAME, LOCAL_DISCOVERY, MIRRORED_SERVICE, REMOTE_DISCOVERY, REMOTE_FQ_NAME,
    REMOTE_RESOURCE_VERSION,
};
use crate::link::{Fault, Gateway, Link, LinkKey, LinkSpec};
use crate::name::{ClusterName, Hostname, Namespace};
use crate::plan::text::parts::service_key;
use crate::selector::Selector;
use crate::service::{
    Family, Labels, ManagedService, ManagedSlice, Readiness, Service, ServiceKey, ServiceKind,
    ServicePort, SliceKey, TargetPort,
};
use crate::world::{
    ClusterUid, Contact, CreatedAt, Credentials, Export, Exports, GatewayHealth, GatewayView, Host,
    Hosts, LinkView, LocalService, LocalSlice, Remote, Uid, World,
};

const TARGETS: [&str; 4] = ["b", "c", "b-c", "federated"];

/// Names that collide as often as they can.
fn key() -> impl Strategy<Value = ServiceKey> {
    let names = ["a", "a-b", "a-c", "a-b-c", "a-federated", "a-b-federated"];
    (select(vec!["n1", "n2"]), select(names.to_vec()))
        .prop_map(|(ns, name)| service_key(&format!("{ns}/{name}")))
}

fn labels() -> impl Strategy<Value = Labels> {
    let pairs = vec![
        ("mirror.linkerd.io/exported", "true"),
        ("mirror.linkerd.io/exported", "remote-discovery"),
        ("mirror.linkerd.io/exported", "banana"),
        ("mirror.linkerd.io/federated", "member"),
        ("mirror.linkerd.io/federated", "banana"),
        (MIRRORED_SERVICE, "true"),
        (CLUSTER_NAME, "b"),
        (REMOTE_DISCOVERY, "a@b"),
        ("app", "web"),
    ];
    subsequence(pairs, 0..5).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    })
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    btree_map(select(vec![80u16, 90]), select(vec!["http", "web"]), 0..3).prop_map(|ports| {
        let port = |(port, name): (u16, &str)| ServicePort {
            name: Some(format!("{name}{port}")),
            protocol: Default::default(),
            port,
            target: TargetPort::Number(port),
        };
        ports.into_iter().map(port).collect()
    })
}

fn service() -> impl Strategy<Value = Service> {
    let kinds = vec![
        ServiceKind::ClusterIp,
        ServiceKind::ClusterIp,
        ServiceKind::Headless,
        ServiceKind::ExternalName,
    ];
    (select(kinds), labels(), labels(), ports()).prop_map(|(kind, labels, annotations, ports)| {
        Service {
            kind,
            labels,
            annotations,
            ports,
        }
    })
}

fn export() -> impl Strategy<Value = Export> {
    let parts = (service(), hosts(), select(vec!["1", "2"]), any::<bool>());
    parts.prop_map(|(service, hosts, rv, ready)| Export {
        service,
        hosts,
        resource_version: rv.to_owned(),
        readiness: if ready {
            Readiness::Ready
        } else {
            Readiness::NotReady
        },
    })
}

/// Names that collide with those of Services.
fn hosts() -> impl Strategy<Value = Hosts> {
    let host = |name: &str| Host {
        name: Hostname::parse(name).unwrap(),
        readiness: Readiness::Ready,
        version: "1".to_owned(),
    };
    let named = subsequence(vec!["a", "a-b", "p"], 0..3)
        .prop_map(move |names| Hosts::Named(names.into_iter().map(host).collect()));
    prop_oneof![Just(Hosts::None), Just(Hosts::Nameless), named]
}

fn uid() -> impl Strategy<Value = Option<ClusterUid>> {
    proptest::option::of(select(vec!["here", "there"]).prop_map(|uid| ClusterUid(uid.into())))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Links {
    /// All are accepted and have spoken.
    Speaking,
    /// Some are refused or silent from the start.
    Any,
}

fn link() -> impl Strategy<Value = Link> {
    let selectors = || {
        select(vec![
            Selector::nothing(),
            Selector::exported(),
            Selector::remote_discovery(),
            Selector::federated_member(),
            Selector::label("app", "web"),
        ])
    };
    let selectors = [selectors(), selectors(), selectors()];
    (select(TARGETS.to_vec()), selectors, any::<bool>()).prop_map(|(target, selectors, gateway)| {
        let [gateway_selector, flat_selector, federated_selector] = selectors;
        let gateway = gateway.then(|| Gateway {
            hosts: vec![],
            port: 4143,
            identity: None,
        });
        let base = Link::to(ClusterName::parse(target).unwrap());
        Link {
            gateway,
            gateway_selector,
            flat_selector,
            federated_selector,
            ..base
        }
    })
}

fn spec_and_remote(links: Links) -> impl Strategy<Value = (LinkSpec, Remote)> {
    let state = if links == Links::Any { 0..5u8 } else { 0..1u8 };
    let exports = btree_map(key(), export(), 0..5);
    (link(), state, uid(), exports).prop_map(|(link, state, uid, services)| {
        let known = Exports {
            blind: None,
            uid: uid.clone(),
            contact: Contact::Live,
            services,
        };
        let fault = Fault {
            object: "x".into(),
            field: "y".into(),
            why: "z".into(),
        };
        let target = link.target.clone();
        let refused = |target| LinkSpec::Refused {
            target,
            faults: vec![fault],
        };
        let unknown = Remote::Unknown {
            because: "new".into(),
            uid,
        };
        match state {
            3 => (LinkSpec::Accepted(link), unknown),
            2 => (refused(Some(target)), unknown),
            1 => (refused(None), unknown),
            _ => (LinkSpec::Accepted(link), Remote::Known(known)),
        }
    })
}

fn link_view(links: Links) -> impl Strategy<Value = LinkView> {
    let addresses = btree_set(select(vec!["192.0.2.1", "192.0.2.2", "fd00::1"]), 0..3);
    (0..3i64, spec_and_remote(links), addresses).prop_map(|(created, (spec, remote), addresses)| {
        let addresses = addresses.into_iter().map(|a| a.parse().unwrap()).collect();
        let gateway = GatewayView {
            addresses,
            health: GatewayHealth::Unknown,
        };
        let (created, credentials) = (CreatedAt(created), Credentials::Usable);
        LinkView {
            created,
            spec,
            credentials,
            gateway,
            remote,
        }
    })
}

/// Present Services: of users, and of ours whatever an earlier world may have left.
fn local_service() -> impl Strategy<Value = LocalService> {
    let ours = (labels(), labels(), ports()).prop_map(|(labels, annotations, ports)| {
        let uid = Uid("old".into());
        LocalService::Ours {
            uid,
            addresses: Vec::new(),
            managed: ManagedService {
                kind: ServiceKind::ClusterIp,
                labels,
                annotations,
                ports,
            },
        }
    });
    prop_oneof![service().prop_map(LocalService::Foreign), ours]
}

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn left(name: &str, labels: Labels, annotations: Labels) -> (ServiceKey, LocalService) {
    let key = service_key(name);
    assert!(crate::left::is_left(&key, &labels, &annotations));
    let managed = ManagedService {
        labels,
        annotations,
        ..ManagedService::default()
    };
    let left = LocalService::Left {
        uid: Uid("left".into()),
        addresses: Vec::new(),
        managed,
    };
    (key, left)
}

/// Present Services that a Linkerd left: each says of itself what it stands for.
fn left_service() -> impl Strategy<Value = (ServiceKey, LocalService)> {
    let mirrored = (MIRRORED_SERVICE, "true");
    let mirrors = [("n1/a-b", "a"), ("n1/a-b-c", "a"), ("n1/a-b-c", "a-b")].map(|(name, of)| {
        let cluster = name.strip_prefix(&format!("n1/{of}-")).unwrap();
        let origin = format!("{of}.n1.svc.cluster.local");
        let annotations = [(REMOTE_FQ_NAME, &*origin), (REMOTE_RESOURCE_VERSION, "1")];
        let labels = pairs(&[mirrored, (CLUSTER_NAME, cluster)]);
        left(name, labels, pairs(&annotations))
    });
    let lists = ["a@b", "a@b,a@gone", "a@gone", "a@c,a@b-c,a@other", ""];
    let federated = lists.map(|list| {
        let annotations = pairs(&[(REMOTE_DISCOVERY, list), (LOCAL_DISCOVERY, "a")]);
        left("n1/a-federated", pairs(&[mirrored]), annotations)
    });
    select(mirrors.into_iter().chain(federated).collect::<Vec<_>>())
}

fn local_slice() -> impl Strategy<Value = LocalSlice> {
    let ours = labels().prop_map(|labels| {
        let managed = ManagedSlice {
            labels,
            ..ManagedSlice::default()
        };
        LocalSlice::Ours {
            uid: Uid("old".into()),
            managed,
        }
    });
    prop_oneof![1 => Just(LocalSlice::Foreign), 4 => ours]
}

fn slice_key() -> impl Strategy<Value = SliceKey> {
    (key(), select(vec![Family::V4, Family::V6]))
        .prop_map(|(service, family)| SliceKey { service, family })
}

fn any_world(links: Links) -> impl Strategy<Value = World> {
    let link_key = select(vec!["l1", "l2", "l3", "l4"]).prop_map(|name| LinkKey {
        namespace: Namespace::parse("mc").unwrap(),
        name: name.into(),
    });
    (
        uid(),
        subsequence(vec!["n1", "n2"], 1..=2),
        btree_map(key(), local_service(), 0..6),
        btree_map(slice_key(), local_slice(), 0..3),
        btree_map(link_key, link_view(links), 0..5),
        vec(
            left_service(),
            if links == Links::Any { 0..3 } else { 0..1 },
        ),
    )
        .prop_map(|(uid, namespaces, services, slices, links, left)| {
            let mut world = World {
                links,
                ..World::default()
            };
            world.local.uid = uid;
            world.local.namespaces = namespaces
                .into_iter()
                .map(|n| Namespace::parse(n).unwrap())
                .collect();
            world.local.services = services;
            world.local.services.extend(left);
            world.unlink("gone");
            world.local.slices = slices;
            world
        })
}

/// After the plan, and after the one that knows the addresses of what the first one made.
fn settled(mut world: World) -> World {
    for _ in 0..2 {
        let next = plan(&world);
        carry_out(&mut world, &next);
    }
    world
}

type Contents = (
    BTreeMap<ServiceKey, Option<ManagedService>>,
    BTreeMap<SliceKey, Option<ManagedSlice>>,
);

/// What there is, whatever its uid: an object made anew has another one.
fn contents(world: &World) -> Contents {
    let services = world
        .local
        .services
        .iter()
        .map(|(key, service)| match service {
            LocalService::Ours { managed, .. } => {
                let mut managed = managed.clone();
                managed.ports.sort_by_key(|p| p.port);
                (key.clone(), Some(managed))
            }
            LocalService::Left { .. } | LocalService::Foreign(_) => (key.clone(), None),
        });
    let slices = world.local.slices.iter().map(|(key, slice)| match slice {
        LocalSlice::Ours { managed, .. } => (key.clone(), Some(managed.clone())),
        LocalSlice::Foreign => (key.clone(), None),
    });
    (services.collect(), slices.collect())
}

fn without_ours(mut world: World) -> World {
    world
        .local
        .services
        .retain(|_, s| matches!(s, LocalService::Foreign(_)));
    world
        .local
        .slices
        .retain(|_, s| matches!(s, LocalSlice::Foreign));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Planning again after the plan was carried out yields no action, and says the same.
    #[test]
    fn a_plan_is_idempotent(world in any_world(Links::Any)) {
        let first = plan(&world);
        let second = plan(&settled(world));
        prop_assert_eq!(&second.actions, &vec![]);
        prop_assert_eq!(first.problems, second.problems);
    }

    /// Where every Link speaks, what comes out does not depend on what was there of ours.
    #[test]
    fn plans_converge(world in any_world(Links::Speaking)) {
        let fresh = settled(without_ours(world.clone()));
        prop_assert_eq!(contents(&settled(world)), contents(&fresh));
    }

    /// Links and exports may arrive in any order, with plans carried out in between.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        world in any_world(Links::Speaking),
        order in vec(any::<u32>(), 32),
    ) {
        let world = without_ours(world);
        let mut arrivals = Vec::new();
        for (key, view) in &world.links {
            let Remote::Known(exports) = &view.remote else { continue };
            arrivals.extend(exports.services.keys().map(|service| (key, service)));
        }
        let mut dice = order.iter().cycle();
        arrivals.sort_by_cached_key(|_| dice.next().copied());
        let mut stepwise = world.clone();
        stepwise.links.clear();
        for (key, service) in arrivals {
            let full = &world.links[key];
            let Remote::Known(all) = &full.remote else { continue };
            let view = stepwise.links.entry(key.clone()).or_insert_with(|| {
                let remote = Remote::Known(Exports { services: Default::default(), ..all.clone() });
                LinkView { remote, ..full.clone() }
            });
            if let Remote::Known(exports) = &mut view.remote {
                exports.services.insert(service.clone(), all.services[service].clone());
            }
            stepwise = settled(stepwise);
        }
        // Links without exports come last; they may still claim a target.
        stepwise.links = world.links.clone();
        prop_assert_eq!(contents(&settled(stepwise)), contents(&settled(world)));
    }

    /// What is not ours is as before; `carry_out` insists that every write meets its precondition.
    #[test]
    fn nothing_of_others_is_touched(world in any_world(Links::Any)) {
        let after = settled(world.clone());
        for (key, service) in &world.local.services {
            if let LocalService::Foreign(_) = service {
                prop_assert_eq!(after.local.services.get(key), Some(service));
            }
        }
        for (key, slice) in &world.local.slices {
            if let LocalSlice::Foreign = slice {
                prop_assert_eq!(after.local.slices.get(key), Some(slice));
            }
        }
    }

    /// What came from a Link that is refused, or whose cluster has not spoken, is as before.
    #[test]
    fn nothing_of_a_silent_link_is_lost(world in any_world(Links::Any)) {
        let mut oldest: Vec<_> = world.links.iter().collect();
        oldest.sort_by_key(|(key, view)| (view.created, *key));
        let speaks = |cluster: &str| {
            let mut of_target = oldest.iter().filter(|(_, view)| {
                view.spec.target().is_some_and(|target| target.as_str() == cluster)
            });
            of_target.next().map(|(_, view)| {
                matches!((&view.spec, &view.remote), (LinkSpec::Accepted(_), Remote::Known(_)))
            })
        };
        let nameless = oldest.iter().any(|(_, view)| view.spec.target().is_none());
        let after = settled(world.clone());
        for (key, service) in &world.local.services {
            let (LocalService::Ours { managed, .. } | LocalService::Left { managed, .. }) = service
            else {
                continue;
            };
            let Some(cluster) = managed.labels.get(CLUSTER_NAME) else { continue };
            let silent = speaks(cluster).map_or(nameless, |speaks| !speaks);
            if silent {
                prop_assert_eq!(after.local.services.get(key), Some(service));
            }
        }
    }
}
