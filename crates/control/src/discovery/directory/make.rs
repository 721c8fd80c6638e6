//! What a Service of this cluster resolves to: which Services it stands for, and their endpoints.
//!
//! Decides nothing about when. Names as sources all that an answer was made of, found or not.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Directory, Remote, UseOf};
use crate::discovery::endpoints::{self, Endpoints, Origin, Side};
use crate::discovery::model::{Gateway, Key, Reach, Resolution, Service};
use crate::discovery::view::{Completeness, EndpointSet, Refusal, Source, View};
use crate::identity::name::Scheme;

impl Directory {
    pub(super) fn make(&self, key: &Key) -> Option<View> {
        let service = self.local.service(key)?;
        let mut view = View {
            service: Arc::clone(service),
            refusal: None,
            completeness: Completeness::Complete,
            ports: BTreeMap::new(),
            sources: BTreeSet::new(),
        };
        let members = self.members(service, &mut view);
        for port in service.ports.keys() {
            let set = self.endpoint_set(service, &members, *port);
            let known = self.views.get(key).and_then(|old| old.port(*port));
            let set = match known {
                Some(old) if **old == set => Arc::clone(old),
                _ => Arc::new(set),
            };
            view.ports.insert(*port, set);
        }
        Some(view)
    }

    /// The Services that `service` stands for, local ones first, then by cluster.
    fn members<'a>(
        &'a self,
        service: &'a Arc<Service>,
        view: &mut View,
    ) -> Vec<(Origin<'a>, &'a Arc<Service>)> {
        let key = &service.key;
        let mut members = Vec::new();
        match &service.resolution {
            Resolution::Local => {
                self.local_member(key, view, &mut members);
                self.note_gateways(key, view);
                if service.reach == Reach::ExternalName {
                    view.refusal = Some(Refusal::ExternalName(key.clone()));
                }
            }
            Resolution::Remote {
                cluster,
                service: None,
            } => {
                view.refusal = Some(Refusal::NoRemoteService(key.clone()));
                note_cluster(cluster, view);
            }
            Resolution::Remote {
                cluster,
                service: Some(name),
            } => {
                if !self.remote_member(cluster, &key.sibling(name), view, &mut members) {
                    view.refusal = Some(Refusal::UnknownCluster {
                        service: key.clone(),
                        cluster: Arc::clone(cluster),
                    });
                }
                let external = members.iter().any(|(_, s)| s.reach == Reach::ExternalName);
                if external {
                    view.refusal = Some(Refusal::ExternalName(key.clone()));
                }
            }
            Resolution::Federated { local, remote } => {
                if let Some(name) = local {
                    self.local_member(&key.sibling(name), view, &mut members);
                }
                for (cluster, name) in remote {
                    self.remote_member(cluster, &key.sibling(name), view, &mut members);
                }
            }
        }
        members
    }

    fn local_member<'a>(
        &'a self,
        key: &Key,
        view: &mut View,
        members: &mut Vec<(Origin<'a>, &'a Arc<Service>)>,
    ) {
        view.sources.insert(Source {
            cluster: None,
            service: key.clone(),
        });
        if let Some(service) = self.local.service(key) {
            members.push((self.origin(), service));
        }
    }

    /// False if no Link leads to that cluster.
    fn remote_member<'a>(
        &'a self,
        cluster: &Arc<str>,
        key: &Key,
        view: &mut View,
        members: &mut Vec<(Origin<'a>, &'a Arc<Service>)>,
    ) -> bool {
        view.sources.insert(Source {
            cluster: Some(Arc::clone(cluster)),
            service: key.clone(),
        });
        let Some(remote) = self.remotes.get(cluster) else {
            return false;
        };
        let inventory = remote.peer.and_then(|peer| self.peers.get(&peer));
        let Some(inventory) = inventory.filter(|inventory| inventory.is_complete()) else {
            view.completeness = Completeness::Partial;
            return true;
        };
        if !inventory.knows(key) {
            view.completeness = Completeness::Partial;
        }
        if let Some(service) = inventory.service(key)
            && remote.standing.use_of == UseOf::Given
        {
            let origin = Origin {
                inventory,
                cluster: &remote.standing.domain,
                scheme: self.scheme_of(remote),
                side: Side::Other,
            };
            members.push((origin, service));
        }
        true
    }

    fn scheme_of(&self, remote: &Remote) -> &Scheme {
        let other = remote.trust_domain.as_ref();
        let other = other.and_then(|domain| self.schemes.get(domain));
        other.unwrap_or(&self.scheme)
    }

    /// A gateway mirror depends on how the cluster behind the gateway stands.
    fn note_gateways(&self, key: &Key, view: &mut View) {
        for slice in self.local.slices(key) {
            let cluster = slice.gateway.as_ref().and_then(|g| g.cluster.as_ref());
            if let Some(cluster) = cluster {
                note_cluster(cluster, view);
            }
        }
    }

    fn endpoint_set(
        &self,
        service: &Service,
        members: &[(Origin<'_>, &Arc<Service>)],
        port: u16,
    ) -> EndpointSet {
        let mut found = Endpoints::new();
        let far_side = |name: &str| match self.remotes.get(name) {
            Some(remote) => match remote.standing.use_of {
                UseOf::Given => Some(Arc::clone(&remote.standing.domain)),
                UseOf::Withheld => None,
            },
            None => Some(Arc::from(name)),
        };
        for (origin, member) in members {
            endpoints::collect(*origin, member, port, &far_side, &mut found);
        }
        endpoints::one_per_pod(&mut found);
        let mut labels = BTreeMap::from([
            ("service".to_owned(), service.key.name.to_string()),
            ("namespace".to_owned(), service.key.namespace.to_string()),
        ]);
        if service.resolution == Resolution::Local {
            let slices = self.local.slices(&service.key);
            if let Some(gateway) = slices.filter_map(|slice| slice.gateway.as_ref()).next() {
                target_labels(gateway, &mut labels);
            }
        }
        EndpointSet {
            endpoints: found,
            labels,
        }
    }

    /// The local cluster, as endpoints see it.
    fn origin(&self) -> Origin<'_> {
        Origin {
            inventory: &self.local,
            cluster: &self.cluster,
            scheme: &self.scheme,
            side: Side::Own,
        }
    }
}

/// What a Service resolves to depends on how a cluster stands, and on no Service there.
fn note_cluster(cluster: &Arc<str>, view: &mut View) {
    view.sources.insert(Source {
        cluster: Some(Arc::clone(cluster)),
        service: Key::new("", ""),
    });
}

/// Labels that a gateway mirror's endpoints share, from `<svc>.<ns>.svc.<domain>`.
fn target_labels(gateway: &Gateway, labels: &mut BTreeMap<String, String>) {
    let mut put = |key: &str, value: &str| {
        labels.insert(key.to_owned(), value.to_owned());
    };
    if let Some(cluster) = &gateway.cluster {
        put("target_cluster", cluster);
    }
    if let Some(name) = &gateway.fq_name {
        let mut parts = name.split('.');
        if let (Some(service), Some(namespace)) = (parts.next(), parts.next()) {
            put("target_service", service);
            put("target_service_namespace", namespace);
        }
    }
}
