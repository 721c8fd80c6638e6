//! Walks through values by their shape: which fields there are, what differs, how two merge.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::fields::{FieldSet, readable};
use super::shape::{Key, Listing, Mapping, Shape};

/// What differs between two values.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Change {
    /// Whether nothing differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Which objects exist even when they are empty, and so are never added or removed themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Those that are plain structs in built-in kinds.
    Structs,
    /// The same, but for a template that is a pointer.
    StructsButTemplate,
    /// None: in a custom resource every object is there because somebody wrote it.
    None,
}

/// Fields of built-in kinds that are structs, not pointers, or are never left out.
const STRUCTS: &[&str] = &[
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:strategy",
    "f:scaleTargetRef",
    "f:loadBalancer",
    "f:names",
    "f:jobTemplate",
    "f:deprecatedSource",
    "f:deprecatedFirstTimestamp",
    "f:deprecatedLastTimestamp",
    "f:eventTime",
    "f:firstTimestamp",
    "f:lastTimestamp",
    "f:involvedObject",
    "f:regarding",
    "f:source",
    // A list that is always there, if only as null.
    "f:containers",
];

/// The same of fields that are so in one place only.
const STRUCTS_AT: &[[&str; 2]] = &[
    ["f:spec", "f:resources"],
    ["f:spec", "f:updateStrategy"],
    ["f:spec", "f:priorityLevelConfiguration"],
    ["f:spec", "f:podSelector"],
    ["f:status", "f:nodeInfo"],
    ["f:status", "f:daemonEndpoints"],
    ["f:status", "f:acceptedNames"],
];

fn field_step(name: &str) -> String {
    format!("f:{name}")
}

/// The step of a list's element by its keys.
fn key_step(keys: &[Key], element: &Value) -> String {
    let mut parts: BTreeMap<&str, Value> = BTreeMap::new();
    for key in keys {
        let value = element
            .get(&key.name)
            .cloned()
            .or_else(|| key.default.clone());
        parts.insert(&key.name, value.unwrap_or(Value::Null));
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, value)| format!("{:?}:{value}", *name))
        .collect();
    format!("k:{{{}}}", parts.join(","))
}

fn value_step(element: &Value) -> String {
    format!("v:{element}")
}

/// A value's parts, if it has parts: its fields, or its elements by key.
fn parts<'a>(value: &'a Value, shape: &'a Shape) -> Option<Vec<(String, &'a Value, &'a Shape)>> {
    match value {
        Value::Object(map) if shape.mapping == Mapping::Granular => Some(
            map.iter()
                .map(|(name, value)| (field_step(name), value, shape.field(name)))
                .collect(),
        ),
        Value::Array(list) => match &shape.listing {
            Listing::Atomic => None,
            Listing::Set => Some(
                list.iter()
                    .map(|one| (value_step(one), one, shape.element()))
                    .collect(),
            ),
            Listing::Map(keys) => Some(
                list.iter()
                    .map(|one| (key_step(keys, one), one, shape.element()))
                    .collect(),
            ),
        },
        _ => None,
    }
}

/// All fields that a value sets.
pub(crate) fn fields_of(value: &Value, shape: &Shape) -> FieldSet {
    let mut set = FieldSet::default();
    collect(value, shape, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, shape: &Shape, path: &mut Vec<String>, set: &mut FieldSet) {
    if shape.listing != Listing::Atomic && value.as_array().is_some_and(Vec::is_empty) {
        // Of a list that is merged its elements are owned, and there are none.
        return;
    }
    let parts = parts(value, shape).filter(|parts| !parts.is_empty());
    let Some(parts) = parts else {
        set.insert(path);
        return;
    };
    for (step, part, shape) in parts {
        let element = !step.starts_with("f:");
        path.push(step);
        if element {
            set.insert(path);
        }
        collect(part, shape, path, set);
        path.pop();
    }
}

/// Where a list that merges by keys has the same key twice, and which.
pub(crate) fn duplicate(value: &Value, shape: &Shape) -> Option<String> {
    twice(value, shape, "")
}

fn twice(value: &Value, shape: &Shape, path: &str) -> Option<String> {
    let parts = parts(value, shape)?;
    let mut seen = BTreeSet::new();
    for (step, part, shape) in parts {
        let shown = readable(&step);
        if !seen.insert(step) {
            return Some(format!("{path}: duplicate entries for key {shown}"));
        }
        let found = twice(part, shape, &format!("{path}{shown}"));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Paths of what a value sets that does not merge, but is replaced as a whole.
pub(crate) fn wholes(value: &Value, shape: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    find_wholes(value, shape, "", &mut found);
    found
}

fn find_wholes(value: &Value, shape: &Shape, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if shape.mapping == Mapping::Atomic {
                found.push(path.to_owned());
            }
            for (name, value) in map {
                if let Some(shape) = shape.declared(name) {
                    find_wholes(value, shape, &format!("{path}.{name}"), found);
                }
            }
        }
        Value::Array(list) => {
            if shape.listing == Listing::Atomic {
                found.push(path.to_owned());
            }
            for (at, value) in list.iter().enumerate() {
                find_wholes(value, shape.element(), &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// What differs between two values.
pub(crate) fn compare(before: &Value, after: &Value, shape: &Shape, existing: Existing) -> Change {
    let mut change = Change::default();
    differ(
        (Some(before), Some(after)),
        shape,
        &mut Walk {
            path: Vec::new(),
            existing,
        },
        &mut change,
    );
    change
}

fn some_parts<'a>(
    side: Option<&'a Value>,
    shape: &'a Shape,
) -> Option<Vec<(String, &'a Value, &'a Shape)>> {
    side.and_then(|value| parts(value, shape))
        .filter(|parts| !parts.is_empty())
}

struct Walk {
    path: Vec<String>,
    existing: Existing,
}

impl Walk {
    /// Whether an object itself is worth mentioning when it comes or goes.
    fn counts(&self) -> bool {
        let is_struct = |step: &String| STRUCTS.contains(&step.as_str());
        let in_template = self
            .path
            .starts_with(&["f:spec".to_owned(), "f:template".to_owned()]);
        if self.existing == Existing::StructsButTemplate && in_template {
            return true;
        }
        let is_there = STRUCTS_AT.iter().any(|place| self.path == *place);
        let exists = is_there || self.path.last().is_some_and(is_struct);
        !(self.existing != Existing::None && exists)
    }
}

fn differ(
    sides: (Option<&Value>, Option<&Value>),
    shape: &Shape,
    walk: &mut Walk,
    change: &mut Change,
) {
    let (old, new) = (some_parts(sides.0, shape), some_parts(sides.1, shape));
    if old.is_none() && new.is_none() {
        let empty = |side: Option<&Value>| match side {
            None | Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        match sides {
            _ if !walk.counts() && empty(sides.0) && empty(sides.1) => {}
            (None, Some(_)) => change.added.insert(&walk.path),
            (Some(_), None) => change.removed.insert(&walk.path),
            (Some(old), Some(new)) if old != new => change.modified.insert(&walk.path),
            _ => {}
        }
        return;
    }
    // A scalar that becomes an object, or the other way round, goes and comes.
    let is_scalar = |value: &Value| !value.is_object() && !value.is_array() && !value.is_null();
    if old.is_none() && sides.0.is_some_and(is_scalar) {
        change.removed.insert(&walk.path);
    }
    if new.is_none() && sides.1.is_some_and(is_scalar) {
        change.added.insert(&walk.path);
    }
    let mut both: BTreeMap<String, (Option<&Value>, Option<&Value>, &Shape)> = BTreeMap::new();
    for (step, value, shape) in old.into_iter().flatten() {
        both.insert(step, (Some(value), None, shape));
    }
    for (step, value, shape) in new.into_iter().flatten() {
        both.entry(step).or_insert((None, None, shape)).1 = Some(value);
    }
    for (step, (old, new, shape)) in both {
        walk.path.push(step);
        differ((old, new), shape, walk, change);
        walk.path.pop();
    }
    if walk.path.is_empty() || !walk.counts() {
        return;
    }
    match sides {
        (None, Some(_)) => change.added.insert(&walk.path),
        (Some(_), None) => change.removed.insert(&walk.path),
        _ => {}
    }
}

/// Merges an intent into a value.
pub(crate) fn merge(value: &mut Value, config: &Value, shape: &Shape) {
    match (&mut *value, config) {
        (Value::Object(map), Value::Object(wanted)) if shape.mapping == Mapping::Granular => {
            for (name, wanted) in wanted {
                match map.get_mut(name) {
                    Some(present) => merge(present, wanted, shape.field(name)),
                    None => {
                        map.insert(name.clone(), wanted.clone());
                    }
                }
            }
        }
        (Value::Array(list), Value::Array(wanted)) if shape.listing != Listing::Atomic => {
            *list = merge_lists(list, wanted, shape);
        }
        _ => value.clone_from(config),
    }
}

/// The elements of both lists: in the order of the intent, the others where they were.
fn merge_lists(present: &[Value], wanted: &[Value], shape: &Shape) -> Vec<Value> {
    let step = |value: &Value| match &shape.listing {
        Listing::Map(keys) => key_step(keys, value),
        Listing::Set | Listing::Atomic => value_step(value),
    };
    let old: Vec<(String, &Value)> = present.iter().map(|value| (step(value), value)).collect();
    let new: Vec<(String, &Value)> = wanted.iter().map(|value| (step(value), value)).collect();
    let in_new: HashSet<&String> = new.iter().map(|(key, _)| key).collect();
    let mut first: HashMap<&String, &Value> = HashMap::with_capacity(old.len());
    for (key, value) in &old {
        first.entry(key).or_insert(*value);
    }
    let mut done: HashSet<&String> = HashSet::with_capacity(new.len());
    let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
    let (mut at_old, mut at_new) = (0, 0);
    while at_old < old.len() || at_new < new.len() {
        if let Some((key, value)) = old.get(at_old) {
            if !in_new.contains(key) {
                merged.push((*value).clone());
                done.insert(key);
                at_old += 1;
                continue;
            }
            if done.contains(key) {
                at_old += 1;
                continue;
            }
        }
        let Some((key, wanted)) = new.get(at_new) else {
            at_old += 1;
            continue;
        };
        at_new += 1;
        if !done.insert(key) {
            continue;
        }
        let mut value = (*wanted).clone();
        if let Some(present) = first.get(key) {
            value = (*present).clone();
            merge(&mut value, wanted, shape.element());
        }
        merged.push(value);
    }
    merged
}

/// Whether anything of a value is left after a removal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Something,
    Nothing,
}

/// Takes fields out of a value; an object that loses its last field goes as well.
pub(crate) fn remove(value: &mut Value, gone: &FieldSet, shape: &Shape) {
    take_out(value, gone, shape);
}

fn take_out(value: &mut Value, gone: &FieldSet, shape: &Shape) -> Left {
    match value {
        Value::Object(map) if shape.mapping == Mapping::Granular => {
            let before = map.len();
            map.retain(|name, value| {
                let step = field_step(name);
                if gone.has(&step) {
                    return false;
                }
                gone.below(&step).is_none_or(|below| {
                    take_out(value, below, shape.field(name)) == Left::Something
                })
            });
            if before > 0 && map.is_empty() {
                Left::Nothing
            } else {
                Left::Something
            }
        }
        Value::Array(list) if shape.listing != Listing::Atomic => {
            let before = list.len();
            list.retain_mut(|value| {
                let step = match &shape.listing {
                    Listing::Map(keys) => key_step(keys, value),
                    Listing::Set | Listing::Atomic => value_step(value),
                };
                if gone.has(&step) {
                    return false;
                }
                gone.below(&step)
                    .is_none_or(|below| take_out(value, below, shape.element()) == Left::Something)
            });
            if before > 0 && list.is_empty() {
                Left::Nothing
            } else {
                Left::Something
            }
        }
        _ => Left::Something,
    }
}

/// Takes nulls out of an intent: they set nothing.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
    debug_assert!(!matches!(value, Value::Object(map) if map.values().any(Value::is_null)));
}

/// An empty object, to compare a new one with.
pub(crate) fn nothing() -> Value {
    Value::Object(Map::new())
}
