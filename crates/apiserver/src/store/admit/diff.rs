//! What has changed between two specs, as Kubernetes tells it: a unified diff of the specs with
//! every field that there is, under the internal names.
mod lines;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// Every type below those that are compared: its fields, each with the internal name, the name in JSON
/// (`=` if it follows from the internal one) and the kind.
static TYPES: LazyLock<HashMap<&str, Vec<Field>>> =
    LazyLock::new(|| read(include_str!("diff/types.txt")));
/// More would take too long to compare.
const LINES_MAX: usize = 20_000;

struct Field {
    inner: &'static str,
    outer: String,
    kind: Kind,
}

enum Kind {
    Text,
    Flag,
    Number,
    Quantity,
    Raw,
    Struct(&'static str),
    Maybe(&'static str),
    List(&'static str),
}

fn read(table: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut types: HashMap<&str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let (Some(inner), outer, kind) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (Some(outer), Some(kind)) = (outer, kind) else {
            current = inner;
            types.entry(current).or_default();
            continue;
        };
        let outer = match outer {
            "=" => lower(inner),
            named => named.to_owned(),
        };
        let kind = match kind {
            "s" => Kind::Text,
            "b" => Kind::Flag,
            "i" => Kind::Number,
            "q" => Kind::Quantity,
            "?" => Kind::Raw,
            other => match (other.strip_prefix('*'), other.strip_prefix('[')) {
                (Some(inner), _) => Kind::Maybe(inner),
                (_, Some(inner)) => Kind::List(inner),
                _ => Kind::Struct(other),
            },
        };
        types
            .entry(current)
            .or_default()
            .push(Field { inner, outer, kind });
    }
    types
}

/// `DNSPolicy` is `dnsPolicy`, `Name` is `name`.
fn lower(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let capitals = letters
        .iter()
        .take_while(|one| one.is_ascii_uppercase())
        .count();
    let end = if capitals > 1 && capitals < letters.len() {
        capitals - 1
    } else {
        capitals
    };
    let head: String = letters[..end]
        .iter()
        .map(char::to_ascii_lowercase)
        .collect();
    head + &letters[end..].iter().collect::<String>()
}

/// The diff of two values of an internal type, `PodSpec` for one.
pub(super) fn of(name: &str, old: &Value, new: &Value) -> String {
    let (mut before, mut after) = (String::new(), String::new());
    print_struct(name, old, 1, &mut before);
    print_struct(name, new, 1, &mut after);
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if old.len().max(new.len()) > LINES_MAX {
        return "(too large to compare)".to_owned();
    }
    lines::unified(&old, &new)
}

/// A pod template on one line, as Kubernetes keeps it.
pub(super) fn internal_template(template: &Value) -> String {
    let mut out = String::from("{");
    for (name, value) in template["metadata"].as_object().into_iter().flatten() {
        write!(out, "\"{name}\":{value},").unwrap_or_default();
    }
    out.push_str("\"Spec\":");
    out.push_str(&internal_spec(&template["spec"]));
    out.push('}');
    out
}

/// The spec of a Pod, as the same texts print it.
pub(super) fn internal_spec(spec: &Value) -> String {
    let mut text = String::new();
    print_struct("PodSpec", spec, 1, &mut text);
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(&line.trim_start().replacen("\": ", "\":", 1));
    }
    out
}

fn indent(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

fn print_struct(name: &str, value: &Value, depth: usize, out: &mut String) {
    out.push('{');
    for (index, field) in TYPES.get(name).into_iter().flatten().enumerate() {
        if index > 0 {
            out.push(',');
        }
        indent(depth, out);
        // Writing to a text cannot fail.
        write!(out, "\"{}\": ", field.inner).unwrap_or_default();
        print(field, &value[field.outer.as_str()], depth, out);
    }
    indent(depth - 1, out);
    out.push('}');
}

fn print(field: &Field, value: &Value, depth: usize, out: &mut String) {
    let absent = match field.kind {
        Kind::Text => Some("\"\""),
        Kind::Flag => Some("false"),
        Kind::Number => Some("0"),
        Kind::Quantity => Some("\"0\""),
        Kind::Raw | Kind::Maybe(_) | Kind::List(_) => Some("null"),
        Kind::Struct(_) => None,
    };
    match (&field.kind, absent) {
        (_, Some(absent)) if value.is_null() => out.push_str(absent),
        (Kind::Struct(name) | Kind::Maybe(name), _) => print_struct(name, value, depth + 1, out),
        (Kind::List(name), _) => {
            let items = value.as_array().map_or(&[][..], Vec::as_slice);
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                print_struct(name, item, depth + 2, out);
            }
            if !items.is_empty() {
                indent(depth, out);
            }
            out.push(']');
        }
        _ => print_raw(value, depth, out),
    }
}

/// A value whose names are the same inside and outside.
fn print_raw(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                print_raw(item, depth + 1, out);
            }
            indent(depth, out);
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => print_map(map, depth, out),
        other => write!(out, "{other}").unwrap_or_default(),
    }
}

fn print_map(map: &Map<String, Value>, depth: usize, out: &mut String) {
    out.push('{');
    for (index, (name, item)) in map.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        indent(depth + 1, out);
        write!(out, "{}: ", Value::from(name.as_str())).unwrap_or_default();
        print_raw(item, depth + 1, out);
    }
    indent(depth, out);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_name_is_shown_among_its_neighbours() {
        let old = json!({"containers": [{"name": "a"}], "schedulerName": "s"});
        let new = json!({"containers": [{"name": "a"}], "schedulerName": "s", "hostname": "x"});
        assert_eq!(
            of("PodSpec", &old, &new),
            "@@ -50,7 +50,7 @@\n  \"ShareProcessNamespace\": null,\n  \"SecurityContext\": null,\n  \
             \"ImagePullSecrets\": null,\n- \"Hostname\": \"\",\n+ \"Hostname\": \"x\",\n  \
             \"Subdomain\": \"\",\n  \"Affinity\": null,\n  \"SchedulerName\": \"s\",\n"
        );
    }

    #[test]
    fn names_in_json_follow_from_internal_ones() {
        for (inner, outer) in [
            ("Name", "name"),
            ("DNSPolicy", "dnsPolicy"),
            ("TTY", "tty"),
            ("HostPID", "hostPID"),
            ("GRPC", "grpc"),
        ] {
            assert_eq!(lower(inner), outer);
        }
    }
}
