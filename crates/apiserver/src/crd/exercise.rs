//! What a client's schema and object go through, for fuzzing: without a server, so that more of it is done.
use serde_json::Value;

use super::path::Path;
use super::schema::Schema;
use super::{cel, decode, list_type, validate};
use crate::store::request::Warnings;

/// Prunes, defaults and validates an object by a schema that nobody has checked.
///
/// # Panics
/// When a law of it does not hold; that is what fuzzing looks for.
pub fn exercise(schema: &Value, old: &Value, object: &Value) {
    let compiled = Schema::root(schema);
    let mut read = object.clone();
    decode::prune(&compiled, &mut read);
    assert!(
        decode::prune(&compiled, &mut read).is_empty(),
        "what is pruned is known"
    );
    decode::drop_nulls(&compiled, &mut read);
    decode::default(&compiled, &mut read);
    let root = Path::default();
    validate::validate(&compiled, (&read, Some(old)), &root);
    list_type::duplicates(&compiled, &read, &root);
    let change = cel::rule::Change {
        value: &read,
        old: Some(old),
    };
    cel::rule::run(&compiled, change, &root, &Warnings::default());
}
