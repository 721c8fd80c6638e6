//! Strategic merge: a merge patch that merges lists by their keys, with `$` directives.
use serde_json::{Map, Value};

use super::PatchProblem;
use crate::apply::shape::{Listing, Shape};
use crate::registry::Resource;

const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";
const PATCH: &str = "$patch";

/// The value that a strategic patch makes of another.
pub(super) fn patched(
    res: &Resource,
    mut value: Value,
    patch: &Value,
) -> Result<Value, PatchProblem> {
    let shape = Shape::of(res);
    merge_into(&mut value, patch, &shape)?;
    Ok(value)
}

fn merge_into(value: &mut Value, patch: &Value, shape: &Shape) -> Result<(), PatchProblem> {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return Ok(());
    };
    match changes.get(PATCH).and_then(Value::as_str) {
        Some("replace") => {
            let kept = changes.iter().filter(|(name, _)| *name != PATCH);
            *value = Value::Object(
                kept.map(|(name, new)| (name.clone(), new.clone()))
                    .collect(),
            );
            return Ok(());
        }
        Some("delete") => {
            *value = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(PatchProblem::Malformed(format!(
                "Unknown patch type: {other}"
            )));
        }
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        return Ok(());
    };
    retain_keys(map, changes)?;
    for (name, change) in changes {
        if let Some(field) = name.strip_prefix(DELETE_FROM) {
            delete_from(map, field, change)?;
        } else if name.starts_with(ORDER) || name == RETAIN || name == PATCH {
        } else if change.is_null() {
            map.remove(name);
        } else {
            let inner = shape.field(name);
            merge_field(map, (name, change), inner)?;
        }
    }
    for (name, order) in changes {
        if let Some(field) = name.strip_prefix(ORDER) {
            reorder(map, (field, order), shape.field(field));
        }
    }
    Ok(())
}

fn merge_field(
    map: &mut Map<String, Value>,
    (name, change): (&str, &Value),
    shape: &Shape,
) -> Result<(), PatchProblem> {
    if change.is_object() {
        let entry = map.entry(name.to_owned()).or_insert(Value::Null);
        return merge_into(entry, change, shape);
    }
    let Value::Array(changes) = change else {
        map.insert(name.to_owned(), change.clone());
        return Ok(());
    };
    match &shape.listing {
        Listing::Map(_) => {
            let entry = map.entry(name.to_owned()).or_insert(Value::Null);
            merge_list(entry, changes, shape)?;
        }
        Listing::Set => {
            let entry = map.entry(name.to_owned()).or_insert(Value::Null);
            let mut all = entry.as_array().cloned().unwrap_or_default();
            for new in changes {
                if !all.contains(new) {
                    all.push(new.clone());
                }
            }
            *entry = Value::Array(all);
        }
        Listing::Atomic => {
            map.insert(name.to_owned(), change.clone());
        }
    }
    Ok(())
}

/// Merges the elements of a list by its first key.
fn merge_list(value: &mut Value, changes: &[Value], shape: &Shape) -> Result<(), PatchProblem> {
    let mut list = value.as_array().cloned().unwrap_or_default();
    let Some(key) = shape.merge_key() else {
        *value = Value::Array(changes.to_vec());
        return Ok(());
    };
    if changes.iter().any(|change| change[PATCH] == "replace") {
        list.clear();
    }
    for change in changes {
        let directive = change.get(PATCH).and_then(Value::as_str);
        if directive == Some("replace") {
            continue;
        }
        let Some(wanted) = change.get(key) else {
            return Err(PatchProblem::Malformed(format!(
                "map: {change} does not contain declared merge key: {key}"
            )));
        };
        let at = list
            .iter()
            .position(|element| element.get(key) == Some(wanted));
        match (directive, at) {
            (Some("delete"), _) => list.retain(|element| element.get(key) != Some(wanted)),
            (_, Some(at)) => merge_into(&mut list[at], change, shape.element())?,
            (_, None) => {
                let mut new = Value::Object(Map::new());
                merge_into(&mut new, change, shape.element())?;
                list.push(new);
            }
        }
    }
    *value = Value::Array(list);
    Ok(())
}

fn delete_from(
    map: &mut Map<String, Value>,
    field: &str,
    gone: &Value,
) -> Result<(), PatchProblem> {
    let Value::Array(gone) = gone else {
        return Err(PatchProblem::Malformed(format!(
            "invalid value for {DELETE_FROM}{field}"
        )));
    };
    if let Some(Value::Array(list)) = map.get_mut(field) {
        list.retain(|element| !gone.contains(element));
    }
    Ok(())
}

/// Only the named keys of this object stay.
fn retain_keys(
    map: &mut Map<String, Value>,
    changes: &Map<String, Value>,
) -> Result<(), PatchProblem> {
    let Some(keys) = changes.get(RETAIN) else {
        return Ok(());
    };
    let Value::Array(keys) = keys else {
        return Err(PatchProblem::Malformed(format!(
            "invalid value for {RETAIN}"
        )));
    };
    map.retain(|name, _| keys.iter().any(|key| key.as_str() == Some(name)));
    Ok(())
}

/// Sorts a list as the patch says; elements that it does not name keep their place after the
/// named one that they followed.
fn reorder(map: &mut Map<String, Value>, (field, order): (&str, &Value), shape: &Shape) {
    let (Some(Value::Array(list)), Some(order)) = (map.get_mut(field), order.as_array()) else {
        return;
    };
    let key = shape.merge_key();
    let rank_of = |element: &Value| {
        order.iter().position(|wanted| match key {
            Some(key) => wanted.get(key).is_some() && wanted.get(key) == element.get(key),
            None => wanted == element,
        })
    };
    let mut rank = 0;
    let mut ranked: Vec<(usize, usize, Value)> = Vec::with_capacity(list.len());
    for (at, element) in list.drain(..).enumerate() {
        rank = rank_of(&element).map_or(rank, |found| found + 1);
        ranked.push((rank, at, element));
    }
    ranked.sort_by_key(|(rank, at, _)| (*rank, *at));
    list.extend(ranked.into_iter().map(|(_, _, element)| element));
}
