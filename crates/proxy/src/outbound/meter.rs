//! What one connection has carried: counters that its requests, its driver and its byte stream share,
//! so that nobody needs a lock or a message per request.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tombolo_core::breaker::Death;

/// The counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes read from the peer.
    pub(super) read: AtomicU64,
    /// Bytes handed to the socket (or to TLS): what is below this may have reached the peer.
    pub(super) written: AtomicU64,
    /// Requests given to the connection.
    pub(super) sent: AtomicU64,
    /// Requests whose response has not ended.
    pub(super) in_flight: AtomicU32,
    /// Someone wants the path asked now; the driver clears it.
    doubted: AtomicBool,
    /// The driver's waker, for doubts.
    driver: AtomicWaker,
    /// How the connection died; set before its requests fail.
    pub(super) death: OnceLock<Death>,
    /// Set when the connection takes no new requests: its path has another one.
    pub(super) leaving: AtomicBool,
}

impl Meter {
    /// Asks the driver to send a question now.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, Relaxed);
        self.driver.wake();
    }

    /// Whether a question is wanted; once.
    pub(super) fn take_doubt(&self, cx: &Context<'_>) -> bool {
        self.driver.register(cx.waker());
        self.doubted.load(Relaxed) && self.doubted.swap(false, Relaxed)
    }
}

/// A byte stream that counts.
pub(super) struct Counted<T> {
    inner: T,
    meter: Arc<Meter>,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.meter.written.fetch_add(*bytes as u64, Relaxed);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.meter.read.fetch_add(bytes as u64, Relaxed);
        }
        poll
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
