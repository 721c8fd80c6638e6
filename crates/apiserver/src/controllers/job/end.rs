//! When a Job is at its end, and how it ends.
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Sync;
use crate::controllers::conditions;
use crate::store::json::{list, text};

/// `Complete` or `Failed`, of a Job that is at its end.
pub(in crate::controllers) fn finished(job: &Value) -> Option<&'static str> {
    ["Complete", "Failed"]
        .into_iter()
        .find(|kind| conditions::holds(&job["status"], kind))
}

/// How the Job shall end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    /// `Complete` or `Failed`.
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

impl End {
    fn failed(reason: &str, message: &str) -> Self {
        Self {
            kind: "Failed",
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl Sync<'_> {
    /// Whether the Job must end, or was about to.
    pub(super) fn end_by_now(&mut self) -> Option<End> {
        let status = &self.job["status"];
        for (known, kind) in [
            ("SuccessCriteriaMet", "Complete"),
            ("FailureTarget", "Failed"),
        ] {
            if let Some(condition) = conditions::find(status, known) {
                return Some(End {
                    kind,
                    reason: text(condition, "reason").to_owned(),
                    message: text(condition, "message").to_owned(),
                });
            }
        }
        let limit = self.spec()["backoffLimit"].as_i64().unwrap_or(6);
        if self.failed > limit || self.restarted_too_often(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(End::failed("BackoffLimitExceeded", message));
        }
        let deadline = self.spec()["activeDeadlineSeconds"].as_i64();
        let since = text(&self.job["status"], "startTime").parse::<Timestamp>();
        if let (Some(seconds), Ok(since), false) = (deadline, since, self.is_suspended()) {
            let ends = since.checked_add(SignedDuration::from_secs(seconds)).ok()?;
            if ends <= self.view.now {
                let message = "Job was active longer than specified deadline";
                return Some(End::failed("DeadlineExceeded", message));
            }
            self.plan.look_at(ends);
        }
        None
    }

    fn restarted_too_often(&self, limit: i64) -> bool {
        if self.spec()["template"]["spec"]["restartPolicy"] != "OnFailure" {
            return false;
        }
        let running = self
            .pods
            .iter()
            .filter(|pod| matches!(text(&pod["status"], "phase"), "Running" | "Pending"));
        let restarts: i64 = running
            .flat_map(|pod| {
                ["initContainerStatuses", "containerStatuses"]
                    .map(|name| list(&pod["status"], name))
                    .concat()
            })
            .filter_map(|container| container["restartCount"].as_i64())
            .sum();
        if limit == 0 {
            restarts > 0
        } else {
            restarts >= limit
        }
    }
}
