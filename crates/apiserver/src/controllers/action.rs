//! What planners want done, and doing it.
use std::sync::Arc;

use serde_json::Value;

use crate::error::StatusError;
use crate::registry::{Registry, Resource, StorageKey};
use crate::store::request::{
    DeleteOptions, Force, Patch, Propagation, Subresource, Target, WriteOptions,
};
use crate::store::{Moment, Store};

/// Under which name the controllers own fields.
const MANAGER: &str = "kube-controller-manager";

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Creates an object; its namespace is in its metadata.
    Create(StorageKey, Value),
    /// Replaces an object, or a subresource of it.
    Update(StorageKey, Subresource, Value),
    /// Applies what a manager wants to an object that exists, and wins.
    Apply {
        collection: StorageKey,
        manager: &'static str,
        config: Value,
    },
    /// Deletes an object that has this uid.
    Delete {
        collection: StorageKey,
        namespace: String,
        name: String,
        uid: String,
        how: Propagation,
    },
}

impl Action {
    /// Does it. What is gone already, or there already, is no error.
    pub(super) fn carry_out(
        self,
        store: &mut Store,
        moment: &mut Moment<'_>,
        registry: &Registry,
    ) -> Result<(), StatusError> {
        let options = WriteOptions::by(MANAGER);
        let (collection, done) = match self {
            Self::Create(collection, object) => {
                let Some(res) = registry.stored(&collection) else {
                    return Ok(());
                };
                let namespace = text(&object, "namespace");
                let inside = res.is_namespaced().then_some(namespace.as_str());
                let made = store.create(moment, (&res, inside), object, &options);
                (collection, made.map(|_| ()))
            }
            Self::Update(collection, sub, object) => {
                let Some(res) = registry.stored(&collection) else {
                    return Ok(());
                };
                let (namespace, name) = (text(&object, "namespace"), text(&object, "name"));
                let inside = res.is_namespaced().then_some(namespace.as_str());
                let target = Target::new(&res, inside, &name).sub(sub);
                (
                    collection,
                    store.update(moment, target, object, &options).map(|_| ()),
                )
            }
            Self::Apply {
                collection,
                manager,
                config,
            } => {
                let Some(res) = registry.stored(&collection) else {
                    return Ok(());
                };
                (collection, apply(store, moment, &res, (manager, config)))
            }
            Self::Delete {
                collection,
                namespace,
                name,
                uid,
                how,
            } => {
                let Some(res) = registry.stored(&collection) else {
                    return Ok(());
                };
                let inside = res.is_namespaced().then_some(namespace.as_str());
                let options = DeleteOptions {
                    propagation: Some(how),
                    uid: Some(uid),
                    ..DeleteOptions::default()
                };
                let target = Target::new(&res, inside, &name);
                (
                    collection,
                    store.delete(moment, target, &options).map(|_| ()),
                )
            }
        };
        match done {
            Err(error) if matches!(error.reason, "NotFound" | "AlreadyExists") => {
                tracing::debug!(?collection, %error, "overtaken");
                Ok(())
            }
            done => done,
        }
    }
}

/// Applies what a manager wants, and wins.
fn apply(
    store: &mut Store,
    moment: &mut Moment<'_>,
    res: &Arc<Resource>,
    (manager, config): (&str, Value),
) -> Result<(), StatusError> {
    let (namespace, name) = (text(&config, "namespace"), text(&config, "name"));
    let inside = res.is_namespaced().then_some(namespace.as_str());
    let options = WriteOptions {
        force: Force::Yes,
        ..WriteOptions::by(manager)
    };
    let target = Target::new(res, inside, &name);
    store
        .patch(moment, target, Patch::Apply(config), &options)
        .map(drop)
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
