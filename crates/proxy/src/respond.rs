//! What a proxy answers on its own behalf: a status, and the header `l5d-proxy-error` that says why.
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;

/// Says that the answer is the proxy's, and why.
pub(crate) const PROXY_ERROR: HeaderName = HeaderName::from_static("l5d-proxy-error");
/// Says to the peer proxy that not one byte of the request reached the application, so that it may
/// be sent elsewhere whatever its method.
pub(crate) const PROXY_UNSENT: HeaderName = HeaderName::from_static("l5d-proxy-unsent");
/// The version in which the client of the first proxy spoke.
pub(crate) const ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");
/// The verified identity of the peer, for the application.
pub(crate) const CLIENT_ID: HeaderName = HeaderName::from_static("l5d-client-id");

/// Whether the application may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Not one byte was sent to it.
    Unsent,
    /// It may have.
    Unknown,
}

/// An error of ours.
pub(crate) fn error(status: StatusCode, reason: &str, reach: Reach) -> Response<Body> {
    let mut response = Response::new(Body::whole(format!("{reason}\n").into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let fallback = HeaderValue::from_static("the reason cannot be written in a header");
    headers.insert(
        PROXY_ERROR,
        HeaderValue::from_str(reason).unwrap_or(fallback),
    );
    if reach == Reach::Unsent {
        headers.insert(PROXY_UNSENT, HeaderValue::from_static("true"));
    }
    response
}
