//! One attempt: sends a request over one path and waits for the response's beginning; a small
//! response to an idempotent request is waited for whole, so that it can still be rescued.
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tombolo_core::breaker::Death;
use tombolo_core::rescue::{Kind, Progress};

use super::meter::Meter;
use super::path::{Line, Path};
use super::plain::{self, Unanswered};
use super::replay::Replay;
use super::reply::{Reply, Source};
use super::shared::Shared;
use super::template;
use crate::body::{Body, H2Body};

/// A response up to this length is waited for whole.
const WHOLE_MAX: usize = 16 * 1024;

/// A request's place on a path, held until its response has ended.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: Arc<Path>,
    pub(super) line: Option<Arc<Line>>,
}

/// Why an attempt brought no response.
pub(super) struct Broken {
    pub(super) progress: Progress,
    pub(super) why: Why,
}

pub(super) enum Why {
    /// The path died.
    Death(Death),
    /// The peer reset the stream.
    Reset(Reason),
    /// The connection took no more requests.
    Leaving,
    /// The connection failed otherwise.
    Other(String),
    /// The client's own body failed.
    Client,
}

/// Moves a request's body to the peer, as far as its window allows.
#[derive(Debug)]
pub(super) struct Pump {
    stream: SendStream<Bytes>,
    piece: Bytes,
}

/// What became of a pump.
pub(super) enum Pumped {
    /// All was sent, or the peer wants no more.
    Done,
    /// The client's body failed.
    Client,
}

impl Place {
    pub(super) fn new(path: Arc<Path>, line: Option<Arc<Line>>) -> Self {
        path.pending.fetch_add(1, Relaxed);
        if let Some(line) = &line {
            line.meter.in_flight.fetch_add(1, Relaxed);
        }
        Self { path, line }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.path.pending.fetch_sub(1, Relaxed);
        if let Some(line) = &self.line {
            line.meter.in_flight.fetch_sub(1, Relaxed);
        }
    }
}

impl Why {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Death(Death::Silent(_) | Death::NoHandshake(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::Client => StatusCode::BAD_REQUEST,
            Self::Death(_) | Self::Reset(_) | Self::Leaving | Self::Other(_) => {
                StatusCode::BAD_GATEWAY
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Death(death) => death.fmt(f),
            Self::Reset(reason) => write!(f, "the peer reset the stream: {}", reason.description()),
            Self::Leaving => f.write_str("the connection took no more requests"),
            Self::Other(text) => f.write_str(text),
            Self::Client => f.write_str("the request's body failed"),
        }
    }
}

/// Sends over HTTP/2 to a peer proxy. `body` is taken if it is still being sent when the response
/// begins.
pub(super) async fn over_mesh(
    shared: &Shared,
    place: Place,
    kind: Kind,
    request: Request<()>,
    body: &mut Option<Replay>,
) -> Result<Response<Body>, Broken> {
    let Some(line) = place.line.clone() else {
        return Err(Broken {
            progress: Progress::Unsent,
            why: Why::Leaving,
        });
    };
    let leaving = |_error: h2::Error| {
        place.path.leave(shared, &line.meter);
        Broken {
            progress: Progress::Unsent,
            why: Why::Leaving,
        }
    };
    let mut send = line.send.clone();
    poll_fn(|cx| send.poll_ready(cx)).await.map_err(leaving)?;
    let written_before = line.meter.written.load(Relaxed);
    let ends = body.as_ref().is_none_or(Replay::is_end_stream);
    let sent_at = Instant::now();
    let (mut response, stream) = send.send_request(request, ends).map_err(leaving)?;
    line.meter.sent.fetch_add(1, Relaxed);
    let mut pump = (!ends).then(|| Pump {
        stream,
        piece: Bytes::new(),
    });
    let arrived = poll_fn(|cx| {
        if let (Some(moving), Some(body)) = (&mut pump, body.as_mut())
            && let Poll::Ready(pumped) = moving.poll(cx, body)
        {
            pump = None;
            if let Pumped::Client = pumped {
                return Poll::Ready(Err(None));
            }
        }
        Pin::new(&mut response).poll(cx).map_err(Some)
    });
    let response = match arrived.await {
        Ok(response) => response,
        Err(Some(error)) => return Err(broken(shared, &place, &error, written_before)),
        Err(None) => {
            return Err(Broken {
                progress: Progress::Answering,
                why: Why::Client,
            });
        }
    };
    let now = Instant::now();
    place.path.answered_within(shared.ms(now), now - sent_at);
    let (parts, stream) = response.into_parts();
    let mut stream = H2Body::new(stream);
    let length = content_length(&parts.headers);
    let body = if stream.is_end_stream() {
        Body::Empty
    } else if kind == Kind::Idempotent && pump.is_none() && length.is_some_and(|n| n <= WHOLE_MAX) {
        let failed = |error| broken(shared, &place, &error, written_before);
        whole(&mut stream).await.map_err(failed)?
    } else {
        let pump = pump.and_then(|pump| {
            let mut body = body.take()?;
            body.commit();
            Some(Box::new((pump, body)))
        });
        Body::Reply(Reply::new(Source::H2(stream), place, pump))
    };
    Ok(Response::from_parts(parts, body))
}

/// Sends over HTTP/1.1 to an application. `body` comes back if nothing was sent.
pub(super) async fn over_plain(
    shared: &Arc<Shared>,
    place: Place,
    request: Request<Body>,
    body: &mut Option<Replay>,
) -> Result<Response<Body>, Broken> {
    let path = place.path.clone();
    let sent_at = Instant::now();
    match plain::send(shared, &path, request).await {
        Ok((response, sender)) => {
            let now = Instant::now();
            path.answered_within(shared.ms(now), now - sent_at);
            path.cluster.heard(shared, now);
            let (mut parts, incoming) = response.into_parts();
            template::strip_hop_by_hop(&mut parts.headers);
            let source = Source::Plain(incoming, Some(sender));
            let body = Body::Reply(Reply::new(source, place, None));
            Ok(Response::from_parts(parts, body))
        }
        Err(Unanswered::Unsent(request, death)) => {
            if let Body::Kept(replay) = request.into_body() {
                *body = Some(*replay);
            }
            path.down(shared, death);
            path.news.notify_one();
            Err(Broken {
                progress: Progress::Unsent,
                why: Why::Death(death),
            })
        }
        Err(Unanswered::Failed(error)) => {
            let why = Why::Other(format!("the connection failed: {error}"));
            Err(Broken {
                progress: Progress::Sent,
                why,
            })
        }
    }
}

fn broken(shared: &Shared, place: &Place, error: &h2::Error, written_before: u64) -> Broken {
    let Some(line) = &place.line else {
        return Broken {
            progress: Progress::Sent,
            why: Why::Other(error.to_string()),
        };
    };
    if error.is_remote() && error.is_go_away() {
        place.path.leave(shared, &line.meter);
        return Broken {
            progress: Progress::Refused,
            why: Why::Leaving,
        };
    }
    if let Some(reason) = error
        .reason()
        .filter(|_| error.is_remote() && error.is_reset())
    {
        let refused = reason == Reason::REFUSED_STREAM;
        let progress = if refused {
            Progress::Refused
        } else {
            Progress::Sent
        };
        return Broken {
            progress,
            why: Why::Reset(reason),
        };
    }
    let why = why_ended(&line.meter).unwrap_or_else(|| Why::Other(error.to_string()));
    let unsent = line.meter.written.load(Relaxed) == written_before;
    Broken {
        progress: if unsent {
            Progress::Unsent
        } else {
            Progress::Sent
        },
        why,
    }
}

fn why_ended(meter: &Meter) -> Option<Why> {
    meter.death.get().copied().map(Why::Death)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(CONTENT_LENGTH)
        .map(HeaderValue::to_str)?
        .ok()?
        .parse()
        .ok()
}

/// Waits for all of a small body.
async fn whole(stream: &mut H2Body) -> Result<Body, h2::Error> {
    let mut data = Bytes::new();
    let mut trailers = None;
    while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(more) if data.is_empty() => data = more,
            Ok(more) => {
                let mut all = BytesMut::with_capacity(data.len() + more.len());
                all.extend_from_slice(&data);
                all.extend_from_slice(&more);
                data = all.freeze();
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Body::with_trailers(data, trailers))
}

impl Pump {
    /// Moves what can be moved now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, body: &mut Replay) -> Poll<Pumped> {
        loop {
            if !self.piece.is_empty() {
                self.stream.reserve_capacity(self.piece.len());
                let Some(Ok(capacity)) = ready!(self.stream.poll_capacity(cx)) else {
                    return Poll::Ready(Pumped::Done);
                };
                let piece = self.piece.split_to(capacity.min(self.piece.len()));
                let ends = self.piece.is_empty() && body.is_end_stream();
                if self.stream.send_data(piece, ends).is_err() || ends {
                    return Poll::Ready(Pumped::Done);
                }
                continue;
            }
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Pumped::Done);
            }
            match ready!(body.poll_piece(cx)) {
                None => {
                    self.stream.send_data(Bytes::new(), true).ok();
                    return Poll::Ready(Pumped::Done);
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "the request's body failed");
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Pumped::Client);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.stream.send_trailers(trailers).ok();
                        return Poll::Ready(Pumped::Done);
                    }
                },
            }
        }
    }
}
