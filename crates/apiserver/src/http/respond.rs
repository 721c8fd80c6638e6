//! Responses: JSON from values or from stored bytes, refusals as `Status`. The only place that maps errors to HTTP.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Syntax;
use super::{Body, protobuf, yaml};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::room::Room;
use crate::schema::order;

/// Answers up to this size need no share of the room for answers.
const SMALL: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const PROTOBUF: HeaderValue = HeaderValue::from_static(protobuf::MEDIA_TYPE);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A body that is JSON already.
pub(super) fn bytes(code: StatusCode, bytes: Bytes, syntax: Syntax) -> Response<Body> {
    match syntax {
        Syntax::Json => with(code, JSON, Body::line(bytes)),
        Syntax::Protobuf => match serde_json::from_slice::<Value>(&bytes) {
            Ok(parsed) => value(code, &parsed, Syntax::Protobuf),
            Err(error) => status(&StatusError::internal(error)),
        },
        Syntax::Yaml => match serde_json::from_slice::<Value>(&bytes) {
            Ok(parsed) => value(code, &parsed, Syntax::Yaml),
            Err(error) => status(&StatusError::internal(error)),
        },
    }
}

/// A document that is JSON already, and ends as it ends.
pub(super) fn document(code: StatusCode, document: Bytes, syntax: Syntax) -> Response<Body> {
    match syntax {
        Syntax::Yaml => bytes(code, document, syntax),
        Syntax::Json | Syntax::Protobuf => build(code, JSON, document),
    }
}

/// A value.
pub(super) fn value(code: StatusCode, value: &Value, syntax: Syntax) -> Response<Body> {
    match syntax {
        Syntax::Json => with(code, JSON, Body::line(order::encode(value))),
        Syntax::Protobuf => match protobuf::encode(value) {
            Some(bytes) => build(code, PROTOBUF, Bytes::from(bytes)),
            // Kinds of CRDs have no such form: whoever prefers it takes JSON too.
            None => with(code, JSON, Body::line(order::encode(value))),
        },
        Syntax::Yaml => build(code, YAML, Bytes::from(yaml::write(value))),
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

/// A refusal, as JSON.
pub(super) fn status(error: &StatusError) -> Response<Body> {
    refusal(error, Syntax::Json)
}

/// A refusal, in the syntax that the client reads.
pub(super) fn refusal(error: &StatusError, syntax: Syntax) -> Response<Body> {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code.is_server_error() {
        tracing::warn!(
            code = error.code,
            reason = error.reason,
            "{}",
            error.message
        );
    }
    let mut response = value(code, &error.to_value(), syntax);
    if let Some(seconds) = error.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A response as people read it, if that is wanted of JSON that is no stream.
pub(super) fn shown(response: Response<Body>, pretty: bool) -> Response<Body> {
    if pretty && response.headers().get(CONTENT_TYPE) == Some(&JSON) {
        return response.map(Body::indented);
    }
    response
}

/// A response whose body, if it is large, has its user's share of the room for answers; without room a refusal.
pub(super) fn within(
    response: Response<Body>,
    (room, user): (&Arc<Room>, &str),
    syntax: Syntax,
) -> Response<Body> {
    let size = response.body().size();
    if size <= SMALL {
        return response;
    }
    match room.take(user, size) {
        Some(share) => response.map(|body| body.holding(share)),
        None => refusal(&StatusError::too_many(), syntax),
    }
}

/// Adds a warning that kubectl prints.
pub(super) fn warn(response: &mut Response<Body>, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        response.headers_mut().append(WARNING, value);
    }
}

/// What a list says besides its objects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListHead<'a> {
    /// 0 if what is listed is not stored.
    pub(super) version: u64,
    /// Where the next page begins.
    pub(super) next: Option<&'a str>,
    /// How many objects come after this page.
    pub(super) remaining: Option<usize>,
}

impl ListHead<'_> {
    pub(super) fn to_value(self) -> Value {
        let mut metadata = json!({});
        if self.version > 0 {
            metadata["resourceVersion"] = self.version.to_string().into();
        }
        if let Some(next) = self.next {
            metadata["continue"] = next.into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }

    /// In Kubernetes' order of fields.
    fn to_text(self) -> String {
        if self.version == 0 {
            return "{}".to_owned();
        }
        let mut text = format!("{{\"resourceVersion\":\"{}\"", self.version);
        if let Some(next) = self.next {
            text.push_str(&format!(",\"continue\":\"{next}\""));
        }
        if let Some(remaining) = self.remaining {
            text.push_str(&format!(",\"remainingItemCount\":{remaining}"));
        }
        text.push('}');
        text
    }
}

/// A list from the stored bytes of its objects: one allocation, one copy. Items of built-in kinds do not say their type.
pub(super) fn list(res: &Resource, head: &ListHead<'_>, items: &[Arc<Object>]) -> Bytes {
    let (kind, version) = (&res.list_kind, res.api_version());
    // The order of fields is that of the real one, for types that it knows and for others.
    let (before, after) = if res.custom {
        let mut metadata = head.to_value();
        // Lists without types say it even where nothing follows.
        metadata["continue"] = head.next.unwrap_or_default().into();
        (
            format!("{{\"apiVersion\":\"{version}\",\"items\":["),
            format!("],\"kind\":\"{kind}\",\"metadata\":{metadata}}}"),
        )
    } else {
        let metadata = head.to_text();
        (
            format!(
                "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":["
            ),
            "]}".to_owned(),
        )
    };
    let size: usize = items.iter().map(|item| item.bytes().len() + 1).sum();
    let mut out = BytesMut::with_capacity(before.len() + size + after.len());
    out.put_slice(before.as_bytes());
    let known = (!res.custom).then(|| {
        let kind = &res.kind;
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",")
    });
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        match known
            .as_deref()
            .and_then(|known| item.bytes().strip_prefix(known.as_bytes()))
        {
            Some(rest) => {
                out.put_u8(b'{');
                out.put_slice(rest);
            }
            None => out.put_slice(item.bytes()),
        }
    }
    out.put_slice(after.as_bytes());
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
