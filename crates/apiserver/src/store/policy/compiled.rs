//! A policy and a binding as they are asked: compiled, and read.
use std::collections::BTreeMap;

use serde_json::Value;

use super::matching::Match;
use crate::crd::cel::admission::{Gives, Named, Program, Scope};
use crate::selector::LabelSelector;
use crate::store::json::{list, text};

/// An expression that may be one that does not compile, and its text.
#[derive(Debug)]
pub(in crate::store) struct Expression {
    pub(super) text: String,
    pub(super) program: Result<Program, String>,
}

/// A condition and what it says when it does not hold.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) condition: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Program>,
    pub(super) reason: String,
}

/// What becomes of a write whose policy cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum OnFailure {
    Refuse,
    Ignore,
}

impl OnFailure {
    /// What the `failurePolicy` of a policy or webhook says.
    pub(in crate::store) fn of(holder: &Value) -> Self {
        if holder["failurePolicy"] == "Ignore" {
            Self::Ignore
        } else {
            Self::Refuse
        }
    }
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) on_failure: OnFailure,
    /// The kind of its parameters: version and kind.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) concerns: Match,
    pub(super) conditions: Vec<Expression>,
    pub(super) variables: BTreeMap<String, Result<Program, String>>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Expression>,
    pub(super) mutations: Vec<Mutation>,
    /// Whether it wants to see again what others change after it.
    pub(super) is_asked_again: bool,
}

/// How a policy changes an object.
#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) how: How,
    pub(super) expression: Expression,
}

/// What the expression of a mutation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum How {
    /// What the object shall have.
    Configuration,
    /// Operations of a JSON patch.
    Operations,
}

impl How {
    /// What a `patchType` means, the field with its expression, and what that must give.
    pub(in crate::store) fn of(patch_type: &str) -> Option<(Self, &'static str, Gives)> {
        Some(match patch_type {
            "ApplyConfiguration" => (Self::Configuration, "applyConfiguration", Gives::Object),
            "JSONPatch" => (Self::Operations, "jsonPatch", Gives::Operations),
            _ => return None,
        })
    }
}

/// The scopes of the expressions of a policy.
pub(in crate::store) struct Scopes {
    pub(in crate::store) conditions: Scope,
    pub(in crate::store) validations: Scope,
    pub(in crate::store) messages: Scope,
    pub(in crate::store) mutations: Scope,
}

impl Scopes {
    /// By whether the policy has parameters; variables are declared later.
    pub(in crate::store) fn new(spec: &Value) -> Self {
        let params = if spec["paramKind"].is_object() {
            Named::Yes
        } else {
            Named::No
        };
        let plain = Scope::new(params);
        Self {
            conditions: plain.clone().with_authorizer(),
            validations: plain.clone().with_authorizer(),
            mutations: plain.clone().with_authorizer().with_changes(),
            messages: plain,
        }
    }

    /// The same for a policy that has variables.
    pub(in crate::store) fn with_variables(mut self) -> Self {
        self.validations = self.validations.with_variables();
        self.declared();
        self
    }

    /// Declares a variable.
    pub(in crate::store) fn declare(&mut self, name: &str, text: &str) -> Result<Program, String> {
        let compiled = self.validations.compile(text, Gives::Any);
        self.validations.declare(name, compiled.as_ref().ok());
        compiled
    }

    /// Tells the other expressions of the variables, when all are declared.
    pub(in crate::store) fn declared(&mut self) {
        for other in [&mut self.messages, &mut self.mutations] {
            *other = other.clone().with_variables_of(&self.validations);
        }
    }
}

impl Expression {
    /// A condition under which a policy or webhook is asked.
    pub(in crate::store) fn condition(text: &str, scopes: &Scopes) -> Self {
        Self::new(text, &scopes.conditions, Gives::Bool)
    }

    fn new(text: &str, scope: &Scope, gives: Gives) -> Self {
        Self {
            text: text.to_owned(),
            program: scope.compile(text, gives),
        }
    }
}

impl Policy {
    /// Reads and compiles a stored policy.
    pub(super) fn new(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let mut scopes = Scopes::new(spec).with_variables();
        let mut variables = BTreeMap::new();
        for variable in list(spec, "variables") {
            let name = text(variable, "name");
            let program = scopes.declare(name, text(variable, "expression"));
            variables.insert(name.to_owned(), program);
        }
        scopes.declared();
        let conditions = list(spec, "matchConditions")
            .iter()
            .map(|one| Expression::condition(text(one, "expression"), &scopes));
        let validations = list(spec, "validations")
            .iter()
            .map(|one| Validation::new(one, &scopes));
        let annotations = list(spec, "auditAnnotations").iter().map(|one| {
            let text = text(one, "valueExpression").trim();
            Expression::new(text, &scopes.validations, Gives::TextOrNull)
        });
        let mutations = list(spec, "mutations").iter();
        let kind = &spec["paramKind"];
        let params = (text(kind, "apiVersion"), text(kind, "kind"));
        Self {
            on_failure: OnFailure::of(spec),
            param_kind: kind
                .is_object()
                .then(|| (params.0.to_owned(), params.1.to_owned())),
            concerns: Match::new(&spec["matchConstraints"]),
            conditions: conditions.collect(),
            validations: validations.collect(),
            annotations: annotations.collect(),
            mutations: mutations
                .filter_map(|one| Mutation::new(one, &scopes.mutations))
                .collect(),
            is_asked_again: spec["reinvocationPolicy"] == "IfNeeded",
            variables,
        }
    }
}

impl Mutation {
    fn new(mutation: &Value, scope: &Scope) -> Option<Self> {
        let (how, field, gives) = How::of(text(mutation, "patchType"))?;
        let expression = text(&mutation[field], "expression");
        Some(Self {
            how,
            expression: Expression::new(expression, scope, gives),
        })
    }
}

impl Validation {
    fn new(validation: &Value, scopes: &Scopes) -> Self {
        let said = text(validation, "messageExpression");
        let said = (!said.trim().is_empty()).then(|| scopes.messages.compile(said, Gives::Text));
        let condition = text(validation, "expression");
        Self {
            condition: Expression::new(condition, &scopes.validations, Gives::Bool),
            message: text(validation, "message").trim().to_owned(),
            message_expression: said.and_then(Result::ok),
            reason: text(validation, "reason").to_owned(),
        }
    }
}

/// What becomes of what a policy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
}

/// A binding: for whom a policy holds, and with which parameters.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) policy: String,
    pub(super) params: Option<ParamRef>,
    /// None: whatever the policy concerns.
    pub(super) concerns: Option<Match>,
    pub(super) actions: Vec<Action>,
}

/// Which parameters a binding means.
#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<LabelSelector>,
    pub(super) required: bool,
}

impl Binding {
    /// Reads a stored binding.
    pub(super) fn new(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let params = &spec["paramRef"];
        let matches = &spec["matchResources"];
        let actions = list(spec, "validationActions").iter();
        Self {
            policy: text(spec, "policyName").to_owned(),
            params: params.is_object().then(|| ParamRef {
                name: text(params, "name").to_owned(),
                namespace: text(params, "namespace").to_owned(),
                selector: params["selector"]
                    .is_object()
                    .then(|| LabelSelector::from_object(&params["selector"])),
                required: params["parameterNotFoundAction"] == "Deny",
            }),
            concerns: matches.is_object().then(|| Match::new(matches)),
            // Nobody reads what would be written to an audit log.
            actions: actions
                .filter_map(|action| match action.as_str() {
                    Some("Deny") => Some(Action::Deny),
                    Some("Warn") => Some(Action::Warn),
                    _ => None,
                })
                .collect(),
        }
    }
}
