//! What all requests share: the store, the keys, the bounds.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Kubelets;
use super::facts::Facts;
use super::metrics::Counts;
use crate::auth::Authenticator;
use crate::auth::impersonate::Ways;
use crate::db::{Clock, Db};
use crate::room::Room;
use crate::token::TokenKey;

/// Requests that are being answered at once, watches and logs apart.
const REQUESTS_MAX: usize = 800;
/// Bodies of requests that are being read or answered, together, in KiB.
const BODIES_KIB: usize = 256 * 1024;
/// Large answers that are not sent yet, together, in KiB.
const ANSWERS_KIB: usize = 256 * 1024;
/// What webhooks are asked and answer for requests that wait for them, together, in KiB.
const ASKING_KIB: usize = 256 * 1024;
/// Watches and followed logs at once.
const WATCHES_MAX: usize = 20_000;

/// What an API server is made of.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// Signs and checks tokens.
    pub token_key: Arc<TokenKey>,
    /// The wall clock.
    pub clock: Clock,
    /// Reaches the nodes' log servers.
    pub kubelets: Kubelets,
    /// Ends every watch.
    pub stop: CancellationToken,
}

/// The API server, without connections.
pub struct ApiServer {
    pub(super) db: Db,
    pub(super) facts: Arc<Facts>,
    pub(super) authenticator: Authenticator,
    pub(super) ways: Ways,
    pub(super) clock: Clock,
    pub(super) kubelets: Kubelets,
    pub(super) stop: CancellationToken,
    pub(super) requests: Arc<Semaphore>,
    pub(super) watches: Arc<Semaphore>,
    pub(super) bodies: Arc<Room>,
    pub(super) answers: Arc<Room>,
    pub(super) asking: Arc<Room>,
    pub(super) counts: Counts,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            db,
            token_key,
            clock,
            kubelets,
            stop,
        } = parts;
        let facts = Arc::new(Facts::new(db.clone()));
        Self {
            authenticator: Authenticator::new(token_key, facts.clone()),
            facts,
            db,
            ways: Ways::default(),
            clock,
            kubelets,
            stop,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            bodies: Room::new(BODIES_KIB),
            answers: Room::new(ANSWERS_KIB),
            asking: Room::new(ASKING_KIB),
            counts: Counts::default(),
        }
    }

    /// Requests that are being answered, and watches and logs that are followed.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (
            REQUESTS_MAX - self.requests.available_permits(),
            WATCHES_MAX - self.watches.available_permits(),
        )
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        (self.clock)().as_second()
    }

    /// The roles as they are now.
    pub(super) fn roles(&self) -> &Facts {
        &self.facts
    }
}
