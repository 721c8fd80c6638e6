//! A value together with where it stands, so that what is wrong with it can be said in one line.
use serde_json::Value;

use crate::error::Cause;

/// What has been found so far.
pub(in crate::store) type Causes = Vec<Cause>;

/// A value and its path.
#[derive(Clone)]
pub(in crate::store) struct At<'a> {
    /// Null if there is none.
    pub(in crate::store) value: &'a Value,
    /// As error texts write it: `spec.ports[0].name`.
    pub(in crate::store) path: String,
}

impl<'a> At<'a> {
    /// A value at a path.
    pub(in crate::store) fn new(path: impl Into<String>, value: &'a Value) -> Self {
        Self {
            value,
            path: path.into(),
        }
    }

    /// A field.
    pub(in crate::store) fn get(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self::new(path, &self.value[name])
    }

    /// The same value, called otherwise.
    pub(in crate::store) fn named(&self, path: impl Into<String>) -> Self {
        Self::new(path, self.value)
    }

    /// The items, if it is a list.
    pub(in crate::store) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let (value, path) = (self.value, self.path.clone());
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        list.iter()
            .enumerate()
            .map(move |(index, item)| At::new(format!("{path}[{index}]"), item))
    }

    /// The items of a list in a field.
    pub(in crate::store) fn each(&self, name: &str) -> impl Iterator<Item = At<'a>> + use<'a> {
        self.get(name).items()
    }

    /// The entries, if it is a map.
    pub(in crate::store) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let (value, path) = (self.value, self.path.clone());
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(move |(key, item)| (key.as_str(), At::new(format!("{path}[{key}]"), item)))
    }

    /// How many items or entries it has.
    pub(in crate::store) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    /// Whether there is no value, or an empty one.
    pub(in crate::store) fn is_empty(&self) -> bool {
        match self.value {
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Bool(value) => !value,
            _ => self.len() == 0,
        }
    }

    /// Whether there is a value.
    pub(in crate::store) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text, empty if there is none.
    pub(in crate::store) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The number, 0 if there is none.
    pub(in crate::store) fn int(&self) -> i64 {
        self.value.as_i64().unwrap_or(0)
    }

    /// Whether it is true.
    pub(in crate::store) fn is_true(&self) -> bool {
        *self.value == true
    }

    /// Its value is not allowed.
    pub(in crate::store) fn invalid(&self, causes: &mut Causes, why: &str) {
        causes.push(Cause::invalid(&self.path, self.value, why));
    }

    /// Its value, which is shown as another, is not allowed.
    pub(in crate::store) fn invalid_as(&self, causes: &mut Causes, shown: &Value, why: &str) {
        causes.push(Cause::invalid(&self.path, shown, why));
    }

    /// It must be there.
    pub(in crate::store) fn required(&self, causes: &mut Causes, why: &str) {
        causes.push(Cause::required(&self.path, why));
    }

    /// It must not be there, or not change.
    pub(in crate::store) fn forbidden(&self, causes: &mut Causes, why: &str) {
        causes.push(Cause::forbidden(&self.path, why));
    }

    /// Its value is in the list before.
    pub(in crate::store) fn duplicate(&self, causes: &mut Causes) {
        causes.push(Cause::duplicate(&self.path, self.value));
    }

    /// What it names does not exist.
    pub(in crate::store) fn not_found(&self, causes: &mut Causes) {
        causes.push(Cause {
            reason: "FieldValueNotFound",
            message: format!("Not found: {}", self.shown()),
            field: self.path.clone(),
        });
    }

    /// It has more items or characters than it may.
    pub(in crate::store) fn too_many(&self, causes: &mut Causes, max: usize) {
        causes.push(Cause {
            reason: "FieldValueTooMany",
            message: format!(
                "Too many: {}: must have at most {max} {}",
                self.len(),
                if max == 1 { "item" } else { "items" }
            ),
            field: self.path.clone(),
        });
    }

    /// It is longer than it may be.
    pub(in crate::store) fn too_long(&self, causes: &mut Causes, max: usize) {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {max} bytes"),
            field: self.path.clone(),
        });
    }

    /// It must be one of a few values.
    pub(in crate::store) fn unsupported(&self, causes: &mut Causes, values: &[&str]) {
        causes.push(Cause::unsupported(&self.path, &self.shown(), values));
    }

    /// It must be one of a few values, or nothing.
    pub(in crate::store) fn one_of(&self, causes: &mut Causes, values: &[&str]) {
        if self.is_set() && !values.contains(&self.text()) {
            self.unsupported(causes, values);
        }
    }

    /// It must be there, and be one of a few values.
    pub(in crate::store) fn must_be_one_of(&self, causes: &mut Causes, values: &[&str]) {
        if self.text().is_empty() {
            self.required(causes, "");
        } else if !values.contains(&self.text()) {
            self.unsupported(causes, values);
        }
    }

    /// It must not be less than 0.
    pub(in crate::store) fn non_negative(&self, causes: &mut Causes) {
        if self.int() < 0 {
            self.invalid(causes, "must be greater than or equal to 0");
        }
    }

    /// It must be greater than 0.
    pub(in crate::store) fn positive(&self, causes: &mut Causes) {
        if self.int() <= 0 {
            self.invalid_as(causes, &self.int().into(), "must be greater than zero");
        }
    }

    /// It must lie within bounds.
    pub(in crate::store) fn within(&self, causes: &mut Causes, (low, high): (i64, i64)) {
        if !(low..=high).contains(&self.int()) {
            let why = format!("must be between {low} and {high}, inclusive");
            self.invalid_as(causes, &self.int().into(), &why);
        }
    }

    /// Each of the reasons for which its text is not allowed.
    pub(in crate::store) fn all_invalid(&self, causes: &mut Causes, why: Vec<String>) {
        for why in why {
            self.invalid_as(causes, &self.text().into(), &why);
        }
    }

    /// It must stay as it was.
    pub(in crate::store) fn immutable(&self, causes: &mut Causes, before: &Self) {
        if self.value != before.value {
            self.invalid(causes, "field is immutable");
        }
    }

    /// The same of a field whose rule is declared with its type: the value is not shown.
    pub(in crate::store) fn fixed(&self, causes: &mut Causes, before: &Self) {
        if self.value != before.value {
            self.invalid_as(causes, &Value::Null, "field is immutable");
        }
    }

    /// The value as error texts show it: a missing text is an empty one.
    fn shown(&self) -> Value {
        match self.value {
            Value::Null => Value::String(String::new()),
            other => other.clone(),
        }
    }
}
