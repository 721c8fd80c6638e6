//! Carries out writes that have to be put to webhooks: asks what a write lacks, and begins again, until it lacks nothing.
//!
//! The store is never held up: between the rounds it does what others want, and what has changed meanwhile is asked
//! again. A request that has not got through after so many rounds, or so long, is refused.
mod client;
mod resolve;
mod words;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Db, DeleteOptions, List, Target};
use crate::error::StatusError;
use crate::registry::Resource;
use crate::selector::Selectors;
use crate::store::webhooks::inquiry::{Inquiry, Question, Reply, is_pending};
use crate::store::{Moment, Store};
pub(super) use client::Client;

/// How often a write is begun: webhooks that change it take a round each.
const ROUNDS_MAX: usize = 500;
/// How long all of them may take, as in Kubernetes, if the request does not say less.
const DEADLINE: Duration = Duration::from_secs(34);
/// What a question holds at least, with its connection: so a user has at most 256 of them on their way, and all
/// together 512, fewer than there are places for requests.
const ASKING_BYTES: usize = 512 * 1024;
/// How many webhooks one request asks at once.
const ASKED_MAX: usize = 32;

/// What a write begins with each time; the last time it is given away.
pub(super) struct Kept<T>(Mutex<Option<T>>);

impl<T: Clone> Kept<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// The value; a copy if there may be another time.
    pub(super) fn take(&self, store: &Store, inquiry: &Inquiry) -> Result<T, StatusError> {
        let mut kept = self.0.lock();
        let value = if store.has_webhooks() && inquiry.asks() {
            kept.clone()
        } else {
            kept.take()
        };
        // Webhooks that come while others are asked find the value still there; nothing is asked without any.
        value.ok_or_else(|| StatusError::internal("a write was begun again"))
    }
}

impl Db {
    /// Has a piece of work done that may have to wait for webhooks.
    pub(super) async fn asking<T: Send + 'static>(
        &self,
        inquiry: &Inquiry,
        work: impl Fn(&mut Store, &mut Moment<'_>) -> Result<T, StatusError> + Send + Sync + 'static,
    ) -> Result<T, StatusError> {
        let work = Arc::new(work);
        let end = Instant::now() + inquiry.patience().unwrap_or(DEADLINE).min(DEADLINE);
        for _ in 0..ROUNDS_MAX {
            let (work, carried) = (Arc::clone(&work), inquiry.clone());
            let done = self
                .write(move |store, moment| carried.carry_out((store, moment), &*work))
                .await;
            match done {
                Err(error) if is_pending(&error) => {}
                done => return done,
            }
            let wanted = inquiry.take_wanted();
            for question in &wanted {
                inquiry.hold(ASKING_BYTES + 2 * question.request.len())?;
            }
            let asked = timeout_at(end, self.ask(inquiry, wanted, end)).await;
            asked.map_err(|_elapsed| too_late())??;
            // A webhook that had no more time than the request is none that has failed.
            if Instant::now() >= end {
                return Err(too_late());
            }
        }
        Err(StatusError::unavailable(
            "webhooks have been asked too often: the object or its webhooks change all the time",
        ))
    }

    /// Deletes what is selected, each as a request of its own; what is already gone is no error.
    pub(super) async fn delete_one_by_one(
        &self,
        (res, namespace): (&Arc<Resource>, Option<&str>),
        sel: &Selectors,
        options: &DeleteOptions,
    ) -> Result<List, StatusError> {
        let end = Instant::now() + options.inquiry.patience().unwrap_or(DEADLINE).min(DEADLINE);
        let mut items = Vec::new();
        for object in self.list(res, namespace, sel).items {
            let patience = end.saturating_duration_since(Instant::now());
            let options = DeleteOptions {
                inquiry: options.inquiry.another(patience),
                ..options.clone()
            };
            let (inquiry, res) = (options.inquiry.clone(), Arc::clone(res));
            let deleted = self.asking(&inquiry, move |store, moment| {
                let inside = res.is_namespaced().then(|| object.namespace());
                let target = Target::new(&res, inside, object.name());
                store.delete_selected(moment, target, &options)
            });
            match deleted.await {
                Ok(deleted) => items.push(Arc::clone(deleted.object())),
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(List {
            items,
            resource_version: self.resource_version(),
        })
    }

    /// Asks all that is wanted, and notes the replies.
    async fn ask(
        &self,
        inquiry: &Inquiry,
        wanted: Vec<Question>,
        end: Instant,
    ) -> Result<(), StatusError> {
        let mut wanted = wanted.into_iter();
        let one = async |question: Question| {
            let reply = self.shared.webhooks.ask(self, &question, end).await;
            (question, reply)
        };
        let mut asked: FuturesUnordered<_> = wanted.by_ref().take(ASKED_MAX).map(&one).collect();
        while let Some((question, reply)) = asked.next().await {
            if let Reply::Failed(why) = &reply {
                tracing::debug!(webhook = question.hook.name, %why, "a webhook failed");
            }
            if let Reply::Said(said) = &reply {
                inquiry.hold(said.size)?;
            }
            inquiry.note(question, reply);
            asked.extend(wanted.next().map(&one));
        }
        Ok(())
    }
}

fn too_late() -> StatusError {
    let why =
        "Timeout: request did not complete within requested timeout - context deadline exceeded";
    let mut error = StatusError::new(504, "Timeout", why);
    error.details = Some(serde_json::json!({}));
    error
}
