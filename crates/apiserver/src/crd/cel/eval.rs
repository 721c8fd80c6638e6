//! Runs an expression. Every step is counted: what has run out of steps ends.
use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use super::admission::VARIABLES;
use super::check::{NAMESPACES, TYPE_NAMES};
use super::library;
use super::message::{self, Made};
use super::tree::{Bind, BindKind, Constant, Expr, Fold, FoldKind, Message, Node, Optional};
use super::value::{Key, Val};
use crate::crd::pattern;

/// Steps for each transition of a regular expression that is compiled.
const STEPS_TO_COMPILE: u64 = 10;
/// Regular expressions that are kept during a run.
const EXPRESSIONS_MAX: usize = 16;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Too many steps.
    Cost,
    /// Anything else, in Kubernetes' words.
    Error(String),
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// No function takes values of these types.
    pub(super) fn overload() -> Self {
        Self::new("no such overload")
    }
}

pub(super) type Evaluated = Result<Val, Failure>;

/// One run.
pub(super) struct Run {
    scope: Vec<(String, Val)>,
    /// Steps that are left.
    left: u64,
    /// Regular expressions that are compiled already.
    expressions: BTreeMap<String, Regex>,
    /// The variables of a policy: their values, or why they have none.
    variables: BTreeMap<String, Result<Val, String>>,
}

impl Run {
    /// A run with these variables and so many steps.
    pub(super) fn new(variables: Vec<(String, Val)>, steps: u64) -> Self {
        Self {
            scope: variables,
            left: steps,
            expressions: BTreeMap::new(),
            variables: BTreeMap::new(),
        }
    }

    /// The same run in a policy with variables.
    pub(super) fn with_variables(
        mut self,
        variables: BTreeMap<String, Result<Val, String>>,
    ) -> Self {
        self.variables = variables;
        self
    }

    /// Gives the variables back.
    pub(super) fn into_variables(self) -> BTreeMap<String, Result<Val, String>> {
        self.variables
    }

    /// Steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Counts work.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Failure> {
        self.left = self.left.checked_sub(steps).ok_or(Failure::Cost)?;
        Ok(())
    }

    /// Counts a walk through all of these values, but not through what is in them.
    pub(super) fn spend_on(&mut self, values: &[Val]) -> Result<(), Failure> {
        let weight = values.iter().map(Val::weight).fold(0, u64::saturating_add);
        self.spend(weight)
    }

    /// Whether two values are equal.
    pub(super) fn equal(&mut self, one: &Val, other: &Val) -> Result<bool, Failure> {
        one.equals(other, &mut self.left).ok_or(Failure::Cost)
    }

    /// Where the first of these values is that equals the other.
    pub(super) fn position<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a Val>,
        other: &Val,
    ) -> Result<Option<usize>, Failure> {
        for (at, one) in values.into_iter().enumerate() {
            if self.equal(one, other)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// A regular expression; compiling it is dear.
    pub(super) fn expression(&mut self, pattern: &str) -> Result<Regex, Failure> {
        if let Some(known) = self.expressions.get(pattern) {
            return Ok(known.clone());
        }
        let size = pattern::size(pattern).map_err(Failure::new)?;
        self.spend(size.saturating_mul(STEPS_TO_COMPILE))?;
        let compiled = pattern::compile(pattern).map_err(Failure::new)?;
        if self.expressions.len() >= EXPRESSIONS_MAX {
            self.expressions.clear();
        }
        let text = pattern.to_owned();
        self.expressions.insert(text, compiled.clone());
        Ok(compiled)
    }

    /// The value of an expression.
    pub(super) fn node(&mut self, node: &Node) -> Evaluated {
        self.spend(1)?;
        match &node.expr {
            Expr::Constant(constant) => Ok(constant_value(constant)),
            Expr::Name(name) => self.name(name),
            Expr::Select(operand, field, optional) if is_variable(operand, *optional) => {
                self.variable(field)
            }
            Expr::Has(operand, field) if is_variable(operand, Optional::No) => {
                Ok(Val::Bool(self.variables.contains_key(field)))
            }
            Expr::Select(operand, field, optional) => {
                let of = self.node(operand)?;
                select(&of, field, *optional)
            }
            Expr::Has(operand, field) => {
                let of = self.node(operand)?;
                has(&of, field)
            }
            Expr::Call(name, target, args) => self.call(name, target.as_deref(), args),
            Expr::List(elements) => self.list(elements),
            Expr::Map(entries) => self.map(entries),
            Expr::Message(message) => self.message(message),
            Expr::Fold(fold) => self.fold(fold),
            Expr::Bind(bind) => self.bind(bind),
        }
    }

    fn name(&self, name: &str) -> Evaluated {
        let found = self.scope.iter().rev().find(|(found, _)| found == name);
        if let Some((_, value)) = found {
            return Ok(value.clone());
        }
        let ty = TYPE_NAMES.iter().find(|one| **one == name);
        ty.map(|name| Val::Type(type_value(name)))
            .ok_or_else(|| Failure::new(format!("no such attribute(s): {name}")))
    }

    fn variable(&self, name: &str) -> Evaluated {
        match self.variables.get(name) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(why)) => Err(Failure::new(why.as_str())),
            None => Err(Failure::new(format!("no such key: {name}"))),
        }
    }

    fn message(&mut self, message: &Message) -> Evaluated {
        let mut fields = BTreeMap::new();
        for field in &message.fields {
            let value = match (self.node(&field.value)?, field.optional) {
                (Val::Optional(None), Optional::Yes) => continue,
                (Val::Optional(Some(value)), Optional::Yes) => (*value).clone(),
                (value, _) => value,
            };
            fields.insert(Key::Text(field.name.as_str().into()), value);
        }
        Made::new(&message.name, fields)
    }

    fn list(&mut self, elements: &[(Node, Optional)]) -> Evaluated {
        let mut list = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            match (self.node(element)?, optional) {
                (Val::Optional(None), Optional::Yes) => {}
                (Val::Optional(Some(value)), Optional::Yes) => list.push((*value).clone()),
                (value, _) => list.push(value),
            }
        }
        Ok(Val::list(list))
    }

    fn map(&mut self, entries: &[(Node, Node, Optional)]) -> Evaluated {
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self
                .node(key)?
                .key()
                .ok_or_else(|| Failure::new("unsupported key type"))?;
            let value = match (self.node(value)?, optional) {
                (Val::Optional(None), Optional::Yes) => continue,
                (Val::Optional(Some(value)), Optional::Yes) => (*value).clone(),
                (value, _) => value,
            };
            if map.insert(key, value).is_some() {
                return Err(Failure::new("Failed with repeated key"));
            }
        }
        Ok(Val::Map(Arc::new(map)))
    }

    fn call(&mut self, name: &str, target: Option<&Node>, args: &[Node]) -> Evaluated {
        match (name, args) {
            ("_&&_", [left, right]) => return self.both((left, right), false),
            ("_||_", [left, right]) => return self.both((left, right), true),
            ("_?_:_", [condition, yes, no]) => {
                return match self.node(condition)? {
                    Val::Bool(true) => self.node(yes),
                    Val::Bool(false) => self.node(no),
                    _ => Err(Failure::overload()),
                };
            }
            ("orValue" | "or", [other]) if target.is_some() => {
                let target = target.map_or(Ok(Val::Null), |target| self.node(target))?;
                return match (target, name) {
                    (Val::Optional(Some(value)), "orValue") => Ok((*value).clone()),
                    (Val::Optional(None), _) => self.node(other),
                    (found @ Val::Optional(_), _) => Ok(found),
                    _ => Err(Failure::overload()),
                };
            }
            _ => {}
        }
        if let Some(Node {
            expr: Expr::Name(space),
            ..
        }) = target
            && (NAMESPACES.contains(&space.as_str()) || space == message::NAMESPACE)
            && !self.scope.iter().any(|(name, _)| name == space)
        {
            let values = self.values(None, args)?;
            return library::call(self, &format!("{space}.{name}"), &values);
        }
        let values = self.values(target, args)?;
        library::call(self, name, &values)
    }

    fn values(&mut self, target: Option<&Node>, args: &[Node]) -> Result<Vec<Val>, Failure> {
        target
            .into_iter()
            .chain(args)
            .map(|arg| self.node(arg))
            .collect()
    }

    /// `&&` and `||`: an error on one side does not matter if the other decides.
    fn both(&mut self, (left, right): (&Node, &Node), decides: bool) -> Evaluated {
        let first = self.node(left);
        if matches!(first, Ok(Val::Bool(value)) if value == decides)
            || matches!(first, Err(Failure::Cost))
        {
            return first;
        }
        let second = self.node(right);
        match (first, second) {
            (_, Ok(Val::Bool(value))) if value == decides => Ok(Val::Bool(decides)),
            (_, Err(Failure::Cost)) => Err(Failure::Cost),
            (Ok(Val::Bool(_)), Ok(Val::Bool(_))) => Ok(Val::Bool(!decides)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            _ => Err(Failure::overload()),
        }
    }

    fn fold(&mut self, fold: &Fold) -> Evaluated {
        let range = self.node(&fold.range)?;
        let pairs: Vec<(Val, Val)> = match &range {
            Val::List(list) => {
                let indexes = (0..).map(Val::Int);
                indexes.zip(list.iter().cloned()).collect()
            }
            Val::Map(map) => map
                .iter()
                .map(|(key, value)| (key.value(), value.clone()))
                .collect(),
            _ => return Err(Failure::overload()),
        };
        self.spend(pairs.len() as u64)?;
        let is_map = matches!(range, Val::Map(_));
        let depth = self.scope.len();
        let mut outcome = Outcome::default();
        for (key, value) in pairs {
            self.scope.truncate(depth);
            match &fold.second {
                Some(second) => {
                    self.scope.push((fold.var.clone(), key.clone()));
                    self.scope.push((second.clone(), value.clone()));
                }
                None => {
                    let one = if is_map { key.clone() } else { value.clone() };
                    self.scope.push((fold.var.clone(), one));
                }
            }
            match self.turn(fold, (key, value), &mut outcome) {
                Ok(Turn::Next) => {}
                Ok(Turn::Done) => break,
                Err(error) => {
                    self.scope.truncate(depth);
                    return Err(error);
                }
            }
        }
        self.scope.truncate(depth);
        outcome.value(fold.kind)
    }

    /// One element of a fold.
    fn turn(
        &mut self,
        fold: &Fold,
        (key, value): (Val, Val),
        outcome: &mut Outcome,
    ) -> Result<Turn, Failure> {
        if let Some(filter) = &fold.filter {
            match self.node(filter)? {
                Val::Bool(true) => {}
                Val::Bool(false) => return Ok(Turn::Next),
                _ => return Err(Failure::overload()),
            }
        }
        let element = self
            .scope
            .last()
            .map_or(Val::Null, |(_, value)| value.clone());
        let result = self.node(&fold.body);
        let decides = match fold.kind {
            FoldKind::All => Some(false),
            FoldKind::Exists => Some(true),
            _ => None,
        };
        if let Some(decides) = decides {
            return match result {
                Ok(Val::Bool(value)) if value == decides => {
                    outcome.decided = true;
                    Ok(Turn::Done)
                }
                Ok(Val::Bool(_)) => Ok(Turn::Next),
                Ok(_) => Err(Failure::overload()),
                Err(Failure::Cost) => Err(Failure::Cost),
                Err(error) => {
                    outcome.error.get_or_insert(error);
                    Ok(Turn::Next)
                }
            };
        }
        match (fold.kind, result?) {
            (FoldKind::Map, value) => outcome.list.push(value),
            (FoldKind::TransformMap, value) => {
                let key = key
                    .key()
                    .ok_or_else(|| Failure::new("unsupported key type"))?;
                outcome.map.insert(key, value);
            }
            (FoldKind::Filter, Val::Bool(true)) => outcome.list.push(element),
            (FoldKind::ExistsOne, Val::Bool(true)) => outcome.count += 1,
            (_, Val::Bool(false)) => {}
            _ => {
                drop(value);
                return Err(Failure::overload());
            }
        }
        Ok(Turn::Next)
    }

    fn bind(&mut self, bind: &Bind) -> Evaluated {
        let value = self.node(&bind.value)?;
        let value = match (bind.kind, value) {
            (BindKind::Plain, value) => value,
            (_, Val::Optional(None)) => return Ok(Val::Optional(None)),
            (_, Val::Optional(Some(value))) => (*value).clone(),
            _ => return Err(Failure::overload()),
        };
        self.scope.push((bind.var.clone(), value));
        let body = self.node(&bind.body);
        self.scope.pop();
        match bind.kind {
            BindKind::OptMap => body.map(|body| Val::Optional(Some(Arc::new(body)))),
            BindKind::Plain | BindKind::OptFlatMap => body,
        }
    }
}

/// What a fold has found so far.
#[derive(Default)]
struct Outcome {
    decided: bool,
    error: Option<Failure>,
    list: Vec<Val>,
    map: BTreeMap<Key, Val>,
    count: usize,
}

enum Turn {
    Next,
    Done,
}

impl Outcome {
    fn value(self, kind: FoldKind) -> Evaluated {
        match (kind, self.error) {
            (FoldKind::All, None) => Ok(Val::Bool(!self.decided)),
            (FoldKind::All, Some(_)) if self.decided => Ok(Val::Bool(false)),
            (FoldKind::Exists, None) => Ok(Val::Bool(self.decided)),
            (FoldKind::Exists, Some(_)) if self.decided => Ok(Val::Bool(true)),
            (FoldKind::ExistsOne, _) => Ok(Val::Bool(self.count == 1)),
            (FoldKind::TransformMap, _) => Ok(Val::Map(Arc::new(self.map))),
            (_, Some(error)) => Err(error),
            (_, None) => Ok(Val::list(self.list)),
        }
    }
}

/// The name of a type as `type()` gives it.
fn type_value(name: &'static str) -> &'static str {
    match name {
        "duration" => "google.protobuf.Duration",
        "timestamp" => "google.protobuf.Timestamp",
        other => other,
    }
}

fn constant_value(constant: &Constant) -> Val {
    match constant {
        Constant::Null => Val::Null,
        Constant::Bool(value) => Val::Bool(*value),
        Constant::Int(number) => Val::Int(*number),
        Constant::Uint(number) => Val::Uint(*number),
        Constant::Double(number) => Val::Double(*number),
        Constant::Text(text) => Val::text(text),
        Constant::Bytes(bytes) => Val::Bytes(bytes.as_slice().into()),
    }
}

/// Whether the field of a node is a variable of the policy.
fn is_variable(of: &Node, optional: Optional) -> bool {
    optional == Optional::No && matches!(&of.expr, Expr::Name(name) if name == VARIABLES)
}

fn select(of: &Val, field: &str, optional: Optional) -> Evaluated {
    match (of, optional) {
        (Val::Optional(None), _) => Ok(Val::Optional(None)),
        (Val::Optional(Some(inner)), _) => select(inner, field, Optional::Yes),
        (Val::Map(map), optional) => {
            let found = map.get(&Key::Text(field.into()));
            match (found, optional) {
                (found, Optional::Yes) => Ok(Val::Optional(found.cloned().map(Arc::new))),
                (Some(value), Optional::No) => Ok(value.clone()),
                (None, Optional::No) => Err(Failure::new(format!("no such key: {field}"))),
            }
        }
        (Val::Made(made), Optional::Yes) => Ok(made.field_if_set(field)),
        (Val::Made(made), Optional::No) => Ok(made.field(field)),
        (Val::Asks(asks), Optional::No) if field == "requestResource" => {
            Ok(Val::Asks(Arc::new(asks.of_request())))
        }
        _ => Err(Failure::overload()),
    }
}

fn has(of: &Val, field: &str) -> Evaluated {
    match of {
        Val::Optional(None) => Ok(Val::Bool(false)),
        Val::Optional(Some(inner)) => has(inner, field),
        Val::Map(map) => Ok(Val::Bool(map.contains_key(&Key::Text(field.into())))),
        Val::Made(made) => Ok(Val::Bool(
            made.fields.contains_key(&Key::Text(field.into())),
        )),
        _ => Err(Failure::overload()),
    }
}
