//! Quantities such as `500m` and `2Gi`, and semantic versions.
use std::cmp::Ordering;
use std::sync::Arc;

use super::super::eval::{Evaluated, Failure};
use super::super::value::Val;
use crate::quantity::{self, Quantity};

fn semver(text: &str) -> Option<(u64, u64, u64, String)> {
    let (plain, _build) = text.split_once('+').unwrap_or((text, ""));
    let (numbers, pre) = plain.split_once('-').unwrap_or((plain, ""));
    let parts: Vec<u64> = numbers
        .split('.')
        .map(|part| {
            part.parse()
                .ok()
                .filter(|_| part == "0" || !part.starts_with('0'))
        })
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        [major, minor, patch] => Some((*major, *minor, *patch, pre.to_owned())),
        _ => None,
    }
}

/// A release is larger than what comes before it.
fn semver_order(a: &(u64, u64, u64, String), b: &(u64, u64, u64, String)) -> Ordering {
    (a.0, a.1, a.2, a.3.is_empty(), &a.3).cmp(&(b.0, b.1, b.2, b.3.is_empty(), &b.3))
}

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Evaluated> {
    match args {
        [Val::Text(text)] => Some(match name {
            "isQuantity" => Ok(Val::Bool(Quantity::parse(text).is_some())),
            "quantity" => Quantity::parse(text)
                .map(|found| Val::Quantity(Arc::new(found)))
                .ok_or_else(|| Failure::new(quantity::PATTERN)),
            "isSemver" => Ok(Val::Bool(semver(text).is_some())),
            "semver" => semver(text)
                .map(|found| Val::Semver(Arc::new(found)))
                .ok_or_else(|| Failure::new("No Major.Minor.Patch elements found")),
            _ => return None,
        }),
        [Val::Quantity(quantity)] => of_one(name, **quantity),
        [Val::Quantity(a), Val::Int(b)] => of_two(name, **a, Quantity::whole(*b)),
        [Val::Quantity(a), Val::Quantity(b)] => of_two(name, **a, **b),
        [Val::Semver(version)] => Some(Ok(Val::Int(
            i64::try_from(match name {
                "major" => version.0,
                "minor" => version.1,
                "patch" => version.2,
                _ => return None,
            })
            .unwrap_or(i64::MAX),
        ))),
        [Val::Semver(a), Val::Semver(b)] => ordered(name, semver_order(a, b)),
        _ => None,
    }
}

fn ordered(name: &str, order: Ordering) -> Option<Evaluated> {
    Some(Ok(match name {
        "isGreaterThan" => Val::Bool(order.is_gt()),
        "isLessThan" => Val::Bool(order.is_lt()),
        "compareTo" => Val::Int(order as i64),
        _ => return None,
    }))
}

fn of_one(name: &str, quantity: Quantity) -> Option<Evaluated> {
    Some(match name {
        "sign" => Ok(Val::Int(quantity.sign())),
        "isInteger" => Ok(Val::Bool(quantity.exactly().is_some())),
        "asInteger" => quantity
            .exactly()
            .map(Val::Int)
            .ok_or_else(|| Failure::new("cannot convert value to integer")),
        "asApproximateFloat" => Ok(Val::Double(quantity.approximately())),
        _ => return None,
    })
}

fn of_two(name: &str, a: Quantity, b: Quantity) -> Option<Evaluated> {
    let sum = match name {
        "add" => a.plus(b),
        "sub" => a.minus(b),
        _ => return ordered(name, a.cmp(&b)),
    };
    Some(Ok(Val::Quantity(Arc::new(sum))))
}
