//! Asks the policies about a write.
use std::collections::BTreeMap;

use super::Policed;
use super::compiled::{Action, Binding, OnFailure, Policy, Validation};
use super::question::{Concern, Invocation, NO_BUDGET, Question, in_error};
use crate::crd::cel::admission::{Evaluation, Given, Unanswered, Values};

/// The longest message that an expression makes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// A refusal.
pub(super) struct Denied {
    pub(super) message: String,
    pub(super) reason: String,
}

/// What the policies say of a write.
pub(super) struct Verdict<'a> {
    question: Question<'a>,
    /// The first refusal.
    pub(super) denied: Option<Denied>,
}

impl<'a> Verdict<'a> {
    /// Asks every policy.
    pub(super) fn new(question: Question<'a>, policies: &Policed) -> Self {
        let mut verdict = Self {
            question,
            denied: None,
        };
        let mut values: BTreeMap<String, Values> = BTreeMap::new();
        for concern in verdict.question.concerns(policies) {
            match concern {
                Concern::Broken {
                    policy,
                    name,
                    binding,
                    why,
                } => verdict.broken(policy, (name, binding), &why),
                Concern::Ask(invocation) => {
                    let res = &invocation.res;
                    let values = values
                        .entry(res.api_version())
                        .or_insert_with(|| verdict.question.values(res));
                    verdict.ask(&invocation, values);
                }
            }
        }
        verdict
    }

    /// A policy that cannot be asked.
    fn broken(&mut self, policy: &Policy, (name, binding): (&str, Option<&str>), why: &str) {
        if policy.on_failure == OnFailure::Refuse {
            let binding = binding.map(|binding| format!(" with binding '{binding}'"));
            let binding = binding.unwrap_or_default();
            self.deny(&format!("'{name}'{binding}"), why, "");
        }
    }

    fn deny(&mut self, by: &str, why: &str, reason: &str) {
        self.denied.get_or_insert_with(|| Denied {
            message: format!("ValidatingAdmissionPolicy {by} denied request: {why}"),
            reason: reason.to_owned(),
        });
    }

    /// What a binding's action makes of a condition that does not hold.
    fn act(&mut self, binding: &Binding, (name, bound): (&str, &str), (why, reason): (&str, &str)) {
        for action in &binding.actions {
            match action {
                Action::Deny => self.deny(&by((name, bound)), why, reason),
                Action::Warn => self.question.asked.warnings.add(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{bound}': {why}"
                )),
            }
        }
    }

    /// Asks a policy with one of its parameters.
    fn ask(&mut self, invocation: &Invocation<'_>, values: &Values) {
        let Invocation {
            policy,
            binding,
            said,
            ..
        } = *invocation;
        let param = invocation.param.as_ref();
        let Some(values) = self.question.with_param(values, param) else {
            return self.failed(policy, binding, said, NO_BUDGET);
        };
        match self
            .question
            .is_meant((&policy.conditions, policy.on_failure), &values)
        {
            Ok(true) => {}
            Ok(false) => return,
            Err(why) => return self.failed(policy, binding, said, &why),
        }
        let values = &values;
        let mut evaluation = Evaluation::new(values, &policy.variables);
        for validation in &policy.validations {
            match self.holds(validation, &mut evaluation) {
                Ok(None) => {}
                Ok(Some(why)) => self.act(binding, said, (&why, &validation.reason)),
                Err(Unanswered::Error(why)) => self.failed(policy, binding, said, &why),
                Err(Unanswered::Spent) => return self.failed(policy, binding, said, NO_BUDGET),
            }
        }
        for annotation in &policy.annotations {
            let result = match &annotation.program {
                Ok(program) => evaluation.run(program, &mut self.question.budget),
                Err(why) => Err(Unanswered::Error(why.clone())),
            };
            if let Err(Unanswered::Error(why)) = result
                && policy.on_failure == OnFailure::Refuse
            {
                let why = format!("expression '{}' resulted in error: {why}", annotation.text);
                self.deny(&by(said), &why, "");
            }
        }
    }

    fn failed(&mut self, policy: &Policy, binding: &Binding, said: (&str, &str), why: &str) {
        if policy.on_failure == OnFailure::Refuse {
            self.act(binding, said, (why, ""));
        }
    }

    /// Nothing if a condition holds; else what there is to say.
    fn holds(
        &mut self,
        validation: &Validation,
        evaluation: &mut Evaluation<'_>,
    ) -> Result<Option<String>, Unanswered> {
        let condition = &validation.condition;
        let program = condition
            .program
            .as_ref()
            .map_err(|why| Unanswered::Error(format!("compilation error: {why}")))?;
        match evaluation.run(program, &mut self.question.budget) {
            Ok(Given::Bool(true)) => return Ok(None),
            Ok(_) => {}
            Err(Unanswered::Spent) => return Err(Unanswered::Spent),
            Err(Unanswered::Error(why)) => {
                return Err(Unanswered::Error(in_error(&condition.text, &why)));
            }
        }
        let said = match &validation.message_expression {
            None => None,
            Some(program) => match evaluation.run(program, &mut self.question.budget) {
                Ok(Given::Text(text)) => Some(text.trim().to_owned()),
                Err(Unanswered::Spent) => {
                    let why = format!("failed messageExpression: {NO_BUDGET}");
                    return Err(Unanswered::Error(why));
                }
                _ => None,
            },
        };
        let fit = |text: &String| {
            !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n')
        };
        let said = said
            .filter(fit)
            .unwrap_or_else(|| validation.message.clone());
        Ok(Some(if said.is_empty() {
            format!("failed expression: {}", condition.text.trim())
        } else {
            said
        }))
    }
}

/// How a refusal says who refuses.
fn by((policy, binding): (&str, &str)) -> String {
    format!("'{policy}' with binding '{binding}'")
}
