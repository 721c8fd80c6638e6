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
        step(&mut value, operation, &mut left).map_err(|_why| PatchProblem::DoesNotFit)?;
    }
    Ok(value)
}

/// The same of operations that nobody has looked at.
pub(crate) fn applied(mut value: Value, operations: &[Value]) -> Result<Value, Misfit> {
    if operations.len() > OPERATIONS_MAX {
        let why = PatchProblem::TooLarge(operations.len()).into_status();
        return Err(why.message.into());
    }
    let mut left = Left {
        bytes: COPIED_BYTES_MAX,
        steps: STEPS_MAX,
    };
    for operation in operations {
        step(&mut value, operation, &mut left)?;
    }
    Ok(value)
}

/// Why an operation cannot be carried out, in the words of Kubernetes' library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// What it tests at a path is not so.
    Untrue(String),
    /// Anything else.
    Because(String),
}

impl From<String> for Misfit {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Untrue(path) => write!(f, "testing value {path} failed: test failed"),
            Self::Because(why) => f.write_str(why),
        }
    }
}

type Done<T> = Result<T, String>;

const TOO_DEAR: &str = "Unable to complete the patch, it exceeds the limit";

fn no_index(at: i64) -> String {
    format!("Unable to access invalid index: {at}: invalid index referenced")
}

fn no_number(text: &str) -> String {
    format!("strconv.Atoi: parsing {text:?}: invalid syntax")
}

/// What the rest of a patch may still cost.
struct Left {
    /// That copies add. Copies of copies double.
    bytes: usize,
    steps: usize,
}

impl Left {
    fn spend(&mut self, steps: usize) -> Done<()> {
        self.steps = self.steps.checked_sub(steps).ok_or(TOO_DEAR)?;
        Ok(())
    }

    /// Looks through a value; none if it nests more than so many levels.
    fn look(&mut self, value: &Value, levels: usize) -> Done<()> {
        let below = levels.checked_sub(1).ok_or(TOO_DEAR)?;
        self.spend(1)?;
        match value {
            Value::Object(map) => map.values().try_for_each(|value| self.look(value, below)),
            Value::Array(list) => list.iter().try_for_each(|value| self.look(value, below)),
            _ => Ok(()),
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

/// Carries out one operation.
fn step(document: &mut Value, operation: &Value, left: &mut Left) -> Result<(), Misfit> {
    let text = |name: &str| {
        let kind = operation["op"].as_str().unwrap_or_default();
        let text = operation[name].as_str();
        text.ok_or_else(|| format!("{kind} operation failed to decode {name}: missing value"))
    };
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match operation["op"].as_str().unwrap_or("unknown") {
        "add" => {
            let path = text("path")?;
            if parent(document, path).is_none() {
                let why = "add operation does not apply: doc is missing path";
                return Err(format!("{why}: \"{path}\": missing value").into());
            }
            let added = add(document, path, value(), left);
            added.map_err(|why| format!("error in add for path: '{path}': {why}"))?;
        }
        "remove" => {
            let path = text("path")?;
            if parent(document, path).is_none() {
                let why = "remove operation does not apply: doc is missing path";
                return Err(format!("{why}: \"{path}\": missing value").into());
            }
            let removed = remove(document, path, left);
            removed.map_err(|why| format!("error in remove for path: '{path}': {why}"))?;
        }
        "replace" => replace(document, text("path")?, value(), left)?,
        "move" => {
            let (from, path) = (text("from")?, text("path")?);
            let moved = moved(document, from, left)?;
            if parent(document, path).is_none() {
                let why = "move operation does not apply: doc is missing destination path";
                return Err(format!("{why}: {path}: missing value").into());
            }
            let added = add(document, path, moved, left);
            added.map_err(|why| format!("error in move for path: '{path}': {why}"))?;
        }
        "copy" => {
            let (from, path) = (text("from")?, text("path")?);
            let copy = copied(document, from, left)?;
            if parent(document, path).is_none() {
                let why = "copy operation does not apply: doc is missing destination path";
                return Err(format!("{why}: {path}: missing value").into());
            }
            let added = add(document, path, copy, left);
            added.map_err(|why| format!("error while adding value during copy: {why}"))?;
        }
        "test" => test(document, text("path")?, operation)?,
        other => return Err(format!("Unexpected kind: {other}").into()),
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, operation: &Value) -> Result<(), Misfit> {
    let found = if path.is_empty() {
        &*document
    } else if parent(document, path).is_none() {
        let why = "test operation does not apply: is missing path";
        return Err(format!("{why}: {path}: missing value").into());
    } else {
        get(document, path).map_err(|why| format!("error in test for path: '{path}': {why}"))?
    };
    if found == operation.get("value").unwrap_or(&Value::Null) {
        Ok(())
    } else {
        Err(Misfit::Untrue(path.to_owned()))
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
                let at = index(part, list.len()).ok()?;
                list.get_mut(at)?
            }
            _ => return None,
        };
    }
    (here.is_object() || here.is_array()).then(|| (here, key.clone()))
}

/// The same where it is known that there is one.
fn holder<'a>(document: &'a mut Value, path: &str) -> Done<(&'a mut Value, String)> {
    parent(document, path).ok_or_else(|| "missing value".to_owned())
}

/// A place in a list; less than nothing counts from its end.
fn index(text: &str, length: usize) -> Done<usize> {
    let at: i64 = text.parse().map_err(|_no| no_number(text))?;
    let from_end = at < 0;
    let wanted = i64::try_from(length)
        .ok()
        .map(|length| if from_end { at + length } else { at });
    let wanted = wanted.and_then(|at| usize::try_from(at).ok());
    wanted.ok_or_else(|| no_index(at))
}

fn get<'a>(document: &'a mut Value, path: &str) -> Done<&'a Value> {
    let (holder, key) = holder(document, path)?;
    match holder {
        Value::Object(map) => Ok(map.get(&key).unwrap_or(&Value::Null)),
        Value::Array(list) => {
            let at = index(&key, list.len())?;
            let found = list.get(at);
            found.ok_or_else(|| no_index(i64::try_from(at).unwrap_or(i64::MAX)))
        }
        _ => Err("missing value".to_owned()),
    }
}

/// That a value at a path does not nest deeper than an object may: what works on objects recurses.
fn check_depth(path: &str, value: &Value, left: &mut Left) -> Done<()> {
    let above = path.split('/').skip(1).count();
    let below = OBJECT_DEPTH_MAX.checked_sub(above);
    left.look(value, below.ok_or(TOO_DEAR)?)
}

fn add(document: &mut Value, path: &str, value: Value, left: &mut Left) -> Done<()> {
    check_depth(path, &value, left)?;
    let (holder, key) = holder(document, path)?;
    match holder {
        Value::Object(map) => put(map, key, value),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let at = index(&key, list.len() + 1).map_err(|why| {
                if why == no_number(&key) {
                    format!("value was not a proper array index: '{key}': {why}")
                } else {
                    why
                }
            })?;
            if at > list.len() {
                return Err(no_index(i64::try_from(at).unwrap_or(i64::MAX)));
            }
            left.spend(list.len() - at)?;
            list.insert(at, value);
        }
        _ => return Err("missing value".to_owned()),
    }
    Ok(())
}

fn put(map: &mut Map<String, Value>, key: String, value: Value) {
    map.insert(key, value);
}

fn replace(document: &mut Value, path: &str, value: Value, left: &mut Left) -> Done<()> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            let why = "replace operation value must be object or array: %!w(<nil>)";
            return Err(why.to_owned());
        }
        *document = value;
        return Ok(());
    }
    check_depth(path, &value, left)?;
    let Some((holder, key)) = parent(document, path) else {
        return Err(format!(
            "replace operation does not apply: doc is missing path: {path}: missing value"
        ));
    };
    let missing =
        || format!("replace operation does not apply: doc is missing key: {path}: missing value");
    match holder {
        Value::Object(map) => put(map, key, value),
        Value::Array(list) => {
            let at = index(&key, list.len()).map_err(|_no| missing())?;
            *list.get_mut(at).ok_or_else(missing)? = value;
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str, left: &mut Left) -> Done<Value> {
    let (holder, key) = holder(document, path)?;
    match holder {
        Value::Object(map) => map
            .remove(&key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        Value::Array(list) => {
            let at = index(&key, list.len())?;
            if at >= list.len() {
                return Err(no_index(i64::try_from(at).unwrap_or(i64::MAX)));
            }
            left.spend(list.len() - at)?;
            Ok(list.remove(at))
        }
        _ => Err("missing value".to_owned()),
    }
}

/// Takes out what is to be elsewhere.
fn moved(document: &mut Value, from: &str, left: &mut Left) -> Done<Value> {
    let Some((_, key)) = parent(document, from) else {
        return Err(format!(
            "move operation does not apply: doc is missing from path: {from}: missing value"
        ));
    };
    remove(document, from, left).map_err(|why| format!("error in move for path: '{key}': {why}"))
}

fn copied(document: &mut Value, from: &str, left: &mut Left) -> Done<Value> {
    if parent(document, from).is_none() {
        return Err(format!(
            "copy operation does not apply: doc is missing from path: {from}: missing value"
        ));
    }
    let found =
        get(document, from).map_err(|why| format!("error in copy for from: '{from}': {why}"))?;
    let more = found.to_string().len();
    left.bytes = left.bytes.checked_sub(more).ok_or(TOO_DEAR)?;
    Ok(found.clone())
}
