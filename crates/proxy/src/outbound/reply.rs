//! The body of a response that is still being received.
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::attempt::{Place, Pump};
use super::plain::Sender;
use super::replay::Replay;
use crate::body::{BodyError, H2Body};

/// A response's body. Until it ends it holds its request's place on the path, and moves what is left
/// of the request's own body.
pub struct Reply {
    source: Source,
    place: Option<Place>,
    pump: Option<Box<(Pump, Replay)>>,
}

pub(super) enum Source {
    H2(H2Body),
    /// With the connection, which goes back to its pool.
    Plain(Incoming, Option<Sender>),
}

impl Reply {
    pub(super) fn new(source: Source, place: Place, pump: Option<Box<(Pump, Replay)>>) -> Self {
        Self {
            source,
            place: Some(place),
            pump,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(moving) = &mut self.pump {
            let (pump, body) = &mut **moving;
            if pump.poll(cx, body).is_ready() {
                self.pump = None;
            }
        }
        let frame = match &mut self.source {
            Source::H2(body) => body
                .poll_frame(cx)
                .map(|f| f.map(|f| f.map_err(BodyError::H2))),
            Source::Plain(incoming, _) => {
                let frame = Pin::new(incoming).poll_frame(cx);
                frame.map(|f| f.map(|f| f.map_err(BodyError::Hyper)))
            }
        };
        match frame {
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let error = self.why(error);
                self.release();
                Poll::Ready(Some(Err(error)))
            }
            going_on => going_on,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::H2(body) => body.is_end_stream(),
            Source::Plain(incoming, _) => incoming.is_end_stream(),
        }
    }

    /// Says that the path died, where it did.
    fn why(&self, error: BodyError) -> BodyError {
        let Some(place) = &self.place else {
            return error;
        };
        let line = place.line.as_ref();
        let Some(death) = line.and_then(|line| line.meter.death.get()) else {
            return error;
        };
        let (cluster, peer) = (&place.path.cluster.name, place.path.key.addr);
        let text = format!("cluster {cluster}, endpoint {peer}: {death} during the response");
        BodyError::Path(text.into())
    }

    fn release(&mut self) {
        self.pump = None;
        let Some(place) = self.place.take() else {
            return;
        };
        if let Source::Plain(_, sender) = &mut self.source
            && let Some(sender) = sender.take()
        {
            place.path.pool.put(sender);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
