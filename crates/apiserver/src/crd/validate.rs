//! Values against a schema, in the words and the order of Kubernetes' validator.
//!
//! An update tolerates what it does not change: the errors of a part that is as it was are dropped.
mod leaf;

use serde_json::Value;

use super::formats;
use super::list_type;
use super::number::{quoted, shown};
use super::path::Path;
use super::schema::{Additional, Checks, Schema};
use crate::error::Cause;
use leaf::{check_choices, check_number, check_text, check_type};

/// Checks of one value against one schema in one validation; the product of schema and object is bounded by it.
const STEPS_MAX: u32 = 4_000_000;

/// An error before its path is written.
#[derive(Debug, Clone, PartialEq)]
struct Problem {
    /// Where, as texts have it: `spec.a[0]`, empty at the root.
    at: String,
    reason: Reason,
    /// The sentence by which errors are told apart.
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Reason {
    Required,
    Unsupported(Value, Vec<String>),
    TooLong(i64),
    TooMany(i64, i64),
    Type(String),
    Invalid(Value),
    /// Not about a field: a choice between schemas, or the validation as a whole.
    Whole,
}

/// What a check found, and how many checks passed: of several schemas the best is reported.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    passed: u64,
}

impl Found {
    fn add(&mut self, problem: Problem) {
        if !self.problems.iter().any(|one| one.text == problem.text) {
            self.problems.push(problem);
        }
    }

    fn merge(&mut self, other: Self) {
        for problem in other.problems {
            self.add(problem);
        }
        self.passed += other.passed;
    }

    fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// The errors of a value; `old` is what it was before an update.
pub(crate) fn validate(
    schema: &Schema,
    (value, old): (&Value, Option<&Value>),
    base: &Path,
) -> Vec<Cause> {
    let mut walk = Walk { steps: STEPS_MAX };
    let found = walk.node(schema, (value, old), String::new());
    if old == Some(value) {
        return Vec::new();
    }
    let mut causes: Vec<Cause> = found
        .problems
        .into_iter()
        .map(|problem| problem.cause(base))
        .collect();
    if walk.steps == 0 {
        let why = "the object and its schema are too large to be checked";
        causes.push(Cause::invalid(base.to_string(), &Value::Null, why));
    }
    causes
}

impl Problem {
    fn cause(self, base: &Path) -> Cause {
        let field = match self.at.trim_start_matches('.') {
            "" => base.clone(),
            at => base.child(at),
        };
        let field = field.to_string();
        let invalid = |value: String| format!("Invalid value: {value}: {}", self.text);
        match self.reason {
            Reason::Required => Cause::required(field, ""),
            Reason::Unsupported(value, choices) => {
                let choices: Vec<String> = choices.iter().map(|one| quoted(one)).collect();
                Cause {
                    reason: "FieldValueNotSupported",
                    message: format!(
                        "Unsupported value: {}: supported values: {}",
                        shown(&value),
                        choices.join(", ")
                    ),
                    field,
                }
            }
            Reason::TooLong(most) => Cause {
                reason: "FieldValueTooLong",
                message: format!(
                    "Too long: may not be more than {most} byte{}",
                    if most == 1 { "" } else { "s" }
                ),
                field,
            },
            Reason::TooMany(found, most) => Cause {
                reason: "FieldValueTooMany",
                message: format!(
                    "Too many: {found}: must have at most {most} item{}",
                    if most == 1 { "" } else { "s" }
                ),
                field,
            },
            Reason::Type(name) => Cause {
                reason: "FieldValueTypeInvalid",
                message: invalid(quoted(&name)),
                field,
            },
            Reason::Invalid(value) => Cause {
                reason: "FieldValueInvalid",
                message: invalid(shown(&value)),
                field,
            },
            Reason::Whole => Cause {
                reason: "FieldValueInvalid",
                message: invalid("\"\"".to_owned()),
                field: base.to_string(),
            },
        }
    }
}

/// The type of a value, in JSON's names.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn invalid(at: &str, value: &Value, why: String) -> Problem {
    Problem {
        at: at.to_owned(),
        reason: Reason::Invalid(value.clone()),
        text: format!("{at} in body {why}"),
    }
}

fn whole(text: String) -> Problem {
    Problem {
        at: String::new(),
        reason: Reason::Whole,
        text,
    }
}

struct Walk {
    steps: u32,
}

type Pair<'a> = (&'a Value, Option<&'a Value>);

impl Walk {
    /// A part whose old state is known is forgiven if it has not changed.
    fn part(&mut self, schema: &Schema, (value, old): Pair<'_>, at: String) -> Found {
        let found = self.node(schema, (value, old), at);
        if !found.is_valid() && old == Some(value) {
            return Found::default();
        }
        found
    }

    fn node(&mut self, schema: &Schema, pair: Pair<'_>, at: String) -> Found {
        let value = pair.0;
        let mut found = Found::default();
        let Some(left) = self.steps.checked_sub(1) else {
            return found;
        };
        self.steps = left;
        if value.is_null() {
            found.merge(check_type(schema, value, &at));
            found.merge(check_choices(&schema.checks, value, &at));
            return found;
        }
        if !schema.type_names().is_empty() || !schema.checks.format.is_empty() {
            found.merge(check_type(schema, value, &at));
            found.passed += 1;
        }
        found.merge(self.alternatives(&schema.checks, pair, &at));
        found.passed += 1;
        match value {
            Value::String(text) => {
                if let Some(problem) = check_text(&schema.checks, text, &at) {
                    found.add(problem);
                }
                found.passed += 1;
                let format = &schema.checks.format;
                if !format.is_empty() && !formats::is_of_numbers(format) {
                    if !formats::has_format(format, text) {
                        found.add(Problem {
                            at: at.clone(),
                            reason: Reason::Type(text.clone()),
                            text: format!(
                                "{at} in body must be of type {format}: {}",
                                quoted(text)
                            ),
                        });
                    }
                    found.passed += 1;
                }
            }
            Value::Number(number) => {
                found.merge(check_number(schema, number, &at));
                found.passed += 1;
            }
            Value::Array(list) => {
                found.merge(self.list(schema, (list, pair.1), &at));
                found.passed += 1;
            }
            _ => {}
        }
        found.merge(check_choices(&schema.checks, value, &at));
        found.passed += 1;
        if value.is_object() {
            found.merge(self.object(schema, pair, &at));
            found.passed += 1;
        }
        found.passed += 1;
        found
    }

    fn alternatives(&mut self, checks: &Checks, pair: Pair<'_>, at: &str) -> Found {
        let mut found = Found::default();
        if !checks.any_of.is_empty() {
            found.merge(self.any_of(&checks.any_of, pair, at));
        }
        if !checks.one_of.is_empty() {
            found.merge(self.one_of(&checks.one_of, pair, at));
        }
        if !checks.all_of.is_empty() {
            let mut valid = 0;
            for schema in &checks.all_of {
                let result = self.node(schema, pair, at.to_owned());
                valid += usize::from(result.is_valid());
                found.merge(result);
            }
            if valid != checks.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                found.add(whole(format!(
                    "{at:?} must validate all the schemas (allOf){none}"
                )));
            }
        }
        if let Some(not) = &checks.not
            && self.node(not, pair, at.to_owned()).is_valid()
        {
            found.add(whole(format!("{at:?} must not validate the schema (not)")));
        }
        found.passed += 1;
        found
    }

    fn any_of(&mut self, schemas: &[Schema], pair: Pair<'_>, at: &str) -> Found {
        let mut best: Option<Found> = None;
        for schema in schemas {
            let result = self.node(schema, pair, at.to_owned());
            if result.is_valid() {
                return result;
            }
            if best.as_ref().is_none_or(|best| result.passed > best.passed) {
                best = Some(result);
            }
        }
        let mut found = Found::default();
        found.add(whole(format!(
            "{at:?} must validate at least one schema (anyOf)"
        )));
        found.merge(best.unwrap_or_default());
        found
    }

    fn one_of(&mut self, schemas: &[Schema], pair: Pair<'_>, at: &str) -> Found {
        let mut best: Option<Found> = None;
        let mut first = None;
        let mut valid = 0;
        for schema in schemas {
            let result = self.node(schema, pair, at.to_owned());
            if result.is_valid() {
                valid += 1;
                best = None;
                first.get_or_insert(result);
            } else if valid == 0 && best.as_ref().is_none_or(|best| result.passed > best.passed) {
                best = Some(result);
            }
        }
        if valid == 1 {
            return first.unwrap_or_default();
        }
        let how = match valid {
            0 => "Found none valid".to_owned(),
            valid => format!("Found {valid} valid alternatives"),
        };
        let mut found = Found::default();
        found.add(whole(format!(
            "{at:?} must validate one and only one schema (oneOf). {how}"
        )));
        found.merge(best.unwrap_or_default());
        found
    }

    fn list(
        &mut self,
        schema: &Schema,
        (list, old): (&[Value], Option<&Value>),
        at: &str,
    ) -> Found {
        let mut found = Found::default();
        if let Some(items) = &schema.items {
            let olds = list_type::Old::new(schema, old);
            for (index, value) in list.iter().enumerate() {
                let old = olds.of(value);
                found.merge(self.part(items, (value, old), format!("{at}[{index}]")));
            }
        }
        let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let checks = &schema.checks;
        if let Some(least) = checks.min_items.filter(|least| size < *least) {
            let why = format!("should have at least {least} items");
            found.add(invalid(at, &size.into(), why));
        }
        if let Some(most) = checks.max_items.filter(|most| size > *most) {
            found.add(Problem {
                at: at.to_owned(),
                reason: Reason::TooMany(size, most),
                text: format!("{at} in body should have at most {most} items"),
            });
        }
        found.passed += 1;
        found
    }

    fn object(&mut self, schema: &Schema, (value, old): Pair<'_>, at: &str) -> Found {
        let mut found = Found::default();
        let Value::Object(map) = value else {
            return found;
        };
        let checks = &schema.checks;
        let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
        if let Some(least) = checks.min_properties.filter(|least| size < *least) {
            let why = format!("should have at least {least} properties");
            found.add(invalid(at, &size.into(), why));
        }
        if let Some(most) = checks.max_properties.filter(|most| size > *most) {
            found.add(Problem {
                at: at.to_owned(),
                reason: Reason::TooMany(size, most),
                text: format!("{at} in body should have at most {most} properties"),
            });
        }
        for (name, value) in map {
            match (&schema.additional, schema.properties.contains_key(name)) {
                (Additional::Never, false) => found.add(Problem {
                    at: at.to_owned(),
                    reason: Reason::Invalid(name.clone().into()),
                    text: format!("{at}.{name} in body is a forbidden property"),
                }),
                (Additional::Of(schema), false) => {
                    let old = old.and_then(|old| old.get(name));
                    found.merge(self.part(schema, (value, old), format!("{at}.{name}")));
                }
                _ => {}
            }
        }
        for (name, schema) in &schema.properties {
            let Some(value) = map.get(name) else { continue };
            let type_meta = at.is_empty() && matches!(name.as_str(), "kind" | "apiVersion");
            let old = old.and_then(|old| old.get(name)).filter(|_| !type_meta);
            let below = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            found.merge(self.part(schema, (value, old), below));
        }
        for name in checks
            .required
            .iter()
            .filter(|name| !map.contains_key(*name))
        {
            found.add(Problem {
                at: format!("{at}.{name}"),
                reason: Reason::Required,
                text: format!("{at}.{name} in body is required"),
            });
        }
        found
    }
}
