//! Custom kinds: what a CustomResourceDefinition may say, and what its schemas do to objects.
//!
//! [`schema`] is a schema ready for use, made once per version of a CRD; [`decode`] prunes, defaults
//! and finds unknown fields; [`validate`] checks values; [`cel`] are the rules; [`check`] decides
//! whether a CRD itself is valid. Pure. Everything here is handed by clients: it is bounded in depth,
//! work and size, and never panics.
pub(crate) mod cel;
pub(crate) mod check;
pub(crate) mod decode;
mod exercise;
mod formats;
mod list_type;
mod meta;
pub(crate) mod number;
pub(crate) mod object;
mod path;
mod pattern;
pub(crate) mod schema;
pub(crate) mod typed;
pub(crate) mod validate;

pub use exercise::exercise;

#[cfg(test)]
mod tests;
