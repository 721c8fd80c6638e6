//! What a Job waits for: the end of a pause after failures, and the end of its time after its end.
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Sync, finished, has_finalizer, jobs, without_finalizer};
use crate::controllers::action::Action;
use crate::controllers::conditions;
use crate::controllers::pods::{finished_at, pods};
use crate::store::json::text;
use crate::store::request::{Propagation, Subresource};

/// How long nothing is tried after a failure; twice as long after each.
const BACKOFF_SECONDS: i64 = 10;
const BACKOFF_SECONDS_MAX: i64 = 600;

impl Sync<'_> {
    /// After failures nothing is tried for a while.
    pub(super) fn backs_off(&mut self) -> bool {
        let succeeded = |pod: &&Value| pod["status"]["phase"] == "Succeeded";
        let last_success = self.pods.iter().filter(succeeded).filter_map(finished_at);
        let last_success = last_success.max();
        let failed = self.pods.iter().filter(|pod| self.has_failed(pod));
        let failures: Vec<Timestamp> = failed
            .filter_map(finished_at)
            .filter(|at| last_success.is_none_or(|success| *at > success))
            .collect();
        let Some(last) = failures.iter().max() else {
            return false;
        };
        let power = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX);
        let seconds = BACKOFF_SECONDS
            .saturating_mul(2_i64.saturating_pow(power))
            .min(BACKOFF_SECONDS_MAX);
        let Ok(until) = last.checked_add(SignedDuration::from_secs(seconds)) else {
            return false;
        };
        if until <= self.view.now {
            return false;
        }
        self.plan.look_at(until);
        true
    }

    /// Frees what is left, and deletes the Job when its time is over.
    pub(super) fn after_the_end(&mut self) {
        for pod in self.pods.iter().filter(|pod| has_finalizer(pod)) {
            let update = Action::Update(pods(), Subresource::None, without_finalizer(pod));
            self.plan.actions.push(update);
        }
        if !self.job["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let Some(seconds) = self.spec()["ttlSecondsAfterFinished"].as_i64() else {
            return;
        };
        let kind = finished(&self.job).unwrap_or("Complete");
        let since = conditions::find(&self.job["status"], kind);
        let since = since.map_or("", |condition| text(condition, "lastTransitionTime"));
        let ends = since.parse::<Timestamp>().ok();
        let ends = ends.and_then(|at| at.checked_add(SignedDuration::from_secs(seconds)).ok());
        match ends {
            Some(ends) if ends <= self.view.now => {
                let delete = Action::delete(&jobs(), &self.job, Propagation::Foreground);
                self.plan.actions.push(delete);
            }
            Some(ends) => self.plan.look_at(ends),
            None => {}
        }
    }
}
