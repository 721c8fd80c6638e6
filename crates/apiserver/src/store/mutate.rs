//! What policies and webhooks change of a write before it is checked.
//!
//! As in Kubernetes: after the defaults and the built-in plugins, before what the store itself fills in. When
//! something has changed, the plugins and those who want to see it again get a second turn; there is no third.
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::json::{child, set, text};
use super::policy::asked::Asked;
use super::policy::{Again, Attempt, Does};
use super::request::{Subresource, WriteOptions};
use super::webhooks::Turned;
use super::write::Named;
use super::{Moment, Store, admit, facts};
use crate::error::StatusError;
use crate::registry::Resource;
use crate::schema;

/// Metadata that a new object gets after everybody has had a say.
const FILLED_IN: [&str; 3] = ["uid", "creationTimestamp", "generation"];

/// Metadata that no new object has.
const NEVER_NEW: [&str; 3] = [
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// Which turn it is, and what of the first is to be known in the second.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whether this is the second.
    pub(super) again: bool,
    /// Whether the object has been changed, so that there must be a second.
    pub(super) changed: bool,
    /// Which policies want to see it again.
    pub(super) policies: Again,
    webhooks: Turned,
}

/// Refuses what has grown far beyond what could be stored, before it goes on growing.
pub(super) fn fits(attempt: &Attempt<'_>, object: &Value) -> Result<(), StatusError> {
    let mut size = Size(0);
    let fits = serde_json::to_writer(&mut size, object).is_ok();
    if fits {
        return Ok(());
    }
    let (name, limit) = (attempt.name, facts::OBJECT_BYTES_MAX);
    let why = format!("{name:?} is too large: it was changed into more than twice {limit} bytes");
    Err(StatusError::new(413, "RequestEntityTooLarge", why))
}

/// Counts what is written, as far as it may go.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        match self.0 > 2 * facts::OBJECT_BYTES_MAX {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// Whether anybody could change this write. Cheap, for it is asked for every write.
    pub(super) fn mutates(&self, attempt: &Attempt<'_>, options: &WriteOptions) -> bool {
        let webhooks = options.inquiry.asks() && self.webhooks_mutate(attempt);
        webhooks || self.policies_mutate(attempt)
    }

    /// Lets everybody who may change a write change it: `object` is the new state, in the version that is stored.
    pub(super) fn mutate(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        options: &WriteOptions,
        turn: &mut Turn,
    ) -> Result<(), StatusError> {
        let asked = Asked::of_write(attempt.operation, options);
        if self.policies_mutate(attempt) {
            self.mutate_by_policies(attempt, object, &asked, turn)?;
        }
        let webhooks = (&mut turn.webhooks, turn.again);
        turn.changed |= self.mutate_by_webhooks(attempt, object, &asked, webhooks)?;
        Ok(())
    }

    fn policies_mutate(&self, attempt: &Attempt<'_>) -> bool {
        !self.policies.that(Does::Mutate).is_empty() && !attempt.is_exempt()
    }

    /// Both turns; `prepare` is what happens before the second.
    pub(super) fn mutate_twice(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        options: &WriteOptions,
        prepare: &mut dyn FnMut(&mut Value) -> Result<(), StatusError>,
    ) -> Result<(), StatusError> {
        let mut turn = Turn::default();
        self.mutate(attempt, object, options, &mut turn)?;
        if !turn.changed {
            return Ok(());
        }
        prepare(object)?;
        turn.again = true;
        self.mutate(attempt, object, options, &mut turn)?;
        prepare(object)
    }

    /// The same for a new object, which they see without what the store fills in.
    pub(super) fn mutate_new(
        &self,
        moment: &mut Moment<'_>,
        (res, named): (&Arc<Resource>, Named),
        object: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), StatusError> {
        let meta = &object["metadata"];
        let name = text(meta, "name").to_owned();
        let namespace = text(meta, "namespace").to_owned();
        let attempt = Attempt {
            res,
            sub: Subresource::None,
            operation: "CREATE",
            name: if named == Named::Asked { &name } else { "" },
            namespace: &namespace,
            object: None,
            before: None,
        };
        if !self.mutates(&attempt, options) {
            return Ok(());
        }
        let meta = child(object, "metadata");
        let mut kept = Map::new();
        let generated = (named == Named::Generated).then_some("name");
        for field in FILLED_IN.into_iter().chain(generated) {
            kept.extend(meta.remove_entry(field));
        }
        schema::complete(res, object)?;
        let prepare = &mut |object: &mut Value| {
            admit::prepare(self, moment, res, object)?;
            schema::complete(res, object)
        };
        let managed = object["metadata"].get("managedFields").cloned();
        self.mutate_twice(&attempt, object, options, prepare)?;
        let inside = text(&object["metadata"], "namespace");
        if !inside.is_empty() && !namespace.is_empty() && inside != namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(StatusError::bad_request(why));
        }
        if !text(&object["metadata"], "name").is_empty() {
            kept.remove("name");
        }
        let meta = child(object, "metadata");
        for field in NEVER_NEW {
            meta.remove(field);
        }
        meta.extend(kept);
        set(meta, "managedFields", managed);
        let namespace = (!namespace.is_empty()).then(|| namespace.as_str().into());
        set(meta, "namespace", namespace);
        // What others have made of it is judged as if it had been asked for.
        if let Some(judge) = options.gate.judge() {
            judge.begin(res, object);
            judge.may_ask(res, None, object)?;
        }
        Ok(())
    }
}
