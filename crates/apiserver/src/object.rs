//! One stored object: its encoded JSON and the few fields that reads decide by.
//!
//! The bytes are encoded once, when the object is written, and every get, list and watch sends
//! that same copy. The value tree is several times larger than its JSON, so it is not kept:
//! [`Object::value`] parses when somebody needs to look inside. It must not know about kinds.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::StatusError;
use crate::schema::order;

/// An immutable object as it was at one resource version.
#[derive(Debug, Clone)]
pub struct Object {
    api_version: Box<str>,
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: u64,
    labels: Box<[(Box<str>, Box<str>)]>,
    owners: Box<[Box<str>]>,
    terminating: bool,
    bytes: Bytes,
}

/// The part of an encoded object that reads decide by; the rest is skipped, not parsed.
#[derive(Deserialize)]
struct Head {
    #[serde(default, rename = "apiVersion")]
    api_version: Box<str>,
    metadata: Meta,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    labels: BTreeMap<Box<str>, Box<str>>,
    owner_references: Vec<Owner>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Owner {
    uid: Box<str>,
}

impl Object {
    /// Encodes a value that carries complete metadata (name, uid, resourceVersion).
    pub fn new(value: &Value) -> Result<Self, StatusError> {
        let bytes = order::encode(value);
        // Without the room that the encoder took in advance: it would stay as long as the object.
        Ok(Self::assemble(value, Bytes::from(bytes.into_boxed_slice())))
    }

    /// Reads an object back from its encoded form. It takes whatever [`Object::new`] has made.
    pub fn decode(bytes: Bytes) -> Result<Self, serde_json::Error> {
        let Ok(Head {
            api_version,
            metadata: meta,
        }) = serde_json::from_slice(&bytes)
        else {
            let value: Value = serde_json::from_slice(&bytes)?;
            return Ok(Self::assemble(&value, bytes));
        };
        let resource_version = meta.resource_version.parse().unwrap_or(0);
        Ok(Self {
            api_version,
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            resource_version,
            labels: meta.labels.into_iter().collect(),
            owners: meta
                .owner_references
                .into_iter()
                .map(|owner| owner.uid)
                .collect(),
            terminating: meta.deletion_timestamp.is_some(),
            bytes,
        })
    }

    fn assemble(value: &Value, bytes: Bytes) -> Self {
        let meta = &value["metadata"];
        let text = |field: &str| -> Box<str> { meta[field].as_str().unwrap_or_default().into() };
        let labels = meta["labels"]
            .as_object()
            .map_or_else(Default::default, |map| {
                map.iter()
                    .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or("").into()))
                    .collect()
            });
        let owners = meta["ownerReferences"]
            .as_array()
            .map_or_else(Default::default, |list| {
                list.iter()
                    .filter_map(|owner| owner["uid"].as_str())
                    .map(Into::into)
                    .collect()
            });
        Self {
            api_version: value["apiVersion"].as_str().unwrap_or_default().into(),
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            resource_version: version_of(value),
            labels,
            owners,
            terminating: meta
                .get("deletionTimestamp")
                .is_some_and(|at| !at.is_null()),
            bytes,
        }
    }

    /// The apiVersion in which it is encoded.
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// The namespace, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unique id that the store gave it at its creation.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The version of the store in which this state was written.
    pub fn resource_version(&self) -> u64 {
        self.resource_version
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(name, _)| &**name == key)
            .map(|(_, value)| &**value)
    }

    /// The uids in its owner references.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.owners.iter().map(|uid| &**uid)
    }

    /// Whether it has a deletionTimestamp.
    pub fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// The encoded JSON: what goes to clients, one copy for all of them.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The parsed JSON, made anew at each call.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The key under which it is sorted: namespace, then name.
    pub fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// The resource version that a value carries, 0 if none (or none that is a number).
pub fn version_of(value: &Value) -> u64 {
    value["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
