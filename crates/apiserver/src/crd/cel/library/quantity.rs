//! Quantities such as `500m` and `2Gi`, and semantic versions.
use std::cmp::Ordering;
use std::sync::Arc;

use super::super::eval::{Evaluated, Failure};
use super::super::value::Val;

/// A quantity, in units of 10^-9.
#[derive(Debug, Clone, Copy)]
pub(in crate::crd::cel) struct Quantity(i128);

const ONE: i128 = 1_000_000_000;
const SUFFIXES: [(&str, i128); 15] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("m", -1_000),
    ("u", -1_000_000),
    ("n", -1_000_000_000),
];

impl Quantity {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 30 {
            return None;
        }
        let nanos: String = fraction
            .chars()
            .chain(std::iter::repeat('0'))
            .take(9)
            .collect();
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let size = whole.checked_mul(ONE)?.checked_add(nanos.parse().ok()?)?;
        let scaled = if suffix.is_empty() {
            size
        } else if let Some(exponent) = suffix
            .strip_prefix(['e', 'E'])
            .filter(|rest| !rest.is_empty())
        {
            let exponent: i32 = exponent.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 {
                size / power
            } else {
                size.checked_mul(power)?
            }
        } else {
            let (_, by) = SUFFIXES.iter().find(|(name, _)| *name == suffix)?;
            if *by < 0 {
                size / -by
            } else {
                size.checked_mul(*by)?
            }
        };
        Some(Self(if negative { -scaled } else { scaled }))
    }

    /// Which is larger.
    pub(in crate::crd::cel) fn compare(self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }

    fn whole(self) -> Option<i64> {
        (self.0 % ONE == 0).then(|| i64::try_from(self.0 / ONE).ok())?
    }
}

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
            "quantity" => Quantity::parse(text).map(|found| Val::Quantity(Arc::new(found))).ok_or_else(|| {
                Failure::new(
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )
            }),
            "isSemver" => Ok(Val::Bool(semver(text).is_some())),
            "semver" => semver(text).map(|found| Val::Semver(Arc::new(found))).ok_or_else(|| {
                Failure::new("No Major.Minor.Patch elements found")
            }),
            _ => return None,
        }),
        [Val::Quantity(quantity)] => of_one(name, **quantity),
        [Val::Quantity(a), Val::Int(b)] => of_two(name, **a, Quantity(i128::from(*b) * ONE)),
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

#[expect(
    clippy::cast_precision_loss,
    reason = "the float is asked for as approximate"
)]
fn of_one(name: &str, quantity: Quantity) -> Option<Evaluated> {
    Some(match name {
        "sign" => Ok(Val::Int(
            i64::try_from(quantity.0.signum()).unwrap_or_default(),
        )),
        "isInteger" => Ok(Val::Bool(quantity.whole().is_some())),
        "asInteger" => quantity
            .whole()
            .map(Val::Int)
            .ok_or_else(|| Failure::new("cannot convert value to integer")),
        "asApproximateFloat" => Ok(Val::Double(quantity.0 as f64 / ONE as f64)),
        _ => return None,
    })
}

fn of_two(name: &str, a: Quantity, b: Quantity) -> Option<Evaluated> {
    let sum = match name {
        "add" => a.0.checked_add(b.0),
        "sub" => a.0.checked_sub(b.0),
        _ => return ordered(name, a.compare(&b)),
    };
    Some(
        sum.map(|sum| Val::Quantity(Arc::new(Quantity(sum))))
            .ok_or_else(|| Failure::new("quantity overflow")),
    )
}
