//! What planners want done, and doing it.
use std::sync::Arc;

use serde_json::Value;

use super::conditions;
use super::events::{Mood, Note, Recorder};
use super::pods::pods;
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::{Registry, StorageKey};
use crate::store::json::{child, list};
use crate::store::meta::stamp;
use crate::store::request::{
    DeleteOptions, Deleted, Force, Patch, Propagation, Subresource, Target, WriteOptions,
};
use crate::store::{Moment, Store};

/// Under which name the controllers own fields.
pub(super) const MANAGER: &str = "kube-controller-manager";

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
    /// Tells users something.
    Tell(Note),
    /// Does something for an owner, and tells what came of it.
    Behalf(Box<Behalf>),
}

/// What is done for an owner. In the messages `{name}` is the object's, `{error}` what went wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Behalf {
    pub(crate) action: Action,
    /// Told when it is done.
    pub(crate) done: Option<Note>,
    /// Told when it fails.
    pub(crate) failed: Option<Note>,
    /// Written into the owner's status when it fails.
    pub(crate) condition: Option<Condition>,
}

/// A condition that an owner gets when something fails; its message is the error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) collection: StorageKey,
    pub(crate) owner: Value,
    pub(crate) kind: &'static str,
    pub(crate) reason: &'static str,
}

impl Action {
    /// Deletes an object as it is now.
    pub(super) fn delete(collection: &StorageKey, object: &Value, how: Propagation) -> Self {
        Self::Delete {
            collection: collection.clone(),
            namespace: text(object, "namespace"),
            name: text(object, "name"),
            uid: text(object, "uid"),
            how,
        }
    }

    /// Whether it makes a Pod.
    pub(super) fn makes_pod(&self) -> bool {
        match self {
            Self::Create(collection, _) => *collection == pods(),
            Self::Behalf(behalf) => behalf.action.makes_pod(),
            _ => false,
        }
    }
}

/// What actions are carried out with.
pub(super) struct Hands<'a, 'b> {
    pub(super) store: &'a mut Store,
    pub(super) moment: &'a mut Moment<'b>,
    pub(super) registry: &'a Registry,
    pub(super) recorder: &'a Recorder,
}

impl Hands<'_, '_> {
    /// Does it. What is gone already, or there already, is no error.
    pub(super) fn carry_out(&mut self, action: Action) -> Result<(), StatusError> {
        match action {
            Action::Tell(note) => {
                self.tell(note);
                Ok(())
            }
            Action::Behalf(behalf) => self.behalf(*behalf),
            write => match self.write(write) {
                Err(error) if is_overtaken(&error) => {
                    tracing::debug!(%error, "overtaken");
                    Ok(())
                }
                done => done.map(|_| ()),
            },
        }
    }

    fn tell(&mut self, note: Note) {
        let recorder = self.recorder;
        recorder.tell(self.store, self.moment, self.registry, note);
    }

    fn behalf(&mut self, behalf: Behalf) -> Result<(), StatusError> {
        match self.write(behalf.action) {
            Ok(name) => {
                if let Some(mut note) = behalf.done {
                    note.message = note.message.replace("{name}", &name);
                    self.tell(note);
                }
                Ok(())
            }
            Err(error) if is_overtaken(&error) => Ok(()),
            Err(error) => {
                let in_ending_namespace = error.details.as_ref().is_some_and(|details| {
                    list(details, "causes")
                        .iter()
                        .any(|cause| cause["reason"] == "NamespaceTerminating")
                });
                if in_ending_namespace {
                    return Ok(());
                }
                if let Some(mut note) = behalf.failed {
                    note.message = note.message.replace("{error}", &error.message);
                    note.mood = Mood::Warning;
                    self.tell(note);
                }
                if let Some(condition) = behalf.condition {
                    self.fail(condition, &error)?;
                }
                Err(error)
            }
        }
    }

    /// Notes in an owner's status that something failed.
    fn fail(&mut self, condition: Condition, error: &StatusError) -> Result<(), StatusError> {
        let Condition {
            collection,
            owner,
            kind,
            reason,
        } = condition;
        let (namespace, name) = (text(&owner, "namespace"), text(&owner, "name"));
        let Some(found) = self.store.head().get(&collection, &namespace, &name) else {
            return Ok(());
        };
        let mut owner = found.value();
        if conditions::find(&owner["status"], kind).is_some_and(|one| one["reason"] == reason) {
            return Ok(());
        }
        let conditions = conditions::of(child(&mut owner, "status"));
        conditions.retain(|one| one["type"] != kind);
        conditions.push(serde_json::json!({
            "type": kind, "status": "True", "reason": reason, "message": error.message,
            "lastTransitionTime": stamp(self.moment.now),
        }));
        self.write(Action::Update(collection, Subresource::Status, owner))?;
        Ok(())
    }

    /// Applies what a manager wants, and wins.
    fn apply(
        &mut self,
        collection: &StorageKey,
        manager: &str,
        config: Value,
    ) -> Result<Arc<Object>, StatusError> {
        let res = self.registry.stored(collection).ok_or_else(nothing)?;
        let (namespace, name) = (text(&config, "namespace"), text(&config, "name"));
        let inside = res.is_namespaced().then_some(namespace.as_str());
        let options = WriteOptions {
            force: Force::Yes,
            ..WriteOptions::by(manager)
        };
        let target = Target::new(&res, inside, &name);
        let patch = Patch::Apply(config);
        let applied = self.store.patch(self.moment, target, patch, &options);
        Ok(applied?.0)
    }

    /// Writes, and answers the object's name.
    fn write(&mut self, action: Action) -> Result<String, StatusError> {
        let server = matches!(&action, Action::Create(collection, _) if *collection.plural == *"apiservices");
        let options = WriteOptions::by(if server { "kube-apiserver" } else { MANAGER });
        let done = match action {
            Action::Create(collection, object) => {
                let res = self.registry.stored(&collection).ok_or_else(nothing)?;
                let namespace = text(&object, "namespace");
                let inside = res.is_namespaced().then_some(namespace.as_str());
                self.store
                    .create(self.moment, (&res, inside), object, &options)?
            }
            Action::Update(collection, sub, object) => {
                let res = self.registry.stored(&collection).ok_or_else(nothing)?;
                let (namespace, name) = (text(&object, "namespace"), text(&object, "name"));
                let inside = res.is_namespaced().then_some(namespace.as_str());
                let target = Target::new(&res, inside, &name).sub(sub);
                let updated = self.store.update(self.moment, target, object, &options);
                updated?.0
            }
            Action::Delete {
                collection,
                namespace,
                name,
                uid,
                how,
            } => {
                let res = self.registry.stored(&collection).ok_or_else(nothing)?;
                let inside = res.is_namespaced().then_some(namespace.as_str());
                let options = DeleteOptions {
                    propagation: Some(how),
                    uid: Some(uid),
                    ..DeleteOptions::default()
                };
                let target = Target::new(&res, inside, &name);
                let deleted: Deleted = self.store.delete(self.moment, target, &options)?;
                Arc::clone(deleted.object())
            }
            Action::Apply {
                collection,
                manager,
                config,
            } => self.apply(&collection, manager, config)?,
            Action::Tell(_) | Action::Behalf(_) => return Ok(String::new()),
        };
        Ok(Object::name(&done).to_owned())
    }
}

fn nothing() -> StatusError {
    StatusError::new(404, "NotFound", "the kind is not served")
}

fn is_overtaken(error: &StatusError) -> bool {
    matches!(error.reason, "NotFound" | "AlreadyExists")
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
