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

use crate::crd::typed;
use crate::error::StatusError;
use crate::registry::Resource;
use crate::schema::intent;
use crate::store::json::child;
use crate::store::request::Force;
use fields::FieldSet;
use managed::{Entry, Operation, Writer};
use shape::Shape;

/// Refuses an intent that has the same key twice in a list of keys.
pub(crate) fn check_keys(res: &Resource, config: &Value) -> Result<(), StatusError> {
    let Some(why) = walk::duplicate(config, &Shape::of(res)) else {
        return Ok(());
    };
    refuse_intent(res, config, vec![why])
}

/// Refuses an intent for all problems that it has; one that has none is fine.
pub(crate) fn refuse_intent(
    res: &Resource,
    config: &Value,
    problems: Vec<String>,
) -> Result<(), StatusError> {
    let Some(why) = all_of(problems) else {
        return Ok(());
    };
    let text = |name: &str| config["metadata"][name].as_str().unwrap_or_default();
    let message = format!(
        "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {why}",
        text("namespace"),
        text("name"),
        res.group,
        res.version,
        res.kind
    );
    Err(StatusError::new(500, "", message))
}

/// All problems as one text.
fn all_of(mut problems: Vec<String>) -> Option<String> {
    problems.sort();
    Some(match problems.as_slice() {
        [] => return None,
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    })
}

/// What an intent makes of a value that nobody owns; the error says why it cannot be merged.
pub(crate) fn merged(res: &Resource, value: &Value, config: &Value) -> Result<Value, String> {
    let shape = Shape::of(res);
    let mut problems: Vec<String> = walk::duplicate(config, &shape).into_iter().collect();
    problems.extend(typed::problems(res, config));
    problems.extend(intent::problems(res, config));
    problems.dedup();
    if let Some(why) = all_of(problems) {
        return Err(format!(
            "failed to convert patch object to typed object: {why}"
        ));
    }
    let whole = walk::wholes(config, &shape);
    if !whole.is_empty() {
        let whole = whole.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {whole}"
        ));
    }
    let mut after = value.clone();
    walk::merge(&mut after, config, &shape);
    Ok(after)
}

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
    if entries.is_empty() {
        entries.push(by.before_first_apply(before));
    }
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
    if force == Force::No {
        // What `kubectl apply` has set before is its own.
        let allowed = last_applied(by, before, &shape);
        let left = conflicts
            .iter()
            .map(|(at, set)| (*at, set.difference(&allowed)))
            .filter(|(_, set)| !set.is_empty())
            .collect::<Vec<_>>();
        if !left.is_empty() {
            return Err(refuse(by, &entries, &left));
        }
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
        last => {
            let mut entry = by.entry(Operation::Apply, wanted);
            if change.is_empty() {
                // The time is that of the last change to the object.
                entry.time = last.map_or_else(String::new, |at| entries[at].time.clone());
            }
            match last {
                Some(at) => entries[at] = entry,
                None => entries.push(entry),
            }
        }
    }
    managed::encode(&mut after, entries);
    keep_last_applied(by, &mut after, config)?;
    Ok(after)
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that `kubectl apply` has set, if that is who applies now.
fn last_applied(by: &Writer<'_>, before: &Value, shape: &Shape) -> FieldSet {
    let noted = before["metadata"]["annotations"][LAST_APPLIED].as_str();
    let config = noted.filter(|_| by.is_kubectl());
    config
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .map_or_else(FieldSet::default, |config| walk::fields_of(&config, shape))
}

/// Keeps up the note of `kubectl apply`, so that one may go back to it.
fn keep_last_applied(
    by: &Writer<'_>,
    after: &mut Value,
    mut config: Value,
) -> Result<(), StatusError> {
    let annotations = after
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    let Some(noted) = annotations.and_then(|annotations| annotations.get_mut(LAST_APPLIED)) else {
        return Ok(());
    };
    if !by.is_kubectl() {
        return Ok(());
    }
    let annotations = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.remove(LAST_APPLIED);
    }
    let text = serde_json::to_string(&config).map_err(StatusError::internal)?;
    *noted = format!("{text}\n").into();
    Ok(())
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
fn refuse(by: &Writer<'_>, entries: &[Entry], conflicts: &[(usize, FieldSet)]) -> StatusError {
    let mut by_owner: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (at, set) in conflicts {
        by_owner
            .entry(entries[*at].describe(by))
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
