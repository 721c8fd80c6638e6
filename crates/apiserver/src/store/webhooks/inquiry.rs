//! What one request has asked of webhooks, and what it still has to ask.
//!
//! The request is carried out from the start after each answer. An answer counts only for the very question that was
//! asked: if the object or the webhook has changed meanwhile, it is asked again. So that nothing else changes, what is
//! made up on the way (the time, and whatever is random) is made up the same each time.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::answer::Response;
use super::hook::Hook;
use crate::error::StatusError;
use crate::room::{Room, Share};
use crate::store::{Moment, Store};

/// What a webhook is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The webhook.
    pub(crate) hook: Arc<Hook>,
    /// The `request` of the review but its uid: an object of JSON.
    pub(crate) request: Arc<str>,
}

impl Question {
    /// Another state of a configuration is another webhook.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hook, &other.hook) && self.request == other.request
    }
}

/// What came of a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer.
    Said(Arc<Response>),
    /// Why there is none.
    Failed(Arc<str>),
}

#[derive(Debug)]
struct Answered {
    question: Question,
    reply: Reply,
    used: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The time and the seed of everything random.
    begun: Option<(Timestamp, [u8; 32])>,
    answered: Vec<Answered>,
    wanted: Vec<Question>,
    shares: Vec<Share>,
}

/// The questions and answers of one request; copies share them. The default asks nobody.
#[derive(Debug, Clone, Default)]
pub struct Inquiry {
    state: Option<Arc<Mutex<State>>>,
    patience: Option<Duration>,
    room: Option<(Arc<Room>, Arc<str>)>,
}

impl Inquiry {
    /// Of a user's request that is put to webhooks, and may say how long it is willing to wait. What is asked and
    /// answered has its share of a room.
    #[must_use]
    pub(crate) fn of_request(patience: Option<Duration>, room: Arc<Room>, user: &str) -> Self {
        Self {
            state: Some(Arc::default()),
            patience,
            room: Some((room, user.into())),
        }
    }

    /// Of another write for the same request, which may take so long.
    pub(crate) fn another(&self, patience: Duration) -> Self {
        Self {
            state: self.state.as_ref().map(|_state| Arc::default()),
            patience: Some(patience),
            room: self.room.clone(),
        }
    }

    /// Takes a share of the room for so many bytes, until the request ends; an error if there is none.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), StatusError> {
        let (Some((room, user)), Some(state)) = (&self.room, &self.state) else {
            return Ok(());
        };
        let share = room.take(user, bytes).ok_or_else(StatusError::too_many)?;
        state.lock().shares.push(share);
        Ok(())
    }

    /// How long the request is willing to wait, if it says so.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Whether webhooks are asked.
    pub(crate) fn asks(&self) -> bool {
        self.state.is_some()
    }

    /// Carries a write out; what it makes up is the same each time.
    pub(crate) fn carry_out<T>(
        &self,
        (store, moment): (&mut Store, &mut Moment<'_>),
        work: impl FnOnce(&mut Store, &mut Moment<'_>) -> Result<T, StatusError>,
    ) -> Result<T, StatusError> {
        let Some(state) = self.state.as_ref().filter(|_| store.has_webhooks()) else {
            return work(store, moment);
        };
        let (now, seed) =
            *(state.lock().begun).get_or_insert_with(|| (moment.now, moment.rng.random()));
        let mut rng = StdRng::from_seed(seed);
        let mut moment = Moment { now, rng: &mut rng };
        work(store, &mut moment)
    }

    /// The reply to a question; without one it is noted as wanted.
    pub(super) fn ask(&self, question: Question) -> Option<Reply> {
        let mut state = self.state.as_ref()?.lock();
        let mut answered = state.answered.iter_mut();
        if let Some(found) = answered.find(|one| one.question.is(&question)) {
            found.used = true;
            return Some(found.reply.clone());
        }
        state.wanted.push(question);
        None
    }

    /// Takes what there is to ask, and forgets answers that nobody has needed.
    pub(crate) fn take_wanted(&self) -> Vec<Question> {
        let Some(state) = &self.state else {
            return Vec::new();
        };
        let mut state = state.lock();
        let wanted = std::mem::take(&mut state.wanted);
        if !wanted.is_empty() {
            state.answered.retain(|one| one.used);
            state.answered.iter_mut().for_each(|one| one.used = false);
        }
        wanted
    }

    /// Notes a reply.
    pub(crate) fn note(&self, question: Question, reply: Reply) {
        if let Some(state) = &self.state {
            state.lock().answered.push(Answered {
                question,
                reply,
                used: false,
            });
        }
    }
}

/// The reason of a write that has to wait for an answer. No client sees it.
const PENDING: &str = "WebhookPending";

/// How a write ends that has to wait for an answer.
pub(super) fn pending() -> StatusError {
    StatusError::new(503, PENDING, "a webhook has to be asked first")
}

/// Whether a write has ended so.
pub(crate) fn is_pending(error: &StatusError) -> bool {
    error.reason == PENDING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_with_much_keeps_nobody_out() {
        let room = Room::new(1024);
        let of = |user| Inquiry::of_request(None, Arc::clone(&room), user);
        let (greedy, more, other) = (of("greedy"), of("greedy"), of("other"));
        greedy.hold(400 * 1024).unwrap();
        assert_eq!(more.hold(400 * 1024).unwrap_err().code, 429);
        other.hold(400 * 1024).unwrap();
        let next = greedy.another(Duration::from_secs(1));
        assert_eq!(next.hold(400 * 1024).unwrap_err().code, 429);
        drop(greedy);
        next.hold(400 * 1024).unwrap();
    }
}
