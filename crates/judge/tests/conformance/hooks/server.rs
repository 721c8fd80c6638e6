//! A webhook in this process: TLS on a loopback address, with a certificate of an authority of its own.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tombolo_shell::task::Tasks;

/// What a webhook says.
pub(crate) enum Say {
    /// The `response` of a review but its uid.
    Response(Value),
    /// A whole review.
    Review(Value),
    /// Anything at all: code, type and body.
    Raw(u16, &'static str, String),
}

/// Lets everything pass.
pub(crate) fn allow() -> Say {
    Say::Response(json!({"allowed": true}))
}

/// Refuses with a Status.
pub(crate) fn deny(status: Value) -> Say {
    Say::Response(json!({"allowed": false, "status": status}))
}

/// Changes the object.
pub(crate) fn patch(operations: &Value) -> Say {
    let patch = base64(operations.to_string().as_bytes());
    Say::Response(json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

/// As JSON writes bytes.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let secret = k8s_openapi::ByteString(bytes.to_vec());
    let text = serde_json::to_value(&secret).unwrap_or_default();
    text.as_str().unwrap_or_default().to_owned()
}

type Saying = Pin<Box<dyn Future<Output = Say> + Send>>;
type Answer = Arc<dyn Fn(String, Value) -> Saying + Send + Sync>;

/// A running webhook.
pub(crate) struct Server {
    address: SocketAddr,
    authority: String,
    /// The path and the request of each review, as they come.
    seen: tokio::sync::Mutex<mpsc::Receiver<(String, Value)>>,
    tasks: Tasks,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Server {
    /// Answers by the path (without its slash) and the request.
    pub(crate) async fn start<F>(
        answer: impl Fn(String, Value) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Say> + Send + 'static,
    {
        Self::named("127.0.0.1", answer).await
    }

    /// The same with a certificate for somebody else.
    pub(crate) async fn named<F>(
        name: &str,
        answer: impl Fn(String, Value) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Say> + Send + 'static,
    {
        let (config, authority) = certified(name)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (note, seen) = mpsc::channel(1024);
        let tasks = Tasks::new();
        let serving = Serving {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            answer: Arc::new(move |path, request| Box::pin(answer(path, request))),
            note,
        };
        let connections = tasks.clone();
        tasks.spawn_one("webhook", async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn_one("webhook connection", serving.clone().run(stream));
            }
        });
        Ok(Self {
            address,
            authority,
            seen: tokio::sync::Mutex::new(seen),
            tasks,
        })
    }

    /// Where it is, for a configuration.
    pub(crate) fn at(&self, path: &str) -> Value {
        let address = self.address;
        let url = format!("https://{address}/{path}");
        json!({"url": url, "caBundle": base64(self.authority.as_bytes())})
    }

    /// What it is called by.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }

    /// The next request that it gets.
    pub(crate) async fn next(&self) -> Result<(String, Value)> {
        let next = self.seen.lock().await.recv().await;
        next.context("the webhook has ended")
    }

    /// The requests that it has got and nobody has looked at, by their paths.
    pub(crate) async fn so_far(&self) -> Vec<(String, Value)> {
        let mut seen = self.seen.lock().await;
        std::iter::from_fn(|| seen.try_recv().ok()).collect()
    }
}

/// What each connection needs.
#[derive(Clone)]
struct Serving {
    acceptor: TlsAcceptor,
    answer: Answer,
    note: mpsc::Sender<(String, Value)>,
}

impl Serving {
    async fn run(self, stream: TcpStream) {
        let Ok(stream) = self.acceptor.accept(stream).await else {
            return;
        };
        let service = service_fn(move |request| {
            let (answer, note) = (Arc::clone(&self.answer), self.note.clone());
            reply(request, answer, note)
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection(TokioIo::new(stream), service);
        // Whoever asks may go away at any time.
        served.await.ok();
    }
}

async fn reply(
    request: Request<Incoming>,
    answer: Answer,
    note: mpsc::Sender<(String, Value)>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let body = request.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = review["request"].clone();
    note.try_send((path.clone(), asked.clone())).ok();
    let uid = asked["uid"].clone();
    let said = answer(path, asked).await;
    let (code, kind, body) = match said {
        Say::Raw(code, kind, body) => (code, kind, body),
        Say::Review(review) => (200, "application/json", review.to_string()),
        Say::Response(mut response) => {
            response["uid"] = uid;
            let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                "response": response});
            (200, "application/json", review.to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

/// A server's TLS, and the authority that has signed its certificate.
fn certified(name: &str) -> Result<(ServerConfig, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec![name.to_owned()])?.signed_by(&own, &issuer)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(own.serialize_der()).map_err(anyhow::Error::msg)?,
        )?;
    Ok((config, authority))
}
