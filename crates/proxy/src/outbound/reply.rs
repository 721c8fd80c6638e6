//! The body of a response that is still being received.
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use crate::body::{BodyError, H2Body};

/// A response's body, which holds its request's place on the path until it ends.
#[derive(Debug)]
pub struct Reply {
    body: H2Body,
}

impl Reply {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::H2)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
