//! What CRDs add to OpenAPI: the schemas of their versions, and the paths at which they are written. Pure.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::archive;
use crate::crd::schema::texts;
use crate::registry::{Registry, Resource};
use crate::store::json::child;

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
        schemas.insert(kind.schema_name(), kind.schema_value(dialect));
    }
    if dialect == Dialect::V3 && !schemas.is_empty() {
        schemas.extend(META.clone());
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

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schemas of metadata, which documents of custom kinds repeat.
static META: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let text = archive::document("v3/apis/coordination.k8s.io/v1").unwrap_or_default();
    let document: Value = serde_json::from_slice(&text).unwrap_or_default();
    let schemas = document["components"]["schemas"].as_object();
    let of_meta = |name: &str| name.starts_with("io.k8s.apimachinery.pkg.apis.meta.v1.");
    let all = schemas.into_iter().flatten();
    all.filter(|(name, _)| of_meta(name))
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect()
});

/// Type and metadata, which every whole object has.
fn add_meta(schema: &mut Value, dialect: Dialect) {
    const SEE: &str = "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    let api_version = format!(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert \
         recognized schemas to the latest internal value, and may reject unrecognized values. {SEE}#resources"
    );
    let kind = format!(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from \
         the endpoint the client submits requests to. Cannot be updated. In CamelCase. {SEE}#types-kinds"
    );
    let metadata = format!("Standard object's metadata. {SEE}#metadata");
    let metadata = match dialect {
        Dialect::V2 => {
            json!({"description": metadata, "$ref": format!("#/definitions/{OBJECT_META}")})
        }
        Dialect::V3 => json!({"description": metadata,
            "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}]}),
    };
    let properties = child(schema, "properties");
    for (name, text) in [("apiVersion", api_version), ("kind", kind)] {
        properties.insert(
            name.to_owned(),
            json!({"type": "string", "description": text}),
        );
    }
    properties.insert("metadata".to_owned(), metadata);
}

/// Objects within objects have type and metadata too. Schemas are no deeper than the store takes.
fn complete_embedded(schema: &mut Value, dialect: Dialect) {
    if !schema.is_object() {
        return;
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(name) {
            complete_embedded(below, dialect);
        }
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for below in properties.into_iter().flat_map(Map::values_mut) {
        complete_embedded(below, dialect);
    }
    if schema["x-kubernetes-embedded-resource"] != true {
        return;
    }
    add_meta(schema, dialect);
    let mut required: BTreeSet<String> = texts(&schema["required"]).into_iter().collect();
    required.extend(["apiVersion".to_owned(), "kind".to_owned()]);
    schema["required"] = json!(required);
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

    fn schema_value(&self, dialect: Dialect) -> Value {
        let mut schema = match self.0.schema.as_deref() {
            Some(schema) => schema.clone(),
            None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        };
        complete_embedded(&mut schema, dialect);
        add_meta(&mut schema, dialect);
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
