//! Answers that are what was asked for, and no longer than they may be. For lists: whatever else answers at an API server's address (a proxy's page, an empty
//! object, a list of another kind) would be taken for a list of nothing, and nothing would be left of its mirrors.
//!
//! Decides only what is no list of the kind that belongs to its path. Reads nothing of what is in it.
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::{Body, ClientBuilder};
use kube::config::Config;
use serde::Deserialize;
use tower::{BoxError, Layer, Service};

/// What a list of each path that is followed calls itself.
const KINDS: [(&str, &str); 7] = [
    ("/api/v1/services", "ServiceList"),
    ("/api/v1/pods", "PodList"),
    ("/api/v1/namespaces", "NamespaceList"),
    ("/api/v1/secrets", "SecretList"),
    (
        "/apis/discovery.k8s.io/v1/endpointslices",
        "EndpointSliceList",
    ),
    ("/apis/policy.linkerd.io/v1beta3/servers", "ServerList"),
    ("/apis/multicluster.linkerd.io/v1alpha3/links", "LinkList"),
];

/// A page of a list is no longer: 500 objects of more than 100 KiB.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Any other answer, and one event of a watch, is no longer: several times what an object may hold.
const OBJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client that takes lists of the right kind only, and nothing without end.
///
/// # Errors
/// As those of [`kube::Client`].
pub(crate) fn client(config: Config) -> Result<kube::Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&Checking)
        .build())
}

/// An answer that is no list of what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("it answers with {found} where a {wanted} was asked for")]
struct Another {
    found: String,
    wanted: &'static str,
}

/// An answer that is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("{what} of it is longer than {} MiB", max >> 20)]
struct TooLong {
    what: &'static str,
    max: usize,
}

#[derive(Clone, Copy)]
struct Checking;

impl<S> Layer<S> for Checking {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner }
    }
}

#[derive(Clone)]
struct Checked<S> {
    inner: S,
}

/// What is passed on, as it came or as a whole.
type Passed = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Passed>, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for Checked<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Passed>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(ctx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let (wanted, unit) = (kind_of(&request), unit_of(&request));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            let Some(wanted) = wanted.filter(|_| answer.status() == StatusCode::OK) else {
                return Ok(answer.map(|body| bounded(body, unit)));
            };
            let (head, body) = answer.into_parts();
            let page = Bounded::new(body, Unit::Whole, ("a page", PAGE_BYTES_MAX));
            let bytes = page.collect().await?.to_bytes();
            check(&bytes, wanted)?;
            let whole = Full::new(bytes).map_err(|never| match never {});
            Ok(Response::from_parts(head, whole.boxed_unsync()))
        })
    }
}

/// What is counted until there is too much of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// All of the answer.
    Whole,
    /// One line of it: a watch is one event per line, for ever.
    Line,
}

fn bounded<B>(body: B, unit: Unit) -> Passed
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let what = match unit {
        Unit::Whole => "an answer",
        Unit::Line => "an event",
    };
    Bounded::new(body, unit, (what, OBJECT_BYTES_MAX)).boxed_unsync()
}

/// A body that ends with an error where there is too much of it.
struct Bounded {
    body: Passed,
    unit: Unit,
    count: usize,
    bound: (&'static str, usize),
}

impl Bounded {
    fn new<B>(body: B, unit: Unit, bound: (&'static str, usize)) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            body: body.map_err(Into::into).boxed_unsync(),
            unit,
            count: 0,
            bound,
        }
    }

    fn takes(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = match self.unit {
            Unit::Line => bytes.iter().rposition(|byte| *byte == b'\n'),
            Unit::Whole => None,
        };
        self.count = match end {
            Some(end) => bytes.len() - end - 1,
            None => self.count.saturating_add(bytes.len()),
        };
        let (what, max) = self.bound;
        if self.count > max {
            return Err(TooLong { what, max });
        }
        Ok(())
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(ctx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
            && let Err(error) = this.takes(bytes)
        {
            return Poll::Ready(Some(Err(error.into())));
        }
        polled
    }
}

/// What the answer to a request must call itself, if it is a list that is followed.
fn kind_of(request: &Request<Body>) -> Option<&'static str> {
    if request.method() != Method::GET || unit_of(request) == Unit::Line {
        return None;
    }
    let uri = request.uri();
    // The server may be reached below a path of its own.
    let kind = KINDS.iter().find(|(path, _)| uri.path().ends_with(path));
    kind.map(|(_, kind)| *kind)
}

/// A watch is counted by the line.
fn unit_of(request: &Request<Body>) -> Unit {
    let mut pairs = request.uri().query().unwrap_or_default().split('&');
    if pairs.any(|pair| pair == "watch=true" || pair == "watch=1") {
        Unit::Line
    } else {
        Unit::Whole
    }
}

fn check(bytes: &[u8], wanted: &'static str) -> Result<(), Another> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        kind: String,
    }
    let found = match serde_json::from_slice::<Head>(bytes) {
        Ok(Head { kind }) if kind == wanted => return Ok(()),
        Ok(Head { kind }) if kind.is_empty() => "an object of no kind".to_owned(),
        Ok(Head { kind }) => format!("a {:?}", kind.chars().take(64).collect::<String>()),
        Err(_) => "what is no object".to_owned(),
    };
    Err(Another { found, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_list_of_that_kind_is_one() {
        for (text, want) in [
            (r#"{"kind":"ServiceList","items":[]}"#, ""),
            (r#"{"items":[],"kind":"ServiceList"}"#, ""),
            (r#"{"kind":"PodList","items":[]}"#, "a \"PodList\""),
            (r#"{"items":[]}"#, "an object of no kind"),
            ("{}", "an object of no kind"),
            (r#"{"kind":"ServiceList","items":["#, "what is no object"),
            ("[]", "an object of no kind"),
            ("null", "what is no object"),
            ("<html></html>", "what is no object"),
            ("", "what is no object"),
        ] {
            let found = check(text.as_bytes(), "ServiceList").err();
            let found = found.map(|another| another.found).unwrap_or_default();
            assert_eq!(found, want, "{text}");
        }
    }

    /// How many chunks of such a body are taken, and what is said of the next.
    async fn taken(unit: Unit, chunks: &'static [&'static str]) -> (usize, String) {
        let frames = chunks
            .iter()
            .map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let mut body = Bounded::new(body, unit, ("a line", 4));
        for count in 0.. {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return (count, error.to_string()),
                None => return (count, String::new()),
            }
        }
        unreachable!()
    }

    #[tokio::test]
    async fn what_has_no_end_is_left() {
        let long = "a line of it is longer than 0 MiB";
        for (unit, chunks, want) in [
            (Unit::Whole, &["ab", "cd"][..], (2, "")),
            (Unit::Whole, &["ab", "c\n", "e"], (2, long)),
            (Unit::Line, &["abcd\n", "ab\ncd", "ef\n", "\nab"], (4, "")),
            (Unit::Line, &["ab\nabc", "de"], (1, long)),
        ] {
            let (count, why) = taken(unit, chunks).await;
            assert_eq!((count, why.as_str()), want, "{chunks:?}");
        }
    }

    #[test]
    fn lists_that_are_followed_are_checked_and_nothing_else() {
        for (method, uri, want) in [
            ("GET", "/api/v1/services?limit=500", Some("ServiceList")),
            ("GET", "/k8s/c-1/api/v1/pods", Some("PodList")),
            ("GET", "/api/v1/services?watch=true&x=1", None),
            ("GET", "/api/v1/namespaces/kube-system", None),
            ("PATCH", "/api/v1/services", None),
            ("GET", "/version", None),
        ] {
            let request = Request::builder().method(method).uri(uri);
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(kind_of(&request), want, "{method} {uri}");
        }
    }
}
