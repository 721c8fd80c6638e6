//! A request's body that can be sent again: what has been read of it is kept, within bounds.
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tombolo_core::limits;
use tombolo_core::rescue;

use super::shared::Shared;
use crate::body::{Body, BodyError};

/// A body that remembers what it gave.
pub struct Replay {
    source: Body,
    kept: Kept,
    /// The next of the kept pieces to give again.
    next: usize,
    ended: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Kept {
    pieces: Vec<Piece>,
    bytes: usize,
    lost: bool,
}

enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Replay {
    pub(super) fn new(shared: &Arc<Shared>, source: Body) -> Self {
        let ended = source.is_end_stream();
        Self {
            source,
            kept: Kept::default(),
            next: 0,
            ended,
            shared: shared.clone(),
        }
    }

    /// Whether all that was given can be given again.
    pub(super) fn state(&self) -> rescue::Replay {
        if self.kept.lost {
            rescue::Replay::Lost
        } else {
            rescue::Replay::Complete
        }
    }

    /// Starts over.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// There will be no second time: forgets what was kept, and keeps no more.
    pub(super) fn commit(&mut self) {
        if !self.kept.lost && self.next == self.kept.pieces.len() {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.shared.replay_bytes.fetch_sub(self.kept.bytes, Relaxed);
        self.kept = Kept {
            pieces: Vec::new(),
            bytes: 0,
            lost: true,
        };
        self.next = 0;
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.kept.lost {
            return;
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let total = self.shared.replay_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.kept.bytes += bytes;
        let few = self.kept.pieces.len() < limits::OUTBOUND_REPLAY_PIECES_MAX;
        if self.kept.bytes > limits::OUTBOUND_REPLAY_BYTES
            || total > limits::OUTBOUND_REPLAY_BYTES_ALL
            || !few
        {
            self.forget();
            return;
        }
        let piece = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Piece::Data(data.clone()),
            (None, Some(trailers)) => Piece::Trailers(Box::new(trailers.clone())),
            (None, None) => return,
        };
        self.kept.pieces.push(piece);
        self.next = self.kept.pieces.len();
    }

    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(piece) = self.kept.pieces.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(match piece {
                Piece::Data(data) => Frame::data(data.clone()),
                Piece::Trailers(trailers) => Frame::trailers((**trailers).clone()),
            })));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.source).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.keep(frame),
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.next == self.kept.pieces.len() && (self.ended || self.source.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.kept.pieces.is_empty() {
            self.source.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.shared.replay_bytes.fetch_sub(self.kept.bytes, Relaxed);
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("bytes", &self.kept.bytes)
            .finish_non_exhaustive()
    }
}
