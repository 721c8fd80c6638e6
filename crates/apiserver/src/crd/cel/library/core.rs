//! Operators, conversions and optional values.
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::eval::{Evaluated, Failure, Run};
use super::super::value::Val;
use super::time;
use crate::crd::number::float_text;

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(run: &mut Run, name: &str, args: &[Val]) -> Option<Evaluated> {
    match (name, args) {
        ("!_", [Val::Bool(value)]) => Some(Ok(Val::Bool(!value))),
        ("-_", [value]) => Some(negate(value)),
        ("_==_", [a, b]) => Some(run.equal(a, b).map(Val::Bool)),
        ("_!=_", [a, b]) => Some(run.equal(a, b).map(|equal| Val::Bool(!equal))),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => Some(compare(name, a, b)),
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [a, b]) => Some(arithmetic(name, a, b)),
        ("@in", [one, Val::List(list)]) => {
            let found = run.position(list.iter(), one);
            Some(found.map(|at| Val::Bool(at.is_some())))
        }
        ("@in", [one, Val::Map(map)]) => Some(Ok(Val::Bool(
            one.key().is_some_and(|key| map.contains_key(&key)),
        ))),
        ("_[_]", [of, index]) => Some(at(of, index)),
        ("_[?_]", [Val::Optional(None), _]) => Some(Ok(Val::Optional(None))),
        ("_[?_]", [Val::Optional(Some(of)), index]) => Some(Ok(optional(at(of, index).ok()))),
        ("_[?_]", [of, index]) => Some(Ok(optional(at(of, index).ok()))),
        ("size", [value]) => size(value).map(|size| Ok(Val::Int(size))),
        ("type", [value]) => Some(Ok(Val::Type(value.type_name()))),
        ("dyn", [value]) => Some(Ok(value.clone())),
        ("bool" | "bytes" | "double" | "int" | "uint" | "string", [value]) => {
            Some(convert(name, value))
        }
        ("optional.none", []) => Some(Ok(Val::Optional(None))),
        ("optional.of", [value]) => Some(Ok(optional(Some(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => {
            Some(Ok(optional((!is_zero(value)).then(|| value.clone()))))
        }
        ("hasValue", [Val::Optional(value)]) => Some(Ok(Val::Bool(value.is_some()))),
        ("value", [Val::Optional(value)]) => Some(
            value
                .as_deref()
                .cloned()
                .ok_or_else(|| Failure::new("optional.none() dereference")),
        ),
        _ => None,
    }
}

fn optional(value: Option<Val>) -> Val {
    Val::Optional(value.map(Arc::new))
}

fn is_zero(value: &Val) -> bool {
    match value {
        Val::Null => true,
        Val::Bool(value) => !value,
        Val::Int(number) => *number == 0,
        Val::Uint(number) => *number == 0,
        Val::Double(number) => *number == 0.0,
        Val::Made(made) => made.fields.is_empty(),
        other => size(other) == Some(0),
    }
}

fn size(value: &Val) -> Option<i64> {
    let size = match value {
        Val::Text(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.len(),
        _ => return None,
    };
    Some(i64::try_from(size).unwrap_or(i64::MAX))
}

fn negate(value: &Val) -> Evaluated {
    match value {
        Val::Int(number) => number.checked_neg().map(Val::Int).ok_or_else(overflow),
        Val::Double(number) => Ok(Val::Double(-number)),
        _ => Err(Failure::overload()),
    }
}

fn overflow() -> Failure {
    Failure::new("integer overflow")
}

fn compare(name: &str, a: &Val, b: &Val) -> Evaluated {
    let nan = |value: &Val| matches!(value, Val::Double(number) if number.is_nan());
    if nan(a) || nan(b) {
        return Ok(Val::Bool(false));
    }
    let order = a.order(b).ok_or_else(Failure::overload)?;
    Ok(Val::Bool(match name {
        "_<_" => order.is_lt(),
        "_<=_" => order.is_le(),
        "_>_" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

pub(super) fn arithmetic(name: &str, a: &Val, b: &Val) -> Evaluated {
    let whole = |found: Option<i64>| found.map(Val::Int).ok_or_else(overflow);
    match (name, a, b) {
        ("_/_", Val::Int(_), Val::Int(0)) | ("_/_", Val::Uint(_), Val::Uint(0)) => {
            Err(Failure::new("division by zero"))
        }
        ("_%_", Val::Int(_), Val::Int(0)) | ("_%_", Val::Uint(_), Val::Uint(0)) => {
            Err(Failure::new("modulus by zero"))
        }
        (_, Val::Int(a), Val::Int(b)) => whole(match name {
            "_+_" => a.checked_add(*b),
            "_-_" => a.checked_sub(*b),
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }),
        (_, Val::Uint(a), Val::Uint(b)) => match name {
            "_+_" => a.checked_add(*b),
            "_-_" => a.checked_sub(*b),
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map(Val::Uint)
        .ok_or_else(|| Failure::new("unsigned integer overflow")),
        ("_+_", Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        ("_-_", Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        ("_*_", Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        ("_/_", Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        ("_+_", Val::Text(a), Val::Text(b)) => Ok(Val::text(format!("{a}{b}"))),
        ("_+_", Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes([&a[..], &b[..]].concat().into())),
        ("_+_", Val::List(a), Val::List(b)) => {
            Ok(Val::list(a.iter().chain(b.iter()).cloned().collect()))
        }
        ("_+_" | "_-_", _, _) => time::arithmetic(name, a, b),
        _ => Err(Failure::overload()),
    }
}

fn at(of: &Val, index: &Val) -> Evaluated {
    match (of, index) {
        (Val::List(list), Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
            let index = match index {
                Val::Int(index) => *index,
                Val::Uint(index) => i64::try_from(*index).unwrap_or(-1),
                _ => -1,
            };
            let found = usize::try_from(index)
                .ok()
                .and_then(|index| list.get(index));
            found
                .cloned()
                .ok_or_else(|| Failure::new(format!("index out of bounds: {index}")))
        }
        (Val::Map(map), key) => {
            let found = key.key().and_then(|key| map.get(&key));
            found
                .cloned()
                .ok_or_else(|| Failure::new(format!("no such key: {}", shown(key))))
        }
        _ => Err(Failure::overload()),
    }
}

/// A value as a text of its own.
pub(super) fn shown(value: &Val) -> String {
    match convert("string", value) {
        Ok(Val::Text(text)) => text.to_string(),
        _ => value.type_name().to_owned(),
    }
}

fn convert(to: &str, value: &Val) -> Evaluated {
    let odd = || Failure::new(format!("type conversion error from 'string' to '{to}'"));
    match (to, value) {
        ("bool", Val::Bool(_)) | ("bytes", Val::Bytes(_)) | ("string", Val::Text(_)) => {
            Ok(value.clone())
        }
        ("bool", Val::Text(text)) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(odd()),
        },
        ("bytes", Val::Text(text)) => Ok(Val::Bytes(text.as_bytes().into())),
        ("double", Val::Text(text)) => text.parse().map(Val::Double).map_err(|_no| odd()),
        ("int", Val::Text(text)) => text.parse().map(Val::Int).map_err(|_no| odd()),
        ("uint", Val::Text(text)) => text.parse().map(Val::Uint).map_err(|_no| odd()),
        ("double" | "int" | "uint", _) => number(to, value),
        ("string", _) => text(value),
        _ => Err(Failure::overload()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "that is what the conversion is; the range is checked before"
)]
fn number(to: &str, value: &Val) -> Evaluated {
    match (to, value) {
        ("double", Val::Double(_)) | ("int", Val::Int(_)) | ("uint", Val::Uint(_)) => {
            Ok(value.clone())
        }
        ("double", Val::Int(number)) => Ok(Val::Double(*number as f64)),
        ("double", Val::Uint(number)) => Ok(Val::Double(*number as f64)),
        ("int", Val::Uint(number)) => i64::try_from(*number)
            .map(Val::Int)
            .map_err(|_large| overflow()),
        ("uint", Val::Int(number)) => {
            let number = u64::try_from(*number);
            number
                .map(Val::Uint)
                .map_err(|_negative| Failure::new("unsigned integer overflow"))
        }
        ("int", Val::Double(number)) if number.abs() < 9.2e18 => Ok(Val::Int(*number as i64)),
        ("uint", Val::Double(number)) if (0.0..1.8e19).contains(number) => {
            Ok(Val::Uint(*number as u64))
        }
        ("int", Val::Timestamp(at)) => Ok(Val::Int(at.as_second())),
        ("int", Val::Duration(nanos)) => Ok(Val::Int(*nanos)),
        ("int" | "uint", Val::Double(_)) => Err(overflow()),
        _ => Err(Failure::overload()),
    }
}

fn text(value: &Val) -> Evaluated {
    Ok(Val::text(match value {
        Val::Bool(value) => value.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => float_text(*number),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_no) => {
                return Err(Failure::new(format!(
                    "invalid UTF-8 in bytes {}",
                    STANDARD.encode(bytes)
                )));
            }
        },
        Val::Duration(nanos) => time::seconds_text(*nanos),
        Val::Timestamp(at) => at.to_string(),
        Val::Ip(ip) => ip.to_string(),
        Val::Cidr(cidr) => cidr.to_string(),
        Val::Type(name) => (*name).to_owned(),
        Val::Null => "null".to_owned(),
        _ => return Err(Failure::overload()),
    }))
}
