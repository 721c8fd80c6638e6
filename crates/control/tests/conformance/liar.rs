//! An API server in the middle that answers well, and says what is not so.
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tombolo_shell::tls::{self, ClientCertificate, Credentials, ServerTls};

use super::relay::spawn;

/// What is said in the place of the truth; none: the truth.
pub(crate) type Lie = Option<&'static str>;

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    lie: watch::Sender<Lie>,
    task: tokio::task::JoinHandle<()>,
}

impl Liar {
    /// Before the API server that `upstream` reaches.
    pub(crate) async fn before(upstream: kube::Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec!["liar".to_owned()])?;
        let certificate = params.self_signed(&key)?;
        let chain = certificate.pem();
        let credentials = Credentials::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes())?;
        let tls = ServerTls::new(ClientCertificate::None, tls::fixed(credentials), &[]);
        let (lie, told) = watch::channel(None);
        let task = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(serve(stream, tls.clone(), upstream.clone(), told.clone()));
            }
        });
        Ok(Self { address, lie, task })
    }

    /// From now on; connections under way end.
    pub(crate) fn says(&self, lie: Lie) {
        self.lie.send_replace(lie);
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    tls: ServerTls,
    upstream: kube::Client,
    mut told: watch::Receiver<Lie>,
) {
    told.mark_unchanged();
    let Ok(accepted) = tls.accept(stream, Duration::from_secs(5)).await else {
        return;
    };
    let lie = *told.borrow();
    let service =
        service_fn(move |request: Request<Incoming>| answer(request, upstream.clone(), lie));
    let serving = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(accepted.stream), service);
    tokio::select! {
        _ended = serving => {}
        _changed = told.changed() => {}
    }
}

type Passed =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

async fn answer(
    request: Request<Incoming>,
    upstream: kube::Client,
    lie: Lie,
) -> Result<Response<Passed>, kube::Error> {
    if let Some(lie) = lie {
        let body = Full::new(Bytes::from_static(lie.as_bytes()));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let answer = Response::builder().header("content-type", "application/json");
        return answer.body(body).map_err(kube::Error::HttpError);
    }
    let (mut head, body) = request.into_parts();
    head.headers.remove("authorization");
    head.headers.remove("host");
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().unwrap_or_default();
    let body = body
        .collect()
        .await
        .map_err(kube::Error::HyperError)?
        .to_bytes();
    let request = Request::from_parts(head, Body::from(body.to_vec()));
    let answer = upstream.send(request).await?;
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}
