//! What the tests of this crate share: a database in memory, and short ways to use it.
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::db::{
    Bookmarks, Controllers, Db, DeleteOptions, Deleted, Force, From, LoopbackEndpoints, Options,
    Outcome, Patch, Storage, Subresource, Target, Watch, WatchEvent, WatchOptions, WriteOptions,
};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::selector::{FieldSelector, LabelSelector, Selectors};

/// A database and shorthand for its use: resources by plural name, everything in `default`.
pub(crate) struct World {
    pub(crate) db: Db,
}

pub(crate) fn options() -> Options {
    let mut options = Options::new("10.96.0.0/24".parse().unwrap());
    options.clock = Arc::new(|| Timestamp::from_second(1_700_000_000).unwrap());
    options.seed = Some(1);
    options.controllers = Controllers::Off;
    options.loopback_endpoints = LoopbackEndpoints::Refused;
    options
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        Self {
            db: Db::open(Storage::Memory, options).await.unwrap(),
        }
    }

    pub(crate) async fn on_disk(dir: &Path) -> Self {
        Self {
            db: Db::open(Storage::Dir(dir.to_owned()), options())
                .await
                .unwrap(),
        }
    }

    pub(crate) fn res(&self, plural: &str) -> Arc<Resource> {
        let registry = self.db.registry();
        let (plural, group) = plural.split_once('.').unwrap_or((plural, ""));
        let mut found = registry
            .all()
            .into_iter()
            .filter(|res| res.plural == plural);
        found
            .find(|res| group.is_empty() || res.group == group)
            .unwrap()
    }

    pub(crate) fn namespace(res: &Resource) -> Option<&'static str> {
        res.is_namespaced().then_some("default")
    }

    pub(crate) async fn create(&self, plural: &str, object: Value) -> Result<Value, StatusError> {
        let res = self.res(plural);
        let options = WriteOptions::by("test");
        let stored = self
            .db
            .create(&res, Self::namespace(&res), object, &options)
            .await?;
        Ok(stored.value())
    }

    pub(crate) fn get(&self, plural: &str, name: &str) -> Result<Value, StatusError> {
        let res = self.res(plural);
        self.db
            .get(&res, Self::namespace(&res), name)
            .map(|object| object.value())
    }

    pub(crate) async fn update(
        &self,
        plural: &str,
        sub: Subresource,
        object: Value,
    ) -> Result<(Value, Outcome), StatusError> {
        let res = self.res(plural);
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let target = Target::new(&res, Self::namespace(&res), &name).sub(sub);
        let (object, outcome) = self
            .db
            .update(target, object, &WriteOptions::by("test"))
            .await?;
        Ok((object.value(), outcome))
    }

    pub(crate) async fn patch(
        &self,
        plural: &str,
        name: &str,
        patch: Patch,
    ) -> Result<(Value, Outcome), StatusError> {
        let res = self.res(plural);
        let target = Target::new(&res, Self::namespace(&res), name);
        let (object, outcome) = self
            .db
            .patch(target, patch, &WriteOptions::by("test"))
            .await?;
        Ok((object.value(), outcome))
    }

    pub(crate) async fn apply(
        &self,
        plural: &str,
        (manager, force): (&str, Force),
        config: Value,
    ) -> Result<(Value, Outcome), StatusError> {
        let res = self.res(plural);
        let name = config["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let options = WriteOptions {
            force,
            ..WriteOptions::by(manager)
        };
        let target = Target::new(&res, Self::namespace(&res), &name);
        let (object, outcome) = self
            .db
            .patch(target, Patch::Apply(config), &options)
            .await?;
        Ok((object.value(), outcome))
    }

    pub(crate) async fn delete(&self, plural: &str, name: &str) -> Result<Deleted, StatusError> {
        self.delete_with(plural, name, DeleteOptions::default())
            .await
    }

    pub(crate) async fn delete_with(
        &self,
        plural: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        let res = self.res(plural);
        self.db
            .delete(Target::new(&res, Self::namespace(&res), name), &options)
            .await
    }

    pub(crate) fn names(&self, plural: &str) -> Vec<String> {
        let list = self.db.list(&self.res(plural), None, &Selectors::default());
        list.items
            .iter()
            .map(|object| object.name().to_owned())
            .collect()
    }

    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let list = self.db.list(&self.res(plural), None, &Selectors::default());
        list.items.iter().map(|object| object.value()).collect()
    }

    pub(crate) fn watch(
        &self,
        plural: &str,
        from: From,
        labels: &str,
    ) -> Result<Watch, StatusError> {
        let selectors = Selectors {
            labels: LabelSelector::parse(labels)?,
            fields: FieldSelector::default(),
        };
        let options = WatchOptions {
            from,
            bookmarks: Bookmarks::Off,
        };
        self.db.watch(&self.res(plural), None, &selectors, options)
    }
}

/// Everything that a watch has ready, as short texts.
pub(crate) fn drain(watch: &mut Watch) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = watch.try_next() {
        lines.push(line(&event));
    }
    lines
}

fn line(event: &WatchEvent) -> String {
    let named = |kind: &str, object: &Arc<Object>| format!("{kind} {}", object.name());
    match event {
        WatchEvent::Added(object) => named("ADDED", object),
        WatchEvent::Modified(object) => named("MODIFIED", object),
        WatchEvent::Deleted(object) => named("DELETED", object),
        WatchEvent::Bookmark { .. } => "BOOKMARK".to_owned(),
        WatchEvent::Error(error) => format!("ERROR {}", error.code),
    }
}

pub(crate) fn config_map(name: &str, data: Value) -> Value {
    json!({ "metadata": { "name": name }, "data": data })
}

pub(crate) fn version(object: &Value) -> u64 {
    crate::object::version_of(object)
}

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": "main", "image": "x:1",
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                }] },
            },
        },
    })
}

pub(crate) fn link_crd() -> Value {
    let schema = json!({ "openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "spec": { "type": "object",
            "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "members": { "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": { "type": "object", "required": ["name"],
                    "properties": { "name": { "type": "string" }, "x": { "type": "integer" } } } },
            "replicas": { "type": "integer" },
        } } },
    } });
    json!({
        "metadata": { "name": "links.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "links", "kind": "Link", "shortNames": ["ln"] },
            "versions": [
                { "name": "v1alpha1", "served": true, "storage": false, "schema": schema,
                  "subresources": { "status": {} } },
                { "name": "v1", "served": true, "storage": true, "schema": schema,
                  "subresources": { "status": {},
                    "scale": { "specReplicasPath": ".spec.replicas",
                               "statusReplicasPath": ".status.replicas" } },
                  "additionalPrinterColumns": [
                    { "name": "Cluster", "type": "string", "jsonPath": ".spec.cluster" }] },
            ],
        },
    })
}
