//! Addresses to listen on, told by the parent on standard input: one line of JSON per change, each
//! the whole list. When the input ends the parent is gone, and so is the reason to serve.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LinesCodec};
use tombolo_shell::net;
use tombolo_shell::ready::Condition;
use tombolo_shell::task::Tasks;

use super::Listeners;

/// The longest line: 65,536 addresses of 22 bytes, and some.
const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How soon an address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows `input` until it ends; `told` is met once the first list is served.
pub(crate) async fn run<I>(listeners: Arc<Listeners>, tasks: Tasks, input: I, told: Condition)
where
    I: AsyncRead + Send + Unpin,
{
    let mut lines = FramedRead::new(input, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let mut doors = Doors {
        listeners,
        tasks,
        open: BTreeMap::new(),
        wanted: BTreeSet::new(),
    };
    let mut retry = tokio::time::interval(RETRY);
    loop {
        let line = tokio::select! {
            biased;
            line = lines.next() => line,
            _tick = retry.tick() => {
                doors.open();
                continue;
            }
        };
        match line {
            None => return,
            Some(Err(error)) => tracing::error!(%error, "cannot read the addresses to listen on"),
            Some(Ok(line)) => match serde_json::from_str::<BTreeSet<SocketAddr>>(&line) {
                Ok(wanted) => {
                    doors.wanted = wanted;
                    doors.close();
                    doors.open();
                    told.met();
                }
                Err(error) => {
                    tracing::error!(%error, "a list of addresses to listen on is not valid");
                }
            },
        }
    }
}

struct Doors {
    listeners: Arc<Listeners>,
    tasks: Tasks,
    open: BTreeMap<SocketAddr, Tasks>,
    wanted: BTreeSet<SocketAddr>,
}

impl Doors {
    /// Stops listening where nobody shall any more. Connections that are open go on.
    fn close(&mut self) {
        let wanted = &self.wanted;
        self.open.retain(|addr, door| {
            let keep = wanted.contains(addr);
            if !keep {
                tracing::info!(%addr, "listens no more");
                door.cancel();
            }
            keep
        });
    }

    fn open(&mut self) {
        for addr in &self.wanted {
            if self.open.contains_key(addr) {
                continue;
            }
            let listener = match net::listen(*addr) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(%error, "cannot serve a service's address");
                    continue;
                }
            };
            tracing::info!(%addr, "listens");
            let door = self.tasks.child();
            let (listeners, addr) = (self.listeners.clone(), *addr);
            door.spawn("outbound listener", async move {
                // Held as long as the door is open: what is behind it stays known and warm.
                let _sought = listeners.expect(addr);
                listeners.run(listener).await;
            });
            self.open.insert(addr, door);
        }
    }
}
