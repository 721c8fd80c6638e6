//! Tables: the rows and columns that `kubectl get` prints, computed here because only the server knows each kind.
//!
//! The columns are Kubernetes' own; a CRD brings its own. Pure: `now` is passed in. Start at [`of_list`].

use serde_json::{Value, json};

use crate::db::List;
use crate::object::Object;
use crate::registry::Resource;

mod cluster;
mod jsonpath;
mod network;
mod text;
mod workloads;

/// How much of each object a row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// How a client wants its tables.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What rows carry.
    pub include: Include,
    /// Seconds since 1970, to tell ages.
    pub now: i64,
}

/// One column.
#[derive(Clone, Copy, Debug)]
struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: i64,
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 0,
    }
}

const fn number(name: &'static str) -> Column {
    Column {
        name,
        kind: "integer",
        format: "",
        priority: 0,
    }
}

const fn wide(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        format: "",
        priority: 1,
    }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
};
const AGE: Column = text("Age");

/// The table of one built-in kind.
struct Layout {
    group: &'static str,
    plural: &'static str,
    columns: &'static [Column],
    cells: fn(&Row<'_>) -> Vec<Value>,
}

/// An object, as the cells of its row are computed from it.
struct Row<'a> {
    object: &'a Value,
    now: i64,
}

impl Row<'_> {
    fn name(&self) -> Value {
        self.object["metadata"]["name"].clone()
    }

    fn age(&self) -> Value {
        text::age(&self.object["metadata"]["creationTimestamp"], self.now).into()
    }

    fn created(&self) -> Value {
        self.object["metadata"]["creationTimestamp"].clone()
    }
}

fn layout(res: &Resource) -> Option<&'static Layout> {
    [workloads::LAYOUTS, network::LAYOUTS, cluster::LAYOUTS]
        .into_iter()
        .flatten()
        .find(|layout| layout.group == res.group && layout.plural == res.plural)
}

/// The table of a list.
pub fn of_list(res: &Resource, list: &List, options: Options) -> Value {
    let rows: Vec<Value> = list
        .items
        .iter()
        .map(|object| row(res, object, options))
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": list.resource_version.to_string()},
        "columnDefinitions": columns(res), "rows": rows})
}

/// The table of one object.
pub fn of_one(res: &Resource, object: &Object, options: Options) -> Value {
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": object.resource_version().to_string()},
        "columnDefinitions": columns(res), "rows": [row(res, object, options)]})
}

fn columns(res: &Resource) -> Vec<Value> {
    let fixed = |column: &Column| {
        json!({"name": column.name, "type": column.kind, "format": column.format,
            "description": "", "priority": column.priority})
    };
    if let Some(layout) = layout(res) {
        return layout.columns.iter().map(fixed).collect();
    }
    let mut columns = vec![fixed(&NAME)];
    columns.extend(res.columns.iter().map(|column| {
        json!({"name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority})
    }));
    if res.columns.is_empty() {
        columns.push(fixed(&AGE));
    }
    columns
}

fn row(res: &Resource, object: &Object, options: Options) -> Value {
    let mut value = object.value();
    let cells = cells(
        res,
        &Row {
            object: &value,
            now: options.now,
        },
    );
    let carried = match options.include {
        Include::Nothing => Value::Null,
        Include::Object => value,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": value["metadata"].take(),
        }),
    };
    json!({"cells": cells, "object": carried})
}

fn cells(res: &Resource, row: &Row<'_>) -> Vec<Value> {
    if let Some(layout) = layout(res) {
        return (layout.cells)(row);
    }
    let mut cells = vec![row.name()];
    cells.extend(res.columns.iter().map(|column| {
        let found = jsonpath::find(row.object, &column.json_path);
        let Some(first) = found.first() else {
            return Value::Null;
        };
        match column.kind.as_str() {
            "date" => text::age(first, row.now).into(),
            "integer" | "number" | "boolean" => (*first).clone(),
            _ => text::plain(&found).into(),
        }
    }));
    if res.columns.is_empty() {
        cells.push(row.age());
    }
    cells
}

#[cfg(test)]
mod tests;
