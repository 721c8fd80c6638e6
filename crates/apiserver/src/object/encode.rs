//! Objects as JSON, with their fields in the order in which the real API server writes them: type, metadata, the
//! rest. Readers do not mind, but people do who look at raw answers; and a list leaves the type of its items out by
//! cutting off their beginning.
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

/// The fields of the top level that come first.
const TOP: &[&str] = &["kind", "apiVersion", "metadata"];

const META: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

const MANAGED: &[&str] = &[
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];

/// The encoded object.
pub(super) fn encode(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    match value.as_object() {
        Some(map) if is_typed(value) => serde_json::to_vec(&Ordered {
            map,
            first: TOP,
            inner: Inner::Top,
        }),
        _ => serde_json::to_vec(value),
    }
}

/// Whether the real one has a type for it: kinds of other groups are written in the order of the alphabet.
fn is_typed(value: &Value) -> bool {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inner {
    Top,
    Meta,
    Plain,
}

struct Ordered<'a> {
    map: &'a Map<String, Value>,
    first: &'static [&'static str],
    inner: Inner,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.map.len()))?;
        let first = self.first.iter().copied();
        for name in first.filter(|name| self.map.contains_key(*name)) {
            self.entry(&mut out, name)?;
        }
        for name in self.map.keys() {
            if !self.first.contains(&name.as_str()) {
                self.entry(&mut out, name)?;
            }
        }
        out.end()
    }
}

impl Ordered<'_> {
    fn entry<M: serde::ser::SerializeMap>(&self, out: &mut M, name: &str) -> Result<(), M::Error> {
        let value = &self.map[name];
        match (self.inner, name, value) {
            (Inner::Top, "metadata", Value::Object(map)) => out.serialize_entry(
                name,
                &Ordered {
                    map,
                    first: META,
                    inner: Inner::Meta,
                },
            ),
            (Inner::Meta, "managedFields", Value::Array(list)) => {
                out.serialize_entry(name, &Entries(list))
            }
            _ => out.serialize_entry(name, value),
        }
    }
}

struct Entries<'a>(&'a [Value]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Entry))
    }
}

struct Entry<'a>(&'a Value);

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => Ordered {
                map,
                first: MANAGED,
                inner: Inner::Plain,
            }
            .serialize(serializer),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: Value, wanted: &str) {
        assert_eq!(String::from_utf8(encode(&value).unwrap()).unwrap(), wanted);
        assert_eq!(serde_json::from_str::<Value>(wanted).unwrap(), value);
    }

    #[test]
    fn fields_are_in_the_order_of_the_real_one() {
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {
                "uid": "u", "namespace": "x", "name": "n", "managedFields": [{"time": "t", "manager": "m"}]}}),
            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"x\",\
             \"uid\":\"u\",\"managedFields\":[{\"manager\":\"m\",\"time\":\"t\"}]},\"data\":{\"a\":\"b\"}}",
        );
        check(
            json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"uid": "u", "name": "n"}}),
            "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"n\",\"uid\":\"u\"}}",
        );
    }
}
