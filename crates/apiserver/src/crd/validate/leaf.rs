//! The checks of single values: types, choices, texts, numbers.
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Found, Problem, Reason, invalid, type_of, whole};
use crate::crd::number::{float_text, is_whole, quoted};
use crate::crd::schema::{Checks, Schema, Type};

pub(super) fn check_type(schema: &Schema, value: &Value, at: &str) -> Found {
    let names = schema.type_names();
    let passed = || Found {
        problems: Vec::new(),
        passed: 1,
    };
    let wrong = |expected: &str, found: &'static str| Found {
        problems: vec![Problem {
            at: at.to_owned(),
            reason: Reason::Type(found.to_owned()),
            text: format!("{at} in body must be of type {expected}: {}", quoted(found)),
        }],
        passed: 0,
    };
    let found = type_of(value);
    if value.is_null() {
        return if names.is_empty() || schema.nullable {
            passed()
        } else {
            wrong(&names.join(","), "null")
        };
    }
    let format = schema.checks.format.as_str();
    let numbers = names
        .iter()
        .any(|name| matches!(*name, "integer" | "number"));
    let float_int =
        found == "number" && names.contains(&"integer") && value.as_f64().is_some_and(is_whole);
    let int_float = found == "integer" && names.contains(&"number");
    let fits = names.contains(&found) || float_int || int_float;
    if value.is_string() || value.is_array() {
        if !numbers && !format.is_empty() {
            return passed();
        }
    } else if !format.is_empty() && !fits {
        let of_value = match found {
            "integer" => "int64",
            "number" => "double",
            _ => "",
        };
        if of_value != format {
            return wrong(format, of_value);
        }
    }
    if fits {
        passed()
    } else {
        wrong(&names.join(","), found)
    }
}

pub(super) fn check_choices(checks: &Checks, value: &Value, at: &str) -> Found {
    let mut found = Found::default();
    if checks.choices.is_empty() || checks.choices.iter().any(|one| same_number(one, value)) {
        return found;
    }
    let choices = checks.choices.iter().map(|one| match one {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    found.problems.push(Problem {
        at: at.to_owned(),
        reason: Reason::Unsupported(value.clone(), choices.collect()),
        text: format!("{at} in body should be one of the choices"),
    });
    found
}

/// Equal, also if one is written as a float and the other is not.
fn same_number(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

pub(super) fn check_text(checks: &Checks, text: &str, at: &str) -> Option<Problem> {
    let value = Value::from(text);
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = checks.max_length.filter(|most| length > *most) {
        return Some(Problem {
            at: at.to_owned(),
            reason: Reason::TooLong(most),
            text: format!("{at} in body should be at most {most} chars long"),
        });
    }
    if let Some(least) = checks.min_length.filter(|least| length < *least) {
        return Some(invalid(
            at,
            &value,
            format!("should be at least {least} chars long"),
        ));
    }
    let pattern = checks.pattern.as_ref()?;
    let matches = pattern.matches(text);
    (!matches).then(|| invalid(at, &value, format!("should match '{}'", pattern.text)))
}

pub(super) fn check_number(schema: &Schema, number: &Number, at: &str) -> Found {
    let mut found = Found::default();
    if let Some(text) = out_of_range(schema, number, at) {
        found.add(whole(text));
    }
    let value = Value::Number(number.clone());
    for why in [
        multiple(&schema.checks, number, at),
        least(&schema.checks, number),
        most(&schema.checks, number),
    ]
    .into_iter()
    .flatten()
    {
        found.add(invalid(at, &value, why));
    }
    found.passed += 1;
    found
}

/// A bound as it is shown beside a number: whole beside a whole one.
fn bound(number: &Number, limit: f64) -> String {
    match number.as_i64() {
        Some(_) => float_text(limit.trunc()),
        None => float_text(limit),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "bounds of whole numbers are taken as whole numbers"
)]
fn compare(number: &Number, limit: f64) -> Ordering {
    match number.as_i64() {
        Some(whole) => whole.cmp(&(limit as i64)),
        None => number.as_f64().unwrap_or_default().total_cmp(&limit),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "factors of whole numbers are taken as whole numbers"
)]
fn multiple(checks: &Checks, number: &Number, at: &str) -> Option<String> {
    let factor = checks.multiple_of?;
    if factor <= 0.0 {
        let factor = float_text(factor);
        return Some(format!(
            "factor MultipleOf declared for {at} must be positive: {factor}"
        ));
    }
    let float = number.as_f64().unwrap_or_default();
    let fits = match number.as_i64() {
        Some(whole) => (factor as i64) > 0 && whole % (factor as i64) == 0,
        None if factor < 1.0 => is_whole(1.0 / factor * float),
        None => is_whole(float / factor),
    };
    (!fits).then(|| format!("should be a multiple of {}", bound(number, factor)))
}

fn least(checks: &Checks, number: &Number) -> Option<String> {
    let limit = checks.minimum?;
    let order = compare(number, limit);
    let shown = bound(number, limit);
    match checks.exclusive_minimum {
        true if order.is_le() => Some(format!("should be greater than {shown}")),
        false if order.is_lt() => Some(format!("should be greater than or equal to {shown}")),
        _ => None,
    }
}

fn most(checks: &Checks, number: &Number) -> Option<String> {
    let limit = checks.maximum?;
    let order = compare(number, limit);
    let shown = bound(number, limit);
    match checks.exclusive_maximum {
        true if order.is_ge() => Some(format!("should be less than {shown}")),
        false if order.is_gt() => Some(format!("should be less than or equal to {shown}")),
        _ => None,
    }
}

fn out_of_range(schema: &Schema, number: &Number, at: &str) -> Option<String> {
    if schema.int_or_string {
        return None;
    }
    let format = schema.checks.format.as_str();
    match (schema.kind, format) {
        (Some(Type::Integer), "int32") => {
            let fits = number
                .as_i64()
                .is_some_and(|whole| i32::try_from(whole).is_ok());
            (!fits)
                .then(|| format!("Checked value must be of type integer with format int32 in {at}"))
        }
        (Some(Type::Integer), format) => {
            let fits = number.is_i64() || number.as_f64().is_some_and(is_whole);
            let how = match format {
                "int64" => "with format int64",
                _ => "(default format)",
            };
            (!fits).then(|| format!("Checked value must be of type integer {how} in {at}"))
        }
        (Some(Type::Number), "float") => {
            let fits = number
                .as_f64()
                .is_some_and(|float| float.abs() <= f64::from(f32::MAX));
            (!fits)
                .then(|| format!("Checked value must be of type number with format float in {at}"))
        }
        _ => None,
    }
}
