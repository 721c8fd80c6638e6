//! Field paths as error texts write them.
use std::fmt;

/// A path from the root of an object: `spec.ports[0].name`; `<nil>` at the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// A path that begins with these fields.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A field below.
    pub(crate) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        Self(format!("{}.{name}", self.0))
    }

    /// A subscript: a number, or the key of a map.
    pub(crate) fn key(&self, key: impl fmt::Display) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path, empty at the root.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}
