//! Serves HTTP on one accepted byte stream, HTTP/1.1 or HTTP/2, until the peer leaves or a drain
//! ends it. What to answer is the [`Handler`]'s matter.
//!
//! One task per connection: the requests of an HTTP/2 connection are futures of that task, so that
//! PINGs are answered and frames are batched whatever the applications do.
use std::future::Future;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tombolo_shell::drain::Drain;

use crate::body::Body;

pub(crate) use http2::serve_h2;
pub(crate) use prefixed::Prefixed;

mod http2;
mod prefixed;

/// The largest head of a request, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The largest number of headers in a head.
const HEADERS_MAX: usize = 128;
/// How HTTP/2 begins, with prior knowledge.
pub(crate) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Answers the requests of one connection.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request; never fails.
    fn handle(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

/// Serves HTTP/1.1. A head that is not complete within `head_timeout` ends the connection.
pub(crate) async fn serve_h1<IO, H>(io: IO, handler: &H, head_timeout: Duration, drain: &Drain)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        Ok::<_, std::convert::Infallible>(handler.handle(request.map(Body::from)).await)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "the HTTP/1.1 connection failed");
    }
}
