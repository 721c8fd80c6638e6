//! What others than its client make of an edit before it is carried out.
use std::sync::Arc;

use serde_json::Value;

use super::restrict::restrict;
use super::{Edit, Ownership, note_owner, restore_managed};
use crate::apply::managed;
use crate::error::{Cause, StatusError};
use crate::schema;
use crate::store::json::{child, set, text};
use crate::store::policy::Attempt;
use crate::store::request::Subresource;
use crate::store::{Moment, Store, admit, convert, meta, scale};

impl Store {
    /// Lets policies and webhooks change what an edit makes of its object. What they change belongs to nobody.
    pub(super) fn mutate_edit(
        &self,
        moment: &Moment<'_>,
        edit: &mut Edit<'_>,
    ) -> Result<(), StatusError> {
        let target = edit.target;
        let attempt = Attempt {
            res: target.res,
            sub: target.sub,
            operation: "UPDATE",
            name: target.name,
            namespace: text(&edit.before["metadata"], "namespace"),
            object: None,
            before: Some(&edit.before),
        };
        if target.sub == Subresource::Binding || !self.mutates(&attempt, edit.options) {
            return Ok(());
        }
        let mutated = if target.sub == Subresource::Scale {
            self.mutated_scale(&attempt, edit)?
        } else {
            self.mutated(&attempt, edit)?
        };
        let Some(mut mutated) = mutated else {
            return Ok(());
        };
        let name = &mutated["metadata"]["name"];
        if name != target.name {
            let cause = Cause::invalid("metadata.name", name, "field is immutable");
            return Err(StatusError::invalid(target.res, target.name, &[cause]));
        }
        let noted = if edit.ownership == Ownership::Compare {
            owners(moment, edit)?
        } else {
            edit.after["metadata"].get("managedFields").cloned()
        };
        set(child(&mut mutated, "metadata"), "managedFields", noted);
        edit.ownership = Ownership::Noted;
        edit.after = mutated;
        match edit.options.gate.judge() {
            Some(judge) => judge.may_ask(target.res, Some(&edit.before), &edit.after),
            None => Ok(()),
        }
    }

    fn mutated_scale(
        &self,
        attempt: &Attempt<'_>,
        edit: &Edit<'_>,
    ) -> Result<Option<Value>, StatusError> {
        let res = edit.target.res;
        let given = scale::view_value(res, &edit.after);
        let mut scaled = given.clone();
        let mut before = edit.before.clone();
        convert::to_storage(res, &mut before);
        let attempt = Attempt {
            before: Some(&before),
            ..*attempt
        };
        self.mutate_twice(&attempt, &mut scaled, edit.options, &mut |_| Ok(()))?;
        if scaled == given {
            return Ok(None);
        }
        scale::put(res, &edit.after, &scaled).map(Some)
    }

    fn mutated(
        &self,
        attempt: &Attempt<'_>,
        edit: &Edit<'_>,
    ) -> Result<Option<Value>, StatusError> {
        let res = edit.target.res;
        let (mut before, mut object) = (edit.before.clone(), edit.after.clone());
        convert::to_storage(res, &mut before);
        convert::to_storage(res, &mut object);
        meta::tidy(&mut object);
        let attempt = Attempt {
            before: Some(&before),
            ..*attempt
        };
        let prepare = &mut |object: &mut Value| {
            admit::prepare_again(self, res, &before, object);
            schema::complete(res, object)
        };
        prepare(&mut object)?;
        let given = object.clone();
        self.mutate_twice(&attempt, &mut object, edit.options, prepare)?;
        if object == given {
            return Ok(None);
        }
        convert::from_storage(res, &mut object);
        Ok(Some(object))
    }
}

/// The `managedFields` of what an edit asks for.
fn owners(moment: &Moment<'_>, edit: &Edit<'_>) -> Result<Option<Value>, StatusError> {
    let mut asked = Edit {
        old: Arc::clone(&edit.old),
        before: edit.before.clone(),
        after: edit.after.clone(),
        ..*edit
    };
    restrict(&mut asked);
    let Edit {
        target,
        mut before,
        mut after,
        options,
        ..
    } = asked;
    let res = target.res;
    restore_managed(target.sub, &before, &mut after);
    convert::to_storage(res, &mut before);
    convert::to_storage(res, &mut after);
    meta::tidy(&mut after);
    let given = managed::given_again(res, &after);
    schema::complete(res, &mut after)?;
    let by = managed::Writer::new(res, options, moment.now).sub(target.sub);
    note_owner(&by, &before, &mut after, &given);
    Ok(after["metadata"].get("managedFields").cloned())
}
