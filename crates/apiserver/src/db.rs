//! The database: the handle that everything in the process reads and writes through.
//!
//! Reads look at a published snapshot and never wait. Writes go to one owner, which carries out
//! what has queued up as one batch, commits it with one fsync, and only then publishes, answers
//! and tells the watchers.
mod boot;
mod engine;
mod feed;
mod options;
mod watch;
mod webhooks;

use std::sync::Arc;

use serde_json::Value;

pub use crate::store::facts::{BoundPods, LoopbackEndpoints};
pub use crate::store::request::{
    Bookmarks, DeleteOptions, Deleted, DryRun, FieldValidation, Force, From, Gate, Inquiry, Judge,
    List, Outcome, Patch, Propagation, Subresource, Target, WatchOptions, WriteOptions,
};

pub use options::{Clock, Controllers, MintToken, Options, Storage, TokenFor};
pub use watch::{Watch, WatchEvent};

use crate::error::StatusError;
use crate::object::Object;
use crate::registry::{Registry, Resource, StorageKey};
use crate::selector::Selectors;
use crate::store::snapshot::Snapshot;
use crate::store::{Moment, Store, convert};
use engine::{Published, Shared, Writer};
pub(crate) use feed::HISTORY_BYTES_MAX;
use feed::{Batch, Event};
use webhooks::Kept;

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    writer: Writer,
}

impl Db {
    /// Opens or creates a database, and boots a cluster in it: the system namespaces exist
    /// before this returns.
    pub async fn open(storage: Storage, options: Options) -> anyhow::Result<Self> {
        let (shared, writer) = engine::start(storage, &options)?;
        let db = Self { shared, writer };
        boot::boot(&db, &options).await?;
        crate::controllers::start(&db, &options);
        Ok(db)
    }

    /// The resources that are served now.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.published().registry)
    }

    /// The version of the newest committed write.
    pub fn resource_version(&self) -> u64 {
        self.published().snapshot.version
    }

    /// Everything that exists, at one version.
    pub fn snapshot(&self) -> Snapshot {
        self.published().snapshot.clone()
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.shared.published.read())
    }

    /// One object, in the version of `res`.
    pub fn get(
        &self,
        res: &Arc<Resource>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Arc<Object>, StatusError> {
        let namespace = namespace.filter(|_| res.is_namespaced()).unwrap_or("");
        let published = self.published();
        let found = published.snapshot.get(&res.storage, namespace, name);
        let found = found.ok_or_else(|| StatusError::not_found(res, name))?;
        convert::shown(res, Arc::clone(found))
    }

    /// All objects of a namespace (none: of all namespaces) that the selectors select.
    pub fn list(&self, res: &Arc<Resource>, namespace: Option<&str>, sel: &Selectors) -> List {
        let published = self.published();
        let items = watch::selected(&published.snapshot, res, namespace, sel);
        List {
            items,
            resource_version: published.snapshot.version,
        }
    }

    /// Why writes are refused; none if the last one that was tried is on disk.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Stores a new object.
    pub async fn create(
        &self,
        res: &Arc<Resource>,
        namespace: Option<&str>,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, StatusError> {
        let (res, options) = (Arc::clone(res), options.clone());
        let namespace = namespace.map(str::to_owned);
        let (object, inquiry) = (Kept::new(object), options.inquiry.clone());
        self.asking(&inquiry, move |store, moment| {
            let object = object.take(store, &options.inquiry)?;
            let stored = store.create(moment, (&res, namespace.as_deref()), object, &options)?;
            convert::shown(&res, stored)
        })
        .await
    }

    /// Replaces an object, or a subresource of it. A Scale update answers the whole object:
    /// the HTTP front shows it as a Scale.
    pub async fn update(
        &self,
        target: Target<'_>,
        object: Value,
        options: &WriteOptions,
    ) -> Result<(Arc<Object>, Outcome), StatusError> {
        let (target, options) = (OwnedTarget::from(target), options.clone());
        let (object, inquiry) = (Kept::new(object), options.inquiry.clone());
        self.asking(&inquiry, move |store, moment| {
            let object = object.take(store, &options.inquiry)?;
            store.update(moment, target.get(), object, &options)
        })
        .await
    }

    /// Changes an object, or a subresource of it. Apply may create it.
    pub async fn patch(
        &self,
        target: Target<'_>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<(Arc<Object>, Outcome), StatusError> {
        let (target, options) = (OwnedTarget::from(target), options.clone());
        let (patch, inquiry) = (Kept::new(patch), options.inquiry.clone());
        self.asking(&inquiry, move |store, moment| {
            let patch = patch.take(store, &options.inquiry)?;
            store.patch(moment, target.get(), patch, &options)
        })
        .await
    }

    /// Deletes an object, or begins to.
    pub async fn delete(
        &self,
        target: Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, StatusError> {
        let (target, options) = (OwnedTarget::from(target), options.clone());
        let inquiry = options.inquiry.clone();
        self.asking(&inquiry, move |store, moment| {
            store.delete(moment, target.get(), &options)
        })
        .await
    }

    /// Deletes every object of a namespace (none: of all) that the selectors select.
    pub async fn delete_collection(
        &self,
        res: &Arc<Resource>,
        namespace: Option<&str>,
        sel: &Selectors,
        options: &DeleteOptions,
    ) -> Result<List, StatusError> {
        let (kind, selected, how) = (Arc::clone(res), sel.clone(), options.clone());
        let inside = namespace.map(str::to_owned);
        let at_once = self.write(move |store, moment| {
            if store.has_webhooks() && how.inquiry.asks() {
                return Ok(None);
            }
            let from = (&kind, inside.as_deref());
            store
                .delete_collection(moment, from, &selected, &how)
                .map(Some)
        });
        match at_once.await? {
            Some(list) => Ok(list),
            None => self.delete_one_by_one((res, namespace), sel, options).await,
        }
    }

    /// Follows the objects of a namespace (none: of all) that the selectors select.
    pub fn watch(
        &self,
        res: &Arc<Resource>,
        namespace: Option<&str>,
        sel: &Selectors,
        options: WatchOptions,
    ) -> Result<Watch, StatusError> {
        let published = self.published();
        let filter = watch::Filter::new(res, namespace, sel);
        Watch::begin(&self.shared.feeds, &published.snapshot, filter, options)
    }

    /// Stops the controllers, the owner and all watches, after everything acknowledged is on disk.
    pub async fn close(&self) {
        for task in self.shared.tasks.lock().drain(..) {
            task.abort();
        }
        self.writer.stop().await;
        self.shared.feeds.close();
    }

    /// Keeps a task that ends when the database is closed.
    pub(crate) fn keep(&self, task: tokio::task::JoinHandle<()>) {
        self.shared.tasks.lock().push(task);
    }

    /// Tells the newest version, at every change of it.
    pub(crate) fn versions(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.versions.subscribe()
    }

    /// At most `max` changes of a collection after a version; none if some are missing.
    pub(crate) fn changes_after(
        &self,
        collection: &StorageKey,
        version: u64,
        max: usize,
    ) -> Option<Vec<Arc<Event>>> {
        known(self.shared.feeds.of(collection).after(version, max))
    }

    /// At most `max` changes of all collections after a version; none if some are missing.
    pub(crate) fn all_changes_after(&self, version: u64, max: usize) -> Option<Vec<Arc<Event>>> {
        known(self.shared.feeds.all().after(version, max))
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store, &mut Moment<'_>) -> Result<T, StatusError> + Send + 'static,
    ) -> Result<T, StatusError> {
        self.writer.write(work).await
    }
}

fn known(batch: Batch) -> Option<Vec<Arc<Event>>> {
    match batch {
        Batch::Events(events) => Some(events),
        Batch::Lost(_) => None,
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("version", &self.resource_version())
            .finish_non_exhaustive()
    }
}

/// A target that can travel to the owner.
struct OwnedTarget {
    res: Arc<Resource>,
    namespace: Option<String>,
    name: String,
    sub: Subresource,
}

impl OwnedTarget {
    fn get(&self) -> Target<'_> {
        Target {
            res: &self.res,
            namespace: self.namespace.as_deref(),
            name: &self.name,
            sub: self.sub,
        }
    }
}

impl std::convert::From<Target<'_>> for OwnedTarget {
    fn from(target: Target<'_>) -> Self {
        Self {
            res: Arc::clone(target.res),
            namespace: target.namespace.map(str::to_owned),
            name: target.name.to_owned(),
            sub: target.sub,
        }
    }
}

#[cfg(test)]
mod tests;
