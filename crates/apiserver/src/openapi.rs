//! OpenAPI: enough for clients that ask which parameters a kind's verbs take, and for the schemas of CRDs.
//!
//! Built-in kinds are documented as open objects: this server validates by rules, not by their published schemas.
//! Pure; must not know HTTP.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

use crate::http::{Namespaced, REVIEWS};
use crate::registry::{Registry, Resource};

/// A short text that changes with the content.
pub fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// `/openapi/v3`: where each version's document is.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    let mut versions: Vec<(String, String)> = registry
        .all()
        .iter()
        .map(|res| (res.group.clone(), res.version.clone()))
        .collect();
    versions.extend(
        REVIEWS
            .iter()
            .map(|review| (review.group.to_owned(), "v1".to_owned())),
    );
    versions.sort();
    versions.dedup();
    for (group, version) in versions {
        let path = if group.is_empty() {
            format!("api/{version}")
        } else {
            format!("apis/{group}/{version}")
        };
        let document = document(registry, &group, &version).unwrap_or_default();
        let hash = hash(document.to_string().as_bytes());
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// One version's document; nothing if there is no such version.
pub fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let (paths, schemas) = described(registry, Some((group, version)), Dialect::V3);
    if paths.is_empty() {
        return None;
    }
    Some(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": paths, "components": {"schemas": schemas}}),
    )
}

/// `/openapi/v2`: the same for everything in one.
pub fn v2(registry: &Registry) -> Value {
    let (paths, definitions) = described(registry, None, Dialect::V2);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": paths, "definitions": definitions})
}

/// The two ways to write the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
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

/// A kind that can be written somewhere.
struct Described<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    plural: &'a str,
    namespaced: Namespaced,
    schema: Option<&'a Value>,
}

impl<'a> Described<'a> {
    fn stored(res: &'a Resource) -> Self {
        Self {
            group: &res.group,
            version: &res.version,
            kind: &res.kind,
            plural: &res.plural,
            namespaced: if res.is_namespaced() {
                Namespaced::Yes
            } else {
                Namespaced::No
            },
            schema: res.schema.as_deref(),
        }
    }

    fn type_value(&self) -> Value {
        json!({"group": self.group, "version": self.version, "kind": self.kind})
    }

    fn collection(&self) -> String {
        let root = if self.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", self.group)
        };
        let place = match self.namespaced {
            Namespaced::Yes => "/namespaces/{namespace}",
            Namespaced::No => "",
        };
        format!("{root}/{}{place}/{}", self.version, self.plural)
    }

    /// `io.k8s.api.apps.v1.Deployment`, or the reversed group for the kinds of CRDs.
    fn schema_name(&self) -> String {
        let (version, kind) = (self.version, self.kind);
        if self.schema.is_some() {
            let reversed: Vec<&str> = self.group.rsplit('.').collect();
            return format!("{}.{version}.{kind}", reversed.join("."));
        }
        let short = self.group.split('.').next().unwrap_or_default();
        let short = if short.is_empty() { "core" } else { short };
        format!("io.k8s.api.{short}.{version}.{kind}")
    }

    fn schema_value(&self) -> Value {
        let mut schema = self.schema.cloned().unwrap_or_else(|| {
            json!({"type": "object", "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "x-kubernetes-preserve-unknown-fields": true})
        });
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
            "operationId": format!("{action}{}{}", self.kind, self.version),
            "parameters": parameters, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self.type_value(),
            "responses": {"200": {"description": "OK"}},
        })
    }
}

fn described(
    registry: &Registry,
    only: Option<(&str, &str)>,
    dialect: Dialect,
) -> (Map<String, Value>, Map<String, Value>) {
    let wanted = |group: &str, version: &str| only.is_none_or(|only| only == (group, version));
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for res in registry
        .all()
        .iter()
        .filter(|res| wanted(&res.group, &res.version))
    {
        let kind = Described::stored(res);
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
    for review in REVIEWS.iter().filter(|review| wanted(review.group, "v1")) {
        let kind = Described {
            group: review.group,
            version: "v1",
            kind: review.kind,
            plural: review.plural,
            namespaced: review.namespaced,
            schema: None,
        };
        // kubectl looks only at `patch` to learn whether a kind's fields are validated here.
        let operations = json!({"post": kind.operation("post", dialect), "patch": kind.operation("patch", dialect)});
        paths.insert(kind.collection(), operations);
        schemas.insert(kind.schema_name(), kind.schema_value());
    }
    (paths, schemas)
}
