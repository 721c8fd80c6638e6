use std::collections::BTreeMap;

use super::*;
use crate::discovery::model::{Key, Mesh, PortSet};

fn pod(role: Role, policy: Option<&str>) -> Pod {
    Pod {
        key: Key::new("demo", "web-1"),
        ips: Vec::new(),
        node: None,
        service_account: "default".into(),
        owner: None,
        labels: BTreeMap::new(),
        ports: BTreeMap::new(),
        template_hash: None,
        mesh: Some(Mesh {
            control_namespace: "tombolo".into(),
            inbound_port: Some(4143),
            admin_port: 4191,
            skipped_ports: PortSet::default(),
            role,
        }),
        inbound_policy: policy.map(str::to_owned),
        opaque_ports: None,
    }
}

#[test]
fn a_gateways_port_takes_none_but_identities() {
    use Admission::{Authenticated, Everyone, Nobody};
    for (role, policy, port, want) in [
        (Role::Sidecar, None, 8080, Everyone),
        (Role::Sidecar, None, 4143, Everyone),
        (Role::Gateway, None, 4143, Authenticated),
        (
            Role::Gateway,
            Some("all-unauthenticated"),
            4143,
            Authenticated,
        ),
        (Role::Gateway, None, 4191, Everyone),
        (
            Role::Sidecar,
            Some("all-authenticated"),
            8080,
            Authenticated,
        ),
        (Role::Sidecar, Some("deny"), 8080, Nobody),
        (Role::Sidecar, Some("nonsense"), 8080, Everyone),
    ] {
        let got = admission(Some(&pod(role, policy)), port);
        assert_eq!(got, want, "{role:?} {policy:?} {port}");
    }
    assert_eq!(admission(None, 8080), Everyone);
}

#[test]
fn probes_pass_on_the_admin_port_and_nowhere_else() {
    let routes = |port| {
        let pod = pod(Role::Gateway, Some("all-authenticated"));
        match server(Some(&pod), port).protocol.unwrap().kind.unwrap() {
            proxy_protocol::Kind::Detect(detect) => detect.http_routes,
            _ => panic!("a protocol must be detected"),
        }
    };
    assert_eq!(routes(4191).len(), 2);
    assert_eq!(routes(4191)[0].authorizations.len(), 1);
    assert_eq!(routes(8080).len(), 1);
    assert_eq!(routes(4143).len(), 1);
}

#[test]
fn deny_authorizes_nobody_and_every_other_answer_names_its_networks() {
    let denied = server(Some(&pod(Role::Sidecar, Some("deny"))), 8080);
    assert!(denied.authorizations.is_empty());
    let open = server(None, 8080);
    assert_eq!(open.authorizations[0].networks.len(), 2);
    assert!(open.authorizations[0].authentication.is_some());
}
