use tombolo_wire::proxy_api::destination::protocol_hint::OpaqueTransport;
use tombolo_wire::proxy_api::destination::{
    AddrSet, AuthorityOverride, NoEndpoints, ProtocolHint, TlsIdentity, WeightedAddrSet,
};

use super::*;

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn add(ports: &[u16]) -> Change {
    let weighted = |port: &u16| WeightedAddr {
        addr: Some(addr(*port).into()),
        metric_labels: [("pod".to_owned(), format!("pod-{port}"))].into(),
        ..WeightedAddr::default()
    };
    Change::Add(WeightedAddrSet {
        addrs: ports.iter().map(weighted).collect(),
        metric_labels: [("cluster".to_owned(), "west".to_owned())].into(),
    })
}

fn remove(port: u16) -> Change {
    Change::Remove(AddrSet {
        addrs: vec![addr(port).into()],
    })
}

fn ports(set: Option<EndpointSet>) -> Vec<u16> {
    match set {
        Some(EndpointSet::Present(endpoints)) => endpoints.iter().map(|e| e.addr.port()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn updates_add_and_remove() {
    let mut roll = Roll::default();
    assert_eq!(ports(roll.on(add(&[2, 1]))), [1, 2]);
    assert_eq!(ports(roll.on(add(&[3]))), [1, 2, 3]);
    assert_eq!(ports(roll.on(remove(2))), [1, 3]);
    let none = |exists| Change::NoEndpoints(NoEndpoints { exists });
    assert_eq!(ports(roll.on(none(true))), [0u16; 0]);
    assert_eq!(roll.on(none(false)), Some(EndpointSet::Absent));
    assert_eq!(ports(roll.on(add(&[4]))), [4]);
}

#[test]
fn first_add_of_a_new_stream_replaces_what_the_last_one_told() {
    let mut roll = Roll::default();
    roll.on(add(&[1, 2]));
    roll.reconnected();
    assert_eq!(
        roll.on(remove(1)),
        None,
        "it belongs to a set that was not told yet"
    );
    assert_eq!(ports(roll.on(add(&[3]))), [3]);
    assert_eq!(ports(roll.on(add(&[4]))), [3, 4]);
}

#[test]
fn labels_of_an_endpoint_win_over_those_of_its_set() {
    let Some(EndpointSet::Present(endpoints)) = Roll::default().on(add(&[1])) else {
        panic!()
    };
    let endpoint = &endpoints[0];
    assert_eq!((&*endpoint.cluster, &*endpoint.pod), ("west", "pod-1"));
    assert_eq!(endpoint.weight, WEIGHT_WHOLE);
    assert_eq!(endpoint.peer, Peer::Plain);
}

fn meshed(inbound_port: Option<u32>, authority: Option<&str>) -> Option<Endpoint> {
    let name = tls_identity::DnsLikeIdentity {
        name: "web.mesh".to_owned(),
    };
    let weighted = WeightedAddr {
        addr: Some(addr(8080).into()),
        tls_identity: Some(TlsIdentity {
            strategy: Some(tls_identity::Strategy::DnsLikeIdentity(name)),
            ..TlsIdentity::default()
        }),
        protocol_hint: inbound_port.map(|inbound_port| ProtocolHint {
            opaque_transport: Some(OpaqueTransport { inbound_port }),
            ..ProtocolHint::default()
        }),
        authority_override: authority.map(|name| AuthorityOverride {
            authority_override: name.to_owned(),
        }),
        ..WeightedAddr::default()
    };
    endpoint(weighted, &HashMap::new())
}

#[test]
fn meshed_endpoint_is_never_spoken_to_in_plain_text() {
    let inbound_port = |endpoint: Option<Endpoint>| match endpoint.map(|endpoint| endpoint.peer) {
        Some(Peer::Meshed { inbound_port, .. }) => Some(inbound_port),
        Some(Peer::Plain) => panic!("plain"),
        None => None,
    };
    assert_eq!(inbound_port(meshed(Some(4143), None)), Some(4143));
    assert_eq!(
        inbound_port(meshed(None, Some("a.b:80"))),
        Some(8080),
        "a gateway's port"
    );
    assert_eq!(inbound_port(meshed(None, None)), None);
    assert_eq!(inbound_port(meshed(Some(70_000), None)), None);
}

#[test]
fn endpoint_without_an_address_is_left_out() {
    assert_eq!(endpoint(WeightedAddr::default(), &HashMap::new()), None);
}

#[test]
fn policy_without_a_backend_leads_nowhere() {
    assert_eq!(target(&OutboundPolicy::default()), Target::Nowhere);
}
