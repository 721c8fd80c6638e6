use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_shell::testing::Authority;

use super::*;

fn minimal() -> BTreeMap<String, String> {
    let pem = Authority::new().root_pem().to_owned();
    [
        ("IDENTITY_TRUST_ANCHORS", pem.as_str()),
        (
            "IDENTITY_LOCAL_NAME",
            "web.shop.serviceaccount.identity.tombolo.cluster.local",
        ),
        ("IDENTITY_TOKEN_FILE", "/token"),
        ("IDENTITY_SVC_ADDR", "127.0.0.1:8080"),
        (
            "IDENTITY_SVC_NAME",
            "control.tombolo.serviceaccount.identity.tombolo.cluster.local",
        ),
        (
            "DESTINATION_SVC_ADDR",
            "linkerd-dst-headless.linkerd.svc.cluster.local.:8086",
        ),
        (
            "DESTINATION_SVC_NAME",
            "control.tombolo.serviceaccount.identity.tombolo.cluster.local",
        ),
        ("POLICY_SVC_ADDR", "127.0.0.1:8090"),
        (
            "POLICY_SVC_NAME",
            "control.tombolo.serviceaccount.identity.tombolo.cluster.local",
        ),
        ("POLICY_WORKLOAD", r#"{"ns":"shop","pod":"web-1"}"#),
    ]
    .map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value.to_owned()))
    .into()
}

#[test]
fn defaults_are_those_of_the_specification() {
    let config = Config::parse(&minimal()).unwrap();
    assert_eq!(config.inbound.listen, "0.0.0.0:4143".parse().unwrap());
    assert_eq!(config.outbound.listen, ["127.0.0.1:4140".parse().unwrap()]);
    assert_eq!(config.admin_addr, "127.0.0.1:4191".parse().unwrap());
    assert_eq!(config.inbound.connect_timeout, Duration::from_millis(300));
    assert_eq!(config.inbound.default_policy, DefaultPolicy::Meshed);
    assert_eq!(config.grace, Duration::from_secs(120));
    assert_eq!(config.cores, 1);
}

#[test]
fn every_required_variable_is_named_when_it_is_missing() {
    for variable in minimal().keys() {
        let mut environment = minimal();
        environment.remove(variable);
        let error = Config::parse(&environment).unwrap_err();
        assert_eq!(error, ConfigError::Missing(variable.clone()));
    }
}

#[test]
fn every_bad_value_is_named_with_its_variable() {
    for (variable, value) in [
        ("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "no pem"),
        ("LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "not a name"),
        ("LINKERD2_PROXY_IDENTITY_TOKEN_FILE", ""),
        ("LINKERD2_PROXY_DESTINATION_SVC_ADDR", "nowhere"),
        ("LINKERD2_PROXY_POLICY_SVC_ADDR", "host:70000"),
        ("LINKERD2_PROXY_POLICY_SVC_NAME", "-"),
        ("LINKERD2_PROXY_INBOUND_LISTEN_ADDR", "4143"),
        ("LINKERD2_PROXY_INBOUND_PORTS", "80,http"),
        ("LINKERD2_PROXY_INBOUND_DEFAULT_POLICY", "allow"),
        ("LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT", "100"),
        ("LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT", "1 second"),
        ("LINKERD2_PROXY_CORES", "0"),
        ("LINKERD2_PROXY_LOG_FORMAT", "xml"),
        ("TOMBOLO_PROXY_LISTENERS", "file"),
        ("TOMBOLO_PROXY_INBOUND_CONNECTIONS_MAX", "-1"),
    ] {
        let mut environment = minimal();
        environment.insert(variable.to_owned(), value.to_owned());
        let error = Config::parse(&environment).unwrap_err().to_string();
        assert!(error.contains(variable), "{error}");
    }
    let mut environment = minimal();
    environment.insert("LINKERD2_PROXY_IDENTITY_DISABLED".into(), String::new());
    assert!(matches!(
        Config::parse(&environment),
        Err(ConfigError::Forbidden(_))
    ));
}

#[test]
fn cluster_policy_needs_the_networks() {
    let mut environment = minimal();
    environment.insert(
        "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY".into(),
        "cluster-authenticated".into(),
    );
    let error = Config::parse(&environment).unwrap_err();
    assert_eq!(
        error,
        ConfigError::missing("LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS")
    );
}

#[test]
fn bad_network_is_named() {
    let networks = "LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS";
    let mut environment = minimal();
    environment.insert(
        "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY".into(),
        "cluster-authenticated".into(),
    );
    environment.insert(networks.into(), "10.0.0.0/8,10.0.0.0/33".into());
    let error = Config::parse(&environment).unwrap_err().to_string();
    assert!(
        error.contains(networks) && error.contains("10.0.0.0/33"),
        "{error}"
    );
}
