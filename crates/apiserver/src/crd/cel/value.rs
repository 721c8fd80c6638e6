//! What expressions work on.
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::decl::Ty;
use super::message::Made;
use crate::quantity::Quantity;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Arc<Vec<Self>>),
    Map(Arc<BTreeMap<Key, Self>>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    Type(&'static str),
    Optional(Option<Arc<Self>>),
    Ip(IpAddr),
    Cidr(ipnet::IpNet),
    Url(Arc<super::library::url::Url>),
    Quantity(Arc<Quantity>),
    /// A named format of texts.
    Format(&'static str),
    Semver(Arc<(u64, u64, u64, String)>),
    Asks(Arc<super::library::authorizer::Asks>),
    Made(Arc<Made>),
}

/// A key of a map. Numbers that are equal are the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Number(i128),
    Text(Arc<str>),
}

impl Key {
    /// The value of a key.
    pub(super) fn value(&self) -> Val {
        match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Number(number) => i64::try_from(*number).map_or_else(
                |_large| Val::Uint(u64::try_from(*number).unwrap_or(u64::MAX)),
                Val::Int,
            ),
            Self::Text(text) => Val::Text(Arc::clone(text)),
        }
    }

    fn weight(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64 / 10 + 1,
            Self::Bool(_) | Self::Number(_) => 1,
        }
    }
}

impl Val {
    /// A text.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    /// A list.
    pub(super) fn list(values: Vec<Self>) -> Self {
        Self::List(Arc::new(values))
    }

    /// The key that a value can be.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the float is a whole number within the range"
    )]
    pub(super) fn key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(value) => Key::Bool(*value),
            Self::Int(number) => Key::Number(i128::from(*number)),
            Self::Uint(number) => Key::Number(i128::from(*number)),
            Self::Double(number) if number.fract() == 0.0 && number.abs() < 1e18 => {
                Key::Number(*number as i128)
            }
            Self::Text(text) => Key::Text(Arc::clone(text)),
            _ => return None,
        })
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Asks(asks) => asks.type_name(),
            Self::Made(made) => made.type_name(),
        }
    }

    /// A JSON value as a rule sees it; `spent` counts the work.
    pub(super) fn of_json(json: &Json, ty: &Ty, spent: &mut u64) -> Self {
        *spent += 1;
        match (json, ty) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(value), _) => Self::Bool(*value),
            (Json::Number(number), Ty::Double) => Self::Double(number.as_f64().unwrap_or_default()),
            (Json::Number(number), _) => number.as_i64().map_or_else(
                || Self::Double(number.as_f64().unwrap_or_default()),
                Self::Int,
            ),
            (Json::String(text), ty) => of_text(text, ty),
            (Json::Array(list), ty) => {
                let inner = if let Ty::List(inner) = ty {
                    inner
                } else {
                    &Ty::Dyn
                };
                Self::list(
                    list.iter()
                        .map(|one| Self::of_json(one, inner, spent))
                        .collect(),
                )
            }
            (Json::Object(map), ty) => {
                let entries = map.iter().filter_map(|(name, value)| {
                    let (name, ty) = match ty {
                        Ty::Object(fields) => {
                            let name = fields.escaped.get(name).unwrap_or(name);
                            (name, fields.by_name.get(name)?)
                        }
                        Ty::Map(_, value) => (name, &**value),
                        _ => (name, &Ty::Dyn),
                    };
                    Some((
                        Key::Text(name.as_str().into()),
                        Self::of_json(value, ty, spent),
                    ))
                });
                Self::Map(Arc::new(entries.collect()))
            }
        }
    }

    /// Whether two values are equal: numbers by value, whatever their types. Every value in them that is looked at
    /// is a step, for what is there once may be in there very often; nothing when no steps are left.
    pub(super) fn equals(&self, other: &Self, left: &mut u64) -> Option<bool> {
        let steps = match self {
            Self::Text(_) | Self::Bytes(_) => self.weight(),
            _ => 1,
        };
        *left = left.checked_sub(steps)?;
        Some(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Type(a), Self::Type(b)) | (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a.text == b.text,
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(b, left)?,
                _ => false,
            },
            (Self::List(a), Self::List(b)) if a.len() == b.len() => {
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals(b, left)? {
                        return Some(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) if a.len() == b.len() => {
                for (key, a) in a.iter() {
                    *left = left.checked_sub(key.weight())?;
                    let Some(b) = b.get(key) else {
                        return Some(false);
                    };
                    if !a.equals(b, left)? {
                        return Some(false);
                    }
                }
                true
            }
            (Self::Made(a), Self::Made(b)) => {
                a.name == b.name
                    && Self::Map(Arc::clone(&a.fields))
                        .equals(&Self::Map(Arc::clone(&b.fields)), left)?
            }
            _ => self.numbers(other) == Some(Ordering::Equal),
        })
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of two types are compared as floats"
    )]
    fn numbers(&self, other: &Self) -> Option<Ordering> {
        let float = |value: &Self| match value {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        };
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            _ => float(self)?.partial_cmp(&float(other)?),
        }
    }

    /// The order of two values of types that have one.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Self::Quantity(b)) => Some(a.cmp(b)),
            _ => self.numbers(other),
        }
    }

    /// How much a walk through it costs.
    pub(super) fn weight(&self) -> u64 {
        let size = match self {
            Self::Text(text) => text.len() / 10,
            Self::Bytes(bytes) => bytes.len() / 10,
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Made(made) => made.fields.len(),
            _ => 0,
        };
        u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn of_text(text: &str, ty: &Ty) -> Val {
    match ty {
        Ty::Bytes => STANDARD
            .decode(text)
            .map_or(Val::Null, |bytes| Val::Bytes(bytes.into())),
        Ty::Duration => super::library::time::duration(text).map_or(Val::Null, Val::Duration),
        Ty::Timestamp => super::library::time::timestamp(text).map_or(Val::Null, Val::Timestamp),
        _ => Val::text(text),
    }
}
