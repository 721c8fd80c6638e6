//! What an expression says of how an object shall be changed: parts of objects (`Object.spec{replicas: 3}`), and
//! operations of a JSON patch (`JSONPatch{op: "remove", path: "/spec"}`).
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json};

use super::admission::Unanswered;
use super::decl::Ty;
use super::eval::{Evaluated, Failure};
use super::library::time;
use super::value::{Key, Val};
use crate::store::facts::{OBJECT_BYTES_MAX, OBJECT_DEPTH_MAX};

/// What comes before the dots of functions for patches.
pub(super) const NAMESPACE: &str = "jsonpatch";
const OBJECT: &str = "Object";
const OPERATION: &str = "JSONPatch";
/// Whole numbers beyond these are not the same in every reader of JSON.
const WHOLE_MAX: i64 = (1 << 53) - 1;

/// Whether there are values of such a type.
pub(super) fn is_known(name: &str) -> bool {
    name == OPERATION || name == OBJECT || name.starts_with("Object.")
}

/// The type of a field; none if there is no such field.
pub(super) fn field(of: &str, name: &str) -> Option<Ty> {
    match name {
        _ if of != OPERATION => Some(Ty::Dyn),
        "op" | "path" | "from" => Some(Ty::Text),
        "value" => Some(Ty::Dyn),
        _ => None,
    }
}

/// The type of what an object shall have.
pub(super) fn whole() -> Ty {
    Ty::Message(OBJECT.into())
}

/// The type of a list of operations.
pub(super) fn patch() -> Ty {
    Ty::List(Arc::new(Ty::Message(OPERATION.into())))
}

/// A part of an object, or an operation.
#[derive(Debug)]
pub(crate) struct Made {
    pub(super) name: Arc<str>,
    pub(super) fields: Arc<BTreeMap<Key, Val>>,
}

impl Made {
    /// With these fields, whose types are known only now where they are dynamic.
    #[expect(
        clippy::new_ret_no_self,
        reason = "it is a value like any other that an expression gives"
    )]
    pub(super) fn new(name: &str, fields: BTreeMap<Key, Val>) -> Evaluated {
        if name == OPERATION {
            for (key, value) in &fields {
                if let Key::Text(key) = key
                    && &**key != "value"
                    && !matches!(value, Val::Text(_))
                {
                    let found = go_type(value);
                    return Err(Failure::new(format!(
                        "unexpected type {found} for JSONPatchType '{key}' field"
                    )));
                }
            }
        }
        Ok(Val::Made(Arc::new(Self {
            name: name.into(),
            fields: Arc::new(fields),
        })))
    }

    /// The name of its type, as far as expressions can compare it.
    pub(super) fn type_name(&self) -> &'static str {
        if &*self.name == OPERATION {
            OPERATION
        } else {
            OBJECT
        }
    }

    /// A field; what has not been set says nothing.
    pub(super) fn field(&self, name: &str) -> Val {
        let found = self.fields.get(&Key::Text(name.into())).cloned();
        let text = &*self.name == OPERATION && name != "value";
        found.unwrap_or_else(|| if text { Val::text("") } else { Val::Null })
    }

    /// A field that may be absent. In parts of objects Kubernetes finds none by this way.
    pub(super) fn field_if_set(&self, name: &str) -> Val {
        let found = self.fields.get(&Key::Text(name.into()));
        let found = found.filter(|_| &*self.name == OPERATION);
        Val::Optional(found.cloned().map(Arc::new))
    }

    fn text(&self, name: &str) -> Arc<str> {
        match self.field(name) {
            Val::Text(text) => text,
            _ => "".into(),
        }
    }

    /// The names of the types of its parts must say where they are.
    fn check_names(&self, path: &str, budget: &mut u64) -> Result<(), Unanswered> {
        let mut wrong = Vec::new();
        names(&Val::Made(self.clone().into()), path, (&mut wrong, budget))?;
        if wrong.is_empty() {
            return Ok(());
        }
        let why = wrong.join("\n");
        Err(Unanswered::Error(format!("type mismatch: {why}")))
    }
}

impl Clone for Made {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            fields: Arc::clone(&self.fields),
        }
    }
}

fn spend(budget: &mut u64, steps: u64) -> Result<(), Unanswered> {
    *budget = budget.checked_sub(steps).ok_or(Unanswered::Spent)?;
    Ok(())
}

/// Names of types beyond these that are wrong are not told.
const WRONG_MAX: usize = 20;

fn names(
    value: &Val,
    path: &str,
    (wrong, budget): (&mut Vec<String>, &mut u64),
) -> Result<(), Unanswered> {
    spend(budget, 1)?;
    match value {
        Val::Made(made) => {
            if *made.name != *path && wrong.len() < WRONG_MAX {
                wrong.push(format!(
                    "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
                    made.name
                ));
            }
            for (key, value) in made.fields.iter() {
                if let Key::Text(key) = key {
                    names(value, &format!("{path}.{key}"), (wrong, budget))?;
                }
            }
        }
        Val::List(list) => {
            for value in list.iter() {
                names(value, path, (wrong, budget))?;
            }
        }
        Val::Map(map) => {
            for value in map.values() {
                names(value, path, (wrong, budget))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What an expression says that an object shall have.
pub(super) fn configuration(value: &Val, budget: &mut u64) -> Result<Json, Unanswered> {
    let Val::Made(made) = value else {
        let found = value.type_name();
        return Err(Unanswered::Error(format!(
            "unsupported return type from ApplyConfiguration expression: {found}"
        )));
    };
    made.check_names(OBJECT, budget)?;
    Writer::new(budget, Whole::Numbers).value(value, OBJECT_DEPTH_MAX)
}

/// The operations that an expression wants.
pub(super) fn operations(value: &Val, budget: &mut u64) -> Result<Vec<Json>, Unanswered> {
    let Val::List(list) = value else {
        let why = "type mismatch: JSONPatchType.expression should evaluate to array";
        return Err(Unanswered::Error(why.to_owned()));
    };
    let mut writer = Writer::new(budget, Whole::NumbersThatAllRead);
    let mut operations = Vec::new();
    for one in list.iter() {
        let Val::Made(made) = one else {
            let why =
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch";
            return Err(Unanswered::Error(why.to_owned()));
        };
        let mut operation = Map::new();
        for name in ["op", "path", "from"] {
            let text = made.text(name);
            writer.spend(text.len())?;
            if name != "from" || !text.is_empty() {
                operation.insert(name.to_owned(), Json::from(&*text));
            }
        }
        if let Some(value) = made.fields.get(&Key::Text("value".into())) {
            if let Val::Made(part) = value {
                part.check_names(&part.name, writer.budget)?;
            }
            let value = writer.value(value, OBJECT_DEPTH_MAX);
            operation.insert("value".to_owned(), value?);
        }
        operations.push(Json::Object(operation));
    }
    Ok(operations)
}

/// How whole numbers are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Numbers,
    /// Those that are too large for some readers as texts.
    NumbersThatAllRead,
}

/// Writes values, of which one may be in another very often.
struct Writer<'a> {
    budget: &'a mut u64,
    bytes: usize,
    whole: Whole,
}

impl<'a> Writer<'a> {
    fn new(budget: &'a mut u64, whole: Whole) -> Self {
        Self {
            budget,
            bytes: OBJECT_BYTES_MAX,
            whole,
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unanswered> {
        spend(self.budget, 1)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Unanswered::Spent)?;
        Ok(())
    }

    fn value(&mut self, value: &Val, levels: usize) -> Result<Json, Unanswered> {
        let below = levels.checked_sub(1).ok_or(Unanswered::Spent)?;
        self.spend(1)?;
        Ok(match value {
            Val::Null => Json::Null,
            Val::Bool(value) => Json::Bool(*value),
            Val::Int(number) => self.whole(*number),
            Val::Uint(number) => match i64::try_from(*number) {
                Ok(number) => self.whole(number),
                Err(_large) => Json::from(number.to_string()),
            },
            Val::Double(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Val::Text(text) => {
                self.spend(text.len())?;
                Json::from(&**text)
            }
            Val::Bytes(bytes) => {
                self.spend(bytes.len())?;
                Json::from(STANDARD.encode(bytes))
            }
            Val::Timestamp(at) => Json::from(at.to_string()),
            Val::Duration(nanos) => Json::from(time::seconds_text(*nanos)),
            Val::List(list) => {
                let list = list.iter().map(|one| self.value(one, below));
                Json::Array(list.collect::<Result<_, _>>()?)
            }
            Val::Map(map) => self.map(map, below)?,
            Val::Made(made) => self.map(&made.fields, below)?,
            other => {
                let why = format!("unsupported type {}", other.type_name());
                return Err(Unanswered::Error(why));
            }
        })
    }

    fn whole(&self, number: i64) -> Json {
        let fits = (-WHOLE_MAX..=WHOLE_MAX).contains(&number);
        if fits || self.whole == Whole::Numbers {
            Json::from(number)
        } else {
            Json::from(number.to_string())
        }
    }

    fn map(&mut self, map: &BTreeMap<Key, Val>, below: usize) -> Result<Json, Unanswered> {
        let mut written = Map::new();
        for (key, value) in map {
            let Key::Text(key) = key else {
                let why = format!("map key {key:?} is not a string");
                return Err(Unanswered::Error(why));
            };
            self.spend(key.len())?;
            written.insert(key.to_string(), self.value(value, below)?);
        }
        Ok(Json::Object(written))
    }
}

/// What Go calls a value's type.
fn go_type(value: &Val) -> &'static str {
    match value {
        Val::Bool(_) => "bool",
        Val::Int(_) => "int64",
        Val::Uint(_) => "uint64",
        Val::Double(_) => "float64",
        Val::Bytes(_) => "[]uint8",
        Val::List(_) => "[]ref.Val",
        Val::Map(_) => "map[ref.Val]ref.Val",
        _ => "structpb.NullValue",
    }
}
