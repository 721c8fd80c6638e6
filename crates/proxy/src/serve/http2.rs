//! The HTTP/2 server: drives connection and requests in one task.
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tombolo_shell::drain::Drain;

use super::{HEAD_BYTES_MAX, Handler};
use crate::body::Body;

/// Requests under way on one connection; a peer proxy sends all it has for one pod over one.
const STREAMS_MAX: u32 = 4096;
/// Bytes that one request's body may have under way.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 - 1;
/// Bytes that all bodies of a connection may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of a frame. HPACK can write a head in four times as many bytes, and one that takes more than six
/// frames ends the connection, which many clients of a peer share.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of responses that wait for the socket, per stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long the peer may take for its preface.
const PREFACE_DEADLINE: Duration = Duration::from_secs(10);

/// How long the peer of a draining connection may take to answer a PING.
const DRAIN_PING_DEADLINE: Duration = Duration::from_secs(3);

/// Serves HTTP/2 until the peer leaves, or, after a drain, until its last request is answered.
pub(crate) async fn serve_h2<IO, H>(io: IO, handler: &H, drain: &Drain)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake::<_, Bytes>(io);
    let connection = match tokio::time::timeout(PREFACE_DEADLINE, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "the HTTP/2 preface failed"),
        Err(_elapsed) => return tracing::debug!("the HTTP/2 preface did not come in time"),
    };
    let answer = |request, respond| answer(handler, request, respond);
    let requests = FuturesUnordered::new();
    let mut driver = Driver {
        connection,
        requests,
        answer,
    };
    let end = poll_fn(|cx| driver.poll(cx));
    tokio::select! {
        biased;
        () = end => return,
        () = drain.started() => {}
    }
    let ping = driver.connection.ping_pong();
    driver.connection.graceful_shutdown();
    let peer = tokio::select! {
        biased;
        () = poll_fn(|cx| driver.poll(cx)) => return,
        peer = listen(ping) => peer,
    };
    // The last GOAWAY waits for a peer that may be frozen or gone. It has nothing under way here,
    // so nothing is lost with the connection.
    if peer == Peer::Silent && driver.requests.is_empty() {
        return tracing::debug!("the peer of a draining connection does not answer");
    }
    poll_fn(|cx| driver.poll(cx)).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Alive,
    Silent,
}

/// Whether the peer answers a PING in time.
async fn listen(ping: Option<h2::PingPong>) -> Peer {
    let Some(mut ping) = ping else {
        return Peer::Alive;
    };
    match tokio::time::timeout(DRAIN_PING_DEADLINE, ping.ping(h2::Ping::opaque())).await {
        Ok(Ok(_pong)) => Peer::Alive,
        // An error ends the connection, which is seen there.
        Ok(Err(_)) => std::future::pending().await,
        Err(_elapsed) => Peer::Silent,
    }
}

/// A connection, and the futures that answer its requests.
struct Driver<IO, F, A> {
    connection: Connection<IO, Bytes>,
    requests: FuturesUnordered<F>,
    answer: A,
}

impl<IO, F, A> Driver<IO, F, A>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()>,
    A: Fn(http::Request<RecvStream>, SendResponse<Bytes>) -> F,
{
    /// Ready when the connection has ended. What requests write wakes the task, which then writes
    /// it all in one go.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.run_requests(cx);
        let mut fresh = false;
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests.push((self.answer)(request, respond));
                    fresh = true;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "the HTTP/2 connection failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if fresh {
            self.run_requests(cx);
        }
        Poll::Pending
    }

    fn run_requests(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.requests.poll_next_unpin(cx) {}
    }
}

/// Answers one request; ends early when the peer does not want the answer any more.
async fn answer<H: Handler>(
    handler: &H,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    // Only the first was compared with the body; in HTTP/1.1 the application might believe another.
    if request
        .headers()
        .get_all(CONTENT_LENGTH)
        .iter()
        .nth(1)
        .is_some()
    {
        return respond.send_reset(Reason::PROTOCOL_ERROR);
    }
    let response = {
        let mut handling = std::pin::pin!(handler.handle(request.map(Body::from)));
        let either = poll_fn(|cx| match handling.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => respond.poll_reset(cx).map(|_reason| None),
        });
        either.await
    };
    let Some(response) = response else { return };
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let head = http::Response::from_parts(head, ());
    match respond.send_response(head, ended) {
        Ok(_stream) if ended => {}
        Ok(stream) => send_body(body, stream).await,
        Err(error) => {
            tracing::debug!(%error, "the response cannot be sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Sends `body` as fast as the peer takes it, and holds at most one frame.
async fn send_body(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|_reason| None),
        })
        .await;
        let sent = match frame {
            None => return,
            Some(None) => return finish(&mut stream),
            Some(Some(Err(error))) => {
                tracing::debug!(%error, "the response's body failed");
                return stream.send_reset(Reason::INTERNAL_ERROR);
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let ended = body.is_end_stream();
                    send_data(&mut stream, data, ended).await
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => {
                        if let Err(error) = stream.send_trailers(trailers) {
                            tracing::debug!(%error, "the trailers cannot be sent");
                            stream.send_reset(Reason::INTERNAL_ERROR);
                        }
                        return;
                    }
                    Err(_unknown_frame) => Sent::More,
                },
            },
        };
        if sent == Sent::Over {
            return;
        }
    }
}

fn finish(stream: &mut SendStream<Bytes>) {
    if let Err(error) = stream.send_data(Bytes::new(), true) {
        tracing::debug!(%error, "the end of a response cannot be sent");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// More may be sent.
    More,
    /// The stream has ended, or is broken.
    Over,
}

async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Sent {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = match stream.capacity() {
            0 => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(capacity)) => capacity,
                Some(Err(_)) | None => return Sent::Over,
            },
            capacity => capacity,
        };
        let chunk = data.split_to(capacity.min(data.len()));
        if stream.send_data(chunk, end && data.is_empty()).is_err() {
            return Sent::Over;
        }
    }
    if end { Sent::Over } else { Sent::More }
}
