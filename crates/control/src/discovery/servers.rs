//! Servers of Linkerd's policy: their owners say which ports of which pods are not looked into.
//!
//! Pure. Decides whether a Server selects a port; a malformed one selects nothing.
use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Key, Pod};

/// A Server, as far as discovery reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyServer {
    /// Its namespace and name.
    pub(crate) key: Key,
    port: Port,
    requirements: Vec<Requirement>,
    protocol: Protocol,
}

/// What it says of the ports that it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// They are not looked into.
    Opaque,
    /// Anything else.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Number(u16),
    /// Of a container.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl PolicyServer {
    /// Reads the spec of a Server; `None`: it selects no pods.
    pub(crate) fn read(key: Key, spec: &Value) -> Option<Self> {
        let port = match &spec["port"] {
            Value::Number(number) => Port::Number(u16::try_from(number.as_u64()?).ok()?),
            Value::String(name) => Port::Name(name.clone()),
            _ => return None,
        };
        let selector = spec["podSelector"].as_object()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut requirements = Vec::new();
        for (key, value) in selector
            .get("matchLabels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            requirements.push(Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![text(value)?],
            });
        }
        for expression in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let values = expression["values"].as_array().into_iter().flatten();
            requirements.push(Requirement {
                key: text(&expression["key"])?,
                operator: match expression["operator"].as_str()? {
                    "In" => Operator::In,
                    "NotIn" => Operator::NotIn,
                    "Exists" => Operator::Exists,
                    "DoesNotExist" => Operator::DoesNotExist,
                    _ => return None,
                },
                values: values.map(text).collect::<Option<_>>()?,
            });
        }
        let protocol = match spec["proxyProtocol"].as_str() {
            Some("opaque") => Protocol::Opaque,
            _ => Protocol::Other,
        };
        Some(Self {
            key,
            port,
            requirements,
            protocol,
        })
    }

    /// Whether it says of this port of a pod of its namespace that it is not looked into.
    pub(crate) fn makes_opaque(&self, pod: &Pod, port: u16) -> bool {
        let of_port = match &self.port {
            Port::Number(number) => *number == port,
            Port::Name(name) => pod.ports.get(name) == Some(&port),
        };
        let meets = |requirement: &Requirement| requirement.holds(&pod.labels);
        self.protocol == Protocol::Opaque && of_port && self.requirements.iter().all(meets)
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod as KubePod;
    use serde_json::json;

    use super::*;

    fn check(spec: &Value, want: bool) {
        let object: KubePod = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "p", "labels": {"app": "web", "tier": "front"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80}]}]},
        }))
        .unwrap();
        let pod = crate::world::trim::pod(&object).unwrap();
        let server = PolicyServer::read(Key::new("n", "s"), spec);
        let found = server.is_some_and(|server| server.makes_opaque(&pod, 80));
        assert_eq!(found, want, "{spec}");
    }

    #[test]
    fn a_server_is_about_one_port_and_one_protocol() {
        for (port, protocol, want) in [
            (json!(80), "opaque", true),
            (json!("http"), "opaque", true),
            (json!("grpc"), "opaque", false),
            (json!(81), "opaque", false),
            (json!(700_000), "opaque", false),
            (json!(null), "opaque", false),
            (json!(80), "HTTP/2", false),
        ] {
            let spec = json!({"port": port, "podSelector": {}, "proxyProtocol": protocol});
            check(&spec, want);
        }
    }

    #[test]
    fn a_server_selects_pods_by_their_labels() {
        let by = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, want) in [
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "FOOBAR"}}), false),
            (json!({"matchLabels": {"app": 7}}), false),
            (by("tier", "In", json!(["front"])), true),
            (by("tier", "NotIn", json!(["front"])), false),
            (by("zone", "NotIn", json!(["a"])), true),
            (by("tier", "Exists", json!(null)), true),
            (by("tier", "DoesNotExist", json!(null)), false),
            (by("tier", "Near", json!(null)), false),
            (json!(null), false),
        ] {
            let spec = json!({"port": 80, "podSelector": selector, "proxyProtocol": "opaque"});
            check(&spec, want);
        }
    }
}
