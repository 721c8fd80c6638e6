//! Updates and patches: from the state that is to the state that shall be.
mod mutated;
mod restrict;

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{child, list, set, text};
use super::request::{DryRun, Outcome, Patch, Subresource, Target, WriteOptions};
use super::{Moment, Store, admit, convert, meta, scale};
use crate::apply::fields::FieldSet;
use crate::apply::{self, managed};
use crate::crd::{object as crd, typed};
use crate::error::{Cause, StatusError};
use crate::object::Object;
use crate::patch;
use crate::registry::Resource;
use crate::schema;

/// What every write answers.
pub type Written = (Arc<Object>, Outcome);

/// One change that is about to happen to an existing object.
struct Edit<'a> {
    target: Target<'a>,
    old: Arc<Object>,
    before: Value,
    after: Value,
    options: &'a WriteOptions,
    ownership: Ownership,
}

/// Who records in `managedFields` what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// The edit does, comparing before and after.
    Compare,
    /// It is done already.
    Noted,
}

impl Store {
    /// Replaces an object, or a subresource of it.
    pub fn update(
        &mut self,
        moment: &mut Moment<'_>,
        target: Target<'_>,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, StatusError> {
        let is_new = target.sub == Subresource::None && self.lookup(target).is_none();
        if is_new && is_created_by_update(target.res) {
            check_name(target, &mut object)?;
            let stored = self.create(moment, (target.res, target.namespace), object, options)?;
            return Ok((convert::shown(target.res, stored)?, Outcome::Created));
        }
        let (old, before) = self.current(target)?;
        let after = match target.sub {
            Subresource::Scale => {
                check_name(target, &mut object)?;
                scale::put(target.res, &before, &object)?
            }
            Subresource::Binding => {
                admit::place(self, &mut object);
                admit::pod::bind(target, moment.now, (&before, &object))?
            }
            _ => {
                self.check_identity(target.res, target.namespace, &mut object)?;
                check_name(target, &mut object)?;
                crd::decode(
                    target.res,
                    &mut object,
                    (options.validation, &options.warnings),
                )?;
                object
            }
        };
        self.require_version(target, &after)?;
        self.carry_out(
            moment,
            Edit {
                target,
                old,
                before,
                after,
                options,
                ownership: Ownership::Compare,
            },
        )
    }

    /// Changes an object, or a subresource of it; apply may create it.
    pub fn patch(
        &mut self,
        moment: &mut Moment<'_>,
        target: Target<'_>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Written, StatusError> {
        if let Patch::Apply(config) = patch {
            return self.apply(moment, target, config, options);
        }
        let (old, before) = self.current(target)?;
        let shown = match target.sub {
            Subresource::Scale => scale::view_value(target.res, &before),
            _ => before.clone(),
        };
        let mut patched =
            patch::patched(target.res, shown, &patch).map_err(patch::PatchProblem::into_status)?;
        let after = match target.sub {
            Subresource::Scale => scale::put(target.res, &before, &patched)?,
            _ => {
                schema::patched::same_type(target.res, &mut patched, &patch)?;
                self.check_identity(target.res, target.namespace, &mut patched)?;
                check_name(target, &mut patched)?;
                check_uid(target, &before, &patched)?;
                let how = (options.validation, &options.warnings, &*options.faults);
                schema::patched(target.res, &mut patched, &patch, how)?;
                let causes = meta::changes(&before, &patched);
                if !causes.is_empty() {
                    return Err(StatusError::invalid(target.res, target.name, &causes));
                }
                patched
            }
        };
        self.carry_out(
            moment,
            Edit {
                target,
                old,
                before,
                after,
                options,
                ownership: Ownership::Compare,
            },
        )
    }

    fn apply(
        &mut self,
        moment: &mut Moment<'_>,
        target: Target<'_>,
        mut config: Value,
        options: &WriteOptions,
    ) -> Result<Written, StatusError> {
        if target.sub != Subresource::Scale {
            apply::check_keys(target.res, &config)?;
            if config.is_object() {
                typed::check(target.res, &config)?;
                schema::intent::check(target.res, &config)?;
            }
            self.check_identity(target.res, target.namespace, &mut config)?;
            if text(&config["metadata"], "name").is_empty() {
                child(&mut config, "metadata").insert("name".to_owned(), target.name.into());
            }
            check_name(target, &mut config)?;
        }
        if config["metadata"]
            .get("managedFields")
            .is_some_and(|fields| !fields.is_null())
        {
            return Err(StatusError::bad_request(
                "metadata.managedFields must be nil",
            ));
        }
        let by = managed::Writer::new(target.res, options, moment.now).sub(target.sub);
        if self.lookup(target).is_none() {
            return self.apply_new(moment, target, config, (options, &by));
        }
        let (old, before) = self.current(target)?;
        if target.sub == Subresource::Scale {
            config = scale::as_config(target.res, &before, &config);
        }
        let wanted_version = text(&config["metadata"], "resourceVersion").to_owned();
        let mut after = apply::apply(&by, &before, config, options.force)?;
        crd::settle(target.res, &mut after)?;
        if !wanted_version.is_empty() {
            child(&mut after, "metadata")
                .insert("resourceVersion".to_owned(), wanted_version.into());
        }
        self.carry_out(
            moment,
            Edit {
                target,
                old,
                before,
                after,
                options,
                ownership: Ownership::Noted,
            },
        )
    }

    fn apply_new(
        &mut self,
        moment: &mut Moment<'_>,
        target: Target<'_>,
        config: Value,
        (options, by): (&WriteOptions, &managed::Writer<'_>),
    ) -> Result<Written, StatusError> {
        if target.sub != Subresource::None {
            return Err(StatusError::not_found(target.res, target.name));
        }
        let mut config = config;
        child(&mut config, "metadata").remove("resourceVersion");
        if !text(&config["metadata"], "uid").is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                text(&config["metadata"], "uid")
            );
            return Err(StatusError::conflict(target.res, target.name, &why));
        }
        let mut object = apply::apply_to_nothing(by, config)?;
        crd::settle(target.res, &mut object)?;
        self.fill_system_fields(moment, target.res, &mut object);
        self.check_namespace_of(target.res, &object)?;
        let stored = self.store_new(moment, target.res, object, options)?;
        Ok((convert::shown(target.res, stored)?, Outcome::Created))
    }

    fn lookup(&self, target: Target<'_>) -> Option<&Arc<Object>> {
        let namespace = target
            .namespace
            .filter(|_| target.res.is_namespaced())
            .unwrap_or("");
        self.head.get(&target.res.storage, namespace, target.name)
    }

    /// The object as it is, and its value in the version that the client speaks.
    fn current(&self, target: Target<'_>) -> Result<(Arc<Object>, Value), StatusError> {
        let found = self.lookup(target);
        let old = found.ok_or_else(|| StatusError::not_found(target.res, target.name))?;
        let mut value = old.value();
        convert::from_storage(target.res, &mut value);
        Ok((Arc::clone(old), value))
    }

    fn unchanged(&self, target: Target<'_>, old: &Arc<Object>) -> Result<Written, StatusError> {
        Ok((
            convert::shown(target.res, Arc::clone(old))?,
            Outcome::Unchanged,
        ))
    }

    /// Kinds that are never updated blindly want to know from which version.
    fn require_version(&self, target: Target<'_>, after: &Value) -> Result<(), StatusError> {
        let strict = target.res.custom || is_never_updated_blindly(target.res);
        let free = !strict || target.sub == Subresource::Scale;
        if free || !text(&after["metadata"], "resourceVersion").is_empty() {
            return Ok(());
        }
        let why = "must be specified for an update";
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), why);
        let (group, plural) = (&target.res.group, &target.res.plural);
        Err(StatusError::invalid_kind(
            group,
            plural,
            target.name,
            &[cause],
        ))
    }

    fn carry_out(
        &mut self,
        moment: &mut Moment<'_>,
        mut edit: Edit<'_>,
    ) -> Result<Written, StatusError> {
        let judge = edit.options.gate.judge();
        if let Some(judge) = judge {
            judge.may_ask(edit.target.res, Some(&edit.before), &edit.after)?;
        }
        check_preconditions(&edit)?;
        self.mutate_edit(moment, &mut edit)?;
        restrict::restrict(&mut edit);
        let Edit {
            target,
            old,
            mut before,
            mut after,
            options,
            ownership,
        } = edit;
        let res = target.res;
        if ownership == Ownership::Compare {
            restore_managed(target.sub, &before, &mut after);
        }
        convert::to_storage(res, &mut before);
        convert::to_storage(res, &mut after);
        meta::tidy(&mut after);
        let given = managed::given_again(res, &after);
        match target.sub {
            Subresource::None | Subresource::Scale => {
                admit::update(self, moment, (res, &before), &mut after, options)?;
            }
            sub @ (Subresource::EphemeralContainers | Subresource::Resize) => {
                admit::update_part(sub, (res, &before), &mut after)?;
            }
            sub => admit::update_status(moment, sub, (res, &before), &mut after)?,
        }
        schema::complete(res, &mut after)?;
        check(target, (&before, &after), options)?;
        if let Some(judge) = judge {
            judge.may_write(res, Some(&before), &after)?;
        }
        count_generation(target, &before, &mut after);
        if ownership == Ownership::Compare {
            let by = managed::Writer::new(res, options, moment.now).sub(target.sub);
            note_owner(&by, &before, &mut after, &given);
        }
        self.ask_policies_of_edit(target, (&before, &after), options)?;
        if target.sub == Subresource::None {
            admit::crd::warn(res, (Some(&before), &after), &options.warnings);
        }
        // What another version or an older schema has stored beyond what this one shows goes with any write.
        let is_same = managed::same(&before, &after);
        if is_same && (!res.custom || managed::same(&old.value(), &after)) {
            return self.unchanged(target, &old);
        }
        if options.dry_run == DryRun::All {
            let object = Arc::new(Object::new(&after)?);
            return Ok((convert::shown(res, object)?, Outcome::Updated));
        }
        let stored = if ends_with_this(&after) {
            self.end(res, old, after)?
        } else {
            let stored = self.put(&res.storage, Some(old), &mut after)?;
            self.accept_names(moment, res, &stored)?;
            stored
        };
        Ok((convert::shown(res, stored)?, Outcome::Updated))
    }

    /// Takes away what waited only for this. Whoever ends it is shown what he wrote, with the version before.
    fn end(
        &mut self,
        res: &Resource,
        old: Arc<Object>,
        mut after: Value,
    ) -> Result<Arc<Object>, StatusError> {
        let version = json!(old.resource_version().to_string());
        child(&mut after, "metadata").insert("resourceVersion".to_owned(), version);
        let written = Arc::new(Object::new(&after)?);
        self.take(&res.storage, old, &mut after)?;
        Ok(written)
    }
}

/// What must hold of a changed object by its kind.
fn check(
    target: Target<'_>,
    (before, after): (&Value, &Value),
    options: &WriteOptions,
) -> Result<(), StatusError> {
    let res = target.res;
    let mut causes = if res.custom {
        meta::problems(res, after)
    } else {
        Vec::new()
    };
    no_new_finalizers(before, after, &mut causes);
    let changed = (Some(before), after);
    causes.extend(crd::problems(res, changed, target.sub, &options.warnings));
    if causes.is_empty() {
        return Ok(());
    }
    Err(StatusError::invalid(res, target.name, &causes))
}

/// A patch may leave the uid out, but not change it.
fn check_uid(target: Target<'_>, before: &Value, after: &Value) -> Result<(), StatusError> {
    let uid = &after["metadata"]["uid"];
    if uid.as_str().is_none_or(str::is_empty) || *uid == before["metadata"]["uid"] {
        return Ok(());
    }
    let cause = Cause::invalid("metadata.uid", uid, "field is immutable");
    Err(StatusError::invalid(target.res, target.name, &[cause]))
}

/// The name in the object must be the one in the URL.
fn check_name(target: Target<'_>, object: &mut Value) -> Result<(), StatusError> {
    let meta = child(object, "metadata");
    let inside = meta.get("name").and_then(Value::as_str).unwrap_or_default();
    if inside.is_empty() {
        return Err(StatusError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            target.name
        )));
    }
    if inside == target.name {
        return Ok(());
    }
    Err(StatusError::bad_request(format!(
        "the name of the object ({inside}) does not match the name on the URL ({})",
        target.name
    )))
}

/// Where the real one keeps an object, as some of its refusals say.
fn storage_path(target: &Target<'_>) -> String {
    let res = target.res;
    let shelf = match (res.custom, res.group.as_str(), res.plural.as_str()) {
        (true, group, plural) => format!("{group}/{plural}"),
        (_, "", "nodes") => "minions".to_owned(),
        (_, "", "services") => "services/specs".to_owned(),
        (_, "", "endpoints") => "services/endpoints".to_owned(),
        (_, _, plural) => plural.to_owned(),
    };
    match target.namespace.filter(|_| res.is_namespaced()) {
        Some(namespace) => format!("/registry/{shelf}/{namespace}/{}", target.name),
        None => format!("/registry/{shelf}/{}", target.name),
    }
}

/// Whether a PUT makes an object that is not there.
fn is_created_by_update(res: &Resource) -> bool {
    let known = matches!(
        (res.group.as_str(), res.kind.as_str()),
        ("", "Service" | "Endpoints" | "Event" | "LimitRange")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease")
            | ("node.k8s.io", "RuntimeClass")
            | (
                "rbac.authorization.k8s.io",
                "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding"
            )
    );
    known && !res.custom
}

/// Notes who wrote what has changed.
fn note_owner(by: &managed::Writer<'_>, before: &Value, after: &mut Value, given: &[FieldSet]) {
    let res = by.res();
    if res.storage_api_version() == res.api_version() {
        managed::record(by, before, after, given);
        return;
    }
    // Fields go by their names in the version of the request.
    let (mut old, mut new) = (before.clone(), after.clone());
    convert::from_storage(res, &mut old);
    convert::from_storage(res, &mut new);
    managed::record(by, &old, &mut new, given);
    let managed = new["metadata"].get("managedFields").cloned();
    set(child(after, "metadata"), "managedFields", managed);
}

/// Whether a PUT of a built-in kind must say from which version.
fn is_never_updated_blindly(res: &Resource) -> bool {
    matches!(
        (res.group.as_str(), res.kind.as_str()),
        ("policy", "PodDisruptionBudget")
            | ("coordination.k8s.io", "Lease")
            | ("node.k8s.io", "RuntimeClass")
            | (
                "storage.k8s.io",
                "CSIDriver" | "CSINode" | "CSIStorageCapacity" | "VolumeAttachment"
            )
    ) || res.group == "admissionregistration.k8s.io"
}

/// The version and the uid that the client names must be the present ones.
fn check_preconditions(edit: &Edit<'_>) -> Result<(), StatusError> {
    let (res, name) = (edit.target.res, edit.target.name);
    let meta = &edit.after["metadata"];
    let version = text(meta, "resourceVersion");
    if !version.is_empty() && version != "0" {
        let Ok(number) = version.parse::<u64>() else {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                &json!(version),
                "must be a number",
            );
            return Err(StatusError::invalid(res, name, &[cause]));
        };
        if number != edit.old.resource_version() {
            return Err(StatusError::modified(res, name));
        }
    }
    let uid = text(meta, "uid");
    if !uid.is_empty() && uid != edit.old.uid() {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            storage_path(&edit.target),
            edit.old.uid()
        );
        return Err(StatusError::conflict(res, name, &why));
    }
    Ok(())
}

/// A client that leaves `managedFields` out does not change them, nor does one that writes to a subresource or
/// sends what cannot be read; one that sends an empty list clears them.
fn restore_managed(sub: Subresource, before: &Value, after: &mut Value) {
    let cleared = match after["metadata"].get("managedFields") {
        Some(Value::Array(list)) => list.is_empty() || (list.len() == 1 && list[0] == json!({})),
        _ => false,
    };
    let given = list(&after["metadata"], "managedFields").len();
    if !cleared && sub == Subresource::None && given > 0 && managed::decode(after).len() == given {
        return;
    }
    let kept = before["metadata"]
        .get("managedFields")
        .cloned()
        .filter(|_| !cleared);
    set(child(after, "metadata"), "managedFields", kept);
}

fn no_new_finalizers(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if before["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let old = list(&before["metadata"], "finalizers");
    let new = list(&after["metadata"], "finalizers");
    let extra: Vec<String> = new
        .iter()
        .filter(|one| !old.contains(one))
        .map(|one| format!("{one}"))
        .collect();
    if !extra.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            extra.join(", ")
        );
        causes.push(Cause::forbidden("metadata.finalizers", &why));
    }
}

fn count_generation(target: Target<'_>, before: &Value, after: &mut Value) {
    let res = target.res;
    if !meta::counts_generations(res) || target.sub == Subresource::Status {
        return;
    }
    let changed = meta::spec_differs(res, before, after)
        || (res.kind == "EndpointSlice"
            && before["metadata"]["labels"] != after["metadata"]["labels"])
        // A change-cause is news for the rollout, too.
        || (res.kind == "Deployment"
            && !res.custom
            && before["metadata"]["annotations"] != after["metadata"]["annotations"]);
    if changed {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        child(after, "metadata").insert("generation".to_owned(), generation.into());
    }
}

/// Whether an object that was waiting for its finalizers has none left.
fn ends_with_this(after: &Value) -> bool {
    let meta = &after["metadata"];
    if meta["deletionTimestamp"].is_null() || !list(meta, "finalizers").is_empty() {
        return false;
    }
    if after["kind"] == "Namespace" && after["apiVersion"] == "v1" {
        return list(&after["spec"], "finalizers").is_empty();
    }
    meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}
