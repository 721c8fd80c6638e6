//! What credentials are taken for, and what they are refused for.
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use k8s_openapi::ByteString;
use kube::config::{Config, KubeConfigOptions};

use super::*;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A certificate that ends with the year.
fn certificate(year: i32) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["api".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 12, 31);
    STANDARD.encode(params.self_signed(&key).unwrap().pem())
}

fn jwt(exp: i64) -> String {
    let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": exp, "sub": "x" }).to_string());
    format!("e30.{claims}.c2ln")
}

fn base() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "east",
            "cluster": {
                "server": "https://127.20.0.1:6443",
                "certificate-authority-data": certificate(2030),
            },
        }],
        "users": [{ "name": "sa", "user": { "token": jwt(now().as_second() + 3600) } }],
        "contexts": [{ "name": "east", "context": { "cluster": "east", "user": "sa" } }],
        "current-context": "east",
    })
}

fn secret(kubeconfig: &str) -> Secret {
    let mut secret = Secret {
        type_: Some(CREDENTIALS_TYPE.to_owned()),
        ..Secret::default()
    };
    secret.metadata.namespace = Some("tombolo".to_owned());
    secret.metadata.name = Some("cluster-credentials-east".to_owned());
    let data = ByteString(kubeconfig.as_bytes().to_vec());
    secret.data = Some([(CREDENTIALS_KEY.to_owned(), data)].into());
    secret
}

fn faults(secret: &Secret) -> Vec<String> {
    let faults = read(secret, now()).map(|_| ()).unwrap_err();
    let prefix = "Secret tombolo/cluster-credentials-east: ";
    let text = faults.iter().map(ToString::to_string);
    text.map(|text| {
        text.strip_prefix(prefix)
            .expect("names the object")
            .to_owned()
    })
    .collect()
}

#[tokio::test]
async fn an_inline_kubeconfig_is_taken() {
    let credentials = read(&secret(&base().to_string()), now()).unwrap();
    assert_eq!(
        credentials.expires.unwrap().as_second(),
        now().as_second() + 3600
    );
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(credentials.kubeconfig, &options)
        .await
        .unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://127.20.0.1:6443/");
}

#[test]
fn yaml_and_an_opaque_token_do_as_well() {
    let authority = certificate(2030);
    let text = format!(
        "current-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\nclusters:\n- name: k\n  cluster:\n    server: https://api.example:6443\n    certificate-authority-data: {authority}\nusers:\n- name: u\n  user:\n    token: opaque\n"
    );
    assert_eq!(read(&secret(&text), now()).unwrap().expires, None);
}

/// Where, what (as JSON), and what is said of it. `PAST` and `FUTURE` are certificates, `ENDED` a token.
const FAULTS: &[(&str, &str, &str)] = &[
    ("/current-context", r#""""#, "current-context: is empty"),
    (
        "/current-context",
        r#""west""#,
        "current-context: names the context \"west\", which contexts does not have",
    ),
    (
        "/contexts/0/context/cluster",
        r#""atlantis""#,
        "contexts: \"east\": names the cluster \"atlantis\", which clusters does not have",
    ),
    (
        "/contexts/0/context/user",
        r#""nobody""#,
        "contexts: \"east\": names the user \"nobody\", which users does not have",
    ),
    (
        "/clusters/0/cluster/server",
        r#""""#,
        "clusters.server: is empty",
    ),
    (
        "/clusters/0/cluster/server",
        r#""http://east""#,
        "clusters.server: \"http://east\" is no https URL",
    ),
    (
        "/clusters/0/cluster/server",
        r#""https:// east""#,
        "clusters.server: \"https:// east\" is no https URL",
    ),
    (
        "/clusters/0/cluster/certificate-authority-data",
        r#""%""#,
        "clusters.certificate-authority-data: is no base64",
    ),
    (
        "/clusters/0/cluster/certificate-authority-data",
        r#""aGVsbG8=""#,
        "clusters.certificate-authority-data: holds no certificate",
    ),
    (
        "/clusters/0/cluster/certificate-authority-data",
        "null",
        "clusters.certificate-authority-data: is empty: the authority must be inline",
    ),
    (
        "/clusters/0/cluster/certificate-authority-data",
        r#""PAST""#,
        "clusters.certificate-authority-data: expired at 2025-12-31T00:00:00Z",
    ),
    (
        "/clusters/0/cluster",
        r#"{"server":"https://east","insecure-skip-tls-verify":true,"certificate-authority-data":"FUTURE"}"#,
        "clusters.insecure-skip-tls-verify: contradicts the authority that is given",
    ),
    (
        "/users/0/user",
        "{}",
        "users.token: is empty, and there is no client certificate either",
    ),
    (
        "/users/0/user",
        r#"{"token":"a\nb"}"#,
        "users.token: is no token: it has characters that no header may have",
    ),
    (
        "/users/0/user",
        r#"{"token":"ENDED"}"#,
        "users.token: expired at 2023-11-14T22:13:20Z",
    ),
    (
        "/users/0/user",
        r#"{"exec":{"command":"rm"},"token":"t"}"#,
        "users.exec: is not allowed: only an inline token or client certificate is",
    ),
    (
        "/users/0/user",
        r#"{"tokenFile":"/etc/passwd","token":"t"}"#,
        "users.tokenFile: is not allowed: only an inline token or client certificate is",
    ),
    (
        "/users/0/user",
        r#"{"client-certificate-data":"FUTURE"}"#,
        "users.client-key-data: is empty",
    ),
    (
        "/users/0/user",
        r#"{"client-certificate-data":"PAST","client-key-data":"aw=="}"#,
        "users.client-certificate-data: expired at 2025-12-31T00:00:00Z",
    ),
    (
        "/clusters",
        r#""none""#,
        "clusters: must be a list, not a string",
    ),
];

#[tokio::test]
async fn a_server_may_go_unverified_where_that_is_said() {
    let mut kubeconfig = base();
    kubeconfig["clusters"][0]["cluster"] =
        json!({ "server": "https://127.20.0.1:6443", "insecure-skip-tls-verify": true });
    let read = read(&secret(&kubeconfig.to_string()), now()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read.kubeconfig, &options).await;
    assert!(config.unwrap().accept_invalid_certs);
}

#[test]
fn what_is_wrong_is_named() {
    let (past, future, ended) = (certificate(2025), certificate(2030), jwt(1_700_000_000));
    for (pointer, value, want) in FAULTS {
        let value = value.replace("PAST", &past).replace("FUTURE", &future);
        let value = serde_json::from_str(&value.replace("ENDED", &ended)).unwrap();
        let mut kubeconfig = base();
        *kubeconfig.pointer_mut(pointer).unwrap() = value;
        let faults = faults(&secret(&kubeconfig.to_string()));
        assert_eq!(faults[0], format!("data.kubeconfig: {want}"), "{pointer}");
    }
}

#[test]
fn what_is_no_kubeconfig_is_refused_without_quoting_it() {
    for text in [
        "[1, 2",
        "just text",
        "- a\n- b",
        "\u{0}",
        "{\"token\": \"secret\", ",
    ] {
        let faults = faults(&secret(text));
        assert!(
            faults[0].starts_with("data.kubeconfig: is no kubeconfig"),
            "{faults:?}"
        );
        assert!(!faults[0].contains("secret"), "{faults:?}");
    }
    assert_eq!(
        faults(&secret("  ")),
        ["data.kubeconfig: is missing or empty"]
    );
}

#[test]
fn a_secret_of_another_type_or_without_data_is_refused() {
    let mut other = secret(&base().to_string());
    other.type_ = Some("Opaque".to_owned());
    assert_eq!(
        faults(&other),
        ["type: \"Opaque\" is not \"mirror.linkerd.io/remote-kubeconfig\""]
    );
    other.data = None;
    assert_eq!(faults(&other)[1], "data.kubeconfig: is missing or empty");
    let malformed =
        json!({ "metadata": { "namespace": "n", "name": "s" }, "data": { "kubeconfig": "%" } });
    let fault = read_value(&malformed, now()).map(|_| ()).unwrap_err();
    assert!(
        fault[0].to_string().starts_with("Secret n/s: "),
        "{fault:?}"
    );
}
