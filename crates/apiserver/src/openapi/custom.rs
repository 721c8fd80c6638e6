//! What CRDs add to OpenAPI: the schemas of their versions, and the paths at which they are written. Pure.

use serde_json::{Map, Value, json};

use crate::registry::{Registry, Resource};

/// Paths and schemas.
pub(super) type Described = (Map<String, Value>, Map<String, Value>);

/// Of all CRDs, or only of one group and version.
pub(super) fn described(
    registry: &Registry,
    only: Option<(&str, &str)>,
    dialect: Dialect,
) -> Described {
    let wanted = |res: &Resource| {
        res.custom && only.is_none_or(|only| only == (res.group.as_str(), res.version.as_str()))
    };
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for res in registry.all().iter().filter(|res| wanted(res)) {
        let kind = Custom(res);
        paths.insert(
            kind.collection(),
            json!({"post": kind.operation("post", dialect)}),
        );
        let one = json!({
            "put": kind.operation("put", dialect), "patch": kind.operation("patch", dialect),
            "delete": kind.operation("delete", dialect),
        });
        paths.insert(format!("{}/{{name}}", kind.collection()), one);
        schemas.insert(kind.schema_name(), kind.schema_value());
    }
    (paths, schemas)
}

/// The two ways to write the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn parameter(self, name: &str, kind: &str) -> Value {
        match self {
            Self::V2 => json!({"name": name, "in": "query", "type": kind, "uniqueItems": true}),
            Self::V3 => {
                json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
            }
        }
    }
}

/// A custom resource, as the documents name it.
struct Custom<'a>(&'a Resource);

impl Custom<'_> {
    fn type_value(&self) -> Value {
        json!({"group": self.0.group, "version": self.0.version, "kind": self.0.kind})
    }

    fn collection(&self) -> String {
        let Resource {
            group,
            version,
            plural,
            ..
        } = self.0;
        let place = if self.0.is_namespaced() {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!("/apis/{group}/{version}{place}/{plural}")
    }

    /// The group's labels in reverse, version and kind.
    fn schema_name(&self) -> String {
        let reversed: Vec<&str> = self.0.group.rsplit('.').collect();
        format!("{}.{}.{}", reversed.join("."), self.0.version, self.0.kind)
    }

    fn schema_value(&self) -> Value {
        let mut schema = match self.0.schema.as_deref() {
            Some(schema) => schema.clone(),
            None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        };
        schema["x-kubernetes-group-version-kind"] = json!([self.type_value()]);
        schema
    }

    fn operation(&self, action: &str, dialect: Dialect) -> Value {
        let mut parameters = vec![
            dialect.parameter("dryRun", "string"),
            dialect.parameter("fieldManager", "string"),
            dialect.parameter("fieldValidation", "string"),
        ];
        if action == "patch" {
            parameters.push(dialect.parameter("force", "boolean"));
        }
        json!({
            "operationId": format!("{action}{}{}", self.0.kind, self.0.version),
            "parameters": parameters, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self.type_value(),
            "responses": {"200": {"description": "OK"}},
        })
    }
}
