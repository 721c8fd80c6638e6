//! Headless Services behind a gateway, whose hosts are reached by name: each becomes a Service of its own,
//! with an address that leads to the gateway, and the headless mirror lists these addresses under the
//! hosts' names. A headless Service whose endpoints have no names becomes an ordinary mirror.
use crate::copy;
use crate::draft::{Draft, Obstacle, Wanted, derived};
use crate::keys::{
    CLUSTER_NAME, HEADLESS_MIRROR, MIRRORED_SERVICE, REMOTE_FQ_NAME, REMOTE_RESOURCE_VERSION,
};
use crate::limits::HEADLESS_HOSTS_MAX;
use crate::mirror::{From, fq_name, put, slice_of, slices, through};
use crate::name::ServiceName;
use crate::plan::{About, Problem};
use crate::service::{
    Family, Labels, ManagedService, ManagedSlice, ServiceKey, ServiceKind, SliceEndpoint, SliceKey,
    SlicePort,
};
use crate::status::Reason;
use crate::world::{Export, Host, Hosts, LocalService};

/// A headless mirror that is wanted.
pub(crate) struct Found<'w> {
    pub(crate) from: From<'w>,
    pub(crate) remote: &'w ServiceKey,
    pub(crate) export: &'w Export,
    pub(crate) local: ServiceKey,
}

/// What kind of mirror an export through a gateway gets.
pub(crate) const fn kind(export: &Export) -> ServiceKind {
    match (export.service.kind, &export.hosts) {
        (ServiceKind::Headless, Hosts::None | Hosts::Named(_)) => ServiceKind::Headless,
        _ => ServiceKind::ClusterIp,
    }
}

/// Wants the hosts of headless mirrors, and the slices that list them.
pub(crate) fn want_hosts(draft: &mut Draft<'_>, mirrors: &[Found<'_>]) {
    for mirror in mirrors {
        let Hosts::Named(hosts) = &mirror.export.hosts else {
            list(draft, mirror, Vec::new());
            continue;
        };
        let mut endpoints = Vec::with_capacity(hosts.len());
        for host in hosts.iter().take(HEADLESS_HOSTS_MAX) {
            match claim(draft, mirror, host) {
                Ok(key) => {
                    endpoints.extend(listed(draft, mirror, host, &key));
                    let wanted = build(draft, mirror, host, &key);
                    draft.wanted.insert(key, wanted);
                }
                Err(obstacle) => refuse(draft, mirror, host, &obstacle),
            }
        }
        list(draft, mirror, endpoints);
    }
}

fn claim(draft: &Draft<'_>, mirror: &Found<'_>, host: &Host) -> Result<ServiceKey, Obstacle> {
    let name = ServiceName::parse(host.name.as_str())
        .map_err(|error| Obstacle::new(Reason::InvalidService, error.to_string()))?;
    let namespace = mirror.local.namespace.clone();
    let key = derived(
        &ServiceKey { namespace, name },
        mirror.from.link.target.as_str(),
    )?;
    let cluster = Some(mirror.from.link.target.as_str());
    let slices = || draft.slice_obstacle(&key);
    match draft.obstacle(&key, cluster).or_else(slices) {
        Some(obstacle) => Err(obstacle),
        None => Ok(key),
    }
}

/// Its addresses, as the mirror lists them: known once its Service was created.
fn listed(
    draft: &Draft<'_>,
    mirror: &Found<'_>,
    host: &Host,
    key: &ServiceKey,
) -> Vec<SliceEndpoint> {
    let addresses = match draft.world.local.services.get(key) {
        Some(LocalService::Ours { addresses, .. } | LocalService::Left { addresses, .. }) => {
            addresses.as_slice()
        }
        Some(LocalService::Foreign(_)) | None => &[],
    };
    let readiness = through(mirror.from.gateway, host.readiness);
    let endpoint = |&address| SliceEndpoint {
        address,
        hostname: Some(host.name.clone()),
        readiness,
    };
    addresses.iter().map(endpoint).collect()
}

fn labels(mirror: &Found<'_>) -> Labels {
    let link = mirror.from.link;
    let mut labels = copy::labels(&mirror.export.service.labels, &link.excluded_labels);
    put(&mut labels, MIRRORED_SERVICE, "true");
    put(&mut labels, CLUSTER_NAME, link.target.as_str());
    labels
}

fn build(draft: &Draft<'_>, mirror: &Found<'_>, host: &Host, key: &ServiceKey) -> Wanted {
    let (from, remote) = (mirror.from, mirror.remote);
    let mut labels = labels(mirror);
    put(&mut labels, HEADLESS_MIRROR, mirror.local.name.as_str());
    let name = format!("{}.{}", host.name, fq_name(remote, from.link));
    // The version at which it was first seen: what else changes in that slice is no matter of this host.
    let version = match draft.world.local.services.get(key) {
        Some(LocalService::Ours { managed, .. } | LocalService::Left { managed, .. }) => {
            managed.annotations.get(REMOTE_RESOURCE_VERSION)
        }
        Some(LocalService::Foreign(_)) | None => None,
    };
    let mut annotations = Labels::new();
    put(&mut annotations, REMOTE_FQ_NAME, &name);
    put(
        &mut annotations,
        REMOTE_RESOURCE_VERSION,
        version.unwrap_or(&host.version),
    );
    let ports = &mirror.export.service.ports;
    let slices = slices(from, (key, ports), (&labels, &name), Some(host.readiness));
    Wanted {
        of: format!(
            "host {} of the mirror of {remote} through Link {}",
            host.name, from.key
        ),
        service: ManagedService {
            kind: ServiceKind::ClusterIp,
            labels,
            annotations,
            ports: ports.clone(),
        },
        slices,
    }
}

/// One slice per family of the addresses, and an empty one where there are none.
fn list(draft: &mut Draft<'_>, mirror: &Found<'_>, endpoints: Vec<SliceEndpoint>) {
    let (from, local) = (mirror.from, &mirror.local);
    let labels = labels(mirror);
    let name = fq_name(mirror.remote, from.link);
    // Clients dial the hosts' Services, hence their ports.
    let ports = mirror.export.service.ports.iter().map(|p| SlicePort {
        name: p.name.clone(),
        protocol: p.protocol,
        port: p.port,
    });
    let ports: Vec<_> = ports.collect();
    let of = |family| {
        let of_family = endpoints.iter();
        let of_family = of_family
            .filter(|e| Family::of(e.address) == family)
            .cloned();
        of_family.collect::<Vec<_>>()
    };
    let mut slices: Vec<(SliceKey, ManagedSlice)> = Vec::new();
    for family in [Family::V4, Family::V6] {
        let endpoints = of(family);
        if endpoints.is_empty() && family == Family::V6 {
            continue;
        }
        let key = SliceKey {
            service: local.clone(),
            family,
        };
        let slice = slice_of(from, local, (&labels, &name), ports.clone(), endpoints);
        slices.push((key, slice));
    }
    if let Some(wanted) = draft.wanted.get_mut(local) {
        wanted.slices = slices;
    }
}

fn refuse(draft: &mut Draft<'_>, mirror: &Found<'_>, host: &Host, obstacle: &Obstacle) {
    let Obstacle { reason, message } = obstacle;
    draft.problems.insert(Problem {
        about: About::Link(mirror.from.key.clone()),
        reason: *reason,
        message: format!(
            "Skipped mirroring host {} of {}: {message}",
            host.name, mirror.remote
        ),
    });
}
