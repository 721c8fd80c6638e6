//! The lists of who manages which fields: their order says when, and two servers write at times of their own.
use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Stands at the end of a list that is not in order.
const DISORDER: &str = "not in the order of operation, time and manager";

/// Looks whether each list is in the order that Kubernetes gives it, and then sorts it without regard to times: whether
/// two writes of one side fall into the same second is chance. A list that is not in order says so from then on.
pub fn settle(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Array(list) if name == "managedFields" => settle_list(list),
                    value => settle(value),
                }
            }
        }
        _ => {}
    }
}

fn settle_list(list: &mut Vec<Value>) {
    let is_sorted = list.is_sorted_by(|a, b| in_time(a, b).is_le());
    list.sort_by(out_of_time);
    if !is_sorted {
        list.push(json!(DISORDER));
    }
}

/// The order of Kubernetes: times count in whole seconds, and none is the oldest.
fn in_time(a: &Value, b: &Value) -> Ordering {
    let operation = text(a, "operation").cmp(text(b, "operation"));
    operation
        .then_with(|| seconds(a).cmp(&seconds(b)))
        .then_with(|| out_of_time(a, b))
}

fn out_of_time(a: &Value, b: &Value) -> Ordering {
    let of = |field| text(a, field).cmp(text(b, field));
    of("operation")
        .then_with(|| of("manager"))
        .then_with(|| of("apiVersion"))
        .then_with(|| of("subresource"))
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}

fn seconds(entry: &Value) -> i64 {
    let time = text(entry, "time").parse::<Timestamp>();
    time.map_or(0, Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(&str, u8, &str)]) -> Value {
        let entry = |&(operation, second, manager): &(&str, u8, &str)| {
            json!({"operation": operation, "manager": manager,
                "time": format!("2026-01-01T00:00:0{second}Z")})
        };
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        json!({"items": [{"metadata": {"managedFields": entries}}]})
    }

    fn settled(mut value: Value) -> String {
        settle(&mut value);
        let entries = value["items"][0]["metadata"]["managedFields"].as_array();
        let name = |entry: &Value| entry["manager"].as_str().unwrap_or("!").to_owned();
        entries.unwrap().iter().map(name).collect()
    }

    #[test]
    fn order_by_time_is_required_and_then_forgotten() {
        for (entries, expected) in [
            // One side within a second, the other across it.
            ([("Apply", 1, "a"), ("Apply", 1, "b")], "ab"),
            ([("Apply", 1, "b"), ("Apply", 2, "a")], "ab"),
            ([("Apply", 2, "b"), ("Update", 1, "a")], "ba"),
            // Out of order: by manager, by time, by operation.
            ([("Apply", 1, "b"), ("Apply", 1, "a")], "ab!"),
            ([("Apply", 2, "a"), ("Apply", 1, "b")], "ab!"),
            ([("Update", 1, "a"), ("Apply", 1, "b")], "ba!"),
        ] {
            assert_eq!(settled(list(&entries)), expected, "{entries:?}");
        }
    }
}
