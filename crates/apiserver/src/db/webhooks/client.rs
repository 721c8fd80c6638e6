//! Calls webhooks: one connection each, TLS only, within a deadline, and no more of an answer than it may be long.
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::resolve::{Address, endpoints};
use super::words;
use crate::db::Db;
use crate::store::meta;
use crate::store::webhooks::answer::{self, Response as Said};
use crate::store::webhooks::hook::{Place, Version};
use crate::store::webhooks::inquiry::{Question, Reply};
use crate::tls;

/// The longest answer: a patch may say an object as large as any, in base64.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of a text is repeated that is no answer.
const SAID_BYTES_MAX: usize = 2048;
/// How long one of several addresses may take to be reached.
const DIAL: Duration = Duration::from_secs(1);
const TOO_LATE: &str = "context deadline exceeded";

/// Calls webhooks.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Whom the system believes.
    system: OnceLock<RootCertStore>,
}

impl Client {
    /// Puts a question to its webhook, until its time or that of the whole request is over.
    pub(super) async fn ask(&self, db: &Db, question: &Question, end: Instant) -> Reply {
        match self.asked(db, question, end).await {
            Ok(said) => Reply::Said(Arc::new(said)),
            Err(why) => Reply::Failed(answer::short(why).into()),
        }
    }

    async fn asked(&self, db: &Db, question: &Question, end: Instant) -> Result<Said, String> {
        let hook = &question.hook;
        let begun = Instant::now();
        let timeout = hook.timeout.min(end.saturating_duration_since(begun));
        let no_client = |why: String| format!("could not get REST client: {why}");
        let config = self.config(&hook.authority).map_err(no_client)?;
        let address = Address::of(&hook.place).map_err(no_client)?;
        let uid = meta::new_uid(&mut rand::make_rng());
        let target = format!("{}?timeout={}s", address.path, seconds(timeout));
        let call = Call {
            db,
            place: &hook.place,
            address: &address,
            target: &target,
            config,
        };
        let version = hook.version.unwrap_or(Version::V1);
        let body = review(version, &uid, &question.request);
        let answer = timeout_at(begun + timeout, call.post(body)).await;
        let answer = answer.unwrap_or_else(|_elapsed| Err(Wrong::Post(TOO_LATE.to_owned())));
        let bytes = answer.map_err(|wrong| {
            let why = wrong.said(&address, &target);
            format!("failed to call webhook: {why}")
        })?;
        answer::read(hook, &uid, &bytes)
    }

    /// The TLS of a webhook that is believed by an authority.
    fn config(&self, authority: &[u8]) -> Result<Arc<ClientConfig>, String> {
        let roots = if authority.is_empty() {
            self.system.get_or_init(system_roots).clone()
        } else {
            tls::bundle(authority)
        };
        if roots.is_empty() && !authority.is_empty() {
            let why = "unable to load root certificates: unable to parse bytes as PEM block";
            return Err(why.to_owned());
        }
        tls::webhooks(roots).map_err(|error| format!("{error:#}"))
    }
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read all of the system's certificate authorities");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Whole seconds, none of them left out.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The review of a request.
fn review(version: Version, uid: &str, request: &str) -> Bytes {
    let rest = request.strip_prefix('{').unwrap_or(request);
    let version = version.name();
    let head = format!("{{\"kind\":\"AdmissionReview\",\"apiVersion\":\"{version}\"");
    format!("{head},\"request\":{{\"uid\":\"{uid}\",{rest}}}").into()
}

/// What went wrong with a call.
enum Wrong {
    /// The request could not be sent, or was not answered.
    Post(String),
    /// The answer was no good.
    Answer(String),
}

impl Wrong {
    fn said(self, address: &Address, target: &str) -> String {
        match self {
            Self::Post(why) => format!("Post \"https://{}{target}\": {why}", address.authority),
            Self::Answer(why) => why,
        }
    }
}

/// One call.
struct Call<'a> {
    db: &'a Db,
    place: &'a Place,
    address: &'a Address,
    target: &'a str,
    config: Arc<ClientConfig>,
}

impl Call<'_> {
    async fn post(&self, body: Bytes) -> Result<Bytes, Wrong> {
        let tcp = self.dial().await.map_err(Wrong::Post)?;
        let name = &self.address.name;
        let server = ServerName::try_from(name.clone());
        let server = server.map_err(|error| Wrong::Post(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(server, tcp).await;
        let stream = stream.map_err(|error| Wrong::Post(words::handshake(name, &error)))?;
        let broken = |error: hyper::Error| Wrong::Post(words::broken(&error));
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(broken)?;
        // The connection lives as long as the call; how it ended, the call finds out itself.
        let driven = async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a webhook ended");
            }
            std::future::pending().await
        };
        let called = async {
            let request = self.request(body)?;
            let response = sender.send_request(request).await.map_err(broken)?;
            read(response).await
        };
        tokio::select! {
            biased;
            answer = called => answer,
            never = driven => never,
        }
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Wrong> {
        Request::post(self.target)
            .header(HOST, &self.address.authority)
            .header(USER_AGENT, "kube-apiserver-admission")
            .header(ACCEPT, "application/json, */*")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Wrong::Post(error.to_string()))
    }

    /// Connects to one of those that the webhook's name stands for.
    async fn dial(&self) -> Result<TcpStream, String> {
        let mut failed = format!("dial tcp: lookup {}: no such host", self.address.name);
        let mut addresses = self.addresses().await?.into_iter().peekable();
        while let Some(address) = addresses.next() {
            let connect = TcpStream::connect(address);
            // The last one has all the time that is left.
            let connected = match addresses.peek() {
                Some(_) => timeout(DIAL, connect).await,
                None => Ok(connect.await),
            };
            let connected = connected.unwrap_or_else(|_elapsed| Err(ErrorKind::TimedOut.into()));
            match connected {
                Ok(stream) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a webhook was gone at once");
                    }
                    return Ok(stream);
                }
                Err(error) => failed = words::dial(&address.to_string(), &error),
            }
        }
        Err(failed)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let Place::Service {
            namespace,
            name,
            port,
            ..
        } = self.place
        else {
            let (name, port) = (self.address.name.as_str(), self.address.port);
            let found = tokio::net::lookup_host((name, port)).await;
            return found.map(Iterator::collect).map_err(|error| {
                tracing::debug!(%error, name, "a webhook's name is not known");
                format!("dial tcp: lookup {name}: no such host")
            });
        };
        let mut all = endpoints(&self.db.snapshot(), (namespace, name, *port))?;
        // Each call begins with another.
        let first = rand::random_range(0..all.len());
        all.rotate_left(first);
        let addresses = all.into_iter().filter_map(|(host, port)| {
            let host = host.parse().ok()?;
            Some(SocketAddr::new(host, port))
        });
        Ok(addresses.collect())
    }
}

/// The body of an answer that is a success.
async fn read(response: Response<Incoming>) -> Result<Bytes, Wrong> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| unread(&*error))?.to_bytes();
    if !(200..=206).contains(&head.status.as_u16()) {
        let why = refused(head.status, &head.headers, &bytes);
        return Err(Wrong::Answer(why));
    }
    if bytes.is_empty() {
        let kind = content_type(&head.headers).unwrap_or("application/json");
        let code = head.status.as_u16();
        let why = format!("0-length response with status code: {code} and content type: {kind}");
        return Err(Wrong::Answer(why));
    }
    Ok(bytes)
}

fn unread(error: &(dyn Error + 'static)) -> Wrong {
    if error.is::<LengthLimitError>() {
        let why = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
        return Wrong::Answer(why);
    }
    let why = match words::broken(error).as_str() {
        "EOF" => "unexpected EOF".to_owned(),
        why => why.to_owned(),
    };
    Wrong::Answer(format!(
        "unexpected error when reading response body. Please retry. Original error: {why}"
    ))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

fn refused(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> String {
    let is_text = content_type(headers).is_none_or(|kind| kind.starts_with("text/"));
    let bytes = &bytes[..bytes.len().min(SAID_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let said = if is_text { text.trim() } else { "unknown" };
    words::refused(status.as_u16(), said)
}
