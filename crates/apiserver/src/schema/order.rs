//! JSON as Go writes it: fields in the order of their types, and `<`, `>`, `&` as escapes. Pure.
use std::io;

use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

use super::table::{self, Table, Type};
use super::type_of;
use crate::registry::builtin_groups;

/// Whatever is not of a built-in type is written with its fields by name, as Go writes maps.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let what = named(value).map_or(Type::Any, Type::Struct);
    let mut out = Vec::new();
    write(table::get(), &what, (value, &Value::Null), &mut out);
    out
}

/// An object of a type as JSON. Where a patch has touched it, fields are in the order of their names.
pub(crate) fn json(of: usize, object: &Value, touched: &Value) -> String {
    let mut out = Vec::new();
    write(table::get(), &Type::Struct(of), (object, touched), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The built-in type that an object says it is of.
fn named(value: &Value) -> Option<usize> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let ours = group == META || builtin_groups().iter().any(|known| known.name == group);
    if !ours {
        return None;
    }
    let of = type_of(group, version, kind);
    // A Status says that it is of the core group.
    of.or_else(|| type_of(META, version, kind).filter(|_| group.is_empty()))
}

const META: &str = "meta.k8s.io";

fn write(
    table: &'static Table,
    what: &Type,
    (value, touched): (&Value, &Value),
    out: &mut Vec<u8>,
) {
    match (what, value) {
        (Type::Struct(of), Value::Object(map)) if !touched.is_object() => {
            let mut written = Vec::with_capacity(map.len());
            out.push(b'{');
            fields(table, *of, &mut |name, what| {
                if let Some(value) = map.get(name) {
                    begin(name, written.is_empty(), out);
                    write(table, what, (value, &touched[name]), out);
                    written.push(name);
                }
            });
            for (name, value) in map {
                if !written.contains(&name.as_str()) {
                    begin(name, written.is_empty(), out);
                    leaf(value, out);
                    written.push(name);
                }
            }
            out.push(b'}');
        }
        (_, Value::Object(map)) => by_name(table, what, (map, touched), out),
        (Type::List(element), Value::Array(list)) => {
            out.push(b'[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let touched = match touched {
                    Value::Null => touched,
                    touched => &touched[index.to_string().as_str()],
                };
                write(table, &element.what, (value, touched), out);
            }
            out.push(b']');
        }
        _ => leaf(value, out),
    }
}

fn by_name(
    table: &'static Table,
    what: &Type,
    (map, touched): (&Map<String, Value>, &Value),
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (index, (name, value)) in map.iter().enumerate() {
        begin(name, index == 0, out);
        let inner = match what {
            Type::Map(element) => Some(&element.what),
            Type::Struct(of) => field(table, *of, name),
            _ => None,
        };
        let inner = inner.unwrap_or(&Type::Any);
        write(table, inner, (value, &touched[name.as_str()]), out);
    }
    out.push(b'}');
}

fn begin(name: &str, first: bool, out: &mut Vec<u8>) {
    if !first {
        out.push(b',');
    }
    text(name, out);
    out.push(b':');
}

fn text(text: &str, out: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(out, Go);
    text.serialize(&mut serializer)
        .expect("a text can be written to memory");
}

/// A value of no known type.
fn leaf(value: &Value, out: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(out, Go);
    value
        .serialize(&mut serializer)
        .expect("a value can be written to memory");
}

/// Go's encoder makes JSON that is safe within HTML.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(at);
            CompactFormatter.write_string_fragment(out, before)?;
            let mut letters = from.chars();
            if let Some(letter) = letters.next() {
                write!(out, "\\u{:04x}", u32::from(letter))?;
            }
            rest = letters.as_str();
        }
        CompactFormatter.write_string_fragment(out, rest)
    }
}

fn field(table: &'static Table, of: usize, wanted: &str) -> Option<&'static Type> {
    let mut found = None;
    fields(table, of, &mut |name, what| {
        if name == wanted {
            found = Some(what);
        }
    });
    found
}

/// Every field, with those of what is written inline in its place.
fn fields<'a>(table: &'a Table, of: usize, visit: &mut dyn FnMut(&'static str, &'a Type)) {
    for field in &table.of(of).fields {
        match field.of.what {
            Type::Struct(inner) if field.name.is_empty() => fields(table, inner, visit),
            _ => visit(field.name, &field.of.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_stand_as_their_types_have_them() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Pending"},
            "metadata": {"annotations": {"b": "<1>", "a": "&"}, "name": "p"},
            "spec": {"containers": [{"image": "i", "name": "c"}]}});
        let text = String::from_utf8(encode(&pod)).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","annotations":{"a":"\u0026","b":"\u003c1\u003e"}},"spec":{"containers":[{"name":"c","image":"i"}]},"status":{"phase":"Pending"}}"#
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, pod);
    }

    #[test]
    fn custom_kinds_are_written_by_name() {
        let custom = json!({"apiVersion": "apps.example.com/v1", "kind": "Deployment", "spec": {"b": 1, "a": 2}});
        assert_eq!(encode(&custom), custom.to_string().into_bytes());
    }

    #[test]
    fn a_status_is_of_the_meta_group() {
        let status = json!({"apiVersion": "v1", "kind": "Status", "code": 404, "message": "m", "status": "Failure"});
        let text = String::from_utf8(encode(&status)).unwrap();
        assert!(
            text.starts_with(r#"{"kind":"Status","apiVersion":"v1","status""#),
            "{text}"
        );
    }
}
