//! Who may connect to a port of a pod: everyone, everyone with an identity, or nobody.
//!
//! Pure: pod and port -> `Server`. A gateway's port takes none but identities; probes always pass.
use tombolo_wire::proxy_api::http_route::{HttpRouteMatch, PathMatch, path_match};
use tombolo_wire::proxy_api::http_types::{HttpMethod, http_method};
use tombolo_wire::proxy_api::inbound::{
    Authn, Authz, HttpRoute, IdentitySuffix, Network, ProxyProtocol, Server, authn, http_route,
    proxy_protocol,
};
use tombolo_wire::proxy_api::net::{IpNetwork, ip_address};

use super::outbound::default_metadata;
use crate::discovery::model::{self, Pod, Role};

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Anyone, with or without an identity.
    Everyone,
    /// Anyone who has an identity of this mesh.
    Authenticated,
    /// Nobody but probes.
    Nobody,
}

impl Admission {
    const fn name(self) -> &'static str {
        match self {
            Self::Everyone => "all-unauthenticated",
            Self::Authenticated => "all-authenticated",
            Self::Nobody => "deny",
        }
    }

    /// What the annotation `config.linkerd.io/default-inbound-policy` means; networks of a cluster are
    /// not known here, so its variants mean what they mean without them.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "all-unauthenticated" | "cluster-unauthenticated" | "audit" => Some(Self::Everyone),
            "all-authenticated" | "cluster-authenticated" => Some(Self::Authenticated),
            "deny" => Some(Self::Nobody),
            _ => None,
        }
    }
}

/// Who may connect to `port` of `pod`; `None` is a pod of which nothing is known.
pub(crate) fn admission(pod: Option<&Pod>, port: u16) -> Admission {
    let Some(pod) = pod else {
        return Admission::Everyone;
    };
    let gateway = pod
        .mesh
        .as_ref()
        .is_some_and(|mesh| mesh.role == Role::Gateway && mesh.inbound_port == Some(port));
    if gateway {
        return Admission::Authenticated;
    }
    let declared = pod.inbound_policy.as_deref().and_then(Admission::parse);
    declared.unwrap_or(Admission::Everyone)
}

/// What the proxy of `pod` is told about `port`.
pub(crate) fn server(pod: Option<&Pod>, port: u16) -> Server {
    let admission = admission(pod, port);
    let name = admission.name();
    let opaque = pod.is_some_and(|pod| model::is_opaque(pod.opaque_ports.as_ref(), port));
    let kind = if opaque {
        proxy_protocol::Kind::Opaque(proxy_protocol::Opaque {})
    } else {
        proxy_protocol::Kind::Detect(proxy_protocol::Detect {
            timeout: Some(prost_types::Duration {
                seconds: 10,
                nanos: 0,
            }),
            http_routes: routes(pod, port),
            http_local_rate_limit: None,
        })
    };
    Server {
        protocol: Some(ProxyProtocol { kind: Some(kind) }),
        server_ips: Vec::new(),
        authorizations: authorizations(admission),
        labels: labels(name),
    }
}

/// Only the admin port answers probes; on any other port those paths belong to the application.
fn routes(pod: Option<&Pod>, port: u16) -> Vec<HttpRoute> {
    let mesh = pod.and_then(|pod| pod.mesh.as_ref());
    let admin_port = mesh.map_or(model::ADMIN_PORT, |mesh| mesh.admin_port);
    if port == admin_port {
        vec![probe_route(), default_route()]
    } else {
        vec![default_route()]
    }
}

fn labels(name: &str) -> std::collections::HashMap<String, String> {
    [("group", ""), ("kind", "default"), ("name", name)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn everywhere() -> Vec<Network> {
    let any = |ip: ip_address::Ip| Network {
        net: Some(IpNetwork {
            ip: Some(ip.into()),
            prefix_len: 0,
        }),
        except: Vec::new(),
    };
    vec![
        any(std::net::Ipv4Addr::UNSPECIFIED.into()),
        any(std::net::Ipv6Addr::UNSPECIFIED.octets().into()),
    ]
}

fn authorization(name: &str, permit: authn::Permit) -> Authz {
    Authz {
        networks: everywhere(),
        authentication: Some(Authn {
            permit: Some(permit),
        }),
        labels: labels(name),
        metadata: Some(default_metadata(name)),
    }
}

fn authorizations(admission: Admission) -> Vec<Authz> {
    use authn::{PermitMeshTls, PermitUnauthenticated, permit_mesh_tls};
    let permit = match admission {
        Admission::Everyone => authn::Permit::Unauthenticated(PermitUnauthenticated {}),
        Admission::Authenticated => authn::Permit::MeshTls(PermitMeshTls {
            clients: Some(permit_mesh_tls::Clients::Identities(
                permit_mesh_tls::PermitClientIdentities {
                    identities: Vec::new(),
                    suffixes: vec![IdentitySuffix { parts: Vec::new() }],
                },
            )),
        }),
        Admission::Nobody => return Vec::new(),
    };
    vec![authorization(admission.name(), permit)]
}

fn default_route() -> HttpRoute {
    let every_path = HttpRouteMatch {
        path: Some(PathMatch {
            kind: Some(path_match::Kind::Prefix("/".into())),
        }),
        ..HttpRouteMatch::default()
    };
    HttpRoute {
        metadata: Some(default_metadata("default")),
        rules: vec![http_route::Rule {
            matches: vec![every_path],
            filters: Vec::new(),
        }],
        ..HttpRoute::default()
    }
}

/// Health checks of the proxy itself come from a kubelet or another cluster's control, and always pass.
fn probe_route() -> HttpRoute {
    let get = |path: &str| HttpRouteMatch {
        path: Some(PathMatch {
            kind: Some(path_match::Kind::Exact(path.into())),
        }),
        method: Some(HttpMethod {
            r#type: Some(http_method::Type::Registered(
                http_method::Registered::Get.into(),
            )),
        }),
        ..HttpRouteMatch::default()
    };
    let permit = authn::Permit::Unauthenticated(authn::PermitUnauthenticated {});
    HttpRoute {
        metadata: Some(default_metadata("probe")),
        authorizations: vec![authorization("probe", permit)],
        rules: vec![http_route::Rule {
            matches: vec![get("/live"), get("/ready")],
            filters: Vec::new(),
        }],
        ..HttpRoute::default()
    }
}

#[cfg(test)]
mod tests;
