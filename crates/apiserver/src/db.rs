//! The database: the handle that everything in the process reads and writes through.
//!
//! Reads look at a published snapshot and never wait. Writes go to one owner, which carries out
//! what has queued up as one batch, commits it with one fsync, and only then publishes, answers
//! and tells the watchers.
mod options;
mod watch;

use std::sync::Arc;

use serde_json::Value;

pub use crate::store::request::{
    Bookmarks, DeleteOptions, Deleted, DryRun, FieldValidation, Force, From, List, Outcome, Patch,
    Propagation, Subresource, Target, WatchOptions, WriteOptions,
};
pub use options::{Clock, Controllers, LoopbackEndpoints, MintToken, Options, Storage, TokenFor};
pub use watch::{Watch, WatchEvent};

use crate::error::StatusError;
use crate::object::Object;
use crate::registry::{Registry, Resource};
use crate::selector::Selectors;

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    registry: Arc<Registry>,
}

impl Db {
    /// Opens or creates a database, and boots a cluster in it: the system namespaces exist
    /// before this returns.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn open(_storage: Storage, _options: Options) -> anyhow::Result<Self> {
        Ok(Self {
            registry: Arc::new(Registry::with_builtin()),
        })
    }

    /// The resources that are served now.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The version of the newest committed write.
    pub fn resource_version(&self) -> u64 {
        0
    }

    /// One object, in the version of `res`.
    pub fn get(
        &self,
        res: &Arc<Resource>,
        _namespace: Option<&str>,
        name: &str,
    ) -> Result<Arc<Object>, StatusError> {
        Err(StatusError::not_found(res, name))
    }

    /// All objects of a namespace (none: of all namespaces) that the selectors select.
    pub fn list(&self, _res: &Arc<Resource>, _namespace: Option<&str>, _sel: &Selectors) -> List {
        List {
            items: Vec::new(),
            resource_version: 0,
        }
    }

    /// Stores a new object.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn create(
        &self,
        _res: &Arc<Resource>,
        _namespace: Option<&str>,
        _object: Value,
        _options: &WriteOptions,
    ) -> Result<Arc<Object>, StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Replaces an object, or a subresource of it. A Scale update answers the whole object:
    /// the HTTP front shows it as a Scale.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn update(
        &self,
        _target: Target<'_>,
        _object: Value,
        _options: &WriteOptions,
    ) -> Result<(Arc<Object>, Outcome), StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Changes an object, or a subresource of it. Apply may create it.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn patch(
        &self,
        _target: Target<'_>,
        _patch: Patch,
        _options: &WriteOptions,
    ) -> Result<(Arc<Object>, Outcome), StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Deletes an object, or begins to.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn delete(
        &self,
        _target: Target<'_>,
        _options: &DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Deletes every object of a namespace (none: of all) that the selectors select.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn delete_collection(
        &self,
        _res: &Arc<Resource>,
        _namespace: Option<&str>,
        _sel: &Selectors,
        _options: &DeleteOptions,
    ) -> Result<List, StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Follows the objects of a namespace (none: of all) that the selectors select.
    pub fn watch(
        &self,
        _res: &Arc<Resource>,
        _namespace: Option<&str>,
        _sel: &Selectors,
        _options: WatchOptions,
    ) -> Result<Watch, StatusError> {
        Err(StatusError::unavailable("not yet"))
    }

    /// Stops the controllers and the owner, after everything acknowledged is on disk.
    #[expect(clippy::unused_async, reason = "being written")]
    pub async fn close(&self) {}
}
