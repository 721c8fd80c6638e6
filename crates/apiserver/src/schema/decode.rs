//! Makes a value typed, in place, as Go's decoder and encoder would between them. Start at [`decode`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::table::{self, Field, Named, SchemaOr, Table, Type};
use super::time::{self, Precision};
use super::zero;
use crate::quantity::{self, Quantity};

/// Deeper values than any kind has are refused before they are looked at.
const DEPTH_MAX: usize = 256;
/// More unknown fields than these are not told.
const UNKNOWN_MAX: usize = 100;

/// What is wrong with a value.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// The first value of another type than its field, in the words of Go's decoder.
    pub(crate) mismatch: Option<String>,
    /// The same as said where the value was never JSON, if that differs.
    pub(crate) expected: Option<String>,
    /// Paths of the fields that are not in the types.
    pub(crate) unknown: Vec<String>,
}

/// Makes a value of a struct typed; what does not fit is taken out.
pub(crate) fn decode(of: usize, value: &mut Value) -> Problems {
    let mut walk = Walk {
        table: table::get(),
        problems: Problems::default(),
        path: String::new(),
        fields: Vec::new(),
        within: "",
        depth: 0,
    };
    let named = Named {
        what: Type::Struct(of),
        go: walk.table.of(of).name.to_owned(),
        boxed: false,
    };
    walk.value(value, &named);
    walk.problems
}

struct Walk {
    table: &'static Table,
    problems: Problems,
    /// With keys and indexes, for unknown fields.
    path: String,
    /// Names of fields only, for mismatches.
    fields: Vec<&'static str>,
    /// The struct whose field is being read.
    within: &'static str,
    depth: usize,
}

impl Walk {
    /// Makes one value typed; null is left to the caller.
    fn value(&mut self, value: &mut Value, named: &Named) {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            *value = Value::Null;
        }
        match (&named.what, &mut *value) {
            (_, Value::Null) | (Type::Any, _) => {}
            (Type::Struct(of), Value::Object(map)) => self.structure(*of, map),
            (Type::List(element), Value::Array(list)) => self.list(list, element),
            (Type::Map(element), Value::Object(map)) => self.map(map, element),
            (Type::SchemaOr(or), _) => self.schema_or(*or, value),
            (Type::Raw, Value::Object(_)) => {}
            _ => self.scalar(value, named),
        }
        self.depth -= 1;
    }

    fn scalar(&mut self, value: &mut Value, named: &Named) {
        let fits = match (&named.what, &*value) {
            (Type::Text, Value::String(_)) | (Type::Bool, Value::Bool(_)) => true,
            (Type::Int32, Value::Number(number)) => number
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok()),
            (Type::Int64, Value::Number(number)) => number.is_i64() || number.is_u64(),
            (Type::Float, Value::Number(_)) => true,
            _ => return self.special(value, named),
        };
        if !fits {
            let shown = format!("number {value}");
            self.mismatch(value, &shown, named);
        }
    }

    /// Types that read themselves.
    fn special(&mut self, value: &mut Value, named: &Named) {
        let read = match (&named.what, &*value) {
            (Type::Time, Value::String(text)) => time::time(text, Precision::Seconds),
            (Type::MicroTime, Value::String(text)) => time::time(text, Precision::Micros),
            (Type::Duration, Value::String(text)) => time::duration(text),
            (Type::Bytes, Value::String(text)) => bytes(text),
            (Type::IntOrString, Value::String(_)) => return,
            (Type::IntOrString, Value::Number(number)) => {
                let fits = number
                    .as_i64()
                    .is_some_and(|number| i32::try_from(number).is_ok());
                if !fits {
                    let shown = format!("number {value}");
                    self.mismatch(value, &shown, named);
                }
                return;
            }
            (Type::Quantity, _) => {
                let text = match &*value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                Quantity::parse(text.trim())
                    .map(|read| read.to_string().into())
                    .ok_or_else(|| quantity::PATTERN.to_owned())
            }
            _ => return self.other(value, named),
        };
        match read {
            Ok(read) => *value = read,
            Err(why) => {
                if self.problems.mismatch.is_none() && named.what == Type::Bytes {
                    self.problems.expected = Some(format!("error decoding from json: {why}"));
                }
                self.problems.mismatch.get_or_insert(why);
                *value = Value::Null;
            }
        }
    }

    fn other(&mut self, value: &mut Value, named: &Named) {
        let shown = kind_of(value);
        self.mismatch(value, shown, named);
    }

    fn mismatch(&mut self, value: &mut Value, shown: &str, named: &Named) {
        let given = std::mem::take(value);
        if self.problems.mismatch.is_some() {
            return;
        }
        let go = match named.what {
            Type::Time | Type::MicroTime | Type::Duration => "string",
            Type::IntOrString => "int32",
            _ => &named.go,
        };
        let place = if self.within.is_empty() {
            "Go value".to_owned()
        } else {
            format!("Go struct field {}.{}", self.within, self.fields.join("."))
        };
        let why = format!("json: cannot unmarshal {shown} into {place} of type {go}");
        self.problems.mismatch = Some(why);
        self.problems.expected = unstructured(named, &given);
    }

    fn list(&mut self, list: &mut [Value], element: &Named) {
        let length = self.path.len();
        for (index, value) in list.iter_mut().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            self.value(value, element);
            self.path.truncate(length);
            if value.is_null() {
                *value = zero::of(self.table, element);
            }
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, element: &Named) {
        let length = self.path.len();
        for (key, value) in map {
            self.step(key);
            self.value(value, element);
            self.path.truncate(length);
            if value.is_null() {
                *value = zero::of(self.table, element);
            }
        }
    }

    fn step(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }

    fn structure(&mut self, of: usize, map: &mut Map<String, Value>) {
        let mut rest = std::mem::take(map);
        self.fields_of(of, &mut rest, map);
        for (name, _) in rest {
            if self.problems.unknown.len() < UNKNOWN_MAX {
                let length = self.path.len();
                self.step(&name);
                self.problems.unknown.push(self.path.clone());
                self.path.truncate(length);
            }
        }
    }

    /// Moves the fields of a struct, and of those written inline, from what is given to what is typed.
    fn fields_of(
        &mut self,
        of: usize,
        rest: &mut Map<String, Value>,
        typed: &mut Map<String, Value>,
    ) {
        let table = self.table;
        for field in &table.of(of).fields {
            if field.name.is_empty() {
                if let Type::Struct(inner) = field.of.what {
                    let name = table.of(inner).name;
                    self.fields.push(name);
                    self.fields_of(inner, rest, typed);
                    self.fields.pop();
                }
                continue;
            }
            let given = rest.remove(field.name);
            let value = self.field(table.of(of).name, field, given);
            if let Some(value) = value {
                typed.insert(field.name.to_owned(), value);
            }
        }
    }

    /// The value of a field as it is written back; nothing if it is left out.
    fn field(
        &mut self,
        within: &'static str,
        field: &Field,
        given: Option<Value>,
    ) -> Option<Value> {
        let mut value = given.unwrap_or(Value::Null);
        if !value.is_null() {
            let length = self.path.len();
            let outer = std::mem::replace(&mut self.within, within);
            self.step(field.name);
            self.fields.push(field.name);
            self.value(&mut value, &field.of);
            self.fields.pop();
            self.within = outer;
            self.path.truncate(length);
        }
        zero::written(self.table, field, value)
    }

    fn schema_or(&mut self, or: SchemaOr, value: &mut Value) {
        let Some(schema) = self.table.find("apiextensions/v1.JSONSchemaProps") else {
            return;
        };
        match (or, value) {
            (_, Value::Object(map)) => self.structure(schema, map),
            (SchemaOr::Array, Value::Array(list)) => {
                for one in list {
                    if let Value::Object(map) = one {
                        self.structure(schema, map);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What Go's converter of untyped values says; it leaves types that read themselves to their own words.
fn unstructured(named: &Named, given: &Value) -> Option<String> {
    let given = match given {
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) | Value::Null => "map",
    };
    let unrecognized = |kind: &str| Some(format!("unrecognized type: {kind}"));
    match &named.what {
        // Go would make a letter of a number.
        Type::Text if given == "int64" => Some(format!("cannot convert int64 to {}", named.go)),
        Type::Text => unrecognized("string"),
        Type::Bool => unrecognized("bool"),
        Type::Int32 => unrecognized("int32"),
        Type::Int64 => unrecognized("int64"),
        Type::Float => unrecognized("float64"),
        Type::List(_) | Type::Bytes => Some(format!("cannot restore slice from {given}")),
        Type::Map(_) => Some(format!("cannot restore map from {given}")),
        Type::Struct(_) => Some(format!("cannot restore struct from: {given}")),
        _ => None,
    }
}

/// How Go calls the type of a value.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn bytes(text: &str) -> Result<Value, String> {
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&clean) {
        Ok(_) => Ok(clean.into()),
        Err(_) => {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
            // Go names the byte after a group of four that is cut off, else the first that is none of the alphabet.
            let at = clean.find(|c| !good(c)).unwrap_or(clean.len() / 4 * 4);
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}
