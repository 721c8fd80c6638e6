//! Tables: the rows and columns that `kubectl get` prints, computed here because only the server knows each kind.
//!
//! The columns are Kubernetes' own; a CRD brings its own. Pure: `now` is passed in. Start at [`of_list`].

use serde_json::{Value, json};

use crate::db::List;
use crate::object::Object;
use crate::registry::Resource;

mod cluster;
mod columns;
mod custom;
mod devices;
mod jsonpath;
mod network;
mod pods;
mod policy;
mod scaling;
mod storage;
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

/// How the cells of one built-in kind are computed.
struct Layout {
    group: &'static str,
    plural: &'static str,
    cells: fn(&Row<'_>) -> Vec<Value>,
}

const fn layout(
    group: &'static str,
    plural: &'static str,
    cells: fn(&Row<'_>) -> Vec<Value>,
) -> Layout {
    Layout {
        group,
        plural,
        cells,
    }
}

/// An object, as the cells of its row are computed from it.
struct Row<'a> {
    object: &'a Value,
    now: i64,
    /// Whether it is the class that is taken when none is asked for.
    is_default: bool,
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

    fn is_terminating(&self) -> bool {
        !self.object["metadata"]["deletionTimestamp"].is_null()
    }
}

fn layout_of(res: &Resource) -> Option<&'static Layout> {
    if res.custom {
        return None;
    }
    [
        pods::LAYOUTS,
        workloads::LAYOUTS,
        scaling::LAYOUTS,
        network::LAYOUTS,
        storage::LAYOUTS,
        policy::LAYOUTS,
        cluster::LAYOUTS,
        devices::LAYOUTS,
    ]
    .into_iter()
    .flatten()
    .find(|layout| layout.group == res.group && layout.plural == res.plural)
}

/// The table of a list.
pub fn of_list(res: &Resource, list: &List, options: Options) -> Value {
    let mut values: Vec<Value> = list.items.iter().map(|object| object.value()).collect();
    let mut default = None;
    match (res.custom, res.plural.as_str()) {
        (false, "flowschemas") => policy::sort_flow_schemas(&mut values),
        (false, "storageclasses") => default = storage::default_class(&values),
        _ => {}
    }
    let row_of = |value: Value| {
        let is_default = default.as_ref() == Some(&value["metadata"]["name"]);
        row(res, value, is_default, options)
    };
    let rows: Vec<Value> = values.into_iter().map(row_of).collect();
    // Some kinds leave the rows out rather than empty.
    let bare = rows.is_empty() && !res.custom && !columns::is_known_empty(res);
    let rows = if bare { Value::Null } else { rows.into() };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": list.resource_version.to_string()},
        "columnDefinitions": columns::of(res), "rows": rows})
}

/// The table of one object.
pub fn of_one(res: &Resource, object: &Object, options: Options) -> Value {
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": object.resource_version().to_string()},
        "columnDefinitions": columns::of(res), "rows": [row(res, object.value(), false, options)]})
}

fn row(res: &Resource, mut value: Value, is_default: bool, options: Options) -> Value {
    let row = Row {
        object: &value,
        now: options.now,
        is_default,
    };
    let cells = match layout_of(res) {
        Some(layout) => (layout.cells)(&row),
        None if res.custom => custom::cells(res, &row),
        None => vec![row.name(), row.created()],
    };
    let conditions = (res.kind == "Pod" && !res.custom)
        .then(|| pods::conditions(&value))
        .flatten();
    let carried = match options.include {
        Include::Nothing => Value::Null,
        Include::Object => value,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": value["metadata"].take(),
        }),
    };
    let mut row = json!({"cells": cells, "object": carried});
    if let Some(conditions) = conditions {
        row["conditions"] = conditions;
    }
    row
}

#[cfg(test)]
mod tests;
