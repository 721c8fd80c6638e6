//! Asks the policies about a write.
use std::sync::Arc;

use serde_json::Value;

use super::asked::{Asked, request};
use super::compiled::{Action, Binding, Expression, OnFailure, ParamRef, Policy, Validation};
use super::{Attempt, Policed};
use crate::auth::User;
use crate::crd::cel::admission::{Evaluation, Given, Unanswered, Values};
use crate::crd::cel::library::authorizer::Asks;
use crate::object::Object;
use crate::rbac::{Attributes, Decision};
use crate::registry::Resource;
use crate::store::request::Subresource;
use crate::store::{Store, convert, namespaces, scale};

/// Steps of all expressions of all policies for one write.
pub(super) const STEPS_MAX: u64 = 10_000_000;
/// Steps of all conditions of one webhook.
const CONDITION_STEPS_MAX: u64 = STEPS_MAX / 4;
/// The longest message that an expression makes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A refusal.
pub(super) struct Denied {
    pub(super) message: String,
    pub(super) reason: String,
}

/// A parameter that has not been read yet.
struct Param {
    res: Arc<Resource>,
    object: Arc<Object>,
}

impl Param {
    /// Reads it; none if the budget does not suffice.
    fn read(&self, budget: &mut u64) -> Option<Value> {
        let cost = self.object.bytes().len() as u64 / 10;
        *budget = budget.saturating_sub(cost);
        (*budget > 0).then(|| {
            let mut value = self.object.value();
            convert::from_storage(&self.res, &mut value);
            value
        })
    }
}

/// A write about which the policies are asked.
pub(super) struct Question<'a> {
    pub(super) store: &'a Store,
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) asked: Asked<'a>,
    /// Steps that are left.
    pub(super) budget: u64,
    /// The first refusal.
    pub(super) denied: Option<Denied>,
}

impl Question<'_> {
    /// Asks every policy.
    pub(super) fn put_to(&mut self, policies: &Policed) {
        let (store, attempt) = (self.store, self.attempt);
        let labels = |name: &str| {
            let found = store.head.get(&namespaces(), "", name);
            found.map(|namespace| namespace.value())
        };
        for (name, policy, bindings) in policies.bound() {
            if bindings.is_empty() {
                continue;
            }
            let Some(res) = policy.concerns.concerns(attempt, &labels, &store.registry) else {
                continue;
            };
            let mut values = None;
            for (binding_name, binding) in bindings {
                let concerned = binding.concerns.as_ref().is_none_or(|concerns| {
                    concerns
                        .concerns(attempt, &labels, &store.registry)
                        .is_some()
                });
                if concerned {
                    let values = values.get_or_insert_with(|| self.values(&res));
                    self.bound((policy, binding), values, (name, binding_name));
                }
            }
        }
    }

    /// Asks a policy as a binding wants it, with each of its parameters.
    fn bound(
        &mut self,
        (policy, binding): (&Policy, &Binding),
        values: &Values,
        said: (&str, &str),
    ) {
        match self.params(policy, binding) {
            Err(why) => self.not_configured(policy, said, &why),
            Ok(params) => {
                for param in params {
                    let param = match param {
                        None => Value::Null,
                        Some(param) => match param.read(&mut self.budget) {
                            Some(value) => value,
                            None => return self.failed(policy, binding, said, NO_BUDGET),
                        },
                    };
                    let mut values = values.clone();
                    self.one((policy, binding), &mut values, &param, said);
                }
            }
        }
    }

    /// A policy that cannot be asked.
    fn not_configured(&mut self, policy: &Policy, (name, binding): (&str, &str), why: &str) {
        if policy.on_failure == OnFailure::Refuse {
            let text = format!("failed to configure binding: {why}");
            self.deny((name, binding), &text, "");
        }
    }

    fn deny(&mut self, (policy, binding): (&str, &str), why: &str, reason: &str) {
        self.denied.get_or_insert_with(|| Denied {
            message: format!(
                "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
            ),
            reason: reason.to_owned(),
        });
    }

    /// What a binding's action makes of a condition that does not hold.
    fn act(&mut self, binding: &Binding, (name, bound): (&str, &str), (why, reason): (&str, &str)) {
        for action in &binding.actions {
            match action {
                Action::Deny => self.deny((name, bound), why, reason),
                Action::Warn => self.asked.warnings.add(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{bound}': {why}"
                )),
            }
        }
    }

    /// Asks a policy with one of its parameters.
    fn one(
        &mut self,
        (policy, binding): (&Policy, &Binding),
        values: &mut Values,
        params: &Value,
        said: (&str, &str),
    ) {
        values.name("params", params, &mut self.budget);
        match self.is_meant((&policy.conditions, policy.on_failure), values) {
            Ok(true) => {}
            Ok(false) => return,
            Err(why) => return self.failed(policy, binding, said, &why),
        }
        let values = &*values;
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
                Ok(program) => evaluation.run(program, &mut self.budget),
                Err(why) => Err(Unanswered::Error(why.clone())),
            };
            if let Err(Unanswered::Error(why)) = result
                && policy.on_failure == OnFailure::Refuse
            {
                let why = format!("expression '{}' resulted in error: {why}", annotation.text);
                self.deny(said, &why, "");
            }
        }
    }

    fn failed(&mut self, policy: &Policy, binding: &Binding, said: (&str, &str), why: &str) {
        if policy.on_failure == OnFailure::Refuse {
            self.act(binding, said, (why, ""));
        }
    }

    /// Whether the conditions under which a policy is asked hold.
    fn is_meant(
        &mut self,
        (conditions, on_failure): (&[Expression], OnFailure),
        values: &Values,
    ) -> Result<bool, String> {
        if conditions.is_empty() {
            return Ok(true);
        }
        let mut values = values.clone();
        values.name("namespaceObject", &Value::Null, &mut self.budget);
        let none = Default::default();
        let mut evaluation = Evaluation::new(&values, &none);
        let mut errors = Vec::new();
        for condition in conditions {
            let result = match &condition.program {
                Ok(program) => evaluation.run(program, &mut self.budget),
                Err(why) => Err(Unanswered::Error(format!("compilation error: {why}"))),
            };
            match result {
                Ok(Given::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Unanswered::Spent) => return Err(NO_BUDGET.to_owned()),
                Err(Unanswered::Error(why)) => errors.push(in_error(&condition.text, &why)),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            _ if on_failure == OnFailure::Ignore => Ok(false),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
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
        match evaluation.run(program, &mut self.budget) {
            Ok(Given::Bool(true)) => return Ok(None),
            Ok(_) => {}
            Err(Unanswered::Spent) => return Err(Unanswered::Spent),
            Err(Unanswered::Error(why)) => {
                return Err(Unanswered::Error(in_error(&condition.text, &why)));
            }
        }
        let said = match &validation.message_expression {
            None => None,
            Some(program) => match evaluation.run(program, &mut self.budget) {
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

    /// The parameters that a binding means: a single none if it has none.
    fn params(&self, policy: &Policy, binding: &Binding) -> Result<Vec<Option<Param>>, String> {
        let (Some((version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params) else {
            return Ok(vec![None]);
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let res = self.store.registry.find_kind(group, version, kind);
        let found = match res {
            None => Vec::new(),
            Some(res) => self.found(&res, wanted)?,
        };
        if found.is_empty() && wanted.required {
            let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
            return Err(why.to_owned());
        }
        Ok(found.into_iter().map(Some).collect())
    }

    fn found(&self, res: &Arc<Resource>, wanted: &ParamRef) -> Result<Vec<Param>, String> {
        let namespace = if res.is_namespaced() {
            match (wanted.namespace.as_str(), self.attempt.namespace) {
                ("", "") => {
                    let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
                    return Err(why.to_owned());
                }
                ("", own) => own,
                (given, _) => given,
            }
        } else if wanted.namespace.is_empty() {
            ""
        } else {
            let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
            return Err(why.to_owned());
        };
        let param = |object: &Arc<Object>| Param {
            res: Arc::clone(res),
            object: Arc::clone(object),
        };
        let head = &self.store.head;
        let Some(selector) = &wanted.selector else {
            let found = head.get(&res.storage, namespace, &wanted.name);
            return Ok(found.map(param).into_iter().collect());
        };
        let inside = (!namespace.is_empty()).then_some(namespace);
        let all = head.within(&res.storage, inside);
        let selected = all.filter(|object| selector.matches(|key| object.label(key)));
        Ok(selected.map(param).collect())
    }

    /// What the expressions can name, in a version of the resource.
    fn values(&mut self, res: &Arc<Resource>) -> Values {
        let attempt = self.attempt;
        let shown = |state: Option<&Value>| match (state, attempt.sub) {
            (None, _) => Value::Null,
            (Some(state), Subresource::Scale) => scale::view_value(attempt.res, state),
            (Some(state), _) => {
                let mut value = state.clone();
                convert::from_storage(res, &mut value);
                value
            }
        };
        let mut values = Values::default();
        let budget = &mut self.budget;
        values.name("object", &shown(attempt.object), budget);
        values.name("oldObject", &shown(attempt.before), budget);
        let namespace = (!attempt.is_namespace())
            .then(|| self.store.head.get(&namespaces(), "", attempt.namespace))
            .flatten();
        let mut namespace = namespace.map_or(Value::Null, |found| found.value());
        if let Some(meta) = namespace["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.remove("ownerReferences");
        }
        if let Some(namespace) = namespace.as_object_mut() {
            namespace.retain(|name, _| ["metadata", "spec", "status"].contains(&name.as_str()));
        }
        values.name("namespaceObject", &namespace, budget);
        let request = request(attempt, res, &self.asked);
        values.name("request", &request, budget);
        values.name_authorizer(self.asks());
        values
    }

    fn asks(&self) -> Asks {
        let attempt = self.attempt;
        let gate = self.asked.gate.clone();
        let decide = move |account: Option<&(String, String)>, wanted: &Attributes| {
            let account = account.map(|(namespace, name)| User::service_account(namespace, name));
            gate.judge().map_or_else(
                || Decision {
                    allowed: true,
                    reason: String::new(),
                },
                |judge| judge.may(account.as_ref(), wanted),
            )
        };
        let request = Attributes {
            group: attempt.res.group.clone(),
            version: attempt.res.version.clone(),
            resource: attempt.res.plural.clone(),
            subresource: attempt.subresource().to_owned(),
            namespace: (!attempt.namespace.is_empty()).then(|| attempt.namespace.to_owned()),
            name: attempt.name.to_owned(),
            ..Attributes::default()
        };
        Asks::new(Arc::new(decide), request)
    }
}

/// Whether the conditions hold under which a webhook is asked of a write, seen in a version of the resource.
pub(in crate::store) fn conditions_hold(
    store: &Store,
    (attempt, res): (&Attempt<'_>, &Arc<Resource>),
    asked: &Asked<'_>,
    conditions: (&[Expression], OnFailure),
) -> Result<bool, String> {
    let mut question = Question {
        store,
        attempt,
        asked: asked.clone(),
        budget: CONDITION_STEPS_MAX,
        denied: None,
    };
    let values = question.values(res);
    question.is_meant(conditions, &values)
}

fn in_error(text: &str, why: &str) -> String {
    format!("expression '{text}' resulted in error: {why}")
}
