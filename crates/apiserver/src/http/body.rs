//! Bodies: what is sent (whole, or a stream that ends with the server) and how much of what arrives is taken.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::protobuf;
use crate::error::StatusError;

/// Larger requests are refused, as Kubernetes refuses them.
const REQUEST_MAX: usize = 3 * 1024 * 1024;
/// A body that takes longer to arrive is given up.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Bodies that are being read or answered, together, in KiB.
pub(super) const ROOM_KIB: usize = 256 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => f
                .debug_tuple("Whole")
                .field(&bytes.as_ref().map(Bytes::len))
                .finish(),
            Kind::Stream(_) => f.debug_tuple("Stream").finish(),
        }
    }
}

impl Body {
    /// A body that is there already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(bytes.into())))
    }

    /// A body that comes piece by piece.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(stream)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|bytes| !bytes.is_empty())
                    .map(|b| Ok(Frame::data(b))),
            ),
            Kind::Stream(stream) => stream
                .as_mut()
                .poll_next(ctx)
                .map(|next| next.map(|item| item.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// Whether the body matters to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Body,
    Nothing,
}

/// The request's body, if the request needs one, up to the bound and within the deadline, and its share of the room
/// for bodies: taken before the first byte, as much as the body says that it has, else as much as any may have.
pub(super) async fn read<B>(
    body: B,
    wants: Wants,
    room: &Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'_>>), StatusError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if wants == Wants::Nothing {
        return Ok((Bytes::new(), None));
    }
    let most = body
        .size_hint()
        .upper()
        .and_then(|upper| usize::try_from(upper).ok());
    let kib = most.unwrap_or(REQUEST_MAX).min(REQUEST_MAX).div_ceil(1024);
    let share = room
        .try_acquire_many(u32::try_from(kib).unwrap_or(u32::MAX))
        .map_err(|_full| StatusError::too_many())?;
    let whole = Limited::new(body, REQUEST_MAX).collect();
    match tokio::time::timeout(READ_DEADLINE, whole).await {
        Ok(Ok(collected)) => Ok((collected.to_bytes(), Some(share))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusError::too_large(format!(
            "Request entity too large: limit is {REQUEST_MAX}"
        ))),
        Ok(Err(error)) => Err(StatusError::bad_request(format!(
            "unable to read the request body: {error}"
        ))),
        Err(_elapsed) => Err(StatusError::new(
            408,
            "Timeout",
            "the request body did not arrive in time",
        )),
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Yaml,
    /// Only taken, never given.
    Protobuf,
}

/// The syntax that a Content-Type names; Kubernetes takes a missing one for JSON.
pub(super) fn syntax(content_type: &str) -> Result<Syntax, StatusError> {
    match essence(content_type) {
        "" | "application/json" => Ok(Syntax::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Syntax::Yaml),
        protobuf::MEDIA_TYPE => Ok(Syntax::Protobuf),
        other => Err(StatusError::unsupported_media_type(format!(
            "the body of the request was in an unknown format ({other}) - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf"
        ))),
    }
}

/// The media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The value of a body.
pub(super) fn parse(bytes: &[u8], syntax: Syntax) -> Result<Value, StatusError> {
    let parsed = match syntax {
        Syntax::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Syntax::Protobuf => protobuf::decode(bytes),
        Syntax::Yaml => std::str::from_utf8(bytes)
            .map_err(|error| error.to_string())
            .and_then(|text| serde_saphyr::from_str(text).map_err(|error| error.to_string())),
    };
    parsed.map_err(|error| {
        StatusError::bad_request(format!("unable to parse the request body: {error}"))
    })
}
