//! Drives one HTTP/2 connection, and is the shell of its liveness machine: reports what was sent and
//! heard, sends the questions, and lets the connection die when the machine says so.
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::{Ping, PingPong};
use tokio::time::Sleep;
use tombolo_core::breaker::Death;
use tombolo_core::liveness::{Effect, Event, Liveness, Settings, Silence};

use super::Io;
use super::connect::Established;
use super::meter::{Counted, Meter};
use super::path::Path;
use super::shared::Shared;

pub(super) type H2Connection = h2::client::Connection<Counted<Box<dyn Io>>, Bytes>;

/// A PING or its answer on the wire: more than that was heard besides.
const PING_BYTES: u64 = 17;

/// How a connection ended.
enum End {
    /// The machine declared it dead.
    Dead(Death),
    /// The peer, or the last request, closed it.
    Closed,
}

struct Driver {
    shared: Arc<Shared>,
    path: Arc<Path>,
    meter: Arc<Meter>,
    connection: H2Connection,
    ping: PingPong,
    machine: Liveness,
    asked_at_ms: u64,
    asking: bool,
    seen: Seen,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

/// What the machine has been told.
#[derive(Default)]
struct Seen {
    read: u64,
    sent: u64,
    busy: bool,
}

/// Drives the connection in a task of its own until it ends.
pub(super) fn start(shared: &Arc<Shared>, path: &Arc<Path>, established: Established) {
    let Established {
        line,
        connection,
        ping,
        round_trip,
    } = established;
    let now = Instant::now();
    let meter = line.meter.clone();
    let seen = Seen {
        read: meter.read.load(Relaxed),
        ..Seen::default()
    };
    let mut driver = Driver {
        shared: shared.clone(),
        path: path.clone(),
        meter,
        connection,
        ping,
        machine: Liveness::new(Settings::default(), now, round_trip),
        asked_at_ms: 0,
        asking: false,
        seen,
        timer: Box::pin(tokio::time::sleep_until(now.into())),
        armed: None,
    };
    shared.tasks.spawn_one("outbound-connection", async move {
        let end = poll_fn(|cx| driver.poll(cx)).await;
        driver.end(&end);
    });
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let doubted = self.meter.take_doubt(cx);
        let mut closed = Pin::new(&mut self.connection).poll(cx);
        let now = Instant::now();
        if doubted {
            let effect = self.machine.on(now, Event::Doubted);
            self.carry_out(now, effect);
        }
        loop {
            self.tell(now, cx);
            if let Poll::Ready(result) = closed {
                if let Err(error) = result {
                    tracing::debug!(peer = %self.path.key.addr, %error, "connection failed");
                }
                return Poll::Ready(End::Closed);
            }
            match self.time(now, cx) {
                Poll::Pending => break,
                Poll::Ready(Some(death)) => return Poll::Ready(End::Dead(death)),
                Poll::Ready(None) => closed = Pin::new(&mut self.connection).poll(cx),
            }
        }
        if !self.meter.leaving.load(Relaxed) {
            self.path.set_doubtful(self.machine.doubtful());
        }
        Poll::Pending
    }

    /// Reports to the machine what has happened since the last time.
    fn tell(&mut self, now: Instant, cx: &mut Context<'_>) {
        let sent = self.meter.sent.load(Relaxed);
        let busy = self.meter.in_flight.load(Relaxed) > 0;
        if sent != self.seen.sent && busy {
            self.machine.on(now, Event::Sent);
        }
        self.seen.sent = sent;
        let read = self.meter.read.load(Relaxed);
        let fresh = read - self.seen.read;
        self.seen.read = read;
        let answered = self.asking && self.ping.poll_pong(cx).is_ready();
        if answered {
            self.asking = false;
            self.machine.on(now, Event::Answered);
        }
        if fresh > if answered { PING_BYTES } else { 0 } {
            self.machine.on(now, Event::Heard);
        }
        if fresh > 0 {
            let now_ms = self.shared.ms(now);
            self.shared.heard_ms.store(now_ms, Relaxed);
            self.path.cluster.heard(&self.shared, now);
        }
        if !busy && self.seen.busy {
            self.machine.on(now, Event::Idle);
        }
        self.seen.busy = busy;
    }

    /// Lets the machine know the time. `Ready(None)`: the connection has something to write.
    fn time(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Option<Death>> {
        loop {
            let Some(due) = self.machine.poll_timeout() else {
                return Poll::Pending;
            };
            if due <= now {
                let effect = self.machine.handle_timeout(now, self.silence());
                match effect {
                    Effect::Dead(silence) => {
                        return Poll::Ready(Some(Death::Silent(silence)));
                    }
                    Effect::AskSiblings => self.path.cluster.ask_all(),
                    Effect::Ask | Effect::None => {}
                }
                if self.carry_out(now, effect) {
                    return Poll::Ready(None);
                }
                continue;
            }
            if self.armed.is_none_or(|armed| due < armed) {
                self.timer.as_mut().reset(due.into());
                self.armed = Some(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if due > Instant::now() {
                continue;
            }
            return Poll::Ready(None);
        }
    }

    /// Who else has said nothing since the question.
    fn silence(&self) -> Silence {
        let silent = |heard_ms: u64| heard_ms <= self.asked_at_ms;
        if silent(self.shared.heard_ms.load(Relaxed)) {
            return Silence::Everyone;
        }
        let cluster = &self.path.cluster;
        let shared_fate = cluster.is_suspected() || cluster.has_other_up(self.path.id);
        if silent(cluster.heard_ms()) && shared_fate {
            return Silence::Cluster;
        }
        Silence::Alone
    }

    /// Sends a question if the machine wants one; says whether it did.
    fn carry_out(&mut self, now: Instant, effect: Effect) -> bool {
        if effect != Effect::Ask {
            return false;
        }
        self.asked_at_ms = self.shared.ms(now);
        self.asking = true;
        match self.ping.send_ping(Ping::opaque()) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(peer = %self.path.key.addr, %error, "cannot ask");
                false
            }
        }
    }

    /// Says how the connection ended, and only then drops it: its requests, which fail with that,
    /// find everything as it now is.
    fn end(self, end: &End) {
        let in_flight = self.meter.in_flight.load(Relaxed);
        let death = match end {
            End::Dead(death) => Some(*death),
            End::Closed if in_flight > 0 => Some(Death::Reset),
            End::Closed => None,
        };
        if let Some(death) = death {
            self.meter.death.set(death).ok();
        }
        let leaving = self.meter.leaving.load(Relaxed);
        match death.filter(|_| !leaving && !self.path.is_released()) {
            Some(death) => {
                self.path.down(&self.shared, death);
                self.path.news.notify_one();
            }
            None => self.path.leave(&self.shared, &self.meter),
        }
    }
}
