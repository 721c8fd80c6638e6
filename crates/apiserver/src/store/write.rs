//! Creates.
use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{child, set, text};
use super::policy::Attempt;
use super::request::{DryRun, Subresource, WriteOptions};
use super::{Moment, Store, admit, convert, meta, namespaces};
use crate::apply::managed;
use crate::crd::object as crd;
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::schema;

/// How often a taken generated name is replaced by another.
const GENERATE_TRIES: usize = 8;

/// Who has chosen the name of a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Its client.
    Asked,
    /// The store.
    Generated,
}

impl Store {
    /// Stores a new object.
    pub fn create(
        &mut self,
        moment: &mut Moment<'_>,
        (res, namespace): (&Arc<Resource>, Option<&str>),
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, StatusError> {
        self.check_identity(res, namespace, &mut object)?;
        crd::decode(res, &mut object, (options.validation, &options.warnings))?;
        self.fill_system_fields(moment, res, &mut object);
        self.check_namespace_of(res, &object)?;
        self.store_new(moment, res, object, options)
    }

    /// The part of a create that apply shares: name, defaults, checks, ownership.
    pub(super) fn store_new(
        &mut self,
        moment: &mut Moment<'_>,
        res: &Arc<Resource>,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, StatusError> {
        if let Some(judge) = options.gate.judge() {
            judge.may_ask(res, None, &object)?;
            judge.begin(res, &mut object);
        }
        let named = self.choose_name(moment, res, &mut object)?;
        let applied = object["metadata"]["managedFields"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        convert::to_storage(res, &mut object);
        if admit::crd::is_crd(res) {
            // What is completed belongs to who asked for it.
            admit::crd::complete(&mut object);
        }
        let asked = object.clone();
        meta::tidy(&mut object);
        let owned = admit::prepare(self, moment, res, &mut object)?;
        let by = managed::Writer::new(res, options, moment.now);
        let managed = (!applied).then(|| owners(&by, &asked, owned));
        if let Some(managed) = managed.clone().filter(|_| self.has_webhooks()) {
            // They see it; what they make of it does not count.
            set(child(&mut object, "metadata"), "managedFields", managed);
        }
        self.mutate_new(moment, (res, named), &mut object, options)?;
        admit::create(self, moment, res, &mut object, options)?;
        schema::complete(res, &mut object)?;
        let name = text(&object["metadata"], "name").to_owned();
        if res.custom {
            let mut causes = meta::problems(res, &object);
            let new = (None, &object);
            causes.extend(crd::problems(
                res,
                new,
                Subresource::None,
                &options.warnings,
            ));
            if !causes.is_empty() {
                return Err(StatusError::invalid(res, &name, &causes));
            }
        }
        let namespace = text(&object["metadata"], "namespace").to_owned();
        if let Some(judge) = options.gate.judge() {
            judge.may_write(res, None, &object)?;
        }
        let attempt = Attempt {
            res,
            sub: Subresource::None,
            operation: "CREATE",
            name: &name,
            namespace: &namespace,
            object: Some(&object),
            before: None,
        };
        self.ask_policies_of_write(&attempt, options)?;
        let versioned = !text(&object["metadata"], "resourceVersion").is_empty();
        if versioned && options.dry_run == DryRun::No {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(StatusError::new(500, "", why));
        }
        if let Some(present) = self.head.get(&res.storage, &namespace, &name) {
            return Err(taken(res, present));
        }
        if let Some(managed) = managed {
            set(child(&mut object, "metadata"), "managedFields", managed);
        }
        admit::crd::warn(res, (None, &object), &options.warnings);
        if options.dry_run == DryRun::All {
            return Object::new(&object).map(Arc::new);
        }
        let stored = self.put(&res.storage, None, &mut object)?;
        self.accept_names(moment, res, &stored)?;
        Ok(stored)
    }

    /// Accepts the names of a CRD that has been written: a write of its own, after which it is served.
    pub(super) fn accept_names(
        &mut self,
        moment: &Moment<'_>,
        res: &Arc<Resource>,
        stored: &Arc<Object>,
    ) -> Result<(), StatusError> {
        if !admit::crd::is_crd(res) || stored.is_terminating() {
            return Ok(());
        }
        let Some(mut after) = admit::crd::accepted(self, moment, stored) else {
            return Ok(());
        };
        let options = WriteOptions::by("kube-apiserver");
        let by = managed::Writer::new(res, &options, moment.now).sub(Subresource::Status);
        managed::record(&by, &stored.value(), &mut after, &[]);
        self.put(&res.storage, Some(Arc::clone(stored)), &mut after)?;
        Ok(())
    }

    /// Refuses an object that claims to be something else than its URL says.
    pub(super) fn check_identity(
        &self,
        res: &Resource,
        namespace: Option<&str>,
        object: &mut Value,
    ) -> Result<(), StatusError> {
        if !object.is_object() {
            return Err(StatusError::bad_request(format!(
                "couldn't get version/kind; json parse error: an object of kind {} is expected",
                res.kind
            )));
        }
        if !(object["metadata"].is_object() || object["metadata"].is_null()) {
            return Err(StatusError::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: metadata must be an object",
                res.kind, res.version, res.kind
            )));
        }
        let (wanted, found) = (res.api_version(), text(object, "apiVersion").to_owned());
        if !found.is_empty() && found != wanted {
            return Err(StatusError::bad_request(format!(
                "the API version in the data ({found}) does not match the expected API version \
                 ({wanted})"
            )));
        }
        let kind = text(object, "kind").to_owned();
        if !kind.is_empty() && kind != res.kind {
            return Err(StatusError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered \
                 for version {wanted:?}",
                res.version, res.kind
            )));
        }
        let fields = super::json::fields(object);
        fields.insert("apiVersion".to_owned(), wanted.into());
        fields.insert("kind".to_owned(), res.kind.clone().into());
        let meta = child(object, "metadata");
        let inside = meta
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match namespace.filter(|_| res.is_namespaced()) {
            Some(namespace) if inside.is_empty() => {
                meta.insert("namespace".to_owned(), namespace.into());
            }
            Some(namespace) if inside != namespace => {
                return Err(StatusError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on \
                     the request",
                ));
            }
            Some(_) => {}
            None if res.is_namespaced() && inside.is_empty() => {
                return Err(StatusError::bad_request("namespace is required"));
            }
            None => set(
                meta,
                "namespace",
                (!inside.is_empty() && res.is_namespaced()).then(|| inside.into()),
            ),
        }
        Ok(())
    }

    /// The namespace must exist and must not be going away.
    pub(super) fn check_namespace_of(
        &self,
        res: &Resource,
        object: &Value,
    ) -> Result<(), StatusError> {
        if !res.is_namespaced() {
            return Ok(());
        }
        let namespace = text(&object["metadata"], "namespace");
        let Some(found) = self.head.get(&namespaces(), "", namespace) else {
            let registry = &self.registry;
            return Err(registry.find("", "v1", "namespaces").map_or_else(
                || StatusError::internal("there is no namespaces resource"),
                |namespaces| StatusError::not_found(&namespaces, namespace),
            ));
        };
        if !found.is_terminating() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut error = StatusError::forbidden(res, text(&object["metadata"], "name"), &why);
        if let Some(details) = error.details.as_mut() {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {namespace} is being terminated"),
            }]);
        }
        Err(error)
    }

    pub(super) fn fill_system_fields(
        &self,
        moment: &mut Moment<'_>,
        res: &Resource,
        object: &mut Value,
    ) {
        let meta = child(object, "metadata");
        for name in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
        ] {
            meta.remove(name);
        }
        meta.insert("uid".to_owned(), meta::new_uid(moment.rng).into());
        meta.insert(
            "creationTimestamp".to_owned(),
            meta::stamp(moment.now).into(),
        );
        if meta::counts_generations(res) {
            meta.insert("generation".to_owned(), 1.into());
        }
    }

    fn choose_name(
        &self,
        moment: &mut Moment<'_>,
        res: &Resource,
        object: &mut Value,
    ) -> Result<Named, StatusError> {
        let meta = &object["metadata"];
        let base = text(meta, "generateName");
        if !text(meta, "name").is_empty() || base.is_empty() {
            return Ok(Named::Asked);
        }
        let namespace = text(meta, "namespace");
        for _ in 0..GENERATE_TRIES {
            let name = meta::generated_name(base, moment.rng);
            if self.head.get(&res.storage, namespace, &name).is_none() {
                child(object, "metadata").insert("name".to_owned(), name.into());
                return Ok(Named::Generated);
            }
        }
        Err(StatusError::already_exists(res, base))
    }
}

/// The `managedFields` of a new object, by what was asked for and what of it is the client's own.
fn owners(by: &managed::Writer<'_>, asked: &Value, mut owned: Value) -> Option<Value> {
    convert::from_storage(by.res, &mut owned);
    managed::record_new(by, asked, &mut owned);
    child(&mut owned, "metadata").remove("managedFields")
}

/// The refusal of a name that an object has, if only until its finalizers are gone.
fn taken(res: &Resource, present: &Object) -> StatusError {
    let mut refusal = StatusError::already_exists(res, present.name());
    if present.is_terminating() {
        refusal.message = format!("object is being deleted: {}", refusal.message);
    }
    refusal
}
