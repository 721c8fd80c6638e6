//! What the API server refuses, with which code and in which words.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tombolo_apiserver::pki::{Leaf, Pki, Subject};

use crate::harness::{Cluster, DEADLINE};

/// Speaks HTTP/1.1 by hand over TLS, so that anything at all can be said.
struct Raw<'a> {
    cluster: &'a Cluster,
    leaf: Option<Leaf>,
}

impl Raw<'_> {
    /// The status code and the body of the answer; code 0 if there was none.
    async fn say(&self, bytes: &[u8]) -> (u16, Value) {
        let text = tokio::time::timeout(DEADLINE, self.exchange(bytes))
            .await
            .unwrap();
        let code = text
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let body = text
            .split_once("\r\n\r\n")
            .map(|(_, body)| body)
            .unwrap_or_default();
        (code, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut roots = rustls::RootCertStore::empty();
        let ca = self.cluster.running.in_process().pki().ca_pem().to_owned();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        let address = self.cluster.running.address();
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut tls = connector.connect(name, tcp).await.unwrap();
        // A server that has heard enough closes while we still speak.
        if let Err(error) = tls.write_all(bytes).await {
            assert_ne!(error.kind(), std::io::ErrorKind::TimedOut);
        }
        let mut answer = Vec::new();
        if let Err(error) = tls.read_to_end(&mut answer).await {
            assert_ne!(error.kind(), std::io::ErrorKind::TimedOut);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_prove_who_he_is_learns_only_that_the_server_lives() {
    let cluster = Cluster::start().await;
    let nobody = Raw {
        cluster: &cluster,
        leaf: None,
    };
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(
            nobody.say(&request("GET", path, &[], "")).await.0,
            200,
            "{path}"
        );
    }
    let foreign = Pki::open(None, jiff::Timestamp::now()).unwrap();
    let root = Subject {
        user: "root",
        group: Some("system:masters"),
    };
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 400);
    let pki_dir = cluster.dir.path().join("data/pki");
    let expired = Pki::open(Some(&pki_dir), then)
        .unwrap()
        .client(root)
        .unwrap();
    let strangers = [None, Some(foreign.client(root).unwrap()), Some(expired)];
    for (index, leaf) in strangers.into_iter().enumerate() {
        let stranger = Raw {
            cluster: &cluster,
            leaf,
        };
        for path in [
            "/api/v1/pods",
            "/apis",
            "/metrics",
            "/versions",
            "/healthzz",
        ] {
            let (code, body) = stranger.say(&request("GET", path, &[], "")).await;
            // Who shows nothing is anonymous, who shows something bad is refused.
            let expected = match index {
                0 => (403, Some("Forbidden")),
                _ => (401, Some("Unauthorized")),
            };
            let got = (code, body["reason"].as_str());
            assert_eq!(got, expected, "{index} {path}");
        }
    }
    for (token, code) in [("", 403), ("x", 401), ("a.b.c", 401), ("Basic", 401)] {
        let header = format!("Bearer {token}");
        let bytes = request("GET", "/api/v1/pods", &[("authorization", &header)], "");
        assert_eq!(nobody.say(&bytes).await.0, code, "{token:?}");
    }
    cluster.running.stop().await;
}

/// Method, path, headers, body; code and message.
type Row<'a> = (
    &'a str,
    &'a str,
    Vec<(&'a str, &'a str)>,
    &'a str,
    u16,
    &'a str,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn nonsense_gets_a_status_that_says_what_is_wrong() {
    let cluster = Cluster::start().await;
    let admin = Subject {
        user: "root",
        group: Some("system:masters"),
    };
    let leaf = cluster.running.in_process().pki().client(admin).unwrap();
    let admin = Raw {
        cluster: &cluster,
        leaf: Some(leaf),
    };
    let json = [("content-type", "application/json")];
    let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
    let maps = "/api/v1/namespaces/default/configmaps";
    let long = "x".repeat(4 * 1024 * 1024);
    let (one, other, absent, pretend) = (
        format!("{maps}/a"),
        format!("{maps}/b"),
        format!("{maps}/absent"),
        format!("{maps}?dryRun=Maybe"),
    );
    let table: Vec<Row<'_>> = vec![
        ("POST", maps, json.to_vec(), "{", 400, "json parse error"),
        ("POST", maps, json.to_vec(), "[]", 400, "cannot unmarshal"),
        (
            "POST",
            maps,
            json.to_vec(),
            "\u{1}",
            400,
            "json parse error",
        ),
        (
            "POST",
            maps,
            json.to_vec(),
            r#"{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}}"#,
            400,
            "no kind \"ConfigMap\" is registered for version \"v2\"",
        ),
        (
            "POST",
            maps,
            json.to_vec(),
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}"#,
            400,
            "unknown conversion",
        ),
        (
            "POST",
            maps,
            json.to_vec(),
            r#"{"metadata":{"name":"a","namespace":"b"}}"#,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            maps,
            json.to_vec(),
            r#"{"metadata":{"name":"A b"}}"#,
            422,
            "metadata.name",
        ),
        ("POST", maps, json.to_vec(), &long, 413, "too large"),
        (
            "POST",
            maps,
            vec![("content-type", "application/vnd.kubernetes.protobuf")],
            map,
            400,
            "does not appear to be a protobuf message",
        ),
        (
            "POST",
            maps,
            vec![("content-type", "application/cbor")],
            map,
            415,
            "unknown format",
        ),
        (
            "PATCH",
            &one,
            json.to_vec(),
            "{}",
            415,
            "415: Unsupported Media Type",
        ),
        (
            "PATCH",
            &one,
            vec![("content-type", "application/apply-patch+yaml")],
            map,
            422,
            "fieldManager",
        ),
        ("POST", &pretend, json.to_vec(), map, 422, "dryRun"),
        (
            "PUT",
            &other,
            json.to_vec(),
            map,
            400,
            "does not match the name on the URL",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/nothings",
            vec![],
            "",
            404,
            "could not find the requested",
        ),
        (
            "GET",
            "/apis/apps/v9/deployments",
            vec![],
            "",
            404,
            "could not find the requested",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/nothing",
            vec![],
            "",
            404,
            "could not find",
        ),
        ("GET", "/api/v1/pods/x", vec![], "", 404, "could not find"),
        (
            "GET",
            &absent,
            vec![],
            "",
            404,
            "configmaps \"absent\" not found",
        ),
        (
            "POST",
            &one,
            json.to_vec(),
            map,
            405,
            "does not allow this method",
        ),
        ("BREW", maps, vec![], "", 405, "does not allow this method"),
        (
            "GET",
            "/api/v1/pods?labelSelector=a%20b%20c",
            vec![],
            "",
            400,
            "",
        ),
        (
            "GET",
            "/api/v1/pods?watch=1&resourceVersion=x",
            vec![],
            "",
            500,
            "resourceVersion",
        ),
        (
            "GET",
            "/api/v1/pods?resourceVersion=99999999",
            vec![],
            "",
            504,
            "Too large resource version",
        ),
        (
            "GET",
            maps,
            vec![("accept", "image/png")],
            "",
            406,
            "406: Not Acceptable",
        ),
        (
            "GET",
            maps,
            vec![("impersonate-group", "x")],
            "",
            400,
            "without impersonating a user",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods",
            vec![("impersonate-user", "jane")],
            "",
            403,
            "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/default/deployments/x",
            vec![("impersonate-user", "jane")],
            "",
            403,
            "deployments.apps \"x\" is forbidden: User \"jane\" cannot delete resource \"deployments\" in API group \"apps\" in the namespace \"default\"",
        ),
        (
            "GET",
            "/metrics",
            vec![("impersonate-user", "jane")],
            "",
            403,
            "forbidden: User \"jane\" cannot get path \"/metrics\"",
        ),
    ];
    for (method, path, headers, body, code, message) in table {
        let (got, status) = admin.say(&request(method, path, &headers, body)).await;
        let said = status["message"].as_str().unwrap_or_default();
        assert_eq!(got, code, "{method} {path}: {status}");
        assert!(
            said.contains(message),
            "{method} {path}: {said:?} has no {message:?}"
        );
        assert_eq!(
            (&status["kind"], status["code"].as_u64()),
            (&"Status".into(), Some(code.into()))
        );
    }
    cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_half_requests_and_endless_headers_end_the_connection_only() {
    let cluster = Cluster::start().await;
    let nobody = Raw {
        cluster: &cluster,
        leaf: None,
    };
    let endless = format!(
        "GET /healthz HTTP/1.1\r\nhost: {}\r\n",
        "x".repeat(1024 * 1024)
    );
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5000));
    for (bytes, expected) in [
        (endless.as_bytes(), 431),
        (many.as_bytes(), 431),
        (b"\x00\xff\x00\xff\r\n\r\n".as_slice(), 400),
    ] {
        let (code, _) = nobody.say(bytes).await;
        assert!(
            code == expected || code == 0,
            "{code} instead of {expected}"
        );
    }
    // No TLS at all, and a handshake that never ends, cost only themselves.
    let mut plain = tokio::net::TcpStream::connect(cluster.running.address())
        .await
        .unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _silent = tokio::net::TcpStream::connect(cluster.running.address())
        .await
        .unwrap();
    assert_eq!(
        nobody.say(&request("GET", "/healthz", &[], "")).await.0,
        200
    );
    cluster.running.stop().await;
}
