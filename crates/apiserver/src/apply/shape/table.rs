//! The shapes of the built-in kinds, from the table of types that is made of Kubernetes' sources.
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::Value;

use super::{Key, Listing, Mapping, Shape, Strategy};
use crate::registry::Resource;
use crate::schema::table::{self, Field, Named, Struct, Type};
use crate::schema::type_of;

/// The shape of each struct that was asked for.
static SHAPES: LazyLock<Vec<OnceLock<Arc<Shape>>>> =
    LazyLock::new(|| vec![OnceLock::new(); table::get().count()]);

/// The shape of a built-in kind.
pub(super) fn builtin(res: &Resource) -> Arc<Shape> {
    let number = type_of(&res.group, &res.version, &res.kind);
    let kept = number.and_then(|number| Some((number, SHAPES.get(number)?)));
    match kept {
        Some((number, kept)) => Arc::clone(kept.get_or_init(|| Arc::new(of(number)))),
        None => Arc::default(),
    }
}

/// The shape of `metadata`, of all kinds.
pub(super) fn metadata() -> Shape {
    let number = table::get().find("meta/v1.ObjectMeta");
    number.map(of).unwrap_or_default()
}

fn of(number: usize) -> Shape {
    Within::default().of_struct(number)
}

/// The structs around a type. One that is among them holds itself: the inner one merges plainly.
#[derive(Default)]
struct Within(Vec<usize>);

impl Within {
    fn of_struct(&mut self, number: usize) -> Shape {
        let mut shape = Shape::default();
        if self.0.contains(&number) {
            return shape;
        }
        self.0.push(number);
        let of = table::get().of(number);
        if of.atomic {
            shape.mapping = Mapping::Atomic;
        }
        for field in &of.fields {
            let inner = self.of_field(field);
            if field.name.is_empty() {
                shape.fields.extend(inner.fields);
            } else if !inner.is_plain() {
                shape.fields.insert(field.name.to_owned(), inner);
            }
        }
        self.0.pop();
        shape
    }

    fn of_field(&mut self, field: &Field) -> Shape {
        let mut shape = self.of_named(&field.of);
        // A field may say otherwise than its type.
        if field.markers.contains(&"atomic") {
            shape.mapping = Mapping::Atomic;
        } else if field.markers.contains(&"granular") {
            shape.mapping = Mapping::Granular;
        }
        if let Some(list) = marked(field, "list=") {
            shape.listing = listing(list, &field.of);
        }
        shape.strategy = strategy(marked(field, "patch="), marked(field, "key="));
        shape
    }

    fn of_named(&mut self, of: &Named) -> Shape {
        match &of.what {
            Type::Struct(number) => self.of_struct(*number),
            Type::List(inner) | Type::Map(inner) => {
                let inner = self.of_named(inner);
                Shape {
                    inner: (!inner.is_plain()).then(|| Box::new(inner)),
                    ..Shape::default()
                }
            }
            _ => Shape::default(),
        }
    }
}

fn marked(field: &Field, name: &str) -> Option<&'static str> {
    let mut markers = field.markers.iter();
    markers.find_map(|marker| marker.strip_prefix(name))
}

/// The strategies of a field may be several; that of keeping keys is up to the patch.
pub(super) fn strategy(words: Option<&str>, key: Option<&str>) -> Strategy {
    let mut words = words.unwrap_or_default().split(',');
    let word = words.find(|word| ["merge", "replace"].contains(word));
    match word {
        Some("merge") => Strategy::Merge(key.map(str::to_owned)),
        Some(_) => Strategy::Replace,
        None => Strategy::Usual,
    }
}

fn listing(marker: &str, of: &Named) -> Listing {
    match marker.split_once(':') {
        Some(("map", keys)) => {
            let element = element(of);
            Listing::Map(keys.split(',').map(|name| key(name, element)).collect())
        }
        _ if marker == "set" => Listing::Set,
        _ => Listing::Atomic,
    }
}

fn element(list: &Named) -> Option<&'static Struct> {
    let Type::List(element) = &list.what else {
        return None;
    };
    match element.what {
        Type::Struct(number) => Some(table::get().of(number)),
        _ => None,
    }
}

fn key(name: &str, element: Option<&Struct>) -> Key {
    let field = element.and_then(|element| find(element, name));
    Key {
        name: name.to_owned(),
        default: field.and_then(default),
    }
}

/// A field, also among those that are written inline.
fn find<'a>(of: &'a Struct, name: &str) -> Option<&'a Field> {
    of.fields.iter().find_map(|field| match field.of.what {
        Type::Struct(inner) if field.name.is_empty() => find(table::get().of(inner), name),
        _ => (field.name == name).then_some(field),
    })
}

/// What a field is that is not there: what its marker says, or what Go writes for it in any case.
fn default(field: &Field) -> Option<Value> {
    if let Some(text) = marked(field, "default=") {
        return serde_json::from_str(text).ok();
    }
    if field.omit_empty || field.omit_zero || field.pointer {
        return None;
    }
    match field.of.what {
        Type::Text => Some("".into()),
        Type::Int32 | Type::Int64 => Some(0.into()),
        Type::Bool => Some(false.into()),
        _ => None,
    }
}
