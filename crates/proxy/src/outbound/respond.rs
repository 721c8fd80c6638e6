//! What the client gets when there is no response: a status, and why.
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use tombolo_core::rescue::Refusal;

use crate::body::Body;
use crate::respond::PROXY_ERROR;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The longest text in a header.
const TEXT_MAX: usize = 512;

/// Why there is no response.
pub(super) enum Failure {
    /// More requests than the proxy carries.
    Busy,
    /// Discovery has not answered.
    Undiscovered(Duration),
    /// Discovery knows no such destination.
    Absent,
    /// Nothing serves it.
    NoEndpoints,
    /// All its endpoints are down; each cluster with its reason.
    AllDown(String),
    /// No endpoint could be connected in time.
    NotConnected(Duration),
    /// An attempt failed and there may be no other.
    Lost(Lost),
    /// The client's body failed.
    Client,
    /// What we do not do, yet.
    Unsupported(&'static str),
}

/// A failed attempt.
pub(super) struct Lost {
    pub(super) cluster: Arc<str>,
    pub(super) peer: std::net::SocketAddr,
    pub(super) why: String,
    pub(super) status: StatusCode,
    pub(super) refusal: Option<Refusal>,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::NoEndpoints | Self::AllDown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Undiscovered(_) | Self::NotConnected(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Absent => StatusCode::BAD_GATEWAY,
            Self::Lost(lost) => lost.status,
            Self::Client => StatusCode::BAD_REQUEST,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }

    fn text(&self, service: &str) -> String {
        let mut text = format!("{service}: ");
        let done = match self {
            Self::Busy => write!(text, "too many requests are waiting in this proxy"),
            Self::Undiscovered(waited) => {
                write!(
                    text,
                    "discovery has not answered within {} ms",
                    waited.as_millis()
                )
            }
            Self::Absent => write!(text, "discovery knows no such service"),
            Self::NoEndpoints => write!(text, "no endpoints"),
            Self::AllDown(why) => write!(text, "{why}"),
            Self::NotConnected(waited) => {
                write!(
                    text,
                    "no endpoint could be connected within {} ms",
                    waited.as_millis()
                )
            }
            Self::Lost(lost) => lost.write(&mut text),
            Self::Client => write!(text, "the request's body failed"),
            Self::Unsupported(what) => write!(text, "{what} is not supported"),
        };
        debug_assert!(done.is_ok(), "a String takes everything");
        text
    }

    /// As a response; gRPC gets a status in trailers-only form.
    pub(super) fn response(&self, service: &str, is_grpc: bool) -> Response<Body> {
        let text = header_value(&self.text(service));
        let mut response = Response::new(Body::Empty);
        if is_grpc {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from_static("14"));
            headers.insert(GRPC_MESSAGE, text.clone());
        } else {
            *response.status_mut() = self.status();
        }
        response.headers_mut().insert(PROXY_ERROR, text);
        response
    }
}

impl Lost {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        if self.cluster.is_empty() {
            write!(text, "endpoint {}: {}", self.peer, self.why)?;
        } else {
            write!(
                text,
                "cluster {}, endpoint {}: {}",
                self.cluster, self.peer, self.why
            )?;
        }
        match self.refusal {
            Some(refusal) => write!(text, "; not sent again: {refusal}"),
            None => Ok(()),
        }
    }
}

/// A text as a header's value, whatever is in it.
fn header_value(text: &str) -> HeaderValue {
    let visible = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    let text: String = text.chars().take(TEXT_MAX).map(visible).collect();
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_names_service_cluster_and_reason() {
        let failure = Failure::AllDown("cluster east is out: no path is left".into());
        let response = failure.response("api-east.mc-demo:8080", false);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let want = "api-east.mc-demo:8080: cluster east is out: no path is left";
        assert_eq!(response.headers()[PROXY_ERROR], want);
    }

    #[test]
    fn grpc_gets_its_status_without_a_body() {
        let response = Failure::NoEndpoints.response("a:1", true);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "a:1: no endpoints");
    }

    #[test]
    fn no_text_breaks_the_header() {
        let text = format!("a\r\nb: c\u{e9}{}", "x".repeat(9_999));
        let response = Failure::AllDown(text).response("s", false);
        assert!(response.headers()[PROXY_ERROR].len() <= TEXT_MAX);
    }
}
