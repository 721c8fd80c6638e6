//! OpenAPI: a real server's documents of the built-in kinds, and what CRDs add to them. Must not know HTTP.

mod archive;
mod custom;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

use self::custom::Dialect;
use crate::registry::Registry;

/// A short text that changes with the content.
pub fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// `/openapi/v3`: where each document is.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    let mut note = |path: &str, hash: &str| {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path.to_owned(), json!({"serverRelativeURL": url}));
    };
    for entry in archive::entries() {
        if let Some(path) = entry.path.strip_prefix("v3/") {
            note(path, &entry.hash);
        }
    }
    for res in registry.all().iter().filter(|res| res.custom) {
        let document = custom_document(registry, &res.group, &res.version);
        let path = format!("apis/{}/{}", res.group, res.version);
        note(&path, &hash(document.to_string().as_bytes()));
    }
    json!({"paths": paths})
}

/// A document and the hash by which clients know it.
#[derive(Clone, Debug)]
pub struct Document {
    /// JSON.
    pub bytes: Vec<u8>,
    /// Changes with the content.
    pub hash: String,
}

/// `/openapi/v3/<path>`; nothing if there is no such document.
pub fn document(registry: &Registry, path: &str) -> Option<Document> {
    let archived = format!("v3/{path}");
    if let Some(entry) = archive::entries()
        .iter()
        .find(|entry| entry.path == archived)
    {
        return Some(Document {
            bytes: archive::document(&archived)?,
            hash: entry.hash.clone(),
        });
    }
    let (group, version) = path.strip_prefix("apis/")?.split_once('/')?;
    let fits = |custom: &&str| *custom == version;
    let all = registry.all();
    let mut versions = all
        .iter()
        .filter(|res| res.custom && res.group == group)
        .map(|res| res.version.as_str());
    versions.find(fits)?;
    let bytes = custom_document(registry, group, version)
        .to_string()
        .into_bytes();
    Some(Document {
        hash: hash(&bytes),
        bytes,
    })
}

fn custom_document(registry: &Registry, group: &str, version: &str) -> Value {
    let (paths, schemas) = custom::described(registry, Some((group, version)), Dialect::V3);
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"},
        "paths": paths, "components": {"schemas": schemas}})
}

/// `/openapi/v2`: everything in one.
pub fn v2(registry: &Registry) -> Vec<u8> {
    let mut document = archive::document("v2").unwrap_or_else(|| b"{}".to_vec());
    let (paths, definitions) = custom::described(registry, None, Dialect::V2);
    for (name, members) in [("\"paths\":{", paths), ("\"definitions\":{", definitions)] {
        splice(&mut document, name, &members);
    }
    document
}

/// The same as protobuf, of the built-in kinds only.
pub fn v2_protobuf() -> Vec<u8> {
    archive::document("v2-protobuf").unwrap_or_default()
}

/// Puts members at the beginning of an object of the document: it is too large to be parsed for that.
fn splice(document: &mut Vec<u8>, name: &str, members: &Map<String, Value>) {
    let Some(at) = find(document, name.as_bytes()).filter(|_| !members.is_empty()) else {
        return;
    };
    let mut text = String::new();
    for (name, value) in members {
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        text.push_str(&value.to_string());
        text.push(',');
    }
    let at = at + name.len();
    document.splice(at..at, text.into_bytes());
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|here| here == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_put_where_the_object_begins() {
        let mut document = br#"{"paths":{"/a":1},"definitions":{"b":2}}"#.to_vec();
        let mut members = Map::new();
        members.insert("c".to_owned(), json!({"d": 3}));
        splice(&mut document, "\"definitions\":{", &members);
        let value: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(value["definitions"], json!({"b": 2, "c": {"d": 3}}));
    }

    #[test]
    fn documents_of_built_in_kinds_have_their_schemas() {
        let registry = Registry::with_builtin();
        let found = document(&registry, "apis/apps/v1").unwrap();
        let value: Value = serde_json::from_slice(&found.bytes).unwrap();
        let schemas = value["components"]["schemas"].as_object().unwrap();
        assert!(schemas.contains_key("io.k8s.api.apps.v1.Deployment"));
        assert!(document(&registry, "apis/none/v1").is_none());
        let index = index(&registry);
        assert!(index["paths"]["api/v1"]["serverRelativeURL"].is_string());
    }
}
