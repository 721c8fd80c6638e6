//! What an expression may cost at most, by the sizes that its schema allows. The factors are Kubernetes' own: they
//! decide which rules are taken.
use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::library::SIGNATURES;
use super::rule::Compiled;
use super::tree::{Bind, Constant, Expr, Fold, FoldKind, Node};

/// The largest request, in bytes.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
const UNKNOWN: u64 = u64::MAX;
/// Going through ten bytes of a text costs one.
const TEXT_FACTOR: f64 = 0.1;
/// Four bytes of a regular expression are one step of it.
const REGEX_FACTOR: f64 = 0.25;
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const MESSAGE_COST: u64 = 40;

/// Functions whose results have no size to speak of.
static SCALARS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let lines = SIGNATURES.lines().filter_map(|line| {
        let mut parts = line.split_whitespace();
        let (name, result) = (parts.next()?, parts.next()?);
        matches!(
            result,
            "bool" | "int" | "uint" | "double" | "duration" | "timestamp" | "type"
        )
        .then(|| name.trim_start_matches('.'))
    });
    lines.chain(["type"]).collect()
});

/// The fewest bytes that a value of a schema takes.
pub(crate) fn smallest(schema: &Json) -> u64 {
    if schema["x-kubernetes-int-or-string"] == true {
        return 1;
    }
    match (
        schema["type"].as_str().unwrap_or_default(),
        schema["format"].as_str().unwrap_or_default(),
    ) {
        ("object", _) if !schema["additionalProperties"].is_object() => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str);
            let sizes = required.filter_map(|name| {
                let property = schema["properties"].get(name)?;
                property["default"]
                    .is_null()
                    .then(|| name.len() as u64 + smallest(property) + 4)
            });
            2 + sizes.sum::<u64>()
        }
        ("string", "duration") => 3,
        ("string", "date") => 10,
        ("string", "date-time") => 21,
        ("boolean", _) => 4,
        ("integer" | "number", _) => 1,
        _ => 2,
    }
}

/// How large a value of a schema can be: characters, elements or entries.
fn largest(schema: &Json) -> u64 {
    let bound = |name: &str| {
        schema[name]
            .as_i64()
            .map(|most| u64::try_from(most).unwrap_or(0))
    };
    let in_text = || bound("maxLength").map_or(REQUEST_BYTES - 2, |most| most.saturating_mul(4));
    if schema["x-kubernetes-int-or-string"] == true {
        return in_text();
    }
    match (
        schema["type"].as_str().unwrap_or_default(),
        schema["format"].as_str().unwrap_or_default(),
    ) {
        ("array", _) => bound("maxItems")
            .unwrap_or_else(|| (REQUEST_BYTES - 2) / (smallest(&schema["items"]) + 1)),
        ("object", _) if schema["additionalProperties"].is_object() => bound("maxProperties")
            .unwrap_or_else(|| {
                (REQUEST_BYTES - 2) / (smallest(&schema["additionalProperties"]) + 6)
            }),
        ("string", "byte") => bound("maxLength").unwrap_or(REQUEST_BYTES - 2),
        ("string", "duration" | "date-time") => 32,
        ("string", "date") => 10,
        ("string", _) => {
            let choices = schema["enum"].as_array().into_iter().flatten();
            let longest = choices
                .filter_map(Json::as_str)
                .map(|one| one.len() as u64)
                .max();
            match (bound("maxLength"), longest) {
                (None, Some(longest)) => longest,
                _ => in_text(),
            }
        }
        _ => 0,
    }
}

/// What part of the object a value is.
#[derive(Clone, Copy)]
enum Part<'s> {
    /// None that can be told.
    Unknown,
    /// The value of a schema, which may be that of a whole resource.
    Of(&'s Json, bool),
    /// `metadata` of a whole resource.
    Metadata,
    /// A text without a bound.
    Text,
    /// A key of a map.
    Key,
}

impl<'s> Part<'s> {
    fn size(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Of(schema, _) => Some(largest(schema)),
            Self::Metadata => Some(0),
            Self::Text => Some(REQUEST_BYTES - 2),
            Self::Key => Some(REQUEST_BYTES - 2),
        }
    }

    fn field(self, name: &str) -> Self {
        match self {
            Self::Of(schema, root) => {
                let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
                if embedded && name == "metadata" {
                    return Self::Metadata;
                }
                if embedded && matches!(name, "kind" | "apiVersion") {
                    return Self::Text;
                }
                let plain = name
                    .replace("__dot__", ".")
                    .replace("__dash__", "-")
                    .replace("__slash__", "/")
                    .replace("__underscores__", "__");
                let word = plain
                    .strip_prefix("__")
                    .and_then(|rest| rest.strip_suffix("__"));
                let properties = &schema["properties"];
                let found = properties.get(&plain).or_else(|| properties.get(word?));
                found.map_or(Self::Unknown, |schema| Self::Of(schema, false))
            }
            Self::Metadata => Self::Text,
            _ => Self::Unknown,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Of(schema, _) => {
                let inner = ["items", "additionalProperties"]
                    .into_iter()
                    .find_map(|name| schema.get(name));
                inner
                    .filter(|inner| inner.is_object())
                    .map_or(Self::Unknown, |inner| Self::Of(inner, false))
            }
            _ => Self::Unknown,
        }
    }

    fn is_map(self) -> bool {
        matches!(self, Self::Of(schema, _) if schema["additionalProperties"].is_object())
    }

    fn has_fields(self) -> bool {
        match self {
            Self::Of(schema, _) => schema["type"] == "object",
            Self::Metadata => true,
            _ => false,
        }
    }

    fn is_text(self) -> bool {
        match self {
            Self::Of(schema, _) => schema["type"] == "string",
            Self::Text | Self::Key => true,
            _ => false,
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy)]
struct Estimate<'s> {
    cost: u64,
    /// The least and the most.
    size: Option<(u64, u64)>,
    part: Part<'s>,
    /// The most that an element's size can be, of lists that have been made.
    element: Option<u64>,
}

impl<'s> Estimate<'s> {
    fn new(cost: u64, size: Option<(u64, u64)>) -> Self {
        Self {
            cost,
            size,
            part: Part::Unknown,
            element: None,
        }
    }

    fn sizes(&self) -> (u64, u64) {
        self.size
            .or_else(|| self.part.size().map(|most| (0, most)))
            .unwrap_or((0, UNKNOWN))
    }

    fn most(&self) -> u64 {
        self.sizes().1
    }

    /// The size of an element.
    fn element_most(&self) -> u64 {
        self.element
            .or_else(|| self.part.element().size())
            .unwrap_or(UNKNOWN)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are estimates, and the conversion saturates"
)]
fn by(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// The most that an expression costs on one value of a schema.
pub(crate) fn estimate(compiled: &Compiled, schema: &Json, root: bool) -> u64 {
    let of = Part::Of(schema, root);
    let mut coster = Coster {
        scope: vec![
            ("self".to_owned(), of, None),
            ("oldSelf".to_owned(), of, None),
        ],
    };
    coster.node(&compiled.program).cost
}

/// A name, what it stands for, and the least and most of its size.
type Variable<'s> = (String, Part<'s>, Option<(u64, u64)>);

struct Coster<'s> {
    scope: Vec<Variable<'s>>,
}

impl<'s> Coster<'s> {
    fn node(&mut self, node: &Node) -> Estimate<'s> {
        match &node.expr {
            Expr::Constant(constant) => {
                let size = match constant {
                    Constant::Text(text) => text.len() as u64,
                    Constant::Bytes(bytes) => bytes.len() as u64,
                    _ => 1,
                };
                Estimate::new(0, Some((size, size)))
            }
            Expr::Name(name) => {
                let found = self.scope.iter().rev().find(|(found, ..)| found == name);
                // What is no variable is a type.
                let (part, size) = found
                    .map_or((Part::Unknown, Some((1, 1))), |(_, part, size)| {
                        (*part, *size)
                    });
                Estimate {
                    part,
                    ..Estimate::new(1, size)
                }
            }
            Expr::Select(operand, field, _) => {
                let of = self.node(operand);
                let fields = of.part.has_fields() || matches!(of.part, Part::Unknown);
                let part = if of.part.is_map() {
                    of.part.element()
                } else {
                    of.part.field(field)
                };
                Estimate {
                    part,
                    ..Estimate::new(of.cost.saturating_add(u64::from(fields)), None)
                }
            }
            Expr::Has(operand, _) => Estimate::new(self.node(operand).cost, Some((1, 1))),
            Expr::Call(name, target, args) => self.call(name, target.as_deref(), args),
            Expr::List(elements) => {
                let all: Vec<Estimate<'s>> =
                    elements.iter().map(|(one, _)| self.node(one)).collect();
                let size = all.len() as u64;
                Estimate {
                    element: Some(all.iter().map(Estimate::most).max().unwrap_or(0)),
                    ..Estimate::new(sum(&all).saturating_add(LIST_COST), Some((size, size)))
                }
            }
            Expr::Map(entries) => {
                let cost = entries.iter().fold(MAP_COST, |cost, (key, value, _)| {
                    cost.saturating_add(self.node(key).cost)
                        .saturating_add(self.node(value).cost)
                });
                let size = entries.len() as u64;
                Estimate::new(cost, Some((size, size)))
            }
            Expr::Message(message) => {
                let fields = message.fields.iter();
                let cost = fields.fold(MESSAGE_COST, |cost, field| {
                    cost.saturating_add(self.node(&field.value).cost)
                });
                Estimate::new(cost, Some((1, 1)))
            }
            Expr::Fold(fold) => self.fold(fold),
            Expr::Bind(bind) => self.bind(bind),
        }
    }

    fn bind(&mut self, bind: &Bind) -> Estimate<'s> {
        let value = self.node(&bind.value);
        self.scope.push((bind.var.clone(), value.part, value.size));
        let body = self.node(&bind.body);
        self.scope.pop();
        Estimate {
            cost: body
                .cost
                .saturating_add(value.cost)
                .saturating_add(LIST_COST),
            ..body
        }
    }

    fn fold(&mut self, fold: &Fold) -> Estimate<'s> {
        let range = self.node(&fold.range);
        let depth = self.scope.len();
        let element = (range.part.element(), range.element.map(|most| (0, most)));
        let one = if range.part.is_map() {
            (Part::Key, None)
        } else {
            element
        };
        match &fold.second {
            Some(second) => {
                self.scope
                    .push((fold.var.clone(), Part::Unknown, Some((1, 1))));
                self.scope.push((second.clone(), element.0, element.1));
            }
            None => self.scope.push((fold.var.clone(), one.0, one.1)),
        }
        let filter = fold
            .filter
            .as_ref()
            .map_or(0, |filter| self.node(filter).cost);
        let body = self.node(&fold.body);
        self.scope.truncate(depth);
        let (before, turn, after) = match fold.kind {
            FoldKind::All => (0, 3, 1),
            FoldKind::Exists => (0, 4, 1),
            FoldKind::ExistsOne => (0, 2, 2),
            FoldKind::Map => (LIST_COST, 12, 1),
            FoldKind::Filter => (LIST_COST, 13, 1),
            FoldKind::TransformMap => (MAP_COST, MAP_COST + 3, 1),
        };
        let turn = body.cost.saturating_add(filter).saturating_add(turn);
        let (least, most) = range.sizes();
        let cost = most
            .saturating_mul(turn)
            .saturating_add(before + after)
            .saturating_add(range.cost);
        let makes = matches!(fold.kind, FoldKind::Map | FoldKind::Filter);
        let kept = if fold.kind == FoldKind::Filter {
            one.0.size().unwrap_or(UNKNOWN)
        } else {
            body.most()
        };
        Estimate {
            element: makes.then_some(kept),
            ..Estimate::new(cost, Some(if makes { (least, most) } else { (1, 1) }))
        }
    }

    fn call(&mut self, name: &str, target: Option<&Node>, args: &[Node]) -> Estimate<'s> {
        let of = target.map(|target| self.node(target));
        let args: Vec<Estimate<'s>> = args.iter().map(|arg| self.node(arg)).collect();
        let before = sum(&args).saturating_add(of.map_or(0, |of| of.cost));
        match (name, args.as_slice()) {
            ("_&&_" | "_||_", _) => return Estimate::new(before, Some((1, 1))),
            ("_?_:_", [condition, yes, no]) => {
                let size = (yes.sizes().0.min(no.sizes().0), yes.most().max(no.most()));
                return Estimate::new(
                    condition.cost.saturating_add(yes.cost.max(no.cost)),
                    Some(size),
                );
            }
            ("_[_]" | "_[?_]", [of, _]) => {
                return Estimate {
                    part: of.part.element(),
                    ..Estimate::new(before.saturating_add(1), of.element.map(|most| (0, most)))
                };
            }
            ("dyn", [arg]) => {
                return Estimate {
                    cost: before.saturating_add(1),
                    ..*arg
                };
            }
            _ => {}
        }
        let (cost, size) = match of {
            Some(of) => method(name, &of, &args),
            None => function(name, &args),
        };
        let size = size.or_else(|| SCALARS.contains(name).then_some((1, 1)));
        Estimate::new(before.saturating_add(cost), size)
    }
}

fn sum(all: &[Estimate<'_>]) -> u64 {
    all.iter()
        .fold(0, |cost, one| cost.saturating_add(one.cost))
}

type CostAndSize = (u64, Option<(u64, u64)>);

fn function(name: &str, args: &[Estimate<'_>]) -> CostAndSize {
    match (name, args) {
        ("_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => {
            let ordered = !matches!(name, "_==_" | "_!=_");
            let texts = a.part.is_text() || b.part.is_text() || a.most().min(b.most()) > 1;
            if ordered && !texts {
                return (1, None);
            }
            (by(a.most().min(b.most()), TEXT_FACTOR), None)
        }
        ("_+_", [a, b]) => {
            let (x, y) = (a.sizes(), b.sizes());
            let size = (x.0.saturating_add(y.0), x.1.saturating_add(y.1));
            if a.element.is_some()
                || b.element.is_some()
                || matches!(a.part, Part::Of(schema, _) if schema["type"] == "array")
            {
                return (1, Some(size));
            }
            if a.part.is_text() || b.part.is_text() || size.1 > 2 {
                return (by(size.1, TEXT_FACTOR), Some(size));
            }
            (1, Some((1, 1)))
        }
        ("@in", [_, of]) if !of.part.is_map() => (of.most(), None),
        ("matches", [text, pattern]) => (matching(text, pattern), None),
        (
            "url" | "quantity" | "isQuantity" | "semver" | "isSemver" | "cidr" | "isCIDR" | "ip"
            | "isIP",
            [text],
        ) => (
            by(text.most(), TEXT_FACTOR),
            (name == "url").then(|| text.sizes()),
        ),
        // How long a text that something else becomes may be is not known.
        ("string", [_]) => (1, None),
        ("sets.contains" | "sets.intersects", [a, b]) => (a.most().saturating_mul(b.most()), None),
        ("sets.equivalent", [a, b]) => (a.most().saturating_mul(b.most()).saturating_mul(2), None),
        _ => (1, None),
    }
}

fn matching(text: &Estimate<'_>, pattern: &Estimate<'_>) -> u64 {
    let text = by(text.most().saturating_add(1), TEXT_FACTOR);
    text.saturating_mul(by(pattern.most(), REGEX_FACTOR))
}

fn method(name: &str, of: &Estimate<'_>, args: &[Estimate<'_>]) -> CostAndSize {
    let (least, most) = of.sizes();
    let through = by(most, TEXT_FACTOR);
    match (name, args) {
        ("matches", [pattern]) => (matching(of, pattern), None),
        ("find" | "findAll", [pattern, ..]) => (matching(of, pattern), Some((0, most))),
        ("contains", [other]) => (through.saturating_mul(by(other.most(), TEXT_FACTOR)), None),
        ("startsWith" | "endsWith", [other]) => (by(other.most(), TEXT_FACTOR), None),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => (through, Some((least, most))),
        ("format", _) => (through, None),
        ("split", _) => (by(most, 2.0 * TEXT_FACTOR), Some((0, most))),
        ("replace", [from, to, ..]) => {
            let count = match from.sizes().0 {
                0 => most.saturating_add(1),
                shortest if to.most() <= shortest => 0,
                shortest => most.div_ceil(shortest),
            };
            let kept = if count == 0 || from.sizes().0 == 0 {
                most
            } else {
                0
            };
            let size = count.saturating_mul(to.most()).saturating_add(kept);
            (by(most, 2.0 * TEXT_FACTOR), Some((0, size)))
        }
        ("join", separator) => {
            let between = separator.first().map_or(0, Estimate::most);
            let size = most.saturating_mul(of.element_most());
            let size = size.saturating_add(between.saturating_mul(most.saturating_sub(1)));
            (by(size, TEXT_FACTOR), Some((0, size)))
        }
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes", _) => {
            if of.part.is_text() {
                return (through, None);
            }
            let texts = of.part.element().is_text();
            let each = if texts {
                by(of.element_most(), TEXT_FACTOR).saturating_add(1)
            } else {
                1
            };
            (most.saturating_mul(each), None)
        }
        ("containsIP" | "containsCIDR", [other]) => {
            let base = if name == "containsIP" { 4 } else { 7 };
            (by(other.most(), TEXT_FACTOR).saturating_add(base), None)
        }
        _ => (1, None),
    }
}
