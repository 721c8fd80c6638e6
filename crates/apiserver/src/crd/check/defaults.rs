//! Defaults must be what their own schema takes.
use serde_json::Value;

use super::invalid;
use crate::crd::cel::rule::{self, Change};
use crate::crd::path::Path;
use crate::crd::schema::Schema;
use crate::crd::{decode, validate};
use crate::error::Cause;
use crate::store::request::Warnings;

/// The defaults of a schema that break it.
pub(super) fn check(schema: &Schema, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(default) = &schema.default {
        one(schema, default, &path.child("default"), causes);
    }
    if let Some(items) = &schema.items {
        check(items, &path.child("items"), causes);
    }
    for (name, below) in &schema.properties {
        check(below, &path.child("properties").key(name), causes);
    }
}

fn one(schema: &Schema, default: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let mut pruned = default.clone();
    decode::prune_part(schema, &mut pruned);
    if pruned != *default {
        causes.push(invalid(path, default, "must not have unknown fields"));
    }
    let found = validate::validate(schema, (default, None), path);
    if !found.is_empty() {
        return causes.extend(found);
    }
    let change = Change {
        value: default,
        old: None,
    };
    causes.extend(rule::run(schema, change, path, &Warnings::default()));
}
