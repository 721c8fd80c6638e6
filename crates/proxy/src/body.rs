//! The one body type that flows through the proxy, in both directions.
//!
//! An enum, not a boxed trait object: data passes by reference count, never by copy. It knows where
//! bytes come from, never what they mean.
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::outbound::{Replay, Reply};

/// A request's or a response's body.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing at all.
    #[default]
    Empty,
    /// Bytes, and perhaps trailers, that are already here.
    Whole(Whole),
    /// What hyper receives: an HTTP/1.1 or HTTP/2 client, or an application.
    Hyper(hyper::body::Incoming),
    /// What arrives on an HTTP/2 stream that the crate `h2` serves.
    H2(H2Body),
    /// A response that `outbound` still receives: it holds the place of its request on the path.
    Reply(Reply),
    /// A request's body of which `outbound` keeps what it sent, for a second attempt.
    Kept(Box<Replay>),
}

/// A body that has arrived completely.
#[derive(Debug, Default)]
pub struct Whole {
    data: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

/// The receiving half of one HTTP/2 stream. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub struct H2Body {
    stream: h2::RecvStream,
    state: H2State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H2State {
    Data,
    Trailers,
    Done,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The HTTP/1.1 or HTTP/2 connection that hyper serves failed.
    #[error("the connection failed while the body was read")]
    Hyper(#[source] hyper::Error),
    /// The HTTP/2 stream failed.
    #[error("the stream failed while the body was read")]
    H2(#[source] h2::Error),
    /// The path to the peer died in the middle of the response.
    #[error("{0}")]
    Path(Box<str>),
}

impl Body {
    /// A body of `data`.
    #[must_use]
    pub fn whole(data: Bytes) -> Self {
        Self::with_trailers(data, None)
    }

    /// A body of `data`, followed by trailers.
    #[must_use]
    pub fn with_trailers(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        if data.is_empty() && trailers.is_none() {
            return Self::Empty;
        }
        let data = Some(data).filter(|data| !data.is_empty());
        Self::Whole(Whole {
            data,
            trailers: trailers.map(Box::new),
        })
    }
}

impl H2Body {
    /// Reads from `stream`, and gives back its flow-control window as the data is taken.
    #[must_use]
    pub fn new(stream: h2::RecvStream) -> Self {
        let state = if stream.is_end_stream() {
            H2State::Done
        } else {
            H2State::Data
        };
        Self { stream, state }
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the stream was reset or its connection failed.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.state == H2State::Data {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    self.state = H2State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.state = H2State::Trailers,
            }
        }
        if self.state == H2State::Trailers {
            let trailers = ready!(self.stream.poll_trailers(cx));
            self.state = H2State::Done;
            if let Some(trailers) = trailers? {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
        Poll::Ready(None)
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.state == H2State::Done || self.stream.is_end_stream()
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            Self::Empty
        } else {
            Self::Hyper(incoming)
        }
    }
}

impl From<h2::RecvStream> for Body {
    fn from(stream: h2::RecvStream) -> Self {
        if stream.is_end_stream() {
            Self::Empty
        } else {
            Self::H2(H2Body::new(stream))
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
            Self::Hyper(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::Hyper))),
            Self::H2(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::H2))),
            Self::Reply(reply) => reply.poll_frame(cx),
            Self::Kept(replay) => replay.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(whole) => whole.data.is_none() && whole.trailers.is_none(),
            Self::Hyper(incoming) => incoming.is_end_stream(),
            Self::H2(body) => body.is_end_stream(),
            Self::Reply(reply) => reply.is_end_stream(),
            Self::Kept(replay) => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(whole) if whole.trailers.is_none() => {
                SizeHint::with_exact(whole.data.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Hyper(incoming) => incoming.size_hint(),
            Self::Kept(replay) => replay.size_hint(),
            Self::Whole(_) | Self::H2(_) | Self::Reply(_) => SizeHint::default(),
        }
    }
}

impl Whole {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.data.take().map(Frame::data);
        data.or_else(|| {
            self.trailers
                .take()
                .map(|trailers| Frame::trailers(*trailers))
        })
    }
}
