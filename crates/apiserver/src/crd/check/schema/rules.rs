//! One rule of a schema: its parts, its expressions, and what they cost.
use serde_json::Value;

use super::{Checker, Place};
use crate::crd::cel::cost::estimate;
use crate::crd::cel::rule::{Gives, SelfType, compile};
use crate::crd::check::field_path::{Arrays, resolve};
use crate::crd::check::{cost, forbidden, internal, invalid, required};
use crate::crd::path::Path;
use crate::error::Cause;
use crate::store::json::text;

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

impl Checker {
    pub(super) fn rule(
        &mut self,
        rule: &Value,
        (schema, self_type): (&Value, &SelfType),
        (place, path): (&Place, &Path),
    ) {
        let (rule_path, message_path) = (path.child("rule"), path.child("messageExpression"));
        let optional = rule["optionalOldSelf"] == true;
        let bad = |path: &Path, why: &str| Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {why}", internal::rule(rule)),
            field: path.to_string(),
        };
        let compiled = match compile(text(rule, "rule"), self_type, optional, Gives::Bool) {
            Ok(compiled) => compiled,
            Err(error) => return self.rules.push(bad(&rule_path, &error)),
        };
        let cost = estimate(&compiled, schema, place.root);
        let cost = place.cardinality.times(cost, schema);
        if !self.unchanged
            && let Some(why) = cost::too_much("estimated rule cost", cost)
        {
            self.rules.push(forbidden(&rule_path, &why));
        }
        self.total.add(&rule_path, cost);
        let message = text(rule, "messageExpression");
        if !message.is_empty() {
            match compile(message, self_type, optional, Gives::Text) {
                Err(error) => self.rules.push(bad(&message_path, &error)),
                Ok(compiled) => {
                    let cost = estimate(&compiled, schema, place.root);
                    if !self.unchanged
                        && let Some(why) = cost::too_much("estimated messageExpression cost", cost)
                    {
                        self.rules.push(forbidden(&message_path, &why));
                    }
                    self.total.add(&message_path, cost);
                }
            }
        }
        if compiled.uses_old_self {
            if let Some(within) = &place.no_old_self {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
                );
                self.rules.push(invalid(&rule_path, &rule["rule"], &why));
            }
        } else if !rule["optionalOldSelf"].is_null() {
            let why = "may not be set if oldSelf is not used in rule";
            self.rules.push(invalid(
                &path.child("optionalOldSelf"),
                &rule["optionalOldSelf"],
                why,
            ));
        }
    }
}

/// The parts of a rule besides its expressions.
pub(super) fn rule_form(schema: &Value, rule: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let (own, message) = (text(rule, "rule"), text(rule, "message"));
    let breaks = |text: &str| text.contains(['\n', '\r']);
    if own.trim().is_empty() {
        causes.push(required(&path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        causes.push(invalid(
            &path.child("message"),
            &message.into(),
            "must be non-empty if specified",
        ));
    } else if breaks(message.trim()) {
        causes.push(invalid(
            &path.child("message"),
            &message.into(),
            "must not contain line breaks",
        ));
    } else if breaks(own.trim()) && message.trim().is_empty() {
        let why = "message must be specified if rule contains line breaks";
        causes.push(required(&path.child("message"), why));
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        causes.push(required(&path.child("messageExpression"), why));
    }
    if let Some(reason) = rule["reason"]
        .as_str()
        .filter(|reason| !REASONS.contains(reason))
    {
        causes.push(Cause::unsupported(
            path.child("reason").to_string(),
            &reason.into(),
            &REASONS,
        ));
    }
    let field = text(rule, "fieldPath");
    let mut complain =
        |why: &str| causes.push(invalid(&path.child("fieldPath"), &field.into(), why));
    if !field.is_empty() && field.trim().is_empty() {
        complain("must be non-empty if specified");
    }
    if breaks(field) {
        complain("must not contain line breaks");
    }
    if !field.is_empty() && resolve(field, schema, Arrays::Allowed).is_err() {
        complain("must be a valid path");
    }
}
