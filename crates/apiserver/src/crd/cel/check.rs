//! The types of an expression, found before it runs: what is undeclared or does not fit is named.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::decl::Ty;
use super::library::{SIGNATURES, authorizer, time};
use super::message;
use super::tree::{
    Bind, BindKind, Constant, Expr, Field, Fold, FoldKind, Message, Node, Optional, Problem,
};
use crate::crd::pattern;

/// One way to call a function.
struct Signature {
    method: bool,
    params: Vec<Ty>,
    result: Ty,
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Vec<Signature>>> = LazyLock::new(|| {
    let mut functions: BTreeMap<&str, Vec<Signature>> = BTreeMap::new();
    for line in SIGNATURES
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let mut parts = line.split_whitespace();
        let (Some(name), Some(result)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (name, method) = name
            .strip_prefix('.')
            .map_or((name, false), |name| (name, true));
        functions.entry(name).or_default().push(Signature {
            method,
            params: parts.map(Ty::parse).collect(),
            result: Ty::parse(result),
        });
    }
    functions
});

/// Names that have types as their values.
pub(super) const TYPE_NAMES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "uint",
];
/// Names before the dots of functions that are in no object.
pub(super) const NAMESPACES: [&str; 8] = [
    "optional", "ip", "cidr", "sets", "format", "lists", "strings", "math",
];
/// Problems beyond these are not told.
const PROBLEMS_MAX: usize = 100;

/// What is known of an expression that has been checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) ty: Ty,
    pub(super) uses_old_self: bool,
}

/// Whether an expression may say what shall be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changes {
    /// It may make objects and operations.
    Yes,
    /// It may not.
    No,
}

/// Checks an expression whose variables have these types.
pub(super) fn check(
    node: &Node,
    variables: &[(&str, Ty)],
    changes: Changes,
) -> Result<Checked, Vec<Problem>> {
    let mut checker = Checker {
        scope: variables
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), ty.clone()))
            .collect(),
        problems: Vec::new(),
        late: Vec::new(),
        uses_old_self: false,
        mixed: false,
        changes,
    };
    let ty = checker.node(node).settled();
    for problems in [checker.problems, checker.late] {
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(Checked {
        ty,
        uses_old_self: checker.uses_old_self,
    })
}

struct Checker {
    scope: Vec<(String, Ty)>,
    problems: Vec<Problem>,
    /// What is told only if there is nothing else.
    late: Vec<Problem>,
    uses_old_self: bool,
    /// Whether the literal that comes next may have elements of several types.
    mixed: bool,
    changes: Changes,
}

impl Checker {
    /// Says what is wrong; the part is dynamic from then on.
    fn problem(&mut self, at: usize, text: String) -> Ty {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { at, text });
        }
        Ty::Dyn
    }

    fn variable(&mut self, name: &str) -> Option<Ty> {
        let found = self.scope.iter().rev().find(|(found, _)| found == name);
        if found.is_some() && name == "oldSelf" {
            self.uses_old_self = true;
        }
        found.map(|(_, ty)| ty.clone())
    }

    /// The type of a part, which is refused if it is too large to be worked with.
    fn node(&mut self, node: &Node) -> Ty {
        let ty = self.unbounded(node);
        if ty.is_small() {
            return ty;
        }
        self.problem(node.at, "type is too large".to_owned())
    }

    fn unbounded(&mut self, node: &Node) -> Ty {
        let mixed = std::mem::take(&mut self.mixed);
        match &node.expr {
            Expr::Constant(constant) => match constant {
                Constant::Null => Ty::Null,
                Constant::Bool(_) => Ty::Bool,
                Constant::Int(_) => Ty::Int,
                Constant::Uint(_) => Ty::Uint,
                Constant::Double(_) => Ty::Double,
                Constant::Text(_) => Ty::Text,
                Constant::Bytes(_) => Ty::Bytes,
            },
            Expr::Name(name) => match self.variable(name) {
                Some(ty) => ty,
                None if TYPE_NAMES.contains(&name.as_str()) => Ty::Type,
                None => self.undeclared(node.at, name),
            },
            Expr::Select(operand, field, optional) => {
                let of = self.node(operand);
                let (of, wrapped) = match of {
                    Ty::Optional(inner) => ((*inner).clone(), true),
                    of => (of, *optional == Optional::Yes),
                };
                let ty = self.field(node.at, &of, field);
                if wrapped {
                    Ty::Optional(Arc::new(ty))
                } else {
                    ty
                }
            }
            Expr::Has(operand, field) => {
                let of = self.node(operand);
                self.field(node.at, &of, field);
                Ty::Bool
            }
            Expr::Call(name, target, args) => self.call(node.at, name, target.as_deref(), args),
            Expr::List(elements) => {
                let types: Vec<(usize, Ty)> = elements
                    .iter()
                    .map(|(one, optional)| (one.at, self.part(one, *optional, mixed)))
                    .collect();
                Ty::List(Arc::new(self.same(&types, mixed)))
            }
            Expr::Map(entries) => {
                let mut keys = Vec::new();
                let mut values = Vec::new();
                for (key, value, optional) in entries {
                    keys.push((key.at, self.element(key, mixed)));
                    values.push((value.at, self.part(value, *optional, mixed)));
                }
                let (keys, values) = (self.same(&keys, mixed), self.same(&values, mixed));
                Ty::Map(Arc::new(keys), Arc::new(values))
            }
            Expr::Message(message) => self.message(node.at, message),
            Expr::Fold(fold) => self.fold(node.at, fold),
            Expr::Bind(bind) => self.bind(bind),
        }
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Ty {
        self.problem(
            at,
            format!("undeclared reference to '{name}' (in container '')"),
        )
    }

    /// The type of a message whose fields are looked at if there is such a type.
    fn message(&mut self, at: usize, message: &Message) -> Ty {
        if self.changes == Changes::No || !message::is_known(&message.name) {
            return self.undeclared(at, &message.name);
        }
        for Field {
            at,
            name,
            value: node,
            optional,
        } in &message.fields
        {
            let found = self.part(node, *optional, false);
            let wanted = message::field(&message.name, name);
            let fits = wanted.as_ref().is_some_and(|wanted| fits(wanted, &found));
            if !fits {
                let wanted = wanted.map_or_else(String::new, |wanted| wanted.to_string());
                let text = format!(
                    "expected type of field '{name}' is '{wanted}' but provided type is '{found}'"
                );
                self.problem(*at, text);
            }
        }
        Ty::Message(message.name.as_str().into())
    }

    fn field(&mut self, at: usize, of: &Ty, field: &str) -> Ty {
        match of {
            Ty::Dyn | Ty::Param(_) => Ty::Dyn,
            Ty::Map(_, value) => (**value).clone(),
            Ty::Message(name) => message::field(name, field).unwrap_or(Ty::Dyn),
            Ty::Object(fields) => match fields.by_name.get(field) {
                Some(ty) => ty.clone(),
                None => self.problem(at, format!("undefined field '{field}'")),
            },
            Ty::Named(authorizer::ASKS) if field == "requestResource" => {
                Ty::Named(authorizer::RESOURCE)
            }
            other => self.problem(
                at,
                format!("type '{other}' does not support field selection"),
            ),
        }
    }

    /// The type of what a part of a literal puts into it: what is in it if it may be absent.
    fn part(&mut self, node: &Node, optional: Optional, mixed: bool) -> Ty {
        match (optional, self.element(node, mixed)) {
            (Optional::Yes, Ty::Optional(inner)) => (*inner).clone(),
            (Optional::Yes, found) if !matches!(found, Ty::Dyn | Ty::Param(_)) => {
                let text = format!("expected type 'optional_type({found})' but found '{found}'");
                self.problem(node.at, text);
                found
            }
            (_, found) => found,
        }
    }

    /// The type of an element of a literal that may, or may not, mix types.
    fn element(&mut self, node: &Node, mixed: bool) -> Ty {
        self.mixed = mixed && matches!(node.expr, Expr::List(_) | Expr::Map(_));
        self.node(node)
    }

    /// The one type of all elements; only literals that are formatted mix types.
    fn same(&mut self, types: &[(usize, Ty)], mixed: bool) -> Ty {
        let Some((_, first)) = types.first() else {
            return Ty::FREE;
        };
        let odd = types.iter().find(|(_, ty)| !fits(first, ty));
        if let Some((at, ty)) = odd {
            if mixed {
                return Ty::Dyn;
            }
            return self.problem(*at, format!("expected type '{first}' but found '{ty}'"));
        }
        let odd = types.iter().find(|(_, ty)| !first.is_like(ty));
        if let Some((at, ty)) = odd.filter(|_| !mixed && self.late.len() < PROBLEMS_MAX) {
            let text = format!("expected type '{first}' but found '{ty}'");
            self.late.push(Problem { at: *at, text });
        }
        let rest = types.iter().map(|(_, ty)| ty);
        rest.fold(first.clone(), |so_far, ty| so_far.joined(ty))
    }

    fn call(&mut self, at: usize, name: &str, target: Option<&Node>, args: &[Node]) -> Ty {
        if let Some(Node {
            expr: Expr::Name(space),
            ..
        }) = target
            && (NAMESPACES.contains(&space.as_str())
                || (space == message::NAMESPACE && self.changes == Changes::Yes))
            && self.variable(space).is_none()
        {
            return self.apply(at, &format!("{space}.{name}"), None, args);
        }
        if name == "type" && target.is_none() && args.len() == 1 {
            self.node(&args[0]);
            return Ty::Type;
        }
        if name == "dyn" && target.is_none() && args.len() == 1 {
            self.node(&args[0]);
            return Ty::Dyn;
        }
        self.apply(at, name, target, args)
    }

    fn apply(&mut self, at: usize, name: &str, target: Option<&Node>, args: &[Node]) -> Ty {
        self.constants(name, target, args);
        let types: Vec<Ty> = target
            .into_iter()
            .chain(args)
            .map(|arg| self.element(arg, name == "format"))
            .collect();
        let Some(signatures) = FUNCTIONS.get(name) else {
            return self.undeclared(at, name);
        };
        let mut result: Option<Ty> = None;
        for signature in signatures
            .iter()
            .filter(|one| one.method == target.is_some())
        {
            let Some(ty) = signature.result_for(&types) else {
                continue;
            };
            result = Some(match result {
                Some(before) if before != ty => Ty::Dyn,
                _ => ty,
            });
        }
        if let Some(ty) = result {
            return ty;
        }
        let shown: Vec<String> = types.iter().map(Ty::to_string).collect();
        let shown = match (target, shown.split_first()) {
            (Some(_), Some((target, args))) => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.problem(
            at,
            format!("found no matching overload for '{name}' applied to '{shown}'"),
        )
    }

    fn fold(&mut self, at: usize, fold: &Fold) -> Ty {
        let range = self.node(&fold.range);
        let (key, value) = match &range {
            Ty::List(element) => (Ty::Int, (**element).clone()),
            Ty::Map(key, value) => ((**key).clone(), (**value).clone()),
            Ty::Dyn | Ty::Param(_) => (Ty::Dyn, Ty::Dyn),
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.problem(fold.range.at, text);
                (Ty::Dyn, Ty::Dyn)
            }
        };
        let depth = self.scope.len();
        match &fold.second {
            Some(second) => {
                self.scope.push((fold.var.clone(), key.clone()));
                self.scope.push((second.clone(), value));
            }
            None => {
                let one = if matches!(range, Ty::Map(..)) {
                    key.clone()
                } else {
                    value
                };
                self.scope.push((fold.var.clone(), one));
            }
        }
        let element = self.scope.last().map_or(Ty::Dyn, |(_, ty)| ty.clone());
        if let Some(filter) = &fold.filter {
            self.boolean(filter);
        }
        let ty = match fold.kind {
            FoldKind::All => self.boolean(&fold.body),
            FoldKind::Exists => self.boolean(&fold.body),
            FoldKind::ExistsOne => {
                self.choice(at, &fold.body, &Ty::Int);
                Ty::Bool
            }
            FoldKind::Filter => {
                let list = Ty::List(Arc::new(element));
                self.choice(at, &fold.body, &list);
                list
            }
            FoldKind::Map => Ty::List(Arc::new(self.node(&fold.body))),
            FoldKind::TransformMap => Ty::Map(Arc::new(key), Arc::new(self.node(&fold.body))),
        };
        self.scope.truncate(depth);
        ty
    }

    fn boolean(&mut self, node: &Node) -> Ty {
        let ty = self.node(node);
        if !fits(&Ty::Bool, &ty) {
            self.problem(node.at, format!("expected type 'bool' but found '{ty}'"));
        }
        Ty::Bool
    }

    /// What chooses between what is so far and what comes.
    fn choice(&mut self, at: usize, node: &Node, so_far: &Ty) {
        let ty = self.node(node);
        if !fits(&Ty::Bool, &ty) {
            let text = format!(
                "found no matching overload for '_?_:_' applied to '({ty}, {so_far}, {so_far})'"
            );
            self.problem(at, text);
        }
    }

    /// Constants that could never be what their function takes.
    fn constants(&mut self, name: &str, target: Option<&Node>, args: &[Node]) {
        let (arg, fits): (Option<&Node>, fn(&str) -> bool) = match (name, target, args) {
            ("matches", Some(_), [pattern]) | ("matches", None, [_, pattern]) => {
                (Some(pattern), |text| pattern::size(text).is_ok())
            }
            ("duration", None, [text]) => (Some(text), |text| time::duration(text).is_some()),
            ("timestamp", None, [text]) => (Some(text), |text| time::timestamp(text).is_some()),
            _ => (None, |_| true),
        };
        if let Some(arg) = arg
            && let Expr::Constant(Constant::Text(text)) = &arg.expr
            && !fits(text)
        {
            self.problem(arg.at, format!("invalid {name} argument"));
        }
    }

    fn bind(&mut self, bind: &Bind) -> Ty {
        let value = self.node(&bind.value);
        let inner = match (bind.kind, value) {
            (BindKind::Plain, value) => value,
            (_, Ty::Optional(inner)) => (*inner).clone(),
            (_, Ty::Dyn | Ty::Param(_)) => Ty::Dyn,
            (_, other) => {
                let text =
                    format!("found no matching overload for 'hasValue' applied to '{other}.()'");
                self.problem(bind.value.at, text)
            }
        };
        self.scope.push((bind.var.clone(), inner));
        let body = self.node(&bind.body);
        self.scope.pop();
        match bind.kind {
            BindKind::OptMap => Ty::Optional(Arc::new(body)),
            BindKind::Plain | BindKind::OptFlatMap => body,
        }
    }
}

impl Signature {
    /// The result's type if the arguments fit.
    fn result_for(&self, args: &[Ty]) -> Option<Ty> {
        if self.params.len() != args.len() {
            return None;
        }
        let mut bound = BTreeMap::new();
        let all = self
            .params
            .iter()
            .zip(args)
            .all(|(param, arg)| unify(param, arg, &mut bound));
        all.then(|| fill(&self.result, &bound))
    }
}

/// Whether an argument fits a parameter, whose own parameters it determines.
fn unify(param: &Ty, arg: &Ty, bound: &mut BTreeMap<char, Ty>) -> bool {
    match (param, arg) {
        (Ty::Param(name), arg) => match bound.get(name) {
            Some(before) if *before == Ty::Null => {
                let ok = fits(before, arg);
                bound.insert(*name, arg.clone());
                ok
            }
            Some(before) => {
                let ok = fits(before, arg);
                let both = before.joined(arg);
                bound.insert(*name, both);
                ok
            }
            None => {
                bound.insert(*name, arg.clone());
                true
            }
        },
        (Ty::List(param), Ty::List(arg)) | (Ty::Optional(param), Ty::Optional(arg)) => {
            unify(param, arg, bound)
        }
        (Ty::Map(key, value), Ty::Map(arg_key, arg_value)) => {
            unify(key, arg_key, bound) && unify(value, arg_value, bound)
        }
        _ => fits(param, arg),
    }
}

/// Whether values of one type can be where the other is expected.
fn fits(wanted: &Ty, found: &Ty) -> bool {
    match (wanted, found) {
        (Ty::Dyn | Ty::Param(_), _) | (_, Ty::Dyn | Ty::Param(_)) => true,
        (Ty::List(a), Ty::List(b)) | (Ty::Optional(a), Ty::Optional(b)) => fits(a, b),
        (Ty::Map(ka, va), Ty::Map(kb, vb)) => fits(ka, kb) && fits(va, vb),
        (
            Ty::Object(_) | Ty::Message(_) | Ty::Named(_) | Ty::Duration | Ty::Timestamp,
            Ty::Null,
        )
        | (
            Ty::Null,
            Ty::Object(_) | Ty::Message(_) | Ty::Named(_) | Ty::Duration | Ty::Timestamp,
        ) => true,
        (a, b) => a == b,
    }
}

/// A result's type with its parameters filled in.
fn fill(ty: &Ty, bound: &BTreeMap<char, Ty>) -> Ty {
    match ty {
        Ty::Param(name) => bound.get(name).cloned().unwrap_or(Ty::FREE),
        Ty::List(inner) => Ty::List(Arc::new(fill(inner, bound))),
        Ty::Optional(inner) => Ty::Optional(Arc::new(fill(inner, bound))),
        Ty::Map(key, value) => Ty::Map(Arc::new(fill(key, bound)), Arc::new(fill(value, bound))),
        other => other.clone(),
    }
}
