//! One write about which policies are asked: whom it concerns, with which parameters, and what the expressions see.
use std::sync::Arc;

use serde_json::Value;

use super::asked::{Asked, request};
use super::compiled::{Binding, Expression, OnFailure, ParamRef, Policy};
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
pub(super) const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A parameter that has not been read yet.
pub(super) struct Param {
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

/// A policy that is to be asked, as a binding wants it, with one of its parameters.
pub(super) struct Invocation<'p> {
    pub(super) policy: &'p Policy,
    pub(super) binding: &'p Binding,
    /// What the two are called.
    pub(super) said: (&'p str, &'p str),
    /// The resource in the version that the policy means.
    pub(super) res: Arc<Resource>,
    pub(super) param: Option<Param>,
}

impl Invocation<'_> {
    /// What tells it from all others of the write.
    pub(super) fn key(&self) -> Key {
        let param = self.param.as_ref().map(|param| &param.object);
        let param = param.map(|object| (object.namespace().to_owned(), object.name().to_owned()));
        let (policy, binding) = self.said;
        (policy.to_owned(), binding.to_owned(), param)
    }
}

/// The names of a policy, a binding and a parameter.
pub(super) type Key = (String, String, Option<(String, String)>);

/// A policy that concerns the write.
pub(super) enum Concern<'p> {
    /// It is to be asked.
    Ask(Invocation<'p>),
    /// It cannot be asked.
    Broken {
        policy: &'p Policy,
        name: &'p str,
        /// None if the policy itself is at fault.
        binding: Option<&'p str>,
        why: String,
    },
}

/// A write about which the policies are asked.
pub(super) struct Question<'a> {
    pub(super) store: &'a Store,
    pub(super) attempt: Attempt<'a>,
    pub(super) asked: &'a Asked<'a>,
    /// Steps that are left.
    pub(super) budget: u64,
}

impl Question<'_> {
    /// The policies that the write concerns, in the order in which they are asked.
    pub(super) fn concerns<'p>(&self, policies: &'p Policed) -> Vec<Concern<'p>> {
        let (store, attempt) = (self.store, &self.attempt);
        let labels = |name: &str| {
            let found = store.head.get(&namespaces(), "", name);
            found.map(|namespace| namespace.value())
        };
        let mut concerns = Vec::new();
        for (name, policy, bindings) in policies.bound() {
            if bindings.is_empty() {
                continue;
            }
            let Some(res) = policy.concerns.concerns(attempt, &labels, &store.registry) else {
                continue;
            };
            let params = match self.kind_of_params(policy) {
                Ok(params) => params,
                Err(why) => {
                    concerns.push(Concern::Broken {
                        policy,
                        name,
                        binding: None,
                        why: format!("failed to configure policy: {why}"),
                    });
                    continue;
                }
            };
            for (binding_name, binding) in bindings {
                let concerned = binding.concerns.as_ref().is_none_or(|concerns| {
                    concerns
                        .concerns(attempt, &labels, &store.registry)
                        .is_some()
                });
                if !concerned {
                    continue;
                }
                match self.params(params.as_ref(), binding) {
                    Err(why) => concerns.push(Concern::Broken {
                        policy,
                        name,
                        binding: Some(binding_name),
                        why: format!("failed to configure binding: {why}"),
                    }),
                    Ok(params) => concerns.extend(params.into_iter().map(|param| {
                        Concern::Ask(Invocation {
                            policy,
                            binding,
                            said: (name, binding_name),
                            res: Arc::clone(&res),
                            param,
                        })
                    })),
                }
            }
        }
        concerns
    }

    /// What the expressions of a policy see: what all see, and its parameter.
    pub(super) fn with_param(&mut self, values: &Values, param: Option<&Param>) -> Option<Values> {
        let param = match param {
            None => Value::Null,
            Some(param) => param.read(&mut self.budget)?,
        };
        let mut values = values.clone();
        values.name("params", &param, &mut self.budget);
        Some(values)
    }

    /// Whether the conditions under which a policy is asked hold.
    pub(super) fn is_meant(
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

    /// What the parameters of a policy are, if it has some.
    fn kind_of_params(&self, policy: &Policy) -> Result<Option<Arc<Resource>>, String> {
        let Some((version, kind)) = &policy.param_kind else {
            return Ok(None);
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let found = self.store.registry.find_kind(group, version, kind);
        found.map(Some).ok_or_else(|| {
            format!(
                "failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'"
            )
        })
    }

    /// The parameters that a binding means: a single none if there are none to mean.
    fn params(
        &self,
        res: Option<&Arc<Resource>>,
        binding: &Binding,
    ) -> Result<Vec<Option<Param>>, String> {
        let (Some(res), Some(wanted)) = (res, &binding.params) else {
            return Ok(vec![None]);
        };
        let found = self.found(res, wanted)?;
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

    /// A state of the object as a version of its resource shows it.
    pub(super) fn shown(&self, res: &Resource, state: Option<&Value>) -> Value {
        match (state, self.attempt.sub) {
            (None, _) => Value::Null,
            (Some(state), Subresource::Scale) if !scale::is_scale(state) => {
                scale::view_value(self.attempt.res, state)
            }
            (Some(state), Subresource::Scale) => state.clone(),
            (Some(state), _) => {
                let mut value = state.clone();
                convert::from_storage(res, &mut value);
                value
            }
        }
    }

    /// What the expressions can name, in a version of the resource.
    pub(super) fn values(&mut self, res: &Arc<Resource>) -> Values {
        let attempt = self.attempt;
        let mut values = Values::default();
        let (object, before) = (
            self.shown(res, attempt.object),
            self.shown(res, attempt.before),
        );
        let budget = &mut self.budget;
        values.name("object", &object, budget);
        values.name("oldObject", &before, budget);
        let namespace = (!attempt.is_namespace())
            .then(|| self.store.head.get(&namespaces(), "", attempt.namespace))
            .flatten();
        let mut namespace = namespace.map_or(Value::Null, |found| found.value());
        let meta = namespace.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(meta) = meta {
            meta.remove("managedFields");
            meta.remove("ownerReferences");
        }
        if let Some(namespace) = namespace.as_object_mut() {
            namespace.retain(|name, _| ["metadata", "spec", "status"].contains(&name.as_str()));
        }
        values.name("namespaceObject", &namespace, budget);
        let request = request(&attempt, res, self.asked);
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
        attempt: *attempt,
        asked,
        budget: CONDITION_STEPS_MAX,
    };
    let values = question.values(res);
    question.is_meant(conditions, &values)
}

/// What is said of an expression that has no value.
pub(super) fn in_error(text: &str, why: &str) -> String {
    format!("expression '{text}' resulted in error: {why}")
}
