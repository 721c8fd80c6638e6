//! The rules of a schema: compiled with it, run on every object that is written.
use std::sync::Arc;

use serde_json::Value as Json;

use super::check::{Changes, check};
use super::decl::{Root, Ty};
use super::eval::{Failure, Run};
use super::parse::parse;
use super::tree::{Node, Problem};
use super::value::Val;
use crate::crd::check::field_path;
use crate::crd::list_type::Old;
use crate::crd::number::shown;
use crate::crd::path::Path;
use crate::crd::schema::{Additional, Schema, Type};
use crate::error::Cause;
use crate::store::request::Warnings;

/// Steps of one rule on one value.
const CALL_STEPS_MAX: u64 = 1_000_000;
/// Steps of all rules on one object.
const STEPS_MAX: u64 = 10_000_000;
/// The longest message that a rule makes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// A rule, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    text: String,
    message: String,
    message_expression: Option<Arc<Node>>,
    reason: String,
    field_path: String,
    optional_old_self: bool,
    uses_old_self: bool,
    self_type: Arc<Ty>,
    program: Result<Arc<Node>, String>,
}

/// What compiling a rule finds.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(super) program: Arc<Node>,
    pub(crate) uses_old_self: bool,
}

/// The type by which a schema's rules know their value.
#[derive(Debug)]
pub(crate) struct SelfType(Ty);

impl SelfType {
    /// None if rules cannot see such values.
    pub(crate) fn new(schema: &Json, root: bool) -> Option<Self> {
        let root = if root { Root::Yes } else { Root::of(schema) };
        Ty::of_schema(schema, root).map(Self)
    }
}

/// What a rule's expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Bool,
    Text,
}

/// Compiles an expression; the error is what Kubernetes says after `Invalid value: ...: `.
pub(crate) fn compile(
    text: &str,
    of: &SelfType,
    optional: bool,
    gives: Gives,
) -> Result<Compiled, String> {
    let (failed, wrong) = match gives {
        Gives::Bool => (
            "compilation failed",
            "cel expression must evaluate to a bool",
        ),
        Gives::Text => (
            "messageExpression compilation failed",
            "messageExpression must evaluate to a string",
        ),
    };
    let shown = |problems: Vec<Problem>| {
        let texts: Vec<String> = problems.iter().map(|problem| problem.shown(text)).collect();
        format!("{failed}: {}", texts.join("\n"))
    };
    let node = parse(text).map_err(shown)?;
    let old = if optional {
        Ty::Optional(Arc::new(of.0.clone()))
    } else {
        of.0.clone()
    };
    let checked = check(
        &node,
        &[("self", of.0.clone()), ("oldSelf", old)],
        Changes::No,
    );
    let checked = checked.map_err(|mut problems| {
        problems.sort_by_key(|problem| problem.at);
        shown(problems)
    })?;
    let wanted = match gives {
        Gives::Bool => Ty::Bool,
        Gives::Text => Ty::Text,
    };
    if checked.ty != wanted {
        return Err(wrong.to_owned());
    }
    Ok(Compiled {
        program: Arc::new(node),
        uses_old_self: checked.uses_old_self,
    })
}

/// Compiles every rule of a schema, which is that of a whole resource.
pub(crate) fn compile_all(schema: &mut Schema, json: &Json) {
    compile_node(schema, json, true);
}

fn compile_node(schema: &mut Schema, json: &Json, root: bool) {
    let rules = json["x-kubernetes-validations"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !rules.is_empty()
        && let Some(self_type) = SelfType::new(json, root)
    {
        schema.rules = rules
            .iter()
            .map(|rule| Rule::new(rule, json, &self_type))
            .collect();
    }
    schema.has_rules = !schema.rules.is_empty();
    for (name, below) in &mut schema.properties {
        compile_node(below, &json["properties"][name], false);
        schema.has_rules |= below.has_rules;
    }
    if let Some(items) = &mut schema.items {
        compile_node(items, &json["items"], false);
        schema.has_rules |= items.has_rules;
    }
    if let Additional::Of(below) = &mut schema.additional {
        compile_node(below, &json["additionalProperties"], false);
        schema.has_rules |= below.has_rules;
    }
}

impl Rule {
    fn new(rule: &Json, schema: &Json, self_type: &SelfType) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        let optional = rule["optionalOldSelf"] == true;
        let compiled = compile(&text("rule"), self_type, optional, Gives::Bool);
        let message = text("messageExpression");
        let message =
            (!message.is_empty()).then(|| compile(&message, self_type, optional, Gives::Text));
        Self {
            text: text("rule"),
            message: text("message"),
            message_expression: message
                .and_then(Result::ok)
                .map(|compiled| compiled.program),
            reason: text("reason"),
            field_path: field_path::resolve(
                &text("fieldPath"),
                schema,
                field_path::Arrays::Allowed,
            )
            .map(|found| found.path.text().to_owned())
            .unwrap_or_default(),
            optional_old_self: optional,
            uses_old_self: compiled
                .as_ref()
                .is_ok_and(|compiled| compiled.uses_old_self),
            self_type: Arc::new(self_type.0.clone()),
            program: compiled.map(|compiled| compiled.program),
        }
    }

    /// The text that stands for it in errors.
    fn name(&self) -> &str {
        if self.message.is_empty() {
            self.text.trim()
        } else {
            self.message.trim()
        }
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.text.trim())
        } else {
            self.message.trim().to_owned()
        }
    }

    fn cause(&self, at: &Path, value: Option<&Json>, detail: &str) -> Cause {
        let field = match self.field_path.as_str() {
            "" => at.clone(),
            path if path.starts_with('[') => Path::new(&format!("{}{path}", at.text())),
            path => at.child(path),
        };
        let field = field.to_string();
        match self.reason.as_str() {
            "FieldValueForbidden" => Cause::forbidden(field, detail),
            "FieldValueRequired" => Cause::required(field, detail),
            "FieldValueDuplicate" => Cause {
                reason: "FieldValueDuplicate",
                message: value.map_or_else(
                    || "Duplicate value".to_owned(),
                    |value| format!("Duplicate value: {}", shown(value)),
                ),
                field,
            },
            _ => Cause {
                reason: "FieldValueInvalid",
                message: value.map_or_else(
                    || format!("Invalid value: {detail}"),
                    |value| format!("Invalid value: {}: {detail}", shown(value)),
                ),
                field,
            },
        }
    }
}

/// A value and what it was before an update.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) value: &'a Json,
    pub(crate) old: Option<&'a Json>,
}

/// What an update did not touch is not refused.
#[derive(Clone, Copy, Default)]
struct Untouched<'a> {
    /// What the value here was, if that can be told.
    here: Option<&'a Json>,
    /// The nearest value around for which it can be told, then and now.
    around: Option<(&'a Json, &'a Json)>,
}

impl<'a> Untouched<'a> {
    fn forgives(self, value: &Json) -> bool {
        match (self.here, self.around) {
            (Some(old), _) => old == value,
            (None, Some((old, new))) => old == new,
            (None, None) => false,
        }
    }

    fn below(self, parent: &'a Json, old: Option<&'a Json>) -> Self {
        match self.here {
            None => self,
            Some(here) => Self {
                here: old,
                around: Some((here, parent)),
            },
        }
    }
}

/// Runs every rule of a schema on a whole object.
pub(crate) fn run(
    schema: &Schema,
    change: Change<'_>,
    at: &Path,
    warnings: &Warnings,
) -> Vec<Cause> {
    if !schema.has_rules {
        return Vec::new();
    }
    let mut runner = Runner {
        left: Some(STEPS_MAX),
        causes: Vec::new(),
        warnings,
    };
    let untouched = Untouched {
        here: change.old,
        around: None,
    };
    runner.node(schema, change, untouched, at);
    runner.causes
}

struct Runner<'w> {
    /// Steps that are left; none once they have run out.
    left: Option<u64>,
    causes: Vec<Cause>,
    warnings: &'w Warnings,
}

impl Runner<'_> {
    fn node(&mut self, schema: &Schema, change: Change<'_>, untouched: Untouched<'_>, at: &Path) {
        if !schema.has_rules || change.value.is_null() || self.left.is_none() {
            return;
        }
        self.rules(schema, change, untouched, at);
        match change.value {
            Json::Array(list) => {
                let Some(items) = &schema.items else { return };
                let olds = Old::new(schema, change.old);
                for (index, value) in list.iter().enumerate() {
                    let old = olds.of(value);
                    let untouched = untouched.below(change.value, old);
                    self.node(items, Change { value, old }, untouched, &at.key(index));
                }
            }
            Json::Object(map) => {
                for (name, value) in map {
                    let old = change.old.and_then(|old| old.get(name));
                    let type_meta = untouched.around.is_none()
                        && matches!(name.as_str(), "apiVersion" | "kind");
                    let below = if type_meta {
                        Untouched::default()
                    } else {
                        untouched.below(change.value, old)
                    };
                    if let Some(schema) = schema.properties.get(name) {
                        self.node(schema, Change { value, old }, below, &at.child(name));
                    } else if let Additional::Of(schema) = &schema.additional {
                        self.node(schema, Change { value, old }, below, &at.key(name));
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Schema, change: Change<'_>, untouched: Untouched<'_>, at: &Path) {
        let type_name = schema.kind.map_or("", Type::name);
        let mut own = None;
        for rule in &schema.rules {
            let Some(left) = self.left else { return };
            if rule.uses_old_self && change.old.is_none_or(Json::is_null) && !rule.optional_old_self
            {
                continue;
            }
            let program = match &rule.program {
                Ok(program) => program,
                Err(error) => {
                    self.invalid(at, type_name, &format!("rule compile error: {error}"));
                    continue;
                }
            };
            let mut spent = 0;
            let this = own
                .get_or_insert_with(|| Val::of_json(change.value, &rule.self_type, &mut spent))
                .clone();
            let old = change
                .old
                .filter(|old| !old.is_null() && rule.uses_old_self);
            let old = old.map(|old| Val::of_json(old, &rule.self_type, &mut spent));
            let old = if rule.optional_old_self {
                Val::Optional(old.map(Arc::new))
            } else {
                old.unwrap_or(Val::Null)
            };
            let scope = vec![("self".to_owned(), this), ("oldSelf".to_owned(), old)];
            let steps = CALL_STEPS_MAX.min(left);
            let mut run = Run::new(scope.clone(), steps);
            let result = run.node(program);
            self.left = left.checked_sub(steps - run.left() + spent / 10);
            match result {
                Ok(Val::Bool(true)) => {}
                Ok(_) => self.failed(rule, schema, (change, untouched, at), scope),
                Err(Failure::Cost) => {
                    let why = format!(
                        "'operation cancelled: actual cost limit exceeded': no further validation rules will be \
                         run due to call cost exceeds limit for rule: {}",
                        rule.name()
                    );
                    self.invalid(at, type_name, &why);
                    self.left = None;
                }
                Err(Failure::Error(error)) if error.contains("no such overload") => {
                    let why = format!(
                        "'{error}': call arguments did not match a supported operator, function or macro signature \
                         for rule: {}",
                        rule.name()
                    );
                    self.invalid(at, type_name, &why);
                }
                Err(Failure::Error(error)) => {
                    self.invalid(
                        at,
                        type_name,
                        &format!("{error} evaluating rule: {}", rule.name()),
                    );
                }
            }
        }
    }

    fn invalid(&mut self, at: &Path, type_name: &str, why: &str) {
        self.causes
            .push(Cause::invalid(at.to_string(), &type_name.into(), why));
    }

    fn failed(
        &mut self,
        rule: &Rule,
        schema: &Schema,
        (change, untouched, at): (Change<'_>, Untouched<'_>, &Path),
        scope: Vec<(String, Val)>,
    ) {
        let message = self
            .message(rule, scope)
            .unwrap_or_else(|| rule.default_message());
        let plain = !matches!(schema.kind, Some(Type::Object | Type::Array));
        let cause = rule.cause(at, plain.then_some(change.value), &message);
        if !rule.uses_old_self && untouched.forgives(change.value) {
            self.warnings
                .add(format!("{}: {}", cause.field, cause.message));
        } else {
            self.causes.push(cause);
        }
    }

    /// What a rule's message expression says; nothing if it says nothing fit to be shown.
    fn message(&mut self, rule: &Rule, scope: Vec<(String, Val)>) -> Option<String> {
        let program = rule.message_expression.as_ref()?;
        let left = self.left?;
        let steps = CALL_STEPS_MAX.min(left);
        let mut run = Run::new(scope, steps);
        let result = run.node(program);
        self.left = left.checked_sub(steps - run.left());
        let Ok(Val::Text(text)) = result else {
            return None;
        };
        let text = text.trim();
        let fit = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
        fit.then(|| text.to_owned())
    }
}
