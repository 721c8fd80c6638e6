//! Worlds and plans as compact text, for tables and laws: one object per line.
//!
//! ```text
//! uid U | ns NAME... | service NS/NAME ... | left NS/NAME ... | taken-slice NS/NAME.ipv4
//! going NS/NAME | old-slice NS/NAME SLICE | unlinked TARGET... | taken-over NS/NAME
//! link NAME [age=N] [to=T] [gateway=IP,..:PORT] [identity=I] [select|flat|fed=KEY=VALUE|none]
//!      [broken=gateway|flat|fed] ...
//! export LINK NS/NAME [rv=N] [@label=value] [#annotation=value] [ports=http:80,..] [empty]
//!        [headless] [hosts=NAME,NAME:down,..|nameless]
//! ```
//! `m/` stands for `mirror.linkerd.io/`, `mc/` for `multicluster.linkerd.io/`.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::link::{Fault, Gateway, GatewayHost, Link, LinkKey, LinkSpec, Part};
use crate::name::{ClusterName, Hostname, Namespace, ServiceName};
use crate::plan::{Action, Plan, Precondition};
use crate::selector::{Exclusions, Selector};
use crate::service::{
    Labels, ManagedService, ManagedSlice, Readiness, Service, ServiceKey, ServiceKind, ServicePort,
    SliceKey, TargetPort,
};
use crate::status::{Condition, ServiceStatus, Truth};
use crate::world::{
    ClusterUid, Contact, CreatedAt, Credentials, Export, Exports, GatewayHealth, GatewayView, Host,
    Hosts, LinkView, LocalService, LocalSlice, Remote, Uid, World,
};

pub(super) fn world(text: &str) -> World {
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

fn hosts(rest: &str) -> Hosts {
    if has(rest, "nameless") {
        return Hosts::Nameless;
    }
    let host = |text: &str| {
        let (name, readiness) = match text.strip_suffix(":down") {
            Some(name) => (name, Readiness::NotReady),
            None => (text, Readiness::Ready),
        };
        Host {
            name: Hostname::parse(name).unwrap(),
            readiness,
            version: value(rest, "slice-rv").unwrap_or("9").to_owned(),
        }
    };
    let named = value(rest, "hosts").map(|list| list.split(',').map(host).collect());
    named.map_or(Hosts::None, Hosts::Named)
}

/// What a cluster would give a Service of ours: always the same for the same name.
fn address_of(key: &ServiceKey, managed: &ManagedService) -> Vec<std::net::IpAddr> {
    if managed.kind == ServiceKind::Headless {
        return Vec::new();
    }
    let sum = key
        .to_string()
        .bytes()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
    vec![[10, 96, 0, sum].into()]
}

pub(crate) fn service_key(text: &str) -> ServiceKey {
    let (namespace, name) = text.split_once('/').expect("NS/NAME");
    ServiceKey {
        namespace: Namespace::parse(namespace).unwrap(),
        name: ServiceName::parse(name).unwrap(),
    }
}

fn link_key(text: &str) -> LinkKey {
    LinkKey {
        namespace: Namespace::parse("mc").unwrap(),
        name: text.into(),
    }
}

fn has(rest: &str, word: &str) -> bool {
    rest.split_whitespace().any(|w| w == word)
}

fn value<'a>(rest: &'a str, name: &str) -> Option<&'a str> {
    rest.split_whitespace()
        .find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
}

fn long(key: &str) -> String {
    match key.split_once('/') {
        Some(("m", rest)) => format!("mirror.linkerd.io/{rest}"),
        Some(("mc", rest)) => format!("multicluster.linkerd.io/{rest}"),
        _ => key.to_owned(),
    }
}

fn short(text: &str) -> String {
    text.replace("mirror.linkerd.io/", "m/")
        .replace("multicluster.linkerd.io/", "mc/")
}

pub(crate) fn pairs(rest: &str, sigil: char) -> Labels {
    let words = rest
        .split_whitespace()
        .filter_map(|w| w.strip_prefix(sigil)?.split_once('='));
    words
        .map(|(key, value)| (long(key), value.to_owned()))
        .collect()
}

fn service(rest: &str) -> Service {
    let kind = match (has(rest, "headless"), has(rest, "external")) {
        (true, _) => ServiceKind::Headless,
        (_, true) => ServiceKind::ExternalName,
        _ => ServiceKind::ClusterIp,
    };
    let ports = match value(rest, "ports").unwrap_or("http:80") {
        "none" => Vec::new(),
        ports => ports.split(',').map(port).collect(),
    };
    Service {
        kind,
        labels: pairs(rest, '@'),
        annotations: pairs(rest, '#'),
        ports,
    }
}

fn port(text: &str) -> ServicePort {
    let (name, number) = text.split_once(':').unwrap_or(("", text));
    let port = number.parse().unwrap();
    let name = (!name.is_empty()).then(|| name.to_owned());
    ServicePort {
        name,
        protocol: Default::default(),
        port,
        target: TargetPort::Number(port),
    }
}

fn selector(rest: &str, name: &str, default: Selector) -> Selector {
    match value(rest, name) {
        None => default,
        Some("none") => Selector::nothing(),
        Some(text) => {
            let (key, value) = text.split_once('=').unwrap();
            Selector::label(&long(key), value)
        }
    }
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
        uid,
        contact,
        services: Default::default(),
    })
}

/// The world after its plan was carried out by a faithful API server, which insists on preconditions.
pub(super) fn carry_out(world: &mut World, plan: &Plan) {
    let local = &mut world.local;
    for action in &plan.actions {
        let new_uid = Uid(format!("uid-of-{}", action.service()).into());
        match action.clone() {
            Action::ApplyService {
                key,
                precondition,
                service: managed,
            } => {
                let present = match local.services.get(&key) {
                    None => None,
                    Some(LocalService::Ours { uid, .. } | LocalService::Left { uid, .. }) => {
                        Some(uid.clone())
                    }
                    Some(LocalService::Foreign(_)) => panic!("{key} is not ours"),
                };
                let left = matches!(local.services.get(&key), Some(LocalService::Left { .. }));
                assert_eq!(left, matches!(precondition, Precondition::Left(_)), "{key}");
                if left {
                    local.taken_over.insert(key.clone());
                }
                let uid = insist(precondition, present, new_uid);
                let ours = LocalService::Ours {
                    uid,
                    addresses: address_of(&key, &managed),
                    managed,
                };
                local.services.insert(key, ours);
            }
            Action::ApplySlice {
                key,
                precondition,
                slice: managed,
            } => {
                let present = match local.slices.get(&key) {
                    None => None,
                    Some(LocalSlice::Ours { uid, .. }) => Some(uid.clone()),
                    Some(LocalSlice::Foreign) => panic!("{key} is not ours"),
                };
                let uid = insist(precondition, present, new_uid);
                local.slices.insert(key, LocalSlice::Ours { uid, managed });
            }
            Action::DeleteService { key, uid } => {
                local.taken_over.remove(&key);
                let (LocalService::Ours { uid: present, .. }
                | LocalService::Left { uid: present, .. }) = local.services.remove(&key).unwrap()
                else {
                    panic!("{key} is not ours");
                };
                assert_eq!(present, uid);
            }
            Action::DeleteOldEndpoints { key, slices } => {
                assert_eq!(local.old_slices.remove(&key), Some(slices));
            }
            Action::DeleteSlice { key, uid } => {
                let gone = local.slices.remove(&key);
                assert!(matches!(gone, Some(LocalSlice::Ours { uid: u, .. }) if u == uid));
            }
        }
    }
}

fn insist(precondition: Precondition, present: Option<Uid>, new: Uid) -> Uid {
    match (precondition, present) {
        (Precondition::Absent, None) => new,
        (Precondition::Uid(uid) | Precondition::Left(uid), Some(present)) if uid == present => uid,
        (precondition, present) => panic!("{precondition:?} does not hold: {present:?}"),
    }
}

/// The world of `now`, with what was ours in the settled world of `before`.
pub(super) fn after(before: &str, now: &str) -> World {
    let mut past = world(before);
    let plan = super::plan(&past);
    carry_out(&mut past, &plan);
    let mut world = world(now);
    for (key, service) in past.local.services {
        if matches!(service, LocalService::Ours { .. }) {
            world.local.services.entry(key).or_insert(service);
        }
    }
    for (key, slice) in past.local.slices {
        world.local.slices.entry(key).or_insert(slice);
    }
    world
}

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        render_action(&mut text, action);
    }
    for (link, status) in &plan.statuses {
        writeln!(
            text,
            "{}:{}",
            link.name,
            render_conditions(&status.conditions)
        )
        .unwrap();
        for (list, services) in [("mirror", &status.mirrors), ("member", &status.federated)] {
            for status in services {
                writeln!(text, "  {list} {}", render_status(status)).unwrap();
            }
        }
    }
    for problem in &plan.problems {
        writeln!(
            text,
            "! {}: {}: {}",
            problem.about, problem.reason, problem.message
        )
        .unwrap();
    }
    short(&text)
}

fn render_action(text: &mut String, action: &Action) {
    let when = |precondition: &Precondition| match precondition {
        Precondition::Absent => "create",
        Precondition::Uid(_) => "change",
        Precondition::Left(_) => "take over",
    };
    match action {
        Action::ApplyService {
            key,
            precondition,
            service,
        } => {
            let ManagedService {
                kind,
                labels,
                annotations,
                ports,
            } = service;
            let headless = match kind {
                ServiceKind::Headless => " headless",
                _ => "",
            };
            writeln!(text, "{} Service {key}{headless}", when(precondition)).unwrap();
            render_pairs(text, labels, annotations);
            let ports: Vec<_> = ports
                .iter()
                .map(|p| format!("{}:{}", p.name.as_deref().unwrap_or(""), p.port))
                .collect();
            writeln!(text, "  {}", ports.join(" ")).unwrap();
        }
        Action::ApplySlice {
            key,
            precondition,
            slice,
        } => {
            let ManagedSlice {
                labels,
                annotations,
                ports,
                endpoints,
            } = slice;
            writeln!(text, "{} EndpointSlice {key}", when(precondition)).unwrap();
            render_pairs(text, labels, annotations);
            let ports: Vec<_> = ports
                .iter()
                .map(|p| format!("{}:{}", p.name.as_deref().unwrap_or(""), p.port))
                .collect();
            let endpoints: Vec<_> = endpoints
                .iter()
                .map(|e| {
                    let name = e
                        .hostname
                        .as_ref()
                        .map_or(String::new(), |n| format!("{n}="));
                    format!("{name}{} {:?}", e.address, e.readiness)
                })
                .collect();
            writeln!(text, "  {} -> [{}]", ports.join(" "), endpoints.join(", ")).unwrap();
        }
        Action::DeleteService { key, uid } => {
            writeln!(text, "delete Service {key} ({})", uid.0).unwrap();
        }
        Action::DeleteOldEndpoints { key, slices } => {
            writeln!(text, "delete Endpoints {key} and {slices:?}").unwrap();
        }
        Action::DeleteSlice { key, uid } => {
            writeln!(text, "delete EndpointSlice {key} ({})", uid.0).unwrap();
        }
    }
}

fn render_pairs(text: &mut String, labels: &Labels, annotations: &Labels) {
    for (sigil, map) in [('@', labels), ('#', annotations)] {
        let pairs: Vec<_> = map
            .iter()
            .map(|(key, value)| format!("{sigil}{key}={value}"))
            .collect();
        if !pairs.is_empty() {
            writeln!(text, "  {}", pairs.join(" ")).unwrap();
        }
    }
}

/// What is not plainly well.
fn render_conditions(conditions: &[Condition]) -> String {
    let mut text = String::new();
    for Condition {
        kind,
        truth,
        reason,
        message,
    } in conditions
    {
        if *truth == Truth::True && message.is_empty() {
            continue;
        }
        let gap = if message.is_empty() { "" } else { ": " };
        write!(
            text,
            " {}={} ({reason}{gap}{message})",
            kind.as_str(),
            truth.as_str()
        )
        .unwrap();
    }
    text
}

fn render_status(status: &ServiceStatus) -> String {
    let local = status
        .local
        .as_ref()
        .map_or_else(|| "none".to_owned(), ToString::to_string);
    format!(
        "{} -> {local}{}",
        status.remote,
        render_conditions(&status.conditions)
    )
}
