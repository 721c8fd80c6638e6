//! JSON Patch as Kubernetes carries it out: a missing member is null, and so may be replaced, copied and tested.
use serde_json::{Map, Value};

use super::{COPIED_BYTES_MAX, OPERATIONS_MAX, PatchProblem};
use crate::schema::kind_of;
use crate::store::facts::OBJECT_DEPTH_MAX;

/// What all operations of one patch together may do: elements of lists that move, and values that are looked through.
const STEPS_MAX: usize = 20_000_000;

/// The value that the operations make of another, one after the other.
pub(super) fn patched(mut value: Value, patch: &Value) -> Result<Value, PatchProblem> {
    let operations = match patch {
        Value::Null => return Ok(value),
        Value::Array(operations) => operations,
        other => return Err(malformed(other, "Go value of type []handlers.jsonPatchOp")),
    };
    for operation in operations {
        check(operation)?;
    }
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchProblem::TooLarge(operations.len()));
    }
    let mut left = Left {
        bytes: COPIED_BYTES_MAX,
        steps: STEPS_MAX,
    };
    for operation in operations {
        step(&mut value, operation, &mut left).ok_or(PatchProblem::DoesNotFit)?;
    }
    Ok(value)
}

/// The same of a patch that nobody has looked at; else what is wrong, in the words of Kubernetes' library.
pub(super) fn applied(mut value: Value, patch: &[Value]) -> Result<Value, String> {
    if patch.len() > OPERATIONS_MAX {
        return Err(format!(
            "the patch has {} operations, more than {OPERATIONS_MAX}",
            patch.len()
        ));
    }
    let mut left = Left {
        bytes: COPIED_BYTES_MAX,
        steps: STEPS_MAX,
    };
    for operation in patch {
        let fits = step(&mut value, operation, &mut left);
        fits.ok_or_else(|| why(&mut value, operation))?;
    }
    Ok(value)
}

/// Why an operation does not apply.
fn why(document: &mut Value, operation: &Value) -> String {
    let kind = operation["op"].as_str().unwrap_or("unknown");
    let path = |name: &str| operation[name].as_str();
    let Some(to) = path("path") else {
        return format!("{kind} operation failed to decode path: missing value");
    };
    let holder = |document: &mut Value, path: &str| parent(document, path).is_some();
    match kind {
        "add" if !holder(document, to) => {
            format!("add operation does not apply: doc is missing path: \"{to}\": missing value")
        }
        "remove" if !holder(document, to) => {
            format!("remove operation does not apply: doc is missing path: \"{to}\": missing value")
        }
        "remove" if get(document, to).is_none_or(Value::is_null) => {
            let key = to.rsplit('/').next().unwrap_or_default();
            format!(
                "error in remove for path: '{to}': Unable to remove nonexistent key: {key}: missing value"
            )
        }
        "replace" if !holder(document, to) => {
            format!("replace operation does not apply: doc is missing path: {to}: missing value")
        }
        "replace" => {
            format!("replace operation does not apply: doc is missing key: {to}: missing value")
        }
        "test" => format!("testing value {to} failed: test failed"),
        "move" | "copy" => {
            let from = path("from").unwrap_or_default();
            format!(
                "{kind} operation does not apply: doc is missing from path: {from}: missing value"
            )
        }
        "add" | "remove" => {
            format!("error in {kind} for path: '{to}': invalid index referenced")
        }
        other => format!("Unexpected kind: {other}"),
    }
}

/// What the rest of a patch may still cost.
struct Left {
    /// That copies add. Copies of copies double.
    bytes: usize,
    steps: usize,
}

impl Left {
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.steps = self.steps.checked_sub(steps)?;
        Some(())
    }

    /// Looks through a value; none if it nests more than so many levels.
    fn look(&mut self, value: &Value, levels: usize) -> Option<()> {
        let below = levels.checked_sub(1)?;
        self.spend(1)?;
        match value {
            Value::Object(map) => map.values().try_for_each(|value| self.look(value, below)),
            Value::Array(list) => list.iter().try_for_each(|value| self.look(value, below)),
            _ => Some(()),
        }
    }
}

fn malformed(value: &Value, wanted: &str) -> PatchProblem {
    let found = kind_of(value);
    PatchProblem::Malformed(format!(
        "error decoding patch: json: cannot unmarshal {found} into {wanted}"
    ))
}

fn check(operation: &Value) -> Result<(), PatchProblem> {
    let Some(fields) = operation.as_object() else {
        return Err(malformed(
            operation,
            "Go value of type handlers.jsonPatchOp",
        ));
    };
    for name in ["op", "path", "from"] {
        let wrong = fields
            .get(name)
            .filter(|found| !found.is_null() && !found.is_string());
        if let Some(wrong) = wrong {
            let wanted = format!("Go struct field jsonPatchOp.{name} of type string");
            return Err(malformed(wrong, &wanted));
        }
    }
    Ok(())
}

/// Carries out one operation; none if it does not fit, or costs too much.
fn step(document: &mut Value, operation: &Value, left: &mut Left) -> Option<()> {
    let path = operation["path"].as_str();
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match operation["op"].as_str()? {
        "add" => add(document, path?, value(), left),
        "remove" => remove(document, path?, left).map(drop),
        "replace" if path?.is_empty() => {
            let value = value();
            (value.is_object() || value.is_array()).then(|| *document = value)
        }
        "replace" => replace(document, path?, value(), left),
        "move" => {
            let from = operation["from"].as_str()?;
            let moved = remove(document, from, left)?;
            add(document, path?, moved, left)
        }
        "copy" => {
            let found = get(document, operation["from"].as_str()?)?;
            left.bytes = left.bytes.checked_sub(found.to_string().len())?;
            let copy = found.clone();
            add(document, path?, copy, left)
        }
        "test" => {
            let found = match path? {
                "" => document,
                path => get(document, path)?,
            };
            (found == operation.get("value").unwrap_or(&Value::Null)).then_some(())
        }
        _ => None,
    }
}

/// The container of what a path names, and the last part of the path.
fn parent<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let parts: Vec<String> = path
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    let (key, before) = parts.split_last()?;
    let mut here = document;
    for part in before {
        here = match here {
            Value::Object(map) => map.get_mut(part)?,
            Value::Array(list) => {
                let at = index(part, list.len())?;
                list.get_mut(at)?
            }
            _ => return None,
        };
    }
    (here.is_object() || here.is_array()).then(|| (here, key.clone()))
}

/// A place in a list; less than nothing counts from its end.
fn index(text: &str, length: usize) -> Option<usize> {
    let at: i64 = text.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    usize::try_from(if at < 0 { at + length } else { at }).ok()
}

fn get<'a>(document: &'a mut Value, path: &str) -> Option<&'a Value> {
    let (holder, key) = parent(document, path)?;
    match holder {
        Value::Object(map) => Some(map.get(&key).unwrap_or(&Value::Null)),
        Value::Array(list) => list.get(index(&key, list.len())?),
        _ => None,
    }
}

/// That a value at a path does not nest deeper than an object may: what works on objects recurses.
fn check_depth(path: &str, value: &Value, left: &mut Left) -> Option<()> {
    let above = path.split('/').skip(1).count();
    left.look(value, OBJECT_DEPTH_MAX.checked_sub(above)?)
}

fn add(document: &mut Value, path: &str, value: Value, left: &mut Left) -> Option<()> {
    check_depth(path, &value, left)?;
    let (holder, key) = parent(document, path)?;
    match holder {
        Value::Object(map) => put(map, key, value),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let at = index(&key, list.len() + 1).filter(|at| *at <= list.len())?;
            left.spend(list.len() - at)?;
            list.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn put(map: &mut Map<String, Value>, key: String, value: Value) {
    map.insert(key, value);
}

fn replace(document: &mut Value, path: &str, value: Value, left: &mut Left) -> Option<()> {
    check_depth(path, &value, left)?;
    let (holder, key) = parent(document, path)?;
    match holder {
        Value::Object(map) => put(map, key, value),
        Value::Array(list) => {
            let at = index(&key, list.len())?;
            *list.get_mut(at)? = value;
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str, left: &mut Left) -> Option<Value> {
    let (holder, key) = parent(document, path)?;
    match holder {
        Value::Object(map) => map.remove(&key),
        Value::Array(list) => {
            let at = index(&key, list.len()).filter(|at| *at < list.len())?;
            left.spend(list.len() - at)?;
            Some(list.remove(at))
        }
        _ => None,
    }
}
