//! Carries out what policies want to be changed in a write.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::asked::{Asked, called};
use super::compiled::{How, Mutation, OnFailure, Policy};
use super::question::{Concern, Invocation, Key, NO_BUDGET, Question, STEPS_MAX, in_error};
use super::{Attempt, Does};
use crate::apply;
use crate::crd::cel::admission::{Evaluation, Unanswered, Values};
use crate::crd::object as crd;
use crate::error::StatusError;
use crate::patch::operations::{self, Misfit};
use crate::registry::Resource;
use crate::schema;
use crate::store::json::fields;
use crate::store::mutate::Turn;
use crate::store::mutate::fits;
use crate::store::request::{FieldValidation, Subresource, Warnings};
use crate::store::{Store, admit, convert, scale};

/// Which policies want to be asked again, because others have changed what they have seen.
#[derive(Debug, Default)]
pub(in crate::store) struct Again {
    asked: BTreeSet<Key>,
    wanted: BTreeSet<Key>,
    /// What the policies have made of the object.
    last: Option<Value>,
}

impl Again {
    /// Something has changed since.
    fn want(&mut self) {
        self.wanted.append(&mut self.asked);
    }
}

/// Why a mutation has come to nothing.
enum Failed {
    /// The policy is at fault, and may be ignored.
    Policy(String),
    /// The write cannot go on.
    Write(StatusError),
}

impl From<Unanswered> for Failed {
    fn from(why: Unanswered) -> Self {
        Self::Policy(match why {
            Unanswered::Spent => NO_BUDGET.to_owned(),
            Unanswered::Error(why) => why,
        })
    }
}

impl Store {
    /// Lets the policies change a write: `object` is its new state, in the version that is stored.
    pub(in crate::store) fn mutate_by_policies(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        asked: &Asked<'_>,
        turn: &mut Turn,
    ) -> Result<(), StatusError> {
        let policies = self.policies.that(Does::Mutate);
        let seen = object.clone();
        let attempt = Attempt {
            object: Some(&seen),
            ..*attempt
        };
        let question = Question {
            store: self,
            attempt,
            asked,
            budget: STEPS_MAX,
        };
        let concerns = question.concerns(policies);
        if concerns.is_empty() {
            return Ok(());
        }
        if turn.again && turn.policies.last.as_ref() != Some(&*object) {
            turn.policies.want();
        }
        let mut mutating = Mutating {
            question,
            refusals: Vec::new(),
            is_touched: false,
        };
        for concern in &concerns {
            if let Concern::Broken {
                policy,
                name,
                binding,
                why,
            } = concern
            {
                mutating.broken(policy, (name, *binding), why);
            }
        }
        for concern in &concerns {
            if let Concern::Ask(invocation) = concern {
                mutating.ask(invocation, object, turn)?;
            }
        }
        if mutating.is_touched {
            turn.policies.want();
            turn.changed = true;
        }
        turn.policies.last = Some(object.clone());
        match mutating.refusals.as_slice() {
            [] => Ok(()),
            refusals => Err(refusal(&attempt, refusals)),
        }
    }
}

/// Kubernetes finds no schema for what is scaled by.
const NO_SCALE: &str = "error applying patch: failed to convert patch object to typed object: no corresponding type for \
                        autoscaling/v1, Kind=Scale";

/// A refusal: what it says, and its reason.
type Refusal = (String, &'static str);

struct Mutating<'a> {
    question: Question<'a>,
    refusals: Vec<Refusal>,
    /// Whether a mutation has been carried out, even if it has changed nothing.
    is_touched: bool,
}

impl Mutating<'_> {
    /// A policy that cannot be asked.
    fn broken(&mut self, policy: &Policy, (name, binding): (&str, Option<&str>), why: &str) {
        let by = match binding {
            Some(binding) => format!("policy '{name}' with binding '{binding}'"),
            None => format!("policy {name:?}"),
        };
        if policy.on_failure == OnFailure::Refuse {
            let text = format!("{by} denied request: {why}");
            self.refusals.push((text, "Forbidden"));
        }
    }

    fn refuse(&mut self, invocation: &Invocation<'_>, why: &str) {
        let (name, binding) = invocation.said;
        if invocation.policy.on_failure == OnFailure::Refuse {
            let text = format!("policy '{name}' with binding '{binding}' denied request: {why}");
            self.refusals.push((text, "Invalid"));
        }
    }

    /// Asks one policy with one of its parameters.
    fn ask(
        &mut self,
        invocation: &Invocation<'_>,
        object: &mut Value,
        turn: &mut Turn,
    ) -> Result<(), StatusError> {
        let Invocation { policy, res, .. } = invocation;
        if self.question.budget == 0 {
            self.refuse(invocation, NO_BUDGET);
            return Ok(());
        }
        let mut question = Question {
            attempt: Attempt {
                object: Some(&*object),
                ..self.question.attempt
            },
            ..self.question
        };
        let values = question.values(res);
        let values = question.with_param(&values, invocation.param.as_ref());
        let meant = values.map(|values| {
            (
                question.is_meant((&policy.conditions, policy.on_failure), &values),
                values,
            )
        });
        self.question.budget = question.budget;
        let mut values = match meant {
            None => {
                self.refuse(invocation, NO_BUDGET);
                return Ok(());
            }
            Some((Err(why), _)) => {
                self.refuse(invocation, &why);
                return Ok(());
            }
            Some((Ok(false), _)) => return Ok(()),
            Some((Ok(true), values)) => values,
        };
        let key = invocation.key();
        if turn.again && !turn.policies.wanted.contains(&key) {
            return Ok(());
        }
        let mut changed = false;
        for mutation in &policy.mutations {
            match self.mutated(invocation, mutation, (&values, object)) {
                Ok(new) => {
                    self.is_touched = true;
                    if new != *object {
                        changed = true;
                        *object = new;
                        let shown = self.question.shown(res, Some(object));
                        values.name("object", &shown, &mut self.question.budget);
                    }
                }
                Err(Failed::Write(error)) => return Err(error),
                Err(Failed::Policy(why)) => self.refuse(invocation, &why),
            }
        }
        if changed {
            turn.policies.want();
            turn.changed = true;
        }
        if policy.is_asked_again {
            turn.policies.asked.insert(key);
        }
        Ok(())
    }

    /// What one mutation makes of the object.
    fn mutated(
        &mut self,
        invocation: &Invocation<'_>,
        mutation: &Mutation,
        (values, object): (&Values, &Value),
    ) -> Result<Value, Failed> {
        let (policy, res) = (invocation.policy, &invocation.res);
        let expression = &mutation.expression;
        let program = expression.program.as_ref();
        let program = program.map_err(|why| Failed::Policy(why.clone()))?;
        let budget = &mut self.question.budget;
        let wanted = Evaluation::new(values, &policy.variables).change(program, budget);
        let wanted = wanted.map_err(|why| match why {
            Unanswered::Error(why) => Failed::Policy(in_error(&expression.text, &why)),
            Unanswered::Spent => Failed::from(Unanswered::Spent),
        })?;
        let shown = self.question.shown(res, Some(object));
        let is_scale = self.question.attempt.sub == Subresource::Scale;
        let budget = &mut self.question.budget;
        let mut new = match mutation.how {
            How::Configuration if is_scale => {
                wanted.configuration(budget)?;
                return Err(Failed::Policy(NO_SCALE.to_owned()));
            }
            How::Configuration => {
                let mut config = wanted.configuration(budget)?;
                for name in ["apiVersion", "kind"] {
                    fields(&mut config).insert(name.to_owned(), shown[name].clone());
                }
                let mut new = apply::merged(res, &shown, &config)
                    .map_err(|why| Failed::Policy(format!("error applying patch: {why}")))?;
                schema::typed(res, &mut new, FieldValidation::Ignore).map_err(Failed::Policy)?;
                new
            }
            How::Operations => {
                let operations = wanted.operations(budget)?;
                let mut new = match operations::applied(shown.clone(), &operations) {
                    Ok(new) => new,
                    Err(Misfit::Untrue(_)) => shown.clone(),
                    Err(why) => return Err(Failed::Policy(format!("JSON Patch: {why}"))),
                };
                let kind = if is_scale {
                    &scale::scale_kind(res)
                } else {
                    &**res
                };
                schema::typed(kind, &mut new, FieldValidation::Strict)
                    .map_err(|why| Failed::Write(StatusError::internal(why)))?;
                new
            }
        };
        let asked = self.question.attempt.res;
        if !res.custom && res.api_version() != asked.api_version() {
            // Kubernetes goes from one version to the other without a way there.
            return Err(Failed::Policy(format!(
                "converting ({}.{}) to ({}.{}): unknown conversion",
                res.version, res.kind, asked.version, asked.kind
            )));
        }
        for name in ["apiVersion", "kind"] {
            fields(&mut new).insert(name.to_owned(), shown[name].clone());
        }
        let new = self.settled(res, new).map_err(Failed::Write)?;
        fits(&self.question.attempt, &new).map_err(Failed::Write)?;
        Ok(new)
    }

    /// A changed object with its defaults, as it is stored.
    fn settled(&self, res: &Resource, mut object: Value) -> Result<Value, StatusError> {
        if self.question.attempt.sub == Subresource::Scale {
            return Ok(object);
        }
        let silent = Warnings::default();
        crd::decode(res, &mut object, (FieldValidation::Ignore, &silent))?;
        convert::to_storage(res, &mut object);
        let before = self.question.attempt.before;
        admit::defaults(self.question.store, res, before, &mut object);
        schema::complete(res, &mut object)?;
        Ok(object)
    }
}

/// The error of all refusals: what the first one says.
fn refusal(attempt: &Attempt<'_>, refusals: &[Refusal]) -> StatusError {
    let mut error = StatusError::forbidden(attempt.res, called(attempt), "");
    if let Some((message, reason)) = refusals.first() {
        error.message.clone_from(message);
        error.reason = reason;
    }
    if let Some(details) = &mut error.details {
        let causes = refusals.iter().map(|(text, _)| json!({ "message": text }));
        details["causes"] = causes.collect();
    }
    error
}
