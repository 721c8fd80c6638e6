//! Which resources exist: the built-in kinds in a table, the others from CustomResourceDefinitions.
//!
//! A [`Registry`] is immutable; the store publishes a new one when a CRD changes. It must not know
//! how objects are stored or how requests arrive.
mod builtin;
mod crd;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use builtin::{Group, builtin, builtin_groups};
pub use crd::resources_of as resources_of_crd;

use crate::crd::schema::Schema;

/// Whether objects of a resource live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every object has a namespace.
    Namespaced,
    /// Objects belong to the whole cluster.
    Cluster,
}

/// Where the numbers of a scale subresource are in the object: paths like `.spec.replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted number.
    pub spec: String,
    /// The present number.
    pub status: String,
    /// The label selector, as text, in the object; none if the kind has none.
    pub selector: Option<String>,
}

/// What lies below an object's own path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subresources {
    /// `/status`: spec writes ignore the status and the other way round.
    pub status: bool,
    /// `/scale`.
    pub scale: Option<ScalePaths>,
    /// Others, that the HTTP front serves: `log`, `binding` and so on.
    pub others: Vec<&'static str>,
}

/// What discovery says of a resource besides its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// What may be done with its objects.
    pub verbs: Vec<&'static str>,
    /// What lies below its objects; of a CRD's resource it follows from [`Subresources`].
    pub below: Vec<Below>,
    /// Changes with the version that is stored.
    pub hash: String,
}

impl Default for Served {
    /// As a CRD's resources are served.
    fn default() -> Self {
        Self {
            verbs: vec![
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "create",
                "update",
                "watch",
            ],
            below: Vec::new(),
            hash: String::new(),
        }
    }
}

/// A subresource, as discovery shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// What follows the object's name in the path.
    pub name: &'static str,
    /// The group of its kind, empty if it is the resource's own.
    pub group: &'static str,
    /// The version of its kind, empty if it is the resource's own.
    pub version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// What may be done with it.
    pub verbs: Vec<&'static str>,
}

/// A column that a CRD adds to tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterColumn {
    /// The header.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// The format of the type, often empty.
    pub format: String,
    /// What it means.
    pub description: String,
    /// 0 is always shown, larger only in wide tables.
    pub priority: i64,
    /// Where the value is: a JSONPath like `.spec.cluster`.
    pub json_path: String,
}

/// One resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The API group, empty for the core group.
    pub group: String,
    /// The version in which it is asked for.
    pub version: String,
    /// The kind, for example `Service`.
    pub kind: String,
    /// The kind of its lists, for example `ServiceList`.
    pub list_kind: String,
    /// The name in paths, for example `services`.
    pub plural: String,
    /// The singular name, for example `service`.
    pub singular: String,
    /// Short names that `kubectl` knows it by.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Namespaced or not.
    pub scope: Scope,
    /// What lies below an object.
    pub subresources: Subresources,
    /// Table columns from a CRD; empty for built-in kinds, whose tables are fixed.
    pub columns: Vec<PrinterColumn>,
    /// The version in which objects are stored.
    pub storage_version: String,
    /// The OpenAPI v3 schema from a CRD.
    pub schema: Option<Arc<Value>>,
    /// What else a CRD says of it; nothing for built-in kinds.
    pub(crate) of_crd: OfCrd,
    /// Where the objects are stored; two resources with the same key show the same objects.
    pub storage: StorageKey,
    /// Whether a CRD made it.
    pub custom: bool,
    /// Whether a version of a CRD is deprecated, and the warning to send.
    pub deprecation: Option<String>,
    /// What discovery says of it besides.
    pub served: Served,
}

/// What a CRD says of one of its versions, ready for use.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfCrd {
    /// The schema, compiled.
    pub(crate) structural: Option<Arc<Schema>>,
    /// The schema of the version in which objects are stored.
    pub(crate) storage: Option<Arc<Schema>>,
    /// Objects older than this version of the store are read again by the schemas of now.
    pub(crate) since: u64,
    /// Paths by which objects may be selected, without the first dot.
    pub(crate) selectable: Vec<String>,
}

/// Names one collection of stored objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageKey {
    /// The API group.
    pub group: Arc<str>,
    /// The plural name.
    pub plural: Arc<str>,
}

impl StorageKey {
    /// The collection of a group's plural.
    pub fn new(group: &str, plural: &str) -> Self {
        Self {
            group: group.into(),
            plural: plural.into(),
        }
    }
}

impl Resource {
    /// `v1` or `apps/v1`: the apiVersion in which it is asked for.
    pub fn api_version(&self) -> String {
        join_version(&self.group, &self.version)
    }

    /// The apiVersion in which its objects are stored.
    pub fn storage_api_version(&self) -> String {
        join_version(&self.storage.group, &self.storage_version)
    }

    /// Whether a verb may be used on its objects.
    pub fn allows(&self, verb: &str) -> bool {
        self.served.verbs.contains(&verb)
    }

    /// Whether there are objects to list; questions and commands are never stored.
    pub fn is_stored(&self) -> bool {
        self.allows("watch")
    }

    /// Whether objects have a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

fn join_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// All resources that are served now.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
}

impl Registry {
    /// The built-in resources only.
    pub fn with_builtin() -> Self {
        let mut registry = Self::default();
        for resource in builtin() {
            registry.insert(Arc::clone(resource));
        }
        registry
    }

    /// Adds or replaces one resource.
    pub fn insert(&mut self, resource: impl Into<Arc<Resource>>) {
        let resource = resource.into();
        let path = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.by_path.insert(path, resource);
    }

    /// Removes every custom resource of a group and plural, in all versions.
    pub fn remove_custom(&mut self, group: &str, plural: &str) {
        self.by_path
            .retain(|_, res| !(res.custom && res.group == group && res.plural == plural));
    }

    /// The resource behind `/apis/<group>/<version>/<plural>` (group "" is `/api/<version>`).
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let path = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_path.get(&path).cloned()
    }

    /// The resource of a kind.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.by_path
            .values()
            .find(|res| res.group == group && res.version == version && res.kind == kind)
            .cloned()
    }

    /// A version (the stored one if it is served) of whatever is stored under a key.
    pub fn stored(&self, key: &StorageKey) -> Option<Arc<Resource>> {
        let mut fallback = None;
        for res in self.by_path.values().filter(|res| res.storage == *key) {
            if res.version == res.storage_version && *res.group == *key.group {
                return Some(Arc::clone(res));
            }
            fallback = Some(res);
        }
        fallback.cloned()
    }

    /// Everything, sorted by group, version and plural.
    pub fn all(&self) -> Vec<Arc<Resource>> {
        self.by_path.values().cloned().collect()
    }
}
