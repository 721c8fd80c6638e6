//! The vocabulary of reads and writes: what a request says besides the object.
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

pub use super::webhooks::inquiry::Inquiry;
use crate::auth::User;
use crate::error::StatusError;
use crate::object::Object;
use crate::rbac::{Attributes, Decision};
use crate::registry::Resource;

/// The object that a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its resource, in the version in which the client speaks.
    pub res: &'a Arc<Resource>,
    /// Its namespace; none for cluster-scoped resources.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The part of it that is written.
    pub sub: Subresource,
}

impl<'a> Target<'a> {
    /// The object itself, not a subresource.
    pub fn new(res: &'a Arc<Resource>, namespace: Option<&'a str>, name: &'a str) -> Self {
        Self {
            res,
            namespace,
            name,
            sub: Subresource::None,
        }
    }

    /// One of its subresources.
    #[expect(
        clippy::should_implement_trait,
        reason = "a subresource is nothing that is subtracted"
    )]
    pub fn sub(self, sub: Subresource) -> Self {
        Self { sub, ..self }
    }
}

/// The part of an object that a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subresource {
    /// The object; its status is left alone where the kind has a status subresource.
    #[default]
    None,
    /// Only the status.
    Status,
    /// Only the number of replicas; the value is an `autoscaling/v1` Scale.
    Scale,
    /// Only `spec.finalizers` of a Namespace.
    Finalize,
    /// Binds a Pod to a node; the value is a `v1` Binding (create only).
    Binding,
    /// Only the conditions of a CertificateSigningRequest.
    Approval,
    /// Only the containers for debugging of a Pod.
    EphemeralContainers,
    /// Only the amounts that a Pod's containers ask for.
    Resize,
}

/// Whether a write only pretends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DryRun {
    /// It is real.
    #[default]
    No,
    /// Everything is checked and answered, nothing is stored.
    All,
}

/// Whether server-side apply takes fields from other managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// A field of another manager with another value is a conflict.
    #[default]
    No,
    /// Conflicts are won.
    Yes,
}

/// What becomes of fields that the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Nothing is said.
    Ignore,
    /// A warning is sent.
    #[default]
    Warn,
    /// The write is refused.
    Strict,
}

/// How a create, update or patch is to be done.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// `fieldManager`: under which name the written fields are owned.
    pub field_manager: Option<String>,
    /// Who writes; the default manager is derived from the user agent by the HTTP front.
    pub user: String,
    /// Whether to pretend only.
    pub dry_run: DryRun,
    /// For apply: whether to win conflicts.
    pub force: Force,
    /// What becomes of unknown fields.
    pub validation: FieldValidation,
    /// What the client is warned of.
    pub warnings: Warnings,
    /// Who judges what is written.
    pub gate: Gate,
    /// What is wrong with how a patch is written: fields that it has twice.
    pub faults: Vec<String>,
    /// What webhooks have been asked about this write.
    pub inquiry: Inquiry,
    /// Options that the client has given itself, by their names: as policies and webhooks see them.
    pub given: Vec<(&'static str, String)>,
}

/// What depends on who writes. Asked while nothing else can write, so that what is judged is what is stored;
/// may read what is published, and must not write.
pub trait Judge: Send + Sync {
    /// Sets what a new object says of who has asked for it.
    fn begin(&self, res: &Resource, object: &mut Value);

    /// Refuses a write by the object as it is (none if it is new) and as it is asked for, before it is checked.
    fn may_ask(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError>;

    /// Refuses a write of an object that is right by itself.
    fn may_write(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError>;

    /// Who writes.
    fn user(&self) -> &User;

    /// Whether who writes, or a service account in his place, may do something.
    fn may(&self, account: Option<&User>, wanted: &Attributes) -> Decision;
}

/// The judge of a write, if there is one: the cluster's own writes have none.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<dyn Judge>>);

impl Gate {
    /// Writes as this judge lets them.
    pub fn new(judge: impl Judge + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    pub(super) fn judge(&self) -> Option<&dyn Judge> {
        self.0.as_deref()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.0.is_some()).finish()
    }
}

/// A request's warnings beyond these are not sent.
const WARNINGS_MAX: usize = 64;
/// Warnings that are longer together are cut, each to so many characters.
const WARNED_CHARS_MAX: usize = 4096;
const WARNING_CHARS_MAX: usize = 256;

/// Texts that warn a client, gathered while its request is carried out; copies share them.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds a text that is not there yet.
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut texts = self.0.lock();
        if texts.len() < WARNINGS_MAX && !texts.contains(&text) {
            texts.push(text);
        }
    }

    /// Takes all texts. If they are too long together, each is cut, and those that do not fit even so are left out.
    pub fn take(&self) -> Vec<String> {
        let mut texts = std::mem::take(&mut *self.0.lock());
        let length = |text: &String| text.chars().count();
        if texts.iter().map(length).sum::<usize>() <= WARNED_CHARS_MAX {
            return texts;
        }
        let mut told = 0;
        texts.retain_mut(|text| {
            if told >= WARNED_CHARS_MAX {
                return false;
            }
            if let Some((end, _)) = text.char_indices().nth(WARNING_CHARS_MAX) {
                text.truncate(end);
            }
            told += length(text);
            true
        });
        texts
    }
}

impl WriteOptions {
    /// A plain write by a named manager.
    pub fn by(manager: &str) -> Self {
        Self {
            field_manager: Some(manager.to_owned()),
            ..Self::default()
        }
    }
}

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// The object goes first, its dependents follow.
    #[default]
    Background,
    /// The dependents go first.
    Foreground,
    /// The dependents stay and lose their owner reference.
    Orphan,
}

impl Propagation {
    /// As options name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// How a delete is to be done.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// What becomes of dependents; none is the kind's default (background).
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must be at this version.
    pub resource_version: Option<String>,
    /// Seconds that a Pod gets to end; 0 deletes at once.
    pub grace_seconds: Option<i64>,
    /// Whether to pretend only.
    pub dry_run: DryRun,
    /// What the client is warned of.
    pub warnings: Warnings,
    /// Who judges what is deleted.
    pub gate: Gate,
    /// What webhooks have been asked about this delete.
    pub inquiry: Inquiry,
}

/// What a delete did.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Object>),
    /// It has a deletionTimestamp and goes when its finalizers or its grace period end.
    Terminating(Arc<Object>),
}

impl Deleted {
    /// The object as the delete left it.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Terminating(object) => object,
        }
    }
}

/// One of the four ways to say a change.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by keys. Built-in kinds only.
    Strategic(Value),
    /// Server-side apply: the manager's whole intent.
    Apply(Value),
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object is new.
    Created,
    /// It changed.
    Updated,
    /// The write changed nothing, and the version stayed.
    Unchanged,
}

/// What a list answers: the objects, and the version of the store at which they were so.
#[derive(Debug, Clone)]
pub struct List {
    /// Sorted by namespace and name.
    pub items: Vec<Arc<Object>>,
    /// The version from which a watch continues.
    pub resource_version: u64,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With everything that exists, as `ADDED` (no version, or "0").
    Now,
    /// After a version.
    Version(u64),
    /// With everything that exists, then a bookmark that says so (`sendInitialEvents`).
    InitialEvents,
}

/// Whether a watch sends bookmarks now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bookmarks {
    /// No.
    #[default]
    Off,
    /// About once a minute, so that a resumed watch starts late in the history.
    On,
}

/// How to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Where to begin.
    pub from: From,
    /// Whether to send bookmarks.
    pub bookmarks: Bookmarks,
}
