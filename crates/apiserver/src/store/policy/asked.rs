//! How policies are asked about a write, and how it is refused.
use serde_json::{Value, json};

use super::verdict::{Denied, Question, STEPS_MAX};
use super::{Attempt, Does};
use crate::auth::User;
use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::Store;
use crate::store::json::text;
use crate::store::request::{
    DeleteOptions, DryRun, FieldValidation, Gate, Subresource, Target, Warnings, WriteOptions,
};

/// How a write is asked for, as far as policies can see it.
pub(super) struct Asked<'a> {
    pub(super) gate: &'a Gate,
    pub(super) warnings: &'a Warnings,
    /// What `request.options` is.
    options: Value,
    dry_run: bool,
}

impl Store {
    /// Refuses what a policy refuses of a create or an update, and adds the warnings of those that only warn.
    pub(in crate::store) fn ask_policies_of_write(
        &self,
        attempt: &Attempt<'_>,
        options: &WriteOptions,
    ) -> Result<(), StatusError> {
        let asked = || {
            let kind = if attempt.operation == "CREATE" {
                "CreateOptions"
            } else {
                "UpdateOptions"
            };
            let mut asked = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
            if let Some(manager) = &options.field_manager {
                asked["fieldManager"] = manager.as_str().into();
            }
            asked["fieldValidation"] = match options.validation {
                FieldValidation::Ignore => "Ignore",
                FieldValidation::Warn => "Warn",
                FieldValidation::Strict => "Strict",
            }
            .into();
            asked
        };
        let dry_run = options.dry_run == DryRun::All;
        self.ask_policies(attempt, asked, (&options.gate, &options.warnings, dry_run))
    }

    /// The same of a change.
    pub(in crate::store) fn ask_policies_of_edit(
        &self,
        target: Target<'_>,
        (before, after): (&Value, &Value),
        options: &WriteOptions,
    ) -> Result<(), StatusError> {
        let operation = if target.sub == Subresource::Binding {
            "CREATE"
        } else {
            "UPDATE"
        };
        let attempt = Attempt {
            res: target.res,
            sub: target.sub,
            operation,
            name: target.name,
            namespace: text(&before["metadata"], "namespace"),
            object: Some(after),
            before: Some(before),
        };
        self.ask_policies_of_write(&attempt, options)
    }

    /// The same of a delete.
    pub(in crate::store) fn ask_policies_of_delete(
        &self,
        (target, named): (Target<'_>, &str),
        before: &Value,
        options: &DeleteOptions,
    ) -> Result<(), StatusError> {
        let attempt = Attempt {
            res: target.res,
            sub: Subresource::None,
            operation: "DELETE",
            name: named,
            namespace: text(&before["metadata"], "namespace"),
            object: None,
            before: Some(before),
        };
        let asked = || {
            let mut asked = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
            if let Some(seconds) = options.grace_seconds {
                asked["gracePeriodSeconds"] = seconds.into();
            }
            asked
        };
        let dry_run = options.dry_run == DryRun::All;
        self.ask_policies(&attempt, asked, (&options.gate, &options.warnings, dry_run))
    }

    fn ask_policies(
        &self,
        attempt: &Attempt<'_>,
        asked: impl Fn() -> Value,
        (gate, warnings, dry_run): (&Gate, &Warnings, bool),
    ) -> Result<(), StatusError> {
        let policies = self.policies.that(Does::Validate);
        if policies.is_empty() || attempt.is_exempt() {
            return Ok(());
        }
        let mut question = Question {
            store: self,
            attempt,
            asked: Asked {
                gate,
                warnings,
                options: asked(),
                dry_run,
            },
            budget: STEPS_MAX,
            denied: None,
        };
        question.put_to(policies);
        question
            .denied
            .map_or(Ok(()), |denied| Err(refusal(attempt, denied)))
    }
}

/// The `request` of a write.
pub(super) fn request(attempt: &Attempt<'_>, res: &Resource, asked: &Asked<'_>) -> Value {
    let kind = |res: &Resource| match attempt.sub {
        Subresource::Scale => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
        _ => json!({"group": res.group, "version": res.version, "kind": res.kind}),
    };
    let resource = |res: &Resource| json!({"group": res.group, "version": res.version, "resource": res.plural});
    let user = asked.gate.judge().map_or_else(
        || User::new("system:kube-controller-manager", &[]).to_value(),
        |judge| judge.user().to_value(),
    );
    let mut request = json!({
        "uid": "",
        "kind": kind(res), "resource": resource(res),
        "requestKind": kind(attempt.res), "requestResource": resource(attempt.res),
        "operation": attempt.operation, "userInfo": user, "object": null, "oldObject": null,
        "dryRun": asked.dry_run, "options": asked.options,
    });
    let namespace = if attempt.is_namespace() {
        attempt.name
    } else {
        attempt.namespace
    };
    for (field, value) in [
        ("name", attempt.name),
        ("namespace", namespace),
        ("subResource", attempt.subresource()),
        ("requestSubResource", attempt.subresource()),
    ] {
        if !value.is_empty() {
            request[field] = value.into();
        }
    }
    request
}

/// The error of a refusal.
fn refusal(attempt: &Attempt<'_>, denied: Denied) -> StatusError {
    let object = attempt
        .object
        .map_or("", |object| text(&object["metadata"], "name"));
    let name = [attempt.name, object, "Unknown"]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default();
    let mut error = StatusError::forbidden(attempt.res, name, &denied.message);
    (error.code, error.reason) = match denied.reason.as_str() {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    if let Some(details) = &mut error.details {
        details["causes"] = json!([{ "message": denied.message }]);
    }
    error
}
