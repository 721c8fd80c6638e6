//! Worlds, read.
use std::collections::BTreeMap;

use super::parts::{address_of, has, hosts, link_key, selector, service, service_key, value};
use crate::link::{Fault, Gateway, GatewayHost, Link, LinkKey, LinkSpec, Part};
use crate::name::{ClusterName, Namespace};
use crate::selector::{Exclusions, Selector};
use crate::service::{ManagedService, Readiness, Service, ServiceKey, SliceKey};
use crate::world::{
    ClusterUid, Contact, CreatedAt, Credentials, Export, Exports, GatewayHealth, GatewayView,
    LinkView, LocalService, LocalSlice, Remote, Uid, World,
};

pub(crate) fn world(text: &str) -> World {
    let mut world = World::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split_whitespace();
        let mut key = || service_key(words.next().expect("a key"));
        match kind {
            "uid" => world.local.uid = Some(ClusterUid(rest.into())),
            "ns" => world
                .local
                .namespaces
                .extend(words.map(|n| Namespace::parse(n).unwrap())),
            "service" => {
                let (key, service) = (key(), service(rest));
                world
                    .local
                    .services
                    .insert(key, LocalService::Foreign(service));
            }
            "left" | "old-slice" | "taken-over" | "unlinked" => add_left(&mut world, kind, rest),
            "going" => {
                let key = key();
                let slices = world.local.slices.keys();
                let of_it = slices
                    .filter(|slice| slice.service == key)
                    .cloned()
                    .collect();
                world.local.going_slices = of_it;
                world.local.going.insert(key);
            }
            "taken-slice" => {
                let (ns, name) = rest.split_once('/').unwrap();
                let key = SliceKey::parse(&Namespace::parse(ns).unwrap(), name).unwrap();
                world.local.slices.insert(key, LocalSlice::Foreign);
            }
            "link" => {
                let (key, view) = link(rest);
                world.links.insert(key, view);
            }
            "export" => {
                let link = link_key(words.next().unwrap());
                let key = service_key(words.next().unwrap());
                add_export(&mut world, &link, key, rest);
            }
            "failure" => {
                let (name, why) = rest.split_once(' ').unwrap();
                world.failures.insert(service_key(name), why.to_owned());
            }
            "exclude-local-labels" => world.settings.excluded_labels = Exclusions::parse(words),
            other => panic!("unknown line {other:?}"),
        }
    }
    world
}

/// What a Linkerd left.
fn add_left(world: &mut World, kind: &str, rest: &str) {
    if kind == "unlinked" {
        return rest.split(' ').for_each(|target| world.unlink(target));
    }
    let (name, more) = rest.split_once(' ').unwrap_or((rest, ""));
    let (key, local) = (service_key(name), &mut world.local);
    match kind {
        "old-slice" => {
            let slices = more.split(' ').map(str::to_owned).collect();
            local.old_slices.insert(key, slices);
        }
        "taken-over" => {
            local.taken_over.insert(key);
        }
        _ => {
            let Service {
                kind,
                labels,
                annotations,
                ports,
            } = service(more);
            assert!(crate::left::is_left(&key, &labels, &annotations));
            let managed = ManagedService {
                kind,
                labels,
                annotations,
                ports,
            };
            let (uid, addresses) = (Uid("left".into()), address_of(&key, &managed));
            let left = LocalService::Left {
                uid,
                addresses,
                managed,
            };
            local.services.insert(key, left);
        }
    }
}

fn add_export(world: &mut World, link: &LinkKey, key: ServiceKey, rest: &str) {
    let readiness = if has(rest, "empty") {
        Readiness::NotReady
    } else {
        Readiness::Ready
    };
    let resource_version = value(rest, "rv").unwrap_or("1").to_owned();
    let export = Export {
        service: service(rest),
        resource_version,
        readiness,
        hosts: hosts(rest),
    };
    match &mut world
        .links
        .get_mut(link)
        .expect("the link comes first")
        .remote
    {
        Remote::Known(exports) => exports.services.insert(key, export),
        Remote::Unknown { .. } => panic!("an unknown cluster exports nothing"),
    };
}

fn link(rest: &str) -> (LinkKey, LinkView) {
    let name = rest.split_whitespace().next().unwrap();
    let target = ClusterName::parse(value(rest, "to").unwrap_or(name)).unwrap();
    let exclusions = |name| Exclusions::parse(value(rest, name).iter().flat_map(|v| v.split(',')));
    let (addresses, port) = match value(rest, "gateway").map(|g| g.rsplit_once(':').unwrap()) {
        Some((list, port)) => {
            let addresses = list.split(',').filter(|a| !a.is_empty());
            (
                addresses.map(|a| a.parse().unwrap()).collect(),
                Some(port.parse().unwrap()),
            )
        }
        None => (Default::default(), None),
    };
    let gateway = port.map(|port| Gateway {
        hosts: vec![GatewayHost::Name("gateway.example".to_owned())],
        port,
        identity: value(rest, "identity").map(str::to_owned),
    });
    let accepted = Link {
        gateway,
        gateway_selector: selector(rest, "select", Selector::exported()),
        flat_selector: selector(rest, "flat", Selector::remote_discovery()),
        federated_selector: selector(rest, "fed", Selector::federated_member()),
        broken: broken(rest, name),
        excluded_labels: exclusions("exclude-labels"),
        excluded_annotations: exclusions("exclude-annotations"),
        ..Link::to(target.clone())
    };
    let fault = |field: &str| Fault {
        object: format!("Link mc/{name}"),
        field: field.to_owned(),
        why: "is wrong".to_owned(),
    };
    let spec = match value(rest, "refused") {
        None => LinkSpec::Accepted(accepted),
        Some("nameless") => LinkSpec::Refused {
            target: None,
            faults: vec![fault("spec.targetClusterName")],
        },
        Some(field) => LinkSpec::Refused {
            target: Some(target),
            faults: vec![fault(field)],
        },
    };
    let health = match (has(rest, "up"), value(rest, "down")) {
        (true, _) => GatewayHealth::Up,
        (_, Some(because)) => GatewayHealth::Down {
            because: because.to_owned(),
        },
        _ => GatewayHealth::Unknown,
    };
    let view = LinkView {
        created: CreatedAt(value(rest, "age").map_or(0, |age| -age.parse::<i64>().unwrap())),
        spec,
        credentials: match value(rest, "credentials") {
            Some(field) => Credentials::Refused(vec![fault(field)]),
            None => Credentials::Usable,
        },
        gateway: GatewayView { addresses, health },
        remote: remote(rest),
    };
    (link_key(name), view)
}

fn broken(rest: &str, name: &str) -> BTreeMap<Part, Vec<Fault>> {
    let Some(text) = value(rest, "broken") else {
        return BTreeMap::new();
    };
    let part = match text {
        "gateway" => Part::Gateway,
        "flat" => Part::Flat,
        "fed" => Part::Federation,
        other => panic!("unknown part {other:?}"),
    };
    let fault = Fault {
        object: format!("Link mc/{name}"),
        field: text.to_owned(),
        why: "is wrong".to_owned(),
    };
    BTreeMap::from([(part, vec![fault])])
}

fn remote(rest: &str) -> Remote {
    let uid = value(rest, "uid").map(|uid| ClusterUid(uid.into()));
    if has(rest, "unknown") {
        return Remote::Unknown {
            because: "not yet".to_owned(),
            uid,
        };
    }
    let contact = match value(rest, "silent") {
        Some(because) => Contact::Silent {
            because: because.to_owned(),
        },
        None => Contact::Live,
    };
    Remote::Known(Exports {
        blind: value(rest, "blind").map(str::to_owned),
        uid,
        contact,
        services: Default::default(),
    })
}
