//! An applied intent of a built-in kind against its type: server-side apply takes nothing that it cannot own by field.

use serde_json::Value;

use super::table::{self, Named, Struct, Table, Type};
use super::type_of;
use crate::apply;
use crate::error::StatusError;
use crate::registry::Resource;

/// Problems beyond these are not told.
const PROBLEMS_MAX: usize = 100;

/// Refuses an intent that sets unknown fields or fields of other types.
///
/// # Errors
/// With all of them, in Kubernetes' words.
pub(crate) fn check(res: &Resource, config: &Value) -> Result<(), StatusError> {
    apply::refuse_intent(res, config, problems(res, config))
}

/// What is wrong with an intent of a built-in kind.
pub(crate) fn problems(res: &Resource, config: &Value) -> Vec<String> {
    let of = type_of(&res.group, &res.version, &res.kind).filter(|_| !res.custom);
    let Some(of) = of else { return Vec::new() };
    let mut walk = Walk {
        table: table::get(),
        problems: Vec::new(),
    };
    walk.fields(of, config, "");
    walk.problems
}

struct Walk {
    table: &'static Table,
    problems: Vec<String>,
}

impl Walk {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }

    fn fields(&mut self, of: usize, value: &Value, at: &str) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("{at}.{name}");
            match find(self.table, self.table.of(of), name) {
                Some((named, keys)) => self.value(named, value, &path, &keys),
                None => self.problem(format!("{path}: field not declared in schema")),
            }
        }
    }

    fn value(&mut self, named: &Named, value: &Value, at: &str, keys: &[&str]) {
        let wanted = match (&named.what, value) {
            (_, Value::Null) => return,
            (Type::Struct(of), Value::Object(_)) => return self.fields(*of, value, at),
            (Type::Map(element), Value::Object(map)) => {
                for (name, value) in map {
                    self.value(element, value, &format!("{at}.{name}"), &[]);
                }
                return;
            }
            (Type::List(element), Value::Array(list)) => {
                return self.elements(element, list, at, keys);
            }
            (Type::Text | Type::Bytes, other) if !other.is_string() => "string",
            (Type::Bool, other) if !other.is_boolean() => "boolean",
            (Type::Int32 | Type::Int64 | Type::Float, other) if !other.is_number() => {
                "numeric (int or float)"
            }
            (Type::Struct(_) | Type::Map(_), _) => "map",
            (Type::List(_), _) => "list",
            _ => return,
        };
        let found = match (wanted, value) {
            ("map" | "list", Value::String(text)) => format!("&{{{text}}}"),
            ("map" | "list", other) => format!("&{{{other}}}"),
            ("string" | "boolean", other) => {
                format!("&value.valueUnstructured{{Value:{other}}}")
            }
            (_, Value::Bool(_)) => "boolean".to_owned(),
            (_, Value::Number(number)) if number.is_f64() => "float".to_owned(),
            (_, Value::Number(_)) => "int".to_owned(),
            (_, Value::String(_)) => "string".to_owned(),
            (_, Value::Array(_)) => "list".to_owned(),
            _ => "map".to_owned(),
        };
        self.problem(format!("{at}: expected {wanted}, got {found}"));
    }

    fn elements(&mut self, element: &Named, list: &[Value], at: &str, keys: &[&str]) {
        for (index, value) in list.iter().enumerate() {
            let parts: Vec<String> = keys
                .iter()
                .filter_map(|key| Some(format!("{key}={}", value.get(*key)?)))
                .collect();
            let step = if parts.is_empty() {
                index.to_string()
            } else {
                parts.join(",")
            };
            self.value(element, value, &format!("{at}[{step}]"), &[]);
        }
    }
}

/// The type of a field, and the keys of its elements if it is a list of them.
fn find(
    table: &'static Table,
    of: &'static Struct,
    wanted: &str,
) -> Option<(&'static Named, Vec<&'static str>)> {
    for field in &of.fields {
        if field.name == wanted {
            let keys = field
                .markers
                .iter()
                .find_map(|one| one.strip_prefix("list=map:"));
            let keys = keys.map(|keys| keys.split(',').collect());
            return Some((&field.of, keys.unwrap_or_default()));
        }
        if let Type::Struct(inner) = field.of.what
            && field.name.is_empty()
            && let Some(found) = find(table, table.of(inner), wanted)
        {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    #[test]
    fn unknown_fields_and_other_types_are_refused_together() {
        let res = Registry::with_builtin()
            .find("apps", "v1", "deployments")
            .unwrap();
        let config = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"foo": 1,
            "template": {"spec": {"containers": [{"name": "c", "image": 5}]}}}});
        let error = check(&res, &config).unwrap_err();
        assert_eq!(
            error.message,
            "failed to create typed patch object (n/a; apps/v1, Kind=Deployment): errors:\n  .spec.foo: field not \
             declared in schema\n  .spec.template.spec.containers[name=\"c\"].image: expected string, got \
             &value.valueUnstructured{Value:5}"
        );
        let fine =
            json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"replicas": 1}});
        assert!(check(&res, &fine).is_ok());
    }
}
