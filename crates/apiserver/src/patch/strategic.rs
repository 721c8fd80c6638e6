//! Strategic merge: a merge patch that merges lists by their keys, with `$` directives.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::PatchProblem;
use crate::apply::shape::{Shape, Strategy};
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
    if change.is_object() && shape.strategy != Strategy::Replace {
        let entry = map.entry(name.to_owned()).or_insert(Value::Null);
        return merge_into(entry, change, shape);
    }
    let Value::Array(changes) = change else {
        map.insert(name.to_owned(), change.clone());
        return Ok(());
    };
    match &shape.strategy {
        Strategy::Merge(Some(key)) => {
            let entry = map.entry(name.to_owned()).or_insert(Value::Null);
            merge_list(entry, changes, (shape.element(), key))?;
        }
        Strategy::Merge(None) => {
            let entry = map.entry(name.to_owned()).or_insert(Value::Null);
            let live = entry.as_array().cloned().unwrap_or_default();
            let mut all = live.clone();
            let mut present: HashSet<String> = live.iter().map(Value::to_string).collect();
            let added = changes.iter().filter(|new| present.insert(new.to_string()));
            all.extend(added.cloned());
            *entry = Value::Array(in_order(all, changes, &live, None));
        }
        Strategy::Usual | Strategy::Replace => {
            map.insert(name.to_owned(), change.clone());
        }
    }
    Ok(())
}

/// Merges the elements of a list by their key.
fn merge_list(
    value: &mut Value,
    changes: &[Value],
    (element, key): (&Shape, &str),
) -> Result<(), PatchProblem> {
    let live = value.as_array().cloned().unwrap_or_default();
    let mut keyed = Keyed::default();
    if changes.iter().all(|change| change[PATCH] != "replace") {
        for present in &live {
            keyed.push(identity(present, Some(key)), present.clone());
        }
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
        let Some(wanted) = identity(change, Some(key)) else {
            return Err(PatchProblem::Unmergeable(format!(
                "map: {} does not contain declared merge key: {key}",
                as_go(change)
            )));
        };
        if directive == Some("delete") {
            keyed.remove(&wanted);
        } else if let Some(present) = keyed.get(&wanted) {
            merge_into(present, change, element)?;
        } else {
            let mut new = Value::Object(Map::new());
            merge_into(&mut new, change, element)?;
            // A patch that replaces it may say another key, or none.
            keyed.push(identity(&new, Some(key)), new);
        }
    }
    *value = Value::Array(in_order(keyed.all(), changes, &live, Some(key)));
    Ok(())
}

/// A list whose elements are found by what they are merged by.
#[derive(Default)]
struct Keyed {
    elements: Vec<Option<Value>>,
    places: HashMap<String, Vec<usize>>,
}

impl Keyed {
    fn push(&mut self, identity: Option<String>, element: Value) {
        if let Some(identity) = identity {
            let places = self.places.entry(identity).or_default();
            places.push(self.elements.len());
        }
        self.elements.push(Some(element));
    }

    /// The first element with that identity.
    fn get(&mut self, identity: &str) -> Option<&mut Value> {
        let first = *self.places.get(identity)?.first()?;
        self.elements.get_mut(first)?.as_mut()
    }

    fn remove(&mut self, identity: &str) {
        for place in self.places.remove(identity).unwrap_or_default() {
            self.elements[place] = None;
        }
    }

    fn all(self) -> Vec<Value> {
        self.elements.into_iter().flatten().collect()
    }
}

/// What an element of a list is told from others by: its key, or all of it where there is none.
fn identity(element: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => element.get(key).map(Value::to_string),
        None => Some(element.to_string()),
    }
}

/// The Go type of a value.
pub(crate) fn go_type(value: &Value) -> &'static str {
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
        let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
        list.retain(|element| !gone.contains(&element.to_string()));
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
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    map.retain(|name, _| keys.contains(name.as_str()));
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
    let key = match &shape.strategy {
        Strategy::Merge(key) => key.as_deref(),
        Strategy::Usual | Strategy::Replace => None,
    };
    *list = in_order(std::mem::take(list), order, live, key);
}

/// The elements that the patch names in its order, and the others among them: before the first named one that
/// followed them in the live list, and after everything else.
fn in_order(all: Vec<Value>, order: &[Value], live: &[Value], key: Option<&str>) -> Vec<Value> {
    let (order, live) = (ranks(order, key), ranks(live, key));
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for element in all {
        let identity = identity(&element, key);
        let rank = |ranks: &HashMap<String, usize>| ranks.get(identity.as_ref()?).copied();
        let before = rank(&live);
        match rank(&order) {
            Some(rank) => named.push((rank, before, element)),
            // What the live list does not have stays where it is.
            None => others.push((before, element)),
        }
    }
    named.sort_by_key(|(rank, ..)| *rank);
    others.sort_by_key(|(before, _)| before.unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, before, element) in named {
        let earlier = |(other, _): &(Option<usize>, Value)| match (other, before) {
            (Some(other), Some(before)) => *other < before,
            _ => false,
        };
        while let Some((_, other)) = others.next_if(earlier) {
            sorted.push(other);
        }
        sorted.push(element);
    }
    sorted.extend(others.map(|(_, other)| other));
    sorted
}

/// Where a list has each of its elements first.
fn ranks(list: &[Value], key: Option<&str>) -> HashMap<String, usize> {
    let mut ranks = HashMap::with_capacity(list.len());
    for (at, element) in list.iter().enumerate() {
        if let Some(identity) = identity(element, key) {
            ranks.entry(identity).or_insert(at);
        }
    }
    ranks
}
