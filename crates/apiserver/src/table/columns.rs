//! The columns of each kind: Kubernetes' own for built-in kinds, a CRD's for custom resources.
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::registry::Resource;

/// The columns of built-in kinds, by group and plural with a space between.
static BUILTIN: LazyLock<BTreeMap<&str, Vec<Value>>> =
    LazyLock::new(|| read(include_str!("columns.txt")));

/// The columns of a kind that has none of its own.
const PLAIN: &str = "core *";

fn read(text: &'static str) -> BTreeMap<&'static str, Vec<Value>> {
    let mut shared: BTreeMap<&str, &str> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut kind = PLAIN;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("= ") {
            shared.insert(name, lines.next().unwrap_or_default());
        } else if let Some(name) = line.strip_prefix("> ") {
            kind = name;
        } else {
            kinds.entry(kind).or_default().push(column(&shared, line));
        }
    }
    kinds
}

fn column(shared: &BTreeMap<&str, &str>, line: &str) -> Value {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or_default();
    let (name, kind, format, priority, description) = (next(), next(), next(), next(), next());
    let description = description
        .strip_prefix('@')
        .and_then(|name| shared.get(name).copied())
        .unwrap_or(description)
        .replace("\\n", "\n");
    let priority: i64 = priority.parse().unwrap_or(0);
    json!({"name": name, "type": kind, "format": format, "description": description,
        "priority": priority})
}

fn builtin(res: &Resource) -> Option<&'static Vec<Value>> {
    let group = if res.group.is_empty() {
        "core"
    } else {
        &res.group
    };
    BUILTIN.get(format!("{group} {}", res.plural).as_str())
}

/// Whether an empty table of this built-in kind has an empty list of rows, rather than none.
pub(super) fn is_known_empty(res: &Resource) -> bool {
    builtin(res).is_some() && res.kind != "CustomResourceDefinition"
}

/// The columns of a kind.
pub(super) fn of(res: &Resource) -> Vec<Value> {
    let plain = || BUILTIN.get(PLAIN).cloned().unwrap_or_default();
    if !res.custom {
        return builtin(res).cloned().unwrap_or_else(plain);
    }
    let mut columns: Vec<Value> = plain().into_iter().take(1).collect();
    columns.extend(res.columns.iter().map(|column| {
        let description = if column.description.is_empty() {
            format!(
                "Custom resource definition column (in JSONPath format): {}",
                column.json_path
            )
        } else {
            column.description.clone()
        };
        json!({"name": column.name, "type": column.kind, "format": column.format,
            "description": description, "priority": column.priority})
    }));
    if res.columns.is_empty() {
        columns.push(age());
    }
    columns
}

/// The column that a custom resource has if its CRD names none.
fn age() -> Value {
    let age = builtin_age().unwrap_or_default();
    json!({"name": "Age", "type": "date", "format": "", "description": age, "priority": 0})
}

fn builtin_age() -> Option<String> {
    let columns = BUILTIN.get(PLAIN)?;
    Some(columns.get(1)?["description"].as_str()?.to_owned())
}
