//! Server-side apply: a manager states its whole intent; what it no longer states goes, what
//! others own stays or is a conflict.
//!
//! [`shape`] says how a kind merges, [`fields`] are sets of field paths, [`walk`] goes through
//! values by shape, [`managed`] is the `managedFields` of an object. Pure.
pub(crate) mod fields;
pub(crate) mod managed;
pub(crate) mod shape;
pub(crate) mod walk;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::StatusError;
use crate::store::json::child;
use crate::store::request::Force;
use fields::FieldSet;
use managed::{Entry, Operation, Writer};
use shape::Shape;

/// The object that an intent makes of an existing one, with `managedFields` kept up.
pub(crate) fn apply(
    by: &Writer<'_>,
    before: &Value,
    mut config: Value,
    force: Force,
) -> Result<Value, StatusError> {
    let shape = Shape::of(by.res);
    walk::drop_nulls(&mut config);
    let wanted = managed::owned(by, walk::fields_of(&config, &shape));
    let mut entries = managed::decode(before);
    let last = by.position(&entries, Operation::Apply);
    let last_set = last.map_or_else(FieldSet::default, |at| entries[at].set.clone());

    let mut after = before.clone();
    walk::merge(&mut after, &config, &shape);
    let mut kept = wanted.clone();
    for (at, entry) in entries.iter().enumerate() {
        if entry.operation == Operation::Apply && Some(at) != last {
            kept = kept.union(&entry.set);
        }
    }
    let gone = last_set.without_prefixes_of(&kept);
    walk::remove(&mut after, &gone, &shape);

    let change = walk::compare(before, &after, &shape, by.existing());
    let touched = managed::owned(by, change.added.union(&change.modified));
    let conflicts: Vec<(usize, FieldSet)> = entries
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != last)
        .map(|(at, entry)| (at, entry.set.intersection(&touched)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if force == Force::No && !conflicts.is_empty() {
        return Err(refuse(&entries, &conflicts));
    }
    for (at, set) in &conflicts {
        entries[*at].set = entries[*at].set.difference(set);
    }
    for (at, entry) in entries.iter_mut().enumerate() {
        if Some(at) != last {
            entry.set = entry.set.difference(&change.removed);
        }
    }
    match last {
        Some(at) if entries[at].set == wanted && entries[at].api_version == by.api_version() => {}
        Some(at) => entries[at] = by.entry(Operation::Apply, wanted),
        None => entries.push(by.entry(Operation::Apply, wanted)),
    }
    managed::encode(&mut after, entries);
    Ok(after)
}

/// The object that an intent makes where there is none.
pub(crate) fn apply_to_nothing(by: &Writer<'_>, mut config: Value) -> Result<Value, StatusError> {
    let shape = Shape::of(by.res);
    walk::drop_nulls(&mut config);
    let wanted = managed::owned(by, walk::fields_of(&config, &shape));
    child(&mut config, "metadata").remove("managedFields");
    managed::encode(&mut config, vec![by.entry(Operation::Apply, wanted)]);
    Ok(config)
}

/// The refusal that names every field and its owner.
fn refuse(entries: &[Entry], conflicts: &[(usize, FieldSet)]) -> StatusError {
    let mut by_owner: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (at, set) in conflicts {
        by_owner
            .entry(entries[*at].describe())
            .or_default()
            .extend(set.paths());
    }
    let count: usize = by_owner.values().map(Vec::len).sum();
    let mut causes = Vec::with_capacity(count);
    let mut lines = Vec::with_capacity(count);
    for (owner, paths) in &by_owner {
        lines.push(format!("conflicts with {owner}:"));
        for path in paths {
            lines.push(format!("- {path}"));
            causes.push((path.clone(), format!("conflict with {owner}")));
        }
    }
    let message = match causes.as_slice() {
        [(path, conflict)] => format!("Apply failed with 1 conflict: {conflict}: {path}"),
        _ => format!("Apply failed with {count} conflicts: {}", lines.join("\n")),
    };
    StatusError::apply_conflict(message, causes)
}

#[cfg(test)]
mod tests;
