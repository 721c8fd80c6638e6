//! Reading JSON objects field by field, where a field of the wrong type is a fault that names it and
//! never stops the reading of the others.
use serde_json::{Map, Value};
use tombolo_core::link::Fault;

/// One object that is being read, and what was found wrong with it.
pub(crate) struct Reader {
    object: String,
    pub(crate) faults: Vec<Fault>,
}

impl Reader {
    /// `object` is what faults call it: kind, namespace and name.
    pub(crate) const fn new(object: String) -> Self {
        Self {
            object,
            faults: Vec::new(),
        }
    }

    pub(crate) fn fault(&mut self, field: &str, why: impl Into<String>) {
        let (object, field, why) = (self.object.clone(), field.to_owned(), why.into());
        self.faults.push(Fault { object, field, why });
    }

    /// A text; absent, null and empty are the same.
    pub(crate) fn text<'v>(&mut self, of: &'v Value, path: &str) -> Option<&'v str> {
        match of.pointer(&pointer(path)) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => (!text.is_empty()).then_some(text.as_str()),
            Some(other) => {
                self.fault(path, format!("must be a string, not {}", kind(other)));
                None
            }
        }
    }

    /// A whole number, written as a number or as a string.
    pub(crate) fn number(&mut self, of: &Value, path: &str) -> Option<u64> {
        match of.pointer(&pointer(path)) {
            Some(Value::Number(number)) => match number.as_u64() {
                Some(number) => Some(number),
                None => {
                    self.fault(path, format!("{number} is no whole number"));
                    None
                }
            },
            _ => {
                let text = self.text(of, path)?;
                match text.parse() {
                    Ok(number) => Some(number),
                    Err(_) => {
                        self.fault(path, format!("{text:?} is no number"));
                        None
                    }
                }
            }
        }
    }

    /// A list; absent and null are the empty one.
    pub(crate) fn list<'v>(&mut self, of: &'v Value, path: &str) -> &'v [Value] {
        match of.pointer(&pointer(path)) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.fault(path, format!("must be a list, not {}", kind(other)));
                &[]
            }
        }
    }

    /// An object; absent and null are none.
    pub(crate) fn object<'v>(
        &mut self,
        of: &'v Value,
        path: &str,
    ) -> Option<&'v Map<String, Value>> {
        match of.pointer(&pointer(path)) {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.fault(path, format!("must be an object, not {}", kind(other)));
                None
            }
        }
    }
}

/// `spec.probeSpec.port` and `clusters[0].name` as JSON pointers. Not for keys with dots in them.
fn pointer(path: &str) -> String {
    let mut pointer = String::with_capacity(path.len() + 1);
    for part in path.split(['.', '[']) {
        pointer.push('/');
        pointer.push_str(part.trim_end_matches(']'));
    }
    pointer
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
