//! What a destination is and where it is served: by the address that was dialled, or by name.
//!
//! One task follows each destination for as long as somebody uses it; what it knows is kept while
//! the control plane is away. The number of destinations has a bound, and idle ones are forgotten.
//! It never touches a request. Start at [`Directory::find`].
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_shell::task::Tasks;

use crate::endpoint::Destination;
use crate::outbound::Outbound;

pub(crate) use client::Clients;

mod client;
mod follow;
mod translate;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted {
    /// The address that a client dialled.
    Addr(SocketAddr),
    /// `host:port`, as a client names it.
    Authority(Arc<str>),
    /// `host:port`, as a peer names it to this gateway.
    Gateway(Arc<str>),
}

/// What is known about what was looked for.
#[derive(Clone, Debug, Default)]
pub enum Found {
    /// Nothing yet.
    #[default]
    Unknown,
    /// The control plane knows no such thing.
    Nothing,
    /// Requests go to this destination.
    Destination(Arc<Destination>),
}

/// Something that was looked for: as long as it is held, its destination is followed.
#[derive(Clone, Debug)]
pub struct Sought {
    entry: Arc<Entry>,
}

#[derive(Debug)]
struct Entry {
    found: watch::Receiver<Found>,
    tasks: Tasks,
    /// Milliseconds since the directory was made.
    used_ms: AtomicU64,
}

/// Why there is no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDestination {
    /// The control plane knows no such thing.
    #[error("no such service")]
    Nothing,
    /// The control plane did not answer in time.
    #[error("the control plane does not answer, and nothing was known before")]
    Unanswered,
    /// So many destinations are in use that no other can be followed.
    #[error("too many destinations are in use")]
    Full,
}

/// All destinations in use. Clones share them.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

struct Inner {
    clients: Clients,
    outbound: Outbound,
    tasks: Tasks,
    limits: DirectoryLimits,
    started: Instant,
    entries: Mutex<HashMap<Wanted, Arc<Entry>>>,
}

/// The bounds of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// How many destinations it follows.
    pub destinations_max: usize,
    /// How long it follows one that nobody uses.
    pub idle: Duration,
    /// How long a request waits for the first answer.
    pub wait: Duration,
}

impl Directory {
    /// An empty directory; what is found is warmed in `outbound`.
    pub(crate) fn new(
        clients: Clients,
        outbound: Outbound,
        tasks: &Tasks,
        limits: DirectoryLimits,
    ) -> Self {
        let inner = Inner {
            clients,
            outbound,
            tasks: tasks.child(),
            limits,
            started: Instant::now(),
            entries: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Forgets what nobody uses, for as long as the process lives.
    pub(crate) async fn run(self) {
        let mut interval =
            tokio::time::interval(self.inner.limits.idle.max(Duration::from_secs(1)));
        loop {
            interval.tick().await;
            self.inner.evict(self.inner.limits.idle);
        }
    }

    /// Starts to look for `wanted`, or joins who does. Called per connection or less often.
    ///
    /// # Errors
    /// When the directory is full of destinations in use.
    pub fn find(&self, wanted: &Wanted) -> Result<Sought, NoDestination> {
        if let Some(known) = self.inner.entries.lock().get(wanted) {
            self.inner.touch(known);
            return Ok(Sought {
                entry: known.clone(),
            });
        }
        if self.inner.entries.lock().len() >= self.inner.limits.destinations_max {
            self.inner.evict(Duration::ZERO);
        }
        let mut entries = self.inner.entries.lock();
        if entries.len() >= self.inner.limits.destinations_max {
            return Err(NoDestination::Full);
        }
        let entry = entries
            .entry(wanted.clone())
            .or_insert_with(|| self.inner.follow(wanted));
        self.inner.touch(entry);
        Ok(Sought {
            entry: entry.clone(),
        })
    }

    /// How long a request waits for the first answer.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.inner.limits.wait
    }
}

impl Inner {
    fn follow(&self, wanted: &Wanted) -> Arc<Entry> {
        let (sender, found) = watch::channel(Found::Unknown);
        let tasks = self.tasks.child();
        let follower = follow::Follower {
            clients: self.clients.clone(),
            outbound: self.outbound.clone(),
            tasks: tasks.clone(),
            sender,
        };
        tasks.spawn_one("destination", follower.run(wanted.clone()));
        Arc::new(Entry {
            found,
            tasks,
            used_ms: AtomicU64::new(0),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn touch(&self, entry: &Entry) {
        entry.used_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Forgets what nobody holds and nobody has asked for since `idle` ago.
    fn evict(&self, idle: Duration) {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let now = self.now_ms();
        self.entries.lock().retain(|wanted, entry| {
            let held = Arc::strong_count(entry) > 1;
            if held {
                entry.used_ms.store(now, Ordering::Relaxed);
            }
            let keep = held
                || entry
                    .used_ms
                    .load(Ordering::Relaxed)
                    .saturating_add(idle_ms)
                    > now;
            if !keep {
                tracing::debug!(%wanted, "nobody uses the destination any more");
            }
            keep
        });
    }
}

impl Sought {
    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Found {
        self.entry.found.borrow().clone()
    }

    /// What is known, to be followed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Found> {
        self.entry.found.clone()
    }

    /// The destination, as soon as it is known.
    ///
    /// # Errors
    /// When there is none, or nothing is known within `wait`.
    pub async fn destination(&self, wait: Duration) -> Result<Arc<Destination>, NoDestination> {
        let mut found = self.entry.found.clone();
        let known = found.wait_for(|found| !matches!(found, Found::Unknown));
        match tokio::time::timeout(wait, known).await {
            Err(_elapsed) => Err(NoDestination::Unanswered),
            Ok(Err(_follower_gone)) => Err(NoDestination::Unanswered),
            Ok(Ok(found)) => match &*found {
                Found::Destination(destination) => Ok(destination.clone()),
                Found::Nothing | Found::Unknown => Err(NoDestination::Nothing),
            },
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Authority(name) | Self::Gateway(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_shell::testing::Authority;
    use tombolo_shell::tls::ClientTls;

    use super::*;
    use crate::config::ControlAddr;
    use crate::connector;
    use crate::control;

    /// A directory whose control plane never answers.
    fn directory(tasks: &Tasks, destinations_max: usize) -> Directory {
        let tls = ClientTls::anonymous(Authority::new().anchors(), &[control::ALPN]);
        let nowhere = ControlAddr {
            addr: "127.0.0.1:1".into(),
            name: "control".into(),
        };
        let channel = control::channel(&nowhere, tls.clone());
        let clients = Clients::new(channel.clone(), channel, "", "");
        let connector = connector::PeerConnector::anywhere(tls, Duration::from_secs(1));
        let outbound = Outbound::new(Arc::new(connector), tasks.child());
        let limits = DirectoryLimits {
            destinations_max,
            idle: Duration::from_secs(5),
            wait: Duration::from_millis(10),
        };
        Directory::new(clients, outbound, tasks, limits)
    }

    fn wanted(port: u16) -> Wanted {
        Wanted::Addr(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_in_use_are_never_forgotten_and_have_a_bound() {
        let tasks = Tasks::new();
        let directory = directory(&tasks, 2);
        let first = directory.find(&wanted(1)).unwrap();
        directory.find(&wanted(2)).unwrap();
        let third = directory.find(&wanted(3)).unwrap();
        assert_eq!(directory.find(&wanted(4)).unwrap_err(), NoDestination::Full);
        assert!(Arc::ptr_eq(
            &directory.find(&wanted(1)).unwrap().entry,
            &first.entry
        ));
        drop(third);
        directory.find(&wanted(4)).unwrap();
        tasks.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn idle_destination_is_forgotten_after_a_while() {
        let tasks = Tasks::new();
        let directory = directory(&tasks, 10);
        directory.find(&wanted(1)).unwrap();
        let held = directory.find(&wanted(2)).unwrap();
        tasks.spawn("directory", directory.clone().run());
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(directory.inner.entries.lock().len(), 2);
        tokio::time::sleep(Duration::from_secs(8)).await;
        let known: Vec<_> = directory.inner.entries.lock().keys().cloned().collect();
        assert_eq!(known, [wanted(2)]);
        drop(held);
        tasks.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn request_does_not_wait_for_ever_for_the_control_plane() {
        let tasks = Tasks::new();
        let directory = directory(&tasks, 10);
        let sought = directory.find(&wanted(1)).unwrap();
        let error = sought.destination(directory.wait()).await.unwrap_err();
        assert_eq!(error, NoDestination::Unanswered);
        tasks.cancel();
    }
}
