//! Responses: JSON from values or from stored bytes, refusals as `Status`. The only place that maps errors to HTTP.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::Value;

use super::Body;
use super::body::Syntax;
use crate::error::StatusError;
use crate::object::Object;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A body that is JSON already.
pub(super) fn bytes(code: StatusCode, bytes: Bytes, syntax: Syntax) -> Response<Body> {
    match syntax {
        Syntax::Json | Syntax::Protobuf => build(code, JSON, bytes),
        Syntax::Yaml => match serde_json::from_slice::<Value>(&bytes) {
            Ok(parsed) => value(code, &parsed, Syntax::Yaml),
            Err(error) => status(&StatusError::internal(error)),
        },
    }
}

/// A value.
pub(super) fn value(code: StatusCode, value: &Value, syntax: Syntax) -> Response<Body> {
    match syntax {
        Syntax::Json | Syntax::Protobuf => build(code, JSON, Bytes::from(value.to_string())),
        Syntax::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => build(code, YAML, Bytes::from(text)),
            Err(error) => status(&StatusError::internal(error)),
        },
    }
}

/// Plain text.
pub(super) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    build(code, TEXT, text.into())
}

/// A stream of JSON lines.
pub(super) fn lines(body: Body) -> Response<Body> {
    with(StatusCode::OK, JSON, body)
}

/// A stream of text.
pub(super) fn stream(body: Body) -> Response<Body> {
    with(StatusCode::OK, TEXT, body)
}

/// A refusal.
pub(super) fn status(error: &StatusError) -> Response<Body> {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code.is_server_error() {
        tracing::warn!(
            code = error.code,
            reason = error.reason,
            "{}",
            error.message
        );
    }
    let mut response = value(code, &error.to_value(), Syntax::Json);
    if let Some(seconds) = error.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds a warning that kubectl prints.
pub(super) fn warn(response: &mut Response<Body>, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        response.headers_mut().append(WARNING, value);
    }
}

/// A list from the stored bytes of its objects: one allocation, one copy.
pub(super) fn list(
    api_version: &str,
    kind: &str,
    resource_version: u64,
    items: &[std::sync::Arc<Object>],
) -> Bytes {
    let head = format!(
        "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{{\"resourceVersion\":\"{resource_version}\"}},\"items\":["
    );
    let size: usize = items.iter().map(|item| item.bytes().len() + 1).sum();
    let mut out = BytesMut::with_capacity(head.len() + size + 2);
    out.put_slice(head.as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(item.bytes());
    }
    out.put_slice(b"]}");
    out.freeze()
}

fn build(code: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    with(code, content_type, Body::whole(bytes))
}

fn with(code: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
