//! How objects of a kind merge: which lists are maps, which are sets, what is one value.
//!
//! Built-in kinds have the markers of their types; custom resources bring it in their schema. What neither
//! names merges as in Kubernetes: objects by field, lists as one value.
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::registry::Resource;

/// How a list merges.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Listing {
    /// As one value.
    #[default]
    Atomic,
    /// By its elements, which are plain values.
    Set,
    /// By its elements, which have keys.
    Map(Vec<Key>),
}

/// A field that identifies elements of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// What it is if the element does not have it.
    pub(crate) default: Option<Value>,
}

/// Whether an object merges by field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// By field.
    #[default]
    Granular,
    /// As one value.
    Atomic,
}

/// How a strategic patch changes a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Objects by field, lists as one value.
    #[default]
    Usual,
    /// A list by its elements, told apart by this field of theirs; without one they are plain values.
    Merge(Option<String>),
    /// As one value.
    Replace,
}

/// How a value and everything in it merges.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    fields: BTreeMap<String, Self>,
    /// Of the elements of a list, or of the values of a map.
    inner: Option<Box<Self>>,
    pub(crate) listing: Listing,
    pub(crate) mapping: Mapping,
    pub(crate) strategy: Strategy,
}

static PLAIN: LazyLock<Shape> = LazyLock::new(Shape::default);

impl Shape {
    /// The shape of a resource's objects.
    pub(crate) fn of(res: &Resource) -> Arc<Self> {
        if !res.custom {
            return table::builtin(res);
        }
        let mut shape = res
            .schema
            .as_deref()
            .map_or_else(Self::default, Self::of_schema);
        shape
            .fields
            .insert("metadata".to_owned(), table::metadata());
        Arc::new(shape)
    }

    /// The shape of a field.
    pub(crate) fn field(&self, name: &str) -> &Self {
        self.fields
            .get(name)
            .or(self.inner.as_deref())
            .unwrap_or(&PLAIN)
    }

    /// The same of a field that is one of its own, not an entry of a map.
    pub(crate) fn declared(&self, name: &str) -> Option<&Self> {
        let found = self.fields.get(name);
        found.or_else(|| self.inner.is_none().then_some(&*PLAIN))
    }

    /// The shape of a list's elements.
    pub(crate) fn element(&self) -> &Self {
        self.inner.as_deref().unwrap_or(&PLAIN)
    }

    fn of_schema(schema: &Value) -> Self {
        let mut shape = Self::default();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let field = Self::of_schema(field);
            if !field.is_plain() {
                shape.fields.insert(name.clone(), field);
            }
        }
        let inner = ["items", "additionalProperties"];
        if let Some(inner) = inner
            .iter()
            .find_map(|name| schema.get(*name))
            .filter(|one| one.is_object())
        {
            shape.inner = Some(Box::new(Self::of_schema(inner)));
        }
        if schema["x-kubernetes-map-type"] == "atomic" {
            shape.mapping = Mapping::Atomic;
        }
        shape.listing = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Listing::Set,
            Some("map") => {
                let element = &schema["items"]["properties"];
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let keys = keys
                    .map_or(&[][..], Vec::as_slice)
                    .iter()
                    .filter_map(Value::as_str);
                Listing::Map(
                    keys.map(|name| Key {
                        name: name.to_owned(),
                        default: element[name].get("default").cloned(),
                    })
                    .collect(),
                )
            }
            _ => Listing::Atomic,
        };
        shape
    }

    fn is_plain(&self) -> bool {
        self.fields.is_empty()
            && self.inner.as_ref().is_none_or(|inner| inner.is_plain())
            && self.listing == Listing::Atomic
            && self.mapping == Mapping::Granular
            && self.strategy == Strategy::Usual
    }
}
