//! The expressions of admission policies: what they can name, compiled once, run within a budget.
//!
//! A [`Scope`] knows the variables and their types; a [`Program`] is an expression that fits them. Variables of a
//! policy may only name those before them, so that a program knows which ones it needs, in order.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::check::{Changes, check};
use super::decl::{Fields, Ty};
use super::eval::{Failure, Run};
use super::message;
use super::object_type::ObjectType;
use super::parse::parse;
use super::tree::{Expr, Node, Problem, REACH_MAX, TOO_DEEP};
use super::value::Val;

/// Steps of one expression.
const CALL_STEPS_MAX: u64 = 1_000_000;
/// What every expression names the variables of its policy by.
pub(super) const VARIABLES: &str = "variables";

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Bool,
    Text,
    /// A text, or nothing to say.
    TextOrNull,
    /// A part of the object that is asked about.
    Object,
    /// Operations of a JSON patch.
    Operations,
    Any,
}

impl Gives {
    fn refuses(self, ty: &Ty) -> Option<String> {
        let found = ty.full_name();
        match self {
            Self::Bool if *ty != Ty::Bool => Some(format!("must evaluate to bool but got {found}")),
            Self::Text if *ty != Ty::Text => {
                Some(format!("must evaluate to string but got {found}"))
            }
            Self::TextOrNull if !matches!(ty, Ty::Text | Ty::Null) => Some(format!(
                "must evaluate to one of [string null_type] but got {found}"
            )),
            Self::Object if *ty != message::whole() => {
                Some(format!("must evaluate to Object but got {found}"))
            }
            Self::Operations if *ty != message::patch() => {
                Some(format!("must evaluate to list(JSONPatch) but got {found}"))
            }
            _ => None,
        }
    }
}

/// Whether expressions may name a thing that not all of them may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Yes,
    No,
}

/// The variables that an expression needs.
#[derive(Debug, Clone, Default)]
struct Needs {
    /// Each after those that it needs itself.
    names: Vec<Arc<str>>,
    /// How deep their values nest at most.
    reach: usize,
}

/// What the expressions of a policy can name.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    names: Vec<(&'static str, Ty)>,
    /// The policy's own variables; none where they cannot be named.
    variables: Option<Arc<Fields>>,
    /// What each of them needs.
    needs: Arc<BTreeMap<String, Needs>>,
    changes: Changes,
}

impl Scope {
    /// The names that all expressions have, and `params` if the policy has some.
    pub(crate) fn new(params: Named) -> Self {
        let mut names = vec![
            ("object", Ty::Dyn),
            ("oldObject", Ty::Dyn),
            ("namespaceObject", namespace_type()),
            ("request", request_type()),
        ];
        if params == Named::Yes {
            names.push(("params", Ty::Dyn));
        }
        Self {
            names,
            variables: None,
            needs: Arc::default(),
            changes: Changes::No,
        }
    }

    /// The same for expressions that say how an object shall be changed.
    pub(crate) fn with_changes(mut self) -> Self {
        self.changes = Changes::Yes;
        self
    }

    /// The same for objects of a known type.
    pub(crate) fn about(mut self, of: &ObjectType) -> Self {
        for (name, ty) in &mut self.names {
            if matches!(*name, "object" | "oldObject") {
                ty.clone_from(&of.0);
            }
        }
        self
    }

    /// The same for expressions that may ask what the user may do.
    pub(crate) fn with_authorizer(mut self) -> Self {
        self.names
            .push(("authorizer", Ty::Named(super::library::authorizer::ASKS)));
        self
    }

    /// The same for a policy that has variables.
    pub(crate) fn with_variables(mut self) -> Self {
        self.variables
            .get_or_insert_with(|| Arc::new(Fields::named("kubernetes.variables")));
        self
    }

    /// The variables of another scope.
    pub(crate) fn with_variables_of(mut self, other: &Self) -> Self {
        self.variables.clone_from(&other.variables);
        self.needs = Arc::clone(&other.needs);
        self
    }

    /// Compiles an expression; the error is what Kubernetes says after `Invalid value: ...: `.
    pub(crate) fn compile(&self, text: &str, gives: Gives) -> Result<Program, String> {
        let shown = |problems: Vec<Problem>| {
            let texts: Vec<String> = problems.iter().map(|one| one.shown(text)).collect();
            format!("compilation failed: {}", texts.join("\n"))
        };
        let node = parse(text).map_err(shown)?;
        let mut names = self.names.clone();
        if let Some(fields) = &self.variables {
            names.push((VARIABLES, Ty::Object(Arc::clone(fields))));
        }
        let checked = check(&node, &names, self.changes).map_err(|mut problems| {
            problems.sort_by_key(|problem| problem.at);
            shown(problems)
        })?;
        if let Some(why) = gives.refuses(&checked.ty) {
            return Err(why);
        }
        let mut needs = self.needed(&node);
        needs.reach += node.reach();
        if needs.reach > REACH_MAX {
            return Err(shown(vec![Problem::new(0, TOO_DEEP)]));
        }
        Ok(Program {
            node: Arc::new(node),
            ty: checked.ty,
            needs,
        })
    }

    /// Adds a variable, which may be one that does not compile.
    pub(crate) fn declare(&mut self, name: &str, compiled: Option<&Program>) {
        let fields = self
            .variables
            .get_or_insert_with(|| Arc::new(Fields::named("kubernetes.variables")));
        let ty = compiled.map_or(Ty::Dyn, |program| program.ty.clone());
        Arc::make_mut(fields).by_name.insert(name.to_owned(), ty);
        let mut needs = compiled.map_or_else(Needs::default, |program| program.needs.clone());
        needs.names.push(name.into());
        Arc::make_mut(&mut self.needs).insert(name.to_owned(), needs);
    }

    /// The variables that an expression needs, each after those that it needs itself.
    fn needed(&self, node: &Node) -> Needs {
        let mut used = BTreeSet::new();
        node.visit(&mut |node| {
            if let Expr::Select(of, field, _) = &node.expr
                && matches!(&of.expr, Expr::Name(name) if name == VARIABLES)
            {
                used.insert(field.as_str());
            }
        });
        let mut needed = Needs::default();
        let mut known = BTreeSet::new();
        for needs in used.into_iter().filter_map(|name| self.needs.get(name)) {
            needed.reach = needed.reach.max(needs.reach);
            for name in &needs.names {
                if known.insert(name) {
                    needed.names.push(Arc::clone(name));
                }
            }
        }
        needed
    }
}

/// An expression, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    node: Arc<Node>,
    ty: Ty,
    needs: Needs,
}

/// Why an expression gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The policies of the request have used up what they may.
    Spent,
    /// Anything else, in Kubernetes' words.
    Error(String),
}

/// What an expression gives, as far as policies look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Bool(bool),
    Text(String),
    Null,
    Other,
}

/// How an object shall be changed.
#[derive(Debug)]
pub(crate) struct Wanted(Val);

impl Wanted {
    /// What the object shall have.
    pub(crate) fn configuration(&self, budget: &mut u64) -> Result<Json, Unanswered> {
        message::configuration(&self.0, budget)
    }

    /// The operations that shall be carried out on it.
    pub(crate) fn operations(&self, budget: &mut u64) -> Result<Vec<Json>, Unanswered> {
        message::operations(&self.0, budget)
    }
}

/// What names stand for during one request; copies share the values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(Vec<(String, Val)>);

impl Values {
    /// Names a value; `budget` pays for looking at it.
    pub(crate) fn name(&mut self, name: &str, value: &Json, budget: &mut u64) {
        let mut spent = 0;
        let value = Val::of_json(value, &Ty::Dyn, &mut spent);
        *budget = budget.saturating_sub(spent / 10);
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }

    /// Names who can be asked what the user may do.
    pub(crate) fn name_authorizer(&mut self, asks: super::library::authorizer::Asks) {
        self.0
            .push(("authorizer".to_owned(), Val::Asks(Arc::new(asks))));
    }
}

/// One evaluation of a policy: what its variables are is found once.
pub(crate) struct Evaluation<'a> {
    values: &'a Values,
    programs: &'a BTreeMap<String, Result<Program, String>>,
    found: BTreeMap<String, Result<Val, String>>,
}

impl<'a> Evaluation<'a> {
    /// With the values of a request and the variables of a policy.
    pub(crate) fn new(
        values: &'a Values,
        programs: &'a BTreeMap<String, Result<Program, String>>,
    ) -> Self {
        Self {
            values,
            programs,
            found: BTreeMap::new(),
        }
    }

    /// Runs an expression.
    pub(crate) fn run(&mut self, program: &Program, budget: &mut u64) -> Result<Given, Unanswered> {
        Ok(match self.answer(program, budget)? {
            Val::Bool(value) => Given::Bool(value),
            Val::Text(text) => Given::Text(text.to_string()),
            Val::Null => Given::Null,
            _ => Given::Other,
        })
    }

    /// Runs an expression that says how an object shall be changed.
    pub(crate) fn change(
        &mut self,
        program: &Program,
        budget: &mut u64,
    ) -> Result<Wanted, Unanswered> {
        self.answer(program, budget).map(Wanted)
    }

    fn answer(&mut self, program: &Program, budget: &mut u64) -> Result<Val, Unanswered> {
        for name in &program.needs.names {
            if self.found.contains_key(&**name) {
                continue;
            }
            let value = match self.programs.get(&**name) {
                Some(Ok(program)) => match self.value(program, budget) {
                    Ok(value) => Ok(value),
                    Err(Unanswered::Spent) => return Err(Unanswered::Spent),
                    Err(Unanswered::Error(why)) => Err(format!(
                        "composited variable {name:?} fails to evaluate: {why}"
                    )),
                },
                Some(Err(why)) => Err(format!(
                    "composited variable {name:?} fails to compile: {why}"
                )),
                None => continue,
            };
            self.found.insert(name.to_string(), value);
        }
        self.value(program, budget)
    }

    fn value(&mut self, program: &Program, budget: &mut u64) -> Result<Val, Unanswered> {
        let steps = CALL_STEPS_MAX.min(*budget);
        let found = std::mem::take(&mut self.found);
        let mut run = Run::new(self.values.0.clone(), steps).with_variables(found);
        let result = run.node(&program.node);
        *budget = budget.saturating_sub(steps - run.left());
        self.found = run.into_variables();
        match result {
            Ok(value) => Ok(value),
            Err(Failure::Cost) if *budget == 0 => Err(Unanswered::Spent),
            Err(Failure::Cost) => {
                let why = "operation cancelled: actual cost limit exceeded";
                Err(Unanswered::Error(why.to_owned()))
            }
            Err(Failure::Error(why)) => Err(Unanswered::Error(why)),
        }
    }
}

fn object(name: &'static str, fields: &[(&str, Ty)]) -> Ty {
    let mut object = Fields::named(name);
    for (name, ty) in fields {
        object.by_name.insert((*name).to_owned(), ty.clone());
    }
    Ty::Object(Arc::new(object))
}

fn list(of: Ty) -> Ty {
    Ty::List(Arc::new(of))
}

fn map(of: Ty) -> Ty {
    Ty::Map(Arc::new(Ty::Text), Arc::new(of))
}

fn request_type() -> Ty {
    let named = |name, last| {
        object(
            name,
            &[("group", Ty::Text), ("version", Ty::Text), (last, Ty::Text)],
        )
    };
    let kind = named("kubernetes.GroupVersionKind", "kind");
    let resource = named("kubernetes.GroupVersionResource", "resource");
    let user = object(
        "kubernetes.UserInfo",
        &[
            ("username", Ty::Text),
            ("uid", Ty::Text),
            ("groups", list(Ty::Text)),
            ("extra", map(list(Ty::Text))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Ty::Text),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Ty::Text),
            ("name", Ty::Text),
            ("namespace", Ty::Text),
            ("operation", Ty::Text),
            ("userInfo", user),
            ("dryRun", Ty::Bool),
            ("options", Ty::Dyn),
        ],
    )
}

fn namespace_type() -> Ty {
    let condition = object(
        "kubernetes.NamespaceCondition",
        &[
            ("status", Ty::Text),
            ("type", Ty::Text),
            ("lastTransitionTime", Ty::Timestamp),
            ("message", Ty::Text),
            ("reason", Ty::Text),
        ],
    );
    let meta = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", Ty::Text),
            ("generateName", Ty::Text),
            ("namespace", Ty::Text),
            ("labels", map(Ty::Text)),
            ("annotations", map(Ty::Text)),
            ("UID", Ty::Text),
            ("creationTimestamp", Ty::Timestamp),
            ("deletionGracePeriodSeconds", Ty::Int),
            ("deletionTimestamp", Ty::Timestamp),
            ("generation", Ty::Int),
            ("resourceVersion", Ty::Text),
            ("finalizers", list(Ty::Text)),
        ],
    );
    let spec = object(
        "kubernetes.NamespaceSpec",
        &[("finalizers", list(Ty::Text))],
    );
    let status = object(
        "kubernetes.NamespaceStatus",
        &[("conditions", list(condition)), ("phase", Ty::Text)],
    );
    object(
        "kubernetes.Namespace",
        &[("metadata", meta), ("spec", spec), ("status", status)],
    )
}
