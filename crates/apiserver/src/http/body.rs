//! Bodies: what is sent (whole, or a stream that ends with the server) and how much of what arrives is taken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::protobuf;
use crate::error::StatusError;
use crate::room::{Room, Share};
use crate::schema;

/// Larger requests are refused, as Kubernetes refuses them.
const REQUEST_MAX: usize = 3 * 1024 * 1024;
/// A body that takes longer to arrive is given up.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Larger bodies in YAML are parsed apart from other requests, and so many at a time.
const YAML_AT_ONCE_MAX: usize = 64 * 1024;
static YAML_ROOM: Semaphore = Semaphore::const_new(2);

mod pretty;
pub(super) mod yaml;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    /// What is left of a document and the end of its line.
    Line(Option<Bytes>, Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => f
                .debug_tuple("Whole")
                .field(&bytes.as_ref().map(Bytes::len))
                .finish(),
            Kind::Line(bytes, _) => f
                .debug_tuple("Line")
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

    /// A document that is there already, and the end of its line: nothing is copied for that.
    pub(super) fn line(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Line(
            Some(bytes.into()),
            Some(Bytes::from_static(b"\n")),
        ))
    }

    /// How large it is, if it is there already.
    pub(super) fn size(&self) -> usize {
        match &self.0 {
            Kind::Whole(bytes) | Kind::Line(bytes, _) => bytes.as_ref().map_or(0, Bytes::len),
            Kind::Stream(_) => 0,
        }
    }

    /// Keeps a share for as long as its bytes are anywhere, in the buffers of a connection too.
    pub(super) fn holding(mut self, share: Share) -> Self {
        if let Kind::Whole(bytes) | Kind::Line(bytes, _) = &mut self.0 {
            let held = bytes.take().map(|bytes| Held(bytes, share));
            *bytes = held.map(Bytes::from_owner);
        }
        self
    }

    /// Its pieces, if it is there already.
    pub(super) fn into_pieces(self) -> Result<[Option<Bytes>; 2], Self> {
        match self.0 {
            Kind::Whole(bytes) => Ok([bytes, None]),
            Kind::Line(bytes, end) => Ok([bytes, end]),
            kind @ Kind::Stream(_) => Err(Self(kind)),
        }
    }

    /// The same document for people's eyes, if it is one that is there already: each value on a line of its own.
    pub(super) fn indented(self) -> Self {
        match self.0 {
            Kind::Line(Some(bytes), end) => match pretty::indented(&bytes) {
                Some(indented) => Self::whole(indented),
                None => Self(Kind::Line(Some(bytes), end)),
            },
            kind => Self(kind),
        }
    }

    /// A body of pieces that are there.
    pub(super) fn of_pieces([bytes, end]: [Option<Bytes>; 2]) -> Self {
        Self(Kind::Line(bytes, end))
    }

    /// A body that comes piece by piece.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(stream)))
    }
}

/// Bytes with their share of a room.
struct Held(
    Bytes,
    #[expect(dead_code, reason = "it is there to be dropped")] Share,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
            Kind::Line(bytes, end) => {
                let piece = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(piece.or_else(|| end.take()).map(|b| Ok(Frame::data(b))))
            }
            Kind::Stream(stream) => stream
                .as_mut()
                .poll_next(ctx)
                .map(|next| next.map(|item| item.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Line(_, end) => end.is_none(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Line(bytes, end) => {
                let left = [bytes, end].into_iter().flatten();
                SizeHint::with_exact(left.map(|bytes| bytes.len() as u64).sum())
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

/// The request's body, if the request needs one, up to the bound and within the deadline, and its user's share of the
/// room for bodies: taken before the first byte, as much as the body says that it has, else as much as any may have.
pub(super) async fn read<B>(
    body: B,
    wants: Wants,
    (room, user): (&Arc<Room>, &str),
) -> Result<(Bytes, Option<Share>), StatusError>
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
    let most = most.unwrap_or(REQUEST_MAX).min(REQUEST_MAX);
    let share = room.take(user, most).ok_or_else(StatusError::too_many)?;
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
        "application/yaml" => Ok(Syntax::Yaml),
        protobuf::MEDIA_TYPE => Ok(Syntax::Protobuf),
        _ => Err(StatusError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The value of a body; else what Kubernetes would say is wrong with it.
pub(super) fn parse(bytes: &[u8], syntax: Syntax) -> Result<Value, String> {
    match syntax {
        Syntax::Json => serde_json::from_slice(bytes).map_err(|error| {
            let why = schema::syntax::problem(bytes).unwrap_or_else(|| error.to_string());
            format!("couldn't get version/kind; json parse error: {why}")
        }),
        Syntax::Protobuf => protobuf::decode(bytes),
        Syntax::Yaml => yaml::value(bytes),
    }
}

/// What a large body in YAML is, parsed where that holds up no other request; nothing of what is parsed soon enough.
pub(super) async fn ahead(bytes: &Bytes, content_type: &str) -> Option<Result<Value, String>> {
    let is_yaml = matches!(
        essence(content_type),
        "application/yaml" | "application/apply-patch+yaml"
    );
    if !is_yaml || bytes.len() <= YAML_AT_ONCE_MAX {
        return None;
    }
    let bytes = bytes.clone();
    let permit = YAML_ROOM.acquire().await.ok()?;
    let parsed = tokio::task::spawn_blocking(move || yaml_or_json(&bytes)).await;
    drop(permit);
    Some(parsed.unwrap_or_else(|error| Err(format!("yaml: {error}"))))
}

/// JSON is YAML, and most clients send it; its parser is much the quicker.
pub(super) fn yaml_or_json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|_error| yaml::value(bytes))
}

/// The beginning of a body, as refusals show it.
pub(super) fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}
