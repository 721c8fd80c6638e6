//! How policies are asked about a write, and how it is refused.
use serde_json::{Value, json};

use super::question::{Question, STEPS_MAX};
use super::verdict::{Denied, Verdict};
use super::{Attempt, Does};
use crate::auth::User;
use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::Store;
use crate::store::json::text;
use crate::store::request::{
    DeleteOptions, DryRun, Gate, Subresource, Target, Warnings, WriteOptions,
};
use crate::store::webhooks::Turned;
use crate::store::webhooks::inquiry::Inquiry;

/// How a write is asked for, as far as policies and webhooks can see it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Asked<'a> {
    pub(super) gate: &'a Gate,
    pub(in crate::store) warnings: &'a Warnings,
    pub(in crate::store) inquiry: &'a Inquiry,
    /// What `request.options` is.
    options: Value,
    pub(in crate::store) dry_run: bool,
}

impl<'a> Asked<'a> {
    fn new(
        (gate, warnings, inquiry): (&'a Gate, &'a Warnings, &'a Inquiry),
        mut options: Value,
        dry_run: DryRun,
    ) -> Self {
        let dry_run = dry_run == DryRun::All;
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        Self {
            gate,
            warnings,
            inquiry,
            options,
            dry_run,
        }
    }

    /// Of a create or an update.
    pub(in crate::store) fn of_write(operation: &str, options: &'a WriteOptions) -> Self {
        let kind = if operation == "CREATE" {
            "CreateOptions"
        } else {
            "UpdateOptions"
        };
        let mut asked = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        for (name, value) in &options.given {
            asked[*name] = value.as_str().into();
        }
        let by = (&options.gate, &options.warnings, &options.inquiry);
        Self::new(by, asked, options.dry_run)
    }

    /// Of a delete.
    fn of_delete(options: &'a DeleteOptions) -> Self {
        let mut asked = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(seconds) = options.grace_seconds {
            asked["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(uid) = &options.uid {
            asked["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &options.resource_version {
            asked["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        if let Some(propagation) = options.propagation {
            asked["propagationPolicy"] = propagation.name().into();
        }
        let by = (&options.gate, &options.warnings, &options.inquiry);
        Self::new(by, asked, options.dry_run)
    }
}

impl Store {
    /// Refuses what a policy refuses of a create or an update, and adds the warnings of those that only warn.
    pub(in crate::store) fn ask_policies_of_write(
        &self,
        attempt: &Attempt<'_>,
        options: &WriteOptions,
    ) -> Result<(), StatusError> {
        let asked = || Asked::of_write(attempt.operation, options);
        self.ask_policies(attempt, asked, &options.inquiry)
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

    /// The same of a delete, of which there is nothing to change, although webhooks that change are asked, too.
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
        if self.has_webhooks() && options.inquiry.asks() {
            let asked = Asked::of_delete(options);
            let turn = (&mut Turned::default(), false);
            self.mutate_by_webhooks(&attempt, &mut Value::Null, &asked, turn)?;
        }
        self.ask_policies(&attempt, || Asked::of_delete(options), &options.inquiry)
    }

    fn ask_policies<'a>(
        &self,
        attempt: &Attempt<'_>,
        asked: impl Fn() -> Asked<'a>,
        inquiry: &Inquiry,
    ) -> Result<(), StatusError> {
        let policies = self.policies.that(Does::Validate);
        if !policies.is_empty() && !attempt.is_exempt() {
            let asked = asked();
            let question = Question {
                store: self,
                attempt: *attempt,
                asked: &asked,
                budget: STEPS_MAX,
            };
            if let Some(denied) = Verdict::new(question, policies).denied {
                return Err(refusal(attempt, denied));
            }
        }
        if self.has_webhooks() && inquiry.asks() {
            self.ask_webhooks(attempt, &asked())?;
        }
        Ok(())
    }
}

/// The `request` of a write.
pub(in crate::store) fn request(attempt: &Attempt<'_>, res: &Resource, asked: &Asked<'_>) -> Value {
    let kind = |res: &Resource| match attempt.sub {
        Subresource::Scale => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
        Subresource::Binding => json!({"group": "", "version": "v1", "kind": "Binding"}),
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

/// The name by which a refusal calls what is written.
pub(super) fn called<'a>(attempt: &Attempt<'a>) -> &'a str {
    let meta = |name: &str| {
        attempt
            .object
            .map_or("", |object| text(&object["metadata"], name))
    };
    let names = [attempt.name, meta("name"), meta("generateName"), "Unknown"];
    let found = names.into_iter().find(|name| !name.is_empty());
    found.unwrap_or_default()
}

/// The error of a refusal.
fn refusal(attempt: &Attempt<'_>, denied: Denied) -> StatusError {
    let mut error = StatusError::forbidden(attempt.res, called(attempt), &denied.message);
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
