//! Strategic merge: a merge patch that merges lists by their keys, with `$` directives.
use std::collections::BTreeMap;

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
        Some("merge") | None => directive(changes)?,
        Some(_) => return Err(unknown_directive(changes)),
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else {
        return Ok(());
    };
    retain_keys(map, changes)?;
    let before = ordered_lists(map, changes);
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
            if !order.is_array() {
                return Err(PatchProblem::Unmergeable(format!(
                    "expected a []interface {{}}, but received a {}",
                    go_type(order)
                )));
            }
            let live = before.get(field).map_or(&[][..], Vec::as_slice);
            reorder(map, (field, order), live, shape.field(field));
        }
    }
    Ok(())
}

/// A directive is one of a few words.
fn directive(changes: &Map<String, Value>) -> Result<(), PatchProblem> {
    match changes.get(PATCH) {
        None => Ok(()),
        Some(Value::String(word)) if ["merge", "replace", "delete"].contains(&word.as_str()) => {
            Ok(())
        }
        Some(_) => Err(unknown_directive(changes)),
    }
}

fn unknown_directive(changes: &Map<String, Value>) -> PatchProblem {
    let word = match changes.get(PATCH) {
        Some(Value::Number(number)) => format!("%!s(int64={number})"),
        Some(Value::Bool(word)) => format!("%!s(bool={word})"),
        Some(other) => as_go(other),
        None => String::new(),
    };
    let whole = as_go(&Value::Object(changes.clone()));
    PatchProblem::Unmergeable(format!("unknown patch type: {word} in map: {whole}"))
}

/// The lists of an object that a patch says an order for, as they are before it.
fn ordered_lists(
    map: &Map<String, Value>,
    changes: &Map<String, Value>,
) -> BTreeMap<String, Vec<Value>> {
    let fields = changes.keys().filter_map(|name| name.strip_prefix(ORDER));
    fields
        .filter_map(|field| Some((field.to_owned(), map.get(field)?.as_array()?.clone())))
        .collect()
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
            let live = entry.as_array().cloned().unwrap_or_default();
            let mut all = live.clone();
            for new in changes {
                if !all.contains(new) {
                    all.push(new.clone());
                }
            }
            *entry = Value::Array(in_order(all, changes, &live, None));
        }
        Listing::Atomic => {
            map.insert(name.to_owned(), change.clone());
        }
    }
    Ok(())
}

/// Merges the elements of a list by its first key.
fn merge_list(value: &mut Value, changes: &[Value], shape: &Shape) -> Result<(), PatchProblem> {
    let live = value.as_array().cloned().unwrap_or_default();
    let mut list = live.clone();
    let Some(key) = shape.merge_key() else {
        *value = Value::Array(changes.to_vec());
        return Ok(());
    };
    if changes.iter().any(|change| change[PATCH] == "replace") {
        list.clear();
    }
    if !live.is_empty() && changes.iter().any(|change| !change.is_object()) {
        return Err(PatchProblem::Unmergeable(format!(
            "list element types are not identical: [{} {}]",
            as_go(&Value::Array(live)),
            as_go(&Value::Array(changes.to_vec()))
        )));
    }
    for change in changes {
        if let Value::Object(change) = change {
            directive(change)?;
        }
        let directive = change.get(PATCH).and_then(Value::as_str);
        if directive == Some("replace") {
            continue;
        }
        let Some(wanted) = change.get(key) else {
            return Err(PatchProblem::Unmergeable(format!(
                "map: {} does not contain declared merge key: {key}",
                as_go(change)
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
    *value = Value::Array(in_order(list, changes, &live, Some(key)));
    Ok(())
}

/// The Go type of a value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go prints it.
pub(crate) fn as_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(as_go).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}:{}", as_go(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
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
        let why = "invalid patch format of retainKeys";
        return Err(PatchProblem::Malformed(why.to_owned()));
    };
    map.retain(|name, _| keys.iter().any(|key| key.as_str() == Some(name)));
    Ok(())
}

/// Sorts a list as the patch says.
fn reorder(
    map: &mut Map<String, Value>,
    (field, order): (&str, &Value),
    live: &[Value],
    shape: &Shape,
) {
    let (Some(Value::Array(list)), Some(order)) = (map.get_mut(field), order.as_array()) else {
        return;
    };
    *list = in_order(std::mem::take(list), order, live, shape.merge_key());
}

/// The elements that the patch names in its order, and the others among them: before the first named one that
/// followed them in the live list, and after everything else.
fn in_order(all: Vec<Value>, order: &[Value], live: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |one: &Value, other: &Value| match key {
        Some(key) => one.get(key).is_some() && one.get(key) == other.get(key),
        None => one == other,
    };
    let rank = |list: &[Value], element: &Value| list.iter().position(|one| same(one, element));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = all
        .into_iter()
        .partition(|element| rank(order, element).is_some());
    named.sort_by_key(|element| rank(order, element));
    // What the live list does not have stays where it is.
    others.sort_by_key(|element| rank(live, element).unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for named in named {
        while let Some(other) = others.peek() {
            match (rank(live, other), rank(live, &named)) {
                (Some(left), Some(right)) if left < right => sorted.extend(others.next()),
                _ => break,
            }
        }
        sorted.push(named);
    }
    sorted.extend(others);
    sorted
}
