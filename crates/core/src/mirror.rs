//! Mirrors: what an export becomes in this cluster, through the gateway or flat. Claims names in the
//! draft and says per Service what became of it; what is done about it is the plan's.
use std::collections::BTreeSet;

use crate::copy;
use crate::draft::{Draft, List, Obstacle, Wanted, derived, mirrored, unusable, without_endpoints};
use crate::headless::{self, Found};
use crate::keys::{
    CLUSTER_NAME, EXPORTED, EXPORTED_KNOWN, GATEWAY_IDENTITY, HEADLESS_MIRROR, MIRRORED_SERVICE,
    REMOTE_DISCOVERY, REMOTE_FQ_NAME, REMOTE_RESOURCE_VERSION, REMOTE_SERVICE, SLICE_MANAGED_BY,
    SLICE_MANAGED_BY_US, SLICE_SERVICE,
};
use crate::limits::GATEWAY_ADDRESSES_MAX;
use crate::link::{Link, LinkKey};
use crate::name::ServiceName;
use crate::roster::Standing;
use crate::service::{
    Family, Labels, ManagedService, ManagedSlice, Readiness, Service, ServiceKey, ServiceKind,
    ServicePort, SliceEndpoint, SliceKey, SlicePort,
};
use crate::status::Reason;
use crate::world::{Export, GatewayHealth, GatewayView, LocalService};

/// How an export is mirrored.
#[derive(Clone, Copy)]
enum Mode {
    /// Its endpoints are the gateway's.
    Gateway,
    /// Its endpoints are its own pods.
    Flat,
}

/// Wants the mirrors of every Link.
pub(crate) fn want(draft: &mut Draft<'_>) {
    let mut headless = Vec::new();
    for rank in 0..draft.roster.entries.len() {
        let entry = &draft.roster.entries[rank];
        let key = entry.key;
        if let Standing::Active(link, exports) = entry.standing {
            for (remote, export) in &exports.services {
                let from = From {
                    key,
                    link,
                    gateway: draft.gateway(rank),
                };
                headless.extend(want_one(draft, from, remote, export));
            }
        }
    }
    // Their hosts take names that are left: a Service that was exported comes first.
    headless::want_hosts(draft, &headless);
    report_held(draft);
}

/// Whose export it is.
#[derive(Clone, Copy)]
pub(crate) struct From<'w> {
    pub(crate) key: &'w LinkKey,
    pub(crate) link: &'w Link,
    pub(crate) gateway: &'w GatewayView,
}

/// Wants one mirror; gives it back if hosts are to be wanted for it, too.
fn want_one<'w>(
    draft: &mut Draft<'w>,
    from: From<'w>,
    remote: &'w ServiceKey,
    export: &'w Export,
) -> Option<Found<'w>> {
    let service = &export.service;
    if is_derived(service) {
        return None;
    }
    let mode = match mode(from.link, &service.labels) {
        Ok(Some(mode)) => mode,
        Ok(None) => return None,
        Err(obstacle) => {
            draft.refuse(from.key, List::Mirrors, remote, obstacle);
            return None;
        }
    };
    match claim(draft, from, remote, service, mode) {
        Ok(local) => {
            let wanted = build(from, remote, export, mode, &local);
            let kind = wanted.service.kind;
            let status = match unreachable(from, export, mode) {
                Some(why) => without_endpoints(remote.clone(), why),
                None => mirrored(remote.clone(), local.clone(), ""),
            };
            draft.report(from.key, List::Mirrors, status);
            draft.wanted.insert(local.clone(), wanted);
            if let Mode::Gateway = mode {
                draft.through_gateway.insert(from.key);
            }
            (kind == ServiceKind::Headless).then_some(Found {
                from,
                remote,
                export,
                local,
            })
        }
        Err(obstacle) => {
            draft.refuse(from.key, List::Mirrors, remote, obstacle);
            None
        }
    }
}

/// Why a mirror that should have endpoints has none, if so.
fn unreachable(from: From<'_>, export: &Export, mode: Mode) -> Option<&'static str> {
    let served = export.readiness == Readiness::Ready;
    match mode {
        Mode::Gateway if served && from.link.gateway.is_none() => {
            Some("spec.gatewayAddress of the Link is empty")
        }
        Mode::Gateway if served && from.gateway.addresses.is_empty() => {
            Some("spec.gatewayAddress of the Link: no address could be resolved")
        }
        Mode::Gateway | Mode::Flat => None,
    }
}

/// What is derived is never exported again, or two clusters with wide selectors would mirror each
/// other's mirrors without end.
pub(crate) fn is_derived(service: &Service) -> bool {
    service
        .labels
        .get(MIRRORED_SERVICE)
        .is_some_and(|value| value == "true")
}

fn mode(link: &Link, labels: &Labels) -> Result<Option<Mode>, Obstacle> {
    if link.flat_selector.matches(labels) {
        return Ok(Some(Mode::Flat));
    }
    if link.gateway_selector.matches(labels) {
        return Ok(Some(Mode::Gateway));
    }
    if link.flat_selector.is_nothing() && link.gateway_selector.is_nothing() {
        return Ok(None);
    }
    match unknown_mode(labels, EXPORTED, &EXPORTED_KNOWN) {
        Some(obstacle) => Err(obstacle),
        None => Ok(None),
    }
}

/// A label of ours with a value that means nothing is a slip of its owner, not a wish to be left alone.
pub(crate) fn unknown_mode(labels: &Labels, key: &str, known: &[&str]) -> Option<Obstacle> {
    let value = labels
        .get(key)
        .filter(|value| !known.contains(&value.as_str()))?;
    Some(Obstacle::new(
        Reason::UnknownMode,
        format!("label {key}: unknown value {value:?}"),
    ))
}

fn claim(
    draft: &Draft<'_>,
    from: From<'_>,
    remote: &ServiceKey,
    service: &Service,
    mode: Mode,
) -> Result<ServiceKey, Obstacle> {
    if let Some(obstacle) = unusable(service) {
        return Err(obstacle);
    }
    let local = derived(remote, from.link.target.as_str())?;
    let slices = || match mode {
        Mode::Gateway => draft.slice_obstacle(&local),
        Mode::Flat => None,
    };
    let cluster = Some(from.link.target.as_str());
    match draft.obstacle(&local, cluster).or_else(slices) {
        Some(obstacle) => Err(obstacle),
        None => Ok(local),
    }
}

fn build(
    from: From<'_>,
    remote: &ServiceKey,
    export: &Export,
    mode: Mode,
    local: &ServiceKey,
) -> Wanted {
    let link = from.link;
    let service = &export.service;
    let mut labels = copy::labels(&service.labels, &link.excluded_labels);
    put(&mut labels, MIRRORED_SERVICE, "true");
    put(&mut labels, CLUSTER_NAME, link.target.as_str());
    let (kind, slices) = match mode {
        Mode::Gateway => {
            let kind = headless::kind(export);
            let shown = match export.readiness {
                Readiness::Ready => Some(Readiness::Ready),
                Readiness::NotReady => None,
            };
            let name = fq_name(remote, link);
            let slices = match kind {
                // They come with the hosts.
                ServiceKind::Headless => Vec::new(),
                _ => slices(from, (local, &service.ports), (&labels, &name), shown),
            };
            (kind, slices)
        }
        Mode::Flat => {
            put(&mut labels, REMOTE_DISCOVERY, link.target.as_str());
            put(&mut labels, REMOTE_SERVICE, remote.name.as_str());
            (ServiceKind::ClusterIp, Vec::new())
        }
    };
    let mut annotations = copy::annotations(&service.annotations, &link.excluded_annotations);
    put(&mut annotations, REMOTE_FQ_NAME, &fq_name(remote, link));
    put(
        &mut annotations,
        REMOTE_RESOURCE_VERSION,
        &export.resource_version,
    );
    let ports = service.ports.clone();
    let of = format!("the mirror of {remote} through Link {}", from.key);
    Wanted {
        of,
        service: ManagedService {
            kind,
            labels,
            annotations,
            ports,
        },
        slices,
    }
}

/// One slice per family of the gateway's addresses, and an empty one where it has none, so that the
/// shape stays while endpoints come and go. `shown`: how the addresses are listed, if at all.
pub(crate) fn slices(
    from: From<'_>,
    (local, ports): (&ServiceKey, &[ServicePort]),
    (labels, fq_name): (&Labels, &str),
    shown: Option<Readiness>,
) -> Vec<(SliceKey, ManagedSlice)> {
    let gateway = from.link.gateway.as_ref();
    let ports: Vec<_> = gateway.map_or_else(Vec::new, |gateway| {
        let port = gateway.port;
        let ports = ports.iter();
        ports
            .map(|p| SlicePort {
                name: p.name.clone(),
                protocol: p.protocol,
                port,
            })
            .collect()
    });
    let addresses = || from.gateway.addresses.iter().take(GATEWAY_ADDRESSES_MAX);
    let mut families: BTreeSet<_> = addresses().map(|address| Family::of(*address)).collect();
    if families.is_empty() {
        families.insert(Family::V4);
    }
    let shown = shown.filter(|_| gateway.is_some());
    let readiness = shown.map(|readiness| through(from.gateway, readiness));
    let slice = |family| {
        let of_family = addresses().filter(|address| Family::of(**address) == family);
        let endpoints = readiness.map_or_else(Vec::new, |readiness| {
            let endpoint = |&address| SliceEndpoint {
                address,
                hostname: None,
                readiness,
            };
            of_family.map(endpoint).collect()
        });
        let key = SliceKey {
            service: local.clone(),
            family,
        };
        let slice = slice_of(from, local, (labels, fq_name), ports.clone(), endpoints);
        (key, slice)
    };
    families.into_iter().map(slice).collect()
}

/// What is behind a gateway is as ready as both are.
pub(crate) const fn through(gateway: &GatewayView, readiness: Readiness) -> Readiness {
    match gateway.health {
        GatewayHealth::Down { .. } => Readiness::NotReady,
        GatewayHealth::Up | GatewayHealth::Unknown => readiness,
    }
}

/// A slice of a mirror, with what discovery reads of it.
pub(crate) fn slice_of(
    from: From<'_>,
    local: &ServiceKey,
    (labels, fq_name): (&Labels, &str),
    ports: Vec<SlicePort>,
    endpoints: Vec<SliceEndpoint>,
) -> ManagedSlice {
    let mut labels = labels.clone();
    put(&mut labels, SLICE_SERVICE, local.name.as_str());
    put(&mut labels, SLICE_MANAGED_BY, SLICE_MANAGED_BY_US);
    let mut annotations = Labels::new();
    put(&mut annotations, REMOTE_FQ_NAME, fq_name);
    let gateway = from.link.gateway.as_ref();
    if let Some(identity) = gateway.and_then(|g| g.identity.as_deref()) {
        put(&mut annotations, GATEWAY_IDENTITY, identity);
    }
    ManagedSlice {
        labels,
        annotations,
        ports,
        endpoints,
    }
}

pub(crate) fn fq_name(remote: &ServiceKey, link: &Link) -> String {
    format!("{}.{}.svc.{}", remote.name, remote.namespace, link.domain)
}

/// Shows what is kept of Links that are not planned for.
fn report_held(draft: &mut Draft<'_>) {
    let world = draft.world;
    let held: Vec<&ServiceKey> = draft.held.iter().copied().collect();
    for local in held {
        let Some(LocalService::Ours { managed, .. }) = world.local.services.get(local) else {
            continue;
        };
        // One host of a headless mirror is no mirror.
        if managed.labels.contains_key(HEADLESS_MIRROR) {
            continue;
        }
        let Some(cluster) = managed.labels.get(CLUSTER_NAME) else {
            continue;
        };
        let Some(rank) = draft.roster.rank(cluster) else {
            continue;
        };
        let name = local.name.as_str().strip_suffix(cluster.as_str());
        let name = name
            .and_then(|n| n.strip_suffix('-'))
            .and_then(|n| ServiceName::parse(n).ok());
        let Some(name) = name else { continue };
        let remote = ServiceKey {
            namespace: local.namespace.clone(),
            name,
        };
        let key = draft.roster.entries[rank].key;
        draft.report(
            key,
            List::Mirrors,
            mirrored(remote, local.clone(), "kept as it was"),
        );
    }
}

pub(crate) fn put(labels: &mut Labels, key: &str, value: &str) {
    labels.insert(key.to_owned(), value.to_owned());
}
