//! Webhooks behind a Service of the cluster: who is dialled, and whose certificate is believed.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tombolo_apiserver::auth::User;
use tombolo_apiserver::run::{Config, InProcess};
use tombolo_shell::task::Tasks;

/// A webhook that refuses everything, for the name of a Service.
struct Webhook {
    address: SocketAddr,
    authority: String,
    tasks: Tasks,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Webhook {
    async fn start(name: &str) -> Self {
        let (config, authority) = certified(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tasks.spawn_one("webhook", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let http = hyper::server::conn::http1::Builder::new();
                let served = http.serve_connection(TokioIo::new(stream), service_fn(refuse));
                // Whoever asks may go away at any time.
                served.await.ok();
            }
        });
        Self {
            address,
            authority,
            tasks,
        }
    }
}

/// A server's TLS, and the authority that has signed its certificate.
fn certified(name: &str) -> (ServerConfig, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (config, authority)
}

/// Refuses, and says by which host and path it was called.
async fn refuse(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let said = format!("{host}{}", request.uri());
    let body = request.into_body().collect().await?.to_bytes();
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    let uid = review["request"]["uid"].clone();
    review["response"] = json!({"uid": uid, "allowed": false, "status": {"message": said}});
    Ok(Response::new(Full::new(review.to_string().into())))
}

/// What a request is refused with; nothing if it is not.
async fn ask(client: &kube::Client, method: &str, path: &str, body: Value) -> String {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => String::new(),
        Err(kube::Error::Api(status)) => status.message.clone(),
        Err(other) => panic!("{other}"),
    }
}

/// A slice that says where the Service's endpoints are.
fn slice(webhook: &Webhook, ready: bool) -> Value {
    let (ip, port) = (webhook.address.ip(), webhook.address.port());
    let labels = json!({"kubernetes.io/service-name": "hook"});
    json!({"addressType": "IPv4", "metadata": {"name": "hook-1", "labels": labels},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}}],
        "ports": [{"name": "web", "port": port}]})
}

fn configuration(webhook: &Webhook) -> Value {
    let bundle = k8s_openapi::ByteString(webhook.authority.clone().into_bytes());
    let service = json!({"name": "hook", "namespace": "default", "path": "/v", "port": 8443});
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    json!({"metadata": {"name": "hook"}, "webhooks": [{"name": "v.example.com", "rules": [rule],
        "clientConfig": {"caBundle": bundle, "service": service}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"]}]})
}

#[tokio::test]
async fn webhook_behind_a_service_is_asked_at_a_ready_endpoint() {
    let server = InProcess::start(&Config::memory()).await.unwrap();
    let client = kube::Client::new(server.client_service(User::admin()), "default");
    let webhook = Webhook::start("hook.default.svc").await;
    let hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let made = ask(&client, "POST", hooks, configuration(&webhook)).await;
    assert_eq!(made, "");
    let create = async || {
        let map = json!({"metadata": {"name": "m"}});
        let maps = "/api/v1/namespaces/default/configmaps";
        ask(&client, "POST", maps, map).await
    };
    let unreachable = |why: &str| {
        format!(
            "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: Post \
             \"https://hook.default.svc:8443/v?timeout=10s\": {why}"
        )
    };
    assert_eq!(create().await, unreachable("service \"hook\" not found"));
    let service = |port: u16| json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "web", "port": port}]}});
    let services = "/api/v1/namespaces/default/services";
    let one = format!("{services}/hook");
    assert_eq!(ask(&client, "POST", services, service(1)).await, "");
    let why = "no service port 8443 found for service \"hook\"";
    assert_eq!(create().await, unreachable(why));
    assert_eq!(ask(&client, "DELETE", &one, Value::Null).await, "");
    assert_eq!(ask(&client, "POST", services, service(8443)).await, "");
    let none = unreachable("no endpoints available for service \"hook\"");
    assert_eq!(create().await, none);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let made = ask(&client, "POST", slices, slice(&webhook, false)).await;
    assert_eq!((made.as_str(), create().await), ("", none));
    let one = format!("{slices}/hook-1");
    let made = ask(&client, "PUT", &one, slice(&webhook, true)).await;
    assert_eq!(made, "");
    let denied = "admission webhook \"v.example.com\" denied the request: hook.default.svc:8443/v?timeout=10s";
    assert_eq!(create().await, denied);
    server.stop().await;
}
