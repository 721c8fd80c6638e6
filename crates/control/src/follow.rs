//! A stream that follows something that changes: it ends with the drain, or after its first error.
//!
//! The next item is made when the client has room for it, from the newest state; nothing queues.
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use prometheus_client::metrics::gauge::Gauge;
use tombolo_shell::drain::Drain;
use tonic::Status;

/// Something that changes.
pub(crate) trait Follow: Send + 'static {
    /// What is said about it.
    type Item: Send + 'static;

    /// What is to be said next; waits until there is something. `None`: there never will be.
    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Item, Status>>> + Send;
}

/// A gauge of what is alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alive(pub(crate) Gauge);

/// Counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Alive {
    /// One more, until the guard is dropped.
    pub(crate) fn guard(&self) -> Counted {
        self.0.inc();
        Counted(self.0.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The stream of what a [`Follow`] says.
pub(crate) struct Followed<T> {
    inner: BoxStream<'static, Result<T, Status>>,
    _counted: Counted,
}

impl<T: Send + 'static> Followed<T> {
    /// Follows until the drain starts, the first error, or the end.
    pub(crate) fn new<F: Follow<Item = T>>(follow: F, drain: Drain, counted: Counted) -> Self {
        let inner = stream::unfold(Some(follow), move |follow| {
            let drain = drain.clone();
            async move {
                let mut follow = follow?;
                let item = tokio::select! {
                    biased;
                    () = drain.started() => None,
                    item = follow.next() => item,
                }?;
                let rest = item.is_ok().then_some(follow);
                Some((item, rest))
            }
        });
        Self {
            inner: inner.boxed(),
            _counted: counted,
        }
    }
}

impl<T> Stream for Followed<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(ctx)
    }
}
