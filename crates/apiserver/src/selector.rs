//! Label and field selectors: parsing, and whether an object matches.
//!
//! It must not know where objects are stored or which resource they belong to, except for the
//! table of fields by which each resource may be selected.
mod fields;
mod grammar;
mod labels;

pub use fields::FieldSelector;
pub use labels::LabelSelector;
pub(crate) use labels::{
    QUALIFIED_NAME, is_dns_label, is_dns_subdomain, is_label_key, is_label_value,
};

use crate::object::Object;

/// What a list, watch or collection delete is restricted to; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
}

impl Selectors {
    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object matches both.
    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(|key| object.label(key)) && self.fields.matches(object)
    }
}
