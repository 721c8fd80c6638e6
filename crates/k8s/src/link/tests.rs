//! What a Link is taken for, and what it is refused for.
use serde_json::json;
use tombolo_core::selector::Selector;

use super::*;

fn link(spec: Value) -> Value {
    json!({
        "apiVersion": "multicluster.linkerd.io/v1alpha3",
        "kind": "Link",
        "metadata": {
            "namespace": "tombolo", "name": "east", "uid": "u1",
            "creationTimestamp": "2026-11-22T10:00:00Z",
        },
        "spec": spec,
        "status": { "clusterUid": "c1" },
    })
}

fn base() -> Value {
    json!({
        "targetClusterName": "east",
        "targetClusterDomain": "cluster.local",
        "clusterCredentialsSecret": "cluster-credentials-east",
        "gatewayAddress": "192.0.2.127, gw.example.org,fd00::1",
        "gatewayPort": "888",
        "gatewayIdentity": "gateway.tombolo.serviceaccount.identity.tombolo.cluster.local",
        "probeSpec": { "path": "/ready", "port": "4191", "period": "3s" },
        "selector": { "matchLabels": { "mirror.linkerd.io/exported": "true" } },
        "remoteDiscoverySelector": {
            "matchExpressions": [
                { "key": "mirror.linkerd.io/exported", "operator": "In", "values": ["remote-discovery"] },
            ],
        },
        "federatedServiceSelector": {},
        "excludedLabels": ["foo/*"],
    })
}

#[test]
fn a_whole_link_is_accepted() {
    let read = read(&link(base())).unwrap();
    assert_eq!(read.key.to_string(), "tombolo/east");
    assert_eq!(read.created, CreatedAt(1_795_341_600));
    assert_eq!(read.cluster_uid, Some(ClusterUid("c1".into())));
    let LinkSpec::Accepted(link) = read.spec else {
        panic!("{:?}", read.spec)
    };
    let gateway = link.gateway.unwrap();
    assert_eq!(gateway.port, 888);
    assert_eq!(gateway.hosts.len(), 3);
    assert_eq!(
        gateway.hosts[1],
        GatewayHost::Name("gw.example.org".to_owned())
    );
    let probe = link.probe.unwrap();
    assert_eq!((probe.port, probe.failure_threshold), (4191, 3));
    assert_eq!(probe.timeout, duration::PROBE_TIMEOUT);
    assert_eq!(link.gateway_selector, Selector::exported());
    assert_eq!(link.flat_selector, Selector::remote_discovery());
    assert!(link.federated_selector.is_nothing());
    assert!(link.excluded_labels.contains("foo/a"));
}

#[test]
fn a_link_needs_no_gateway_and_no_names_but_its_target() {
    let read = read(&link(json!({ "targetClusterName": "east" }))).unwrap();
    let LinkSpec::Accepted(link) = read.spec else {
        panic!("{:?}", read.spec)
    };
    assert_eq!(link.credentials_secret, "cluster-credentials-east");
    assert_eq!(link.domain, "cluster.local");
    assert_eq!((link.gateway, link.probe), (None, None));
    assert!(link.gateway_selector.is_nothing());
}

/// Where, what (as JSON), and what is said of it.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "/targetClusterName",
        r#""""#,
        "spec.targetClusterName: is empty: which cluster is this a Link to?",
    ),
    (
        "/targetClusterName",
        "7",
        "spec.targetClusterName: must be a string, not a number",
    ),
    (
        "/targetClusterName",
        r#""East""#,
        "spec.targetClusterName: \"East\" must consist of lower case letters, digits and '-', and start and end with a letter or digit",
    ),
    (
        "/targetClusterDomain",
        r#""a b""#,
        "spec.targetClusterDomain: \"a b\" is no DNS name",
    ),
    (
        "/gatewayPort",
        r#""http""#,
        "spec.gatewayPort: \"http\" is no number",
    ),
    (
        "/gatewayPort",
        r#""70000""#,
        "spec.gatewayPort: 70000 is no port: 1 to 65535",
    ),
    (
        "/gatewayPort",
        r#""0""#,
        "spec.gatewayPort: 0 is no port: 1 to 65535",
    ),
    (
        "/gatewayPort",
        r#""""#,
        "spec.gatewayPort: is empty, while spec.gatewayAddress is not",
    ),
    (
        "/gatewayPort",
        "-1",
        "spec.gatewayPort: -1 is no whole number",
    ),
    (
        "/gatewayAddress",
        r#""what?""#,
        "spec.gatewayAddress: \"what?\" is neither an IP address nor a DNS name",
    ),
    (
        "/gatewayIdentity",
        r#""*""#,
        "spec.gatewayIdentity: \"*\" is no DNS name",
    ),
    (
        "/probeSpec/period",
        r#""soon""#,
        "spec.probeSpec.period: \"soon\" is no duration, as in \"3s\"",
    ),
    (
        "/probeSpec/period",
        r#""0s""#,
        "spec.probeSpec.period: \"0s\" must be more than zero",
    ),
    (
        "/probeSpec/port",
        r#""123456""#,
        "spec.probeSpec.port: 123456 is no port: 1 to 65535",
    ),
    (
        "/probeSpec/port",
        r#""""#,
        "spec.probeSpec.port: is empty, while spec.probeSpec.path is not",
    ),
    (
        "/probeSpec/path",
        r#""ready""#,
        "spec.probeSpec.path: \"ready\" must start with a '/'",
    ),
    (
        "/probeSpec/failureThreshold",
        r#""x""#,
        "spec.probeSpec.failureThreshold: \"x\" is no number",
    ),
    (
        "/probeSpec",
        "[]",
        "spec.probeSpec: must be an object, not a list",
    ),
    (
        "/selector",
        r#""all""#,
        "spec.selector: must be an object, not a string",
    ),
    (
        "/selector/matchLabels",
        r#"{"a":1}"#,
        "spec.selector.matchLabels[\"a\"]: must be a string",
    ),
    (
        "/remoteDiscoverySelector/matchExpressions/0/operator",
        r#""Is""#,
        "spec.remoteDiscoverySelector.matchExpressions[0].operator: \"Is\" is none of In, NotIn, Exists, DoesNotExist",
    ),
    (
        "/remoteDiscoverySelector/matchExpressions/0/values",
        "[]",
        "spec.remoteDiscoverySelector.matchExpressions[0].values: must not be empty with In",
    ),
    (
        "/remoteDiscoverySelector/matchExpressions/0/key",
        r#""""#,
        "spec.remoteDiscoverySelector.matchExpressions[0].key: is empty",
    ),
    (
        "/excludedLabels",
        r#""foo/*""#,
        "spec.excludedLabels: must be a list, not a string",
    ),
    (
        "/excludedLabels",
        "[1]",
        "spec.excludedLabels[0]: must be a string",
    ),
];

#[test]
fn a_fault_names_object_and_field() {
    for (pointer, value, want) in FAULTS {
        let mut spec = base();
        let value: Value = serde_json::from_str(value).unwrap();
        match pointer.strip_prefix("/probeSpec/") {
            Some(field) => spec["probeSpec"][field] = value,
            None => *spec.pointer_mut(pointer).unwrap() = value,
        }
        let read = read(&link(spec)).unwrap();
        let faults = match read.spec {
            LinkSpec::Refused { target, faults } => {
                assert_eq!(target.is_none(), *pointer == "/targetClusterName");
                faults
            }
            LinkSpec::Accepted(link) => {
                let broken: Vec<_> = link.broken.values().flatten().cloned().collect();
                match pointer.starts_with("/probeSpec") {
                    true => assert_eq!((link.probe, broken.len()), (None, 0)),
                    false => assert_eq!(broken.len(), 1, "{pointer} was accepted"),
                }
                link.probe_faults.into_iter().chain(broken).collect()
            }
        };
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, [format!("Link tombolo/east: {want}")]);
    }
}

#[test]
fn what_is_wrong_with_one_mode_is_no_matter_of_the_others() {
    for (field, value, part) in [
        ("gatewayPort", json!("http"), Part::Gateway),
        ("selector", json!({"matchLabels": {"a": 1}}), Part::Gateway),
        ("remoteDiscoverySelector", json!([]), Part::Flat),
        ("federatedServiceSelector", json!(7), Part::Federation),
    ] {
        let mut spec = base();
        spec["federatedServiceSelector"] = json!({"matchLabels": {"a": "b"}});
        spec[field] = value;
        let LinkSpec::Accepted(link) = read(&link(spec)).unwrap().spec else {
            panic!("{field} refuses the whole Link");
        };
        assert_eq!(link.broken.keys().collect::<Vec<_>>(), [&part], "{field}");
        for (of, selector) in [
            (Part::Gateway, &link.gateway_selector),
            (Part::Flat, &link.flat_selector),
            (Part::Federation, &link.federated_selector),
        ] {
            assert_eq!(selector.is_nothing(), of == part, "{field}: {of:?}");
        }
    }
}

#[test]
fn of_several_gateway_addresses_those_that_are_some_are_used() {
    let mut spec = base();
    spec["gatewayAddress"] = json!("1.2.3.4,what?, ");
    let LinkSpec::Accepted(link) = read(&link(spec)).unwrap().spec else {
        panic!("it is refused");
    };
    assert_eq!(
        (link.gateway.unwrap().hosts.len(), link.broken.len()),
        (1, 0)
    );
    let remarks: Vec<_> = link.remarks.iter().map(ToString::to_string).collect();
    let want =
        "Link tombolo/east: spec.gatewayAddress: \"what?\" is neither an IP address nor a DNS name";
    assert_eq!(remarks, [want]);
}

#[test]
fn what_is_no_link_at_all_does_not_panic() {
    for object in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "metadata": { "name": "x" } }),
    ] {
        assert_eq!(read(&object), None);
    }
    for spec in [json!(null), json!(7), json!([])] {
        let read = read(&link(spec)).unwrap();
        assert!(matches!(read.spec, LinkSpec::Refused { target: None, .. }));
    }
}
