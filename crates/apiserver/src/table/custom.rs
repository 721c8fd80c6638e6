//! Rows of custom resources, by the columns that their CRD names.
use serde_json::Value;

use super::{Row, jsonpath, text};
use crate::registry::Resource;

pub(super) fn cells(res: &Resource, row: &Row<'_>) -> Vec<Value> {
    let mut cells = vec![row.name()];
    cells.extend(res.columns.iter().map(|column| {
        let found = jsonpath::find(row.object, &column.json_path);
        found
            .first()
            .map_or(Value::Null, |value| cell(&column.kind, value, row.now))
    }));
    if res.columns.is_empty() {
        cells.push(row.age());
    }
    cells
}

/// A value, if it is of the column's type.
fn cell(kind: &str, value: &Value, now: i64) -> Value {
    match (kind, value) {
        ("string", Value::Null) => "<no value>".into(),
        ("string", value) => text::plain(&[value]).into(),
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an integer column shows no fraction"
            )]
            (None, Some(number)) => (number as i64).into(),
            (None, None) => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(time)) if time.is_empty() => "<unknown>".into(),
        ("date", Value::String(_)) => match text::seconds(value) {
            Some(then) => text::duration(now.saturating_sub(then)).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
