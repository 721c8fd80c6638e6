//! The task of one path: keeps one connection established, within what the cluster's breaker allows.
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tombolo_core::backoff::Backoff;
use tombolo_core::breaker::{Death, Event};
use tombolo_wire::transport::TransportHeader;

use super::cluster::Gate;
use super::drive::{self, H2Connection};
use super::meter::{Counted, Meter};
use super::path::{Line, Path, PathKind};
use super::shared::Shared;
use super::{Target, plain};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(1);
/// Handshakes that time out are given longer, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(3);
/// What one stream, and one connection, may send before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A response's headers, in bytes.
const HEADER_LIST_MAX: u32 = 64 * 1024;
/// Bytes of a frame. HPACK can write 64 KiB of headers in four times as many bytes, and what takes more
/// than six frames ends the connection of all.
const FRAME_MAX: u32 = 64 * 1024;

/// A connection that has answered its first question.
pub(super) struct Established {
    pub(super) line: Arc<Line>,
    pub(super) connection: H2Connection,
    pub(super) ping: PingPong,
    pub(super) round_trip: Duration,
}

enum Turn {
    Connect,
    Released,
}

/// Why a rest ended.
#[derive(Clone, Copy)]
enum Rested {
    /// Its time was over, or something changed.
    Over,
    /// A request waits for the path: it is its turn, whatever the gate says.
    Wanted,
}

/// Connects, and connects again, until no set of endpoints holds the path any more.
pub(super) async fn keep(shared: Arc<Shared>, path: Arc<Path>) {
    let mut gate = path.cluster.gate.subscribe();
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
    let mut timeouts = 0;
    let mut rested = Rested::Over;
    while let Turn::Connect = turn(&path, &mut gate, rested).await {
        rested = Rested::Over;
        let deadline = shared.handshake_deadline(Instant::now());
        let deadline = deadline.saturating_mul(1 << timeouts).min(PATIENCE_MAX);
        match open(&shared, &path, deadline).await {
            Ok(()) => {
                let since = Instant::now();
                timeouts = 0;
                if path.cluster.is_out() {
                    path.cluster.probed(&shared, &path, Event::ProbeSucceeded);
                }
                while path.is_up() && !path.is_released() {
                    path.news.notified().await;
                }
                if since.elapsed() >= BACKOFF_LONGEST {
                    backoff.succeeded();
                } else if !path.is_released() {
                    let wait = backoff.failed(&mut rand::rng());
                    rested = rest(&path, &mut gate, wait).await;
                }
            }
            Err(death) => {
                timeouts = match death {
                    Death::NoHandshake(_) => (timeouts + 1).min(4),
                    _ => 0,
                };
                path.down(&shared, death);
                if path.cluster.is_out() {
                    path.cluster.probed(&shared, &path, Event::ProbeFailed);
                }
                let wait = backoff.failed(&mut rand::rng());
                rested = rest(&path, &mut gate, wait).await;
            }
        }
    }
    path.line.store(None);
    path.cluster.left(&shared, &path);
}

/// Waits until a connection is wanted and allowed.
async fn turn(path: &Path, gate: &mut watch::Receiver<Gate>, rested: Rested) -> Turn {
    loop {
        if path.is_released() {
            return Turn::Released;
        }
        if let Rested::Wanted = rested {
            return Turn::Connect;
        }
        let now = *gate.borrow_and_update();
        if admits(now, path) && (now != Gate::Open || path.eager.load(Relaxed)) {
            return Turn::Connect;
        }
        tokio::select! {
            biased;
            () = path.wanted() => {
                path.eager.store(true, Relaxed);
                return Turn::Connect;
            }
            () = path.news.notified() => {}
            changed = gate.changed() => if changed.is_err() {
                return Turn::Released;
            }
        }
    }
}

/// Waits after a failure, unless the path is wanted or the cluster's gate moves in its favour.
async fn rest(path: &Path, gate: &mut watch::Receiver<Gate>, wait: Duration) -> Rested {
    gate.borrow_and_update();
    let admitted = async { while gate.changed().await.is_ok() && !admits(*gate.borrow(), path) {} };
    tokio::select! {
        biased;
        () = path.wanted() => return Rested::Wanted,
        () = path.news.notified() => {}
        () = admitted => {}
        () = tokio::time::sleep(wait) => {}
    }
    Rested::Over
}

fn admits(gate: Gate, path: &Path) -> bool {
    match gate {
        Gate::Open => true,
        Gate::Shut { probe } => probe == Some(path.id),
    }
}

async fn open(shared: &Arc<Shared>, path: &Arc<Path>, deadline: Duration) -> Result<(), Death> {
    let began = Instant::now();
    let late = |_elapsed| Death::NoHandshake(deadline);
    match &path.key.kind {
        PathKind::Mesh {
            identity,
            name,
            port,
        } => {
            let target = Target {
                addr: path.key.addr,
                identity: identity.clone(),
            };
            let header = TransportHeader::http2(name, *port);
            let establish = establish(shared, &target, &header);
            let done = tokio::time::timeout(deadline, establish)
                .await
                .map_err(late)??;
            let now = Instant::now();
            shared.handshake_took(now, now - began);
            let line = done.line.clone();
            drive::start(shared, path, done);
            path.up(shared, Some(line));
        }
        PathKind::Plain => {
            let dial = plain::dial(shared, path.key.addr);
            let sender = tokio::time::timeout(deadline, dial).await.map_err(late)?;
            path.pool.put(sender.map_err(|error| death_of(&error))?);
            path.up(shared, None);
        }
    }
    Ok(())
}

async fn establish(
    shared: &Shared,
    target: &Target,
    header: &TransportHeader,
) -> Result<Established, Death> {
    let connecting = shared.connector.connect(target);
    let mut io = connecting.await.map_err(|error| refused(target, &error))?;
    let sent = async {
        io.write_all(&header.to_bytes()).await?;
        io.flush().await
    };
    sent.await.map_err(|error| refused(target, &error))?;
    let meter = Arc::new(Meter::default());
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_frame_size(FRAME_MAX);
    let counted = Counted::new(io, meter.clone());
    let unusable = |error: h2::Error| {
        tracing::debug!(peer = %target.addr, %error, "no HTTP/2 with the peer");
        error.get_io().map_or(Death::Unusable, death_of)
    };
    let (send, mut connection) = builder.handshake(counted).await.map_err(unusable)?;
    let mut ping = connection.ping_pong().ok_or(Death::Unusable)?;
    let asked_at = Instant::now();
    ping.send_ping(Ping::opaque()).map_err(unusable)?;
    let answered = poll_fn(|cx| {
        if let Poll::Ready(end) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(end.map_err(unusable).and(Err(Death::Reset)));
        }
        ping.poll_pong(cx)
            .map(|pong| pong.map(drop).map_err(unusable))
    });
    answered.await?;
    let line = Arc::new(Line { send, meter });
    Ok(Established {
        line,
        connection,
        ping,
        round_trip: asked_at.elapsed(),
    })
}

fn refused(target: &Target, error: &io::Error) -> Death {
    tracing::debug!(peer = %target.addr, identity = %target.identity, %error, "no connection");
    death_of(error)
}

/// What a failed connection says about its endpoint.
pub(super) fn death_of(error: &io::Error) -> Death {
    match root_kind(error) {
        io::ErrorKind::ConnectionRefused => Death::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Death::Reset,
        _ => Death::Unusable,
    }
}

/// The kind of the innermost I/O error: connectors add context around it.
fn root_kind(error: &io::Error) -> io::ErrorKind {
    let mut kind = error.kind();
    let mut inner = error
        .get_ref()
        .map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = inner {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = io.kind();
        }
        inner = error.source();
    }
    kind
}
