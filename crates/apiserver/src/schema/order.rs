//! JSON with the fields in the order of their types, as Go writes it. Pure.

use serde_json::{Map, Value};

use super::table::{self, Table, Type};

/// An object of a type as JSON. Where a patch has touched it, fields are in the order of their names.
pub(crate) fn json(of: usize, object: &Value, touched: &Value) -> String {
    let mut out = String::new();
    write(table::get(), &Type::Struct(of), (object, touched), &mut out);
    out
}

fn write(table: &Table, what: &Type, (value, touched): (&Value, &Value), out: &mut String) {
    match (what, value) {
        (Type::Struct(of), Value::Object(map)) if !touched.is_object() => {
            let mut names = Vec::new();
            fields(table, *of, &mut |name, _| names.push(name));
            let known = names.into_iter().filter(|name| map.contains_key(*name));
            let known: Vec<&str> = known.collect();
            let rest = map
                .keys()
                .map(String::as_str)
                .filter(|name| !known.contains(name));
            let names: Vec<&str> = known.iter().copied().chain(rest).collect();
            object(table, what, (map, touched), &names, out);
        }
        (_, Value::Object(map)) => {
            let names: Vec<&str> = map.keys().map(String::as_str).collect();
            object(table, what, (map, touched), &names, out);
        }
        (Type::List(element), Value::Array(list)) => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let touched = &touched[index.to_string().as_str()];
                write(table, &element.what, (value, touched), out);
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}

fn object(
    table: &Table,
    what: &Type,
    (map, touched): (&Map<String, Value>, &Value),
    names: &[&str],
    out: &mut String,
) {
    out.push('{');
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(*name).to_string());
        out.push(':');
        let value = map.get(*name).unwrap_or(&Value::Null);
        let inner = match what {
            Type::Map(element) => element.what.clone(),
            Type::Struct(of) => field(table, *of, name).unwrap_or(Type::Any),
            _ => Type::Any,
        };
        write(table, &inner, (value, &touched[*name]), out);
    }
    out.push('}');
}

fn field(table: &Table, of: usize, wanted: &str) -> Option<Type> {
    let mut found = None;
    fields(table, of, &mut |name, what| {
        if name == wanted {
            found = Some(what.clone());
        }
    });
    found
}

/// Every field, with those of what is written inline in its place.
fn fields(table: &Table, of: usize, visit: &mut dyn FnMut(&'static str, &Type)) {
    for field in &table.of(of).fields {
        match field.of.what {
            Type::Struct(inner) if field.name.is_empty() => fields(table, inner, visit),
            _ => visit(field.name, &field.of.what),
        }
    }
}
