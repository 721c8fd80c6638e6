//! LabelSelectors of a Link, into the domain's.
use std::collections::BTreeSet;

use serde_json::Value;
use tombolo_core::selector::{Operator, Requirement, Selector};

use crate::json::Reader;

pub(super) fn read(reader: &mut Reader, object: &Value, field: &str) -> Selector {
    if reader.object(object, field).is_none() {
        return Selector::nothing();
    }
    let mut requirements = Vec::new();
    let labels = format!("{field}.matchLabels");
    if let Some(map) = reader.object(object, &labels) {
        for (key, value) in map {
            match value.as_str() {
                Some(value) => {
                    let operator = Operator::In(BTreeSet::from([value.to_owned()]));
                    requirements.push(Requirement {
                        key: key.clone(),
                        operator,
                    });
                }
                None => reader.fault(&format!("{labels}[{key:?}]"), "must be a string"),
            }
        }
    }
    let expressions = format!("{field}.matchExpressions");
    for index in 0..reader.list(object, &expressions).len() {
        requirements.extend(expression(
            reader,
            object,
            &format!("{expressions}[{index}]"),
        ));
    }
    Selector::new(requirements)
}

fn expression(reader: &mut Reader, object: &Value, field: &str) -> Option<Requirement> {
    let key = reader.text(object, &format!("{field}.key"));
    let name = reader.text(object, &format!("{field}.operator"));
    let values_field = format!("{field}.values");
    let mut values = BTreeSet::new();
    for (index, value) in reader.list(object, &values_field).iter().enumerate() {
        match value.as_str() {
            Some(value) => {
                values.insert(value.to_owned());
            }
            None => reader.fault(&format!("{values_field}[{index}]"), "must be a string"),
        }
    }
    let Some(key) = key else {
        reader.fault(&format!("{field}.key"), "is empty");
        return None;
    };
    let operator = match (name, values.is_empty()) {
        (Some("In"), false) => Operator::In(values),
        (Some("NotIn"), false) => Operator::NotIn(values),
        (Some("Exists"), true) => Operator::Exists,
        (Some("DoesNotExist"), true) => Operator::DoesNotExist,
        (Some(name @ ("In" | "NotIn")), true) => {
            reader.fault(&values_field, format!("must not be empty with {name}"));
            return None;
        }
        (Some(name @ ("Exists" | "DoesNotExist")), false) => {
            reader.fault(&values_field, format!("must be empty with {name}"));
            return None;
        }
        (name, _) => {
            let name = name.unwrap_or_default();
            let why = format!("{name:?} is none of In, NotIn, Exists, DoesNotExist");
            reader.fault(&format!("{field}.operator"), why);
            return None;
        }
    };
    Some(Requirement {
        key: key.to_owned(),
        operator,
    })
}
