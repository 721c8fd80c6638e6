//! What all requests share: the store, the keys, the bounds. Also the store's answers to authentication and roles.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Kubelets;
use crate::auth::{Accounts, Authenticator};
use crate::db::{Clock, Db};
use crate::object::Object;
use crate::rbac::Roles;
use crate::registry::Resource;
use crate::selector::Selectors;
use crate::token::{Bound, TokenKey};

/// Requests that are being answered at once, watches and logs apart.
const REQUESTS_MAX: usize = 800;
/// Watches and followed logs at once.
const WATCHES_MAX: usize = 20_000;

/// What an API server is made of.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// Signs and checks tokens.
    pub token_key: Arc<TokenKey>,
    /// The wall clock.
    pub clock: Clock,
    /// Reaches the nodes' log servers.
    pub kubelets: Kubelets,
    /// Ends every watch.
    pub stop: CancellationToken,
}

/// The API server, without connections.
pub struct ApiServer {
    pub(super) db: Db,
    pub(super) authenticator: Authenticator,
    pub(super) clock: Clock,
    pub(super) kubelets: Kubelets,
    pub(super) stop: CancellationToken,
    pub(super) requests: Arc<Semaphore>,
    pub(super) watches: Arc<Semaphore>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            db,
            token_key,
            clock,
            kubelets,
            stop,
        } = parts;
        let accounts = Arc::new(Store(db.clone()));
        Self {
            authenticator: Authenticator::new(token_key, accounts),
            db,
            clock,
            kubelets,
            stop,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        }
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        (self.clock)().as_second()
    }

    /// The roles as they are now.
    pub(super) fn roles(&self) -> Store {
        Store(self.db.clone())
    }
}

/// The store, seen as accounts and roles.
pub(super) struct Store(Db);

impl Store {
    fn resource(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.0.registry().find(group, "v1", plural)
    }

    fn object(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.0
            .get(&self.resource("", plural)?, namespace, name)
            .ok()
    }

    fn rbac(&self, plural: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let Some(res) = self.resource("rbac.authorization.k8s.io", plural) else {
            return Vec::new();
        };
        self.0.list(&res, namespace, &Selectors::default()).items
    }
}

impl Accounts for Store {
    fn missing(&self, bound: &Bound) -> Option<&'static str> {
        let namespace = Some(bound.namespace.as_str());
        let lives = |plural: &str, name: &str, uid: &str| {
            self.object(plural, namespace, name)
                .is_some_and(|object| object.uid() == uid)
        };
        let Bound {
            serviceaccount,
            pod,
            secret,
            ..
        } = bound;
        if !lives("serviceaccounts", &serviceaccount.name, &serviceaccount.uid) {
            return Some("service account token has been invalidated: the service account is gone");
        }
        if pod
            .as_ref()
            .is_some_and(|pod| !lives("pods", &pod.name, &pod.uid))
        {
            return Some("service account token has been invalidated: the pod is gone");
        }
        // A legacy token knows its Secret by name only; that the Secret holds it is checked apart.
        let secret = secret.as_ref().filter(|secret| !secret.uid.is_empty());
        if secret.is_some_and(|secret| !lives("secrets", &secret.name, &secret.uid)) {
            return Some("service account token has been invalidated: the secret is gone");
        }
        None
    }

    fn secret_holds(&self, namespace: &str, secret: &str, token: &str) -> bool {
        use base64::Engine as _;
        let Some(object) = self.object("secrets", Some(namespace), secret) else {
            return false;
        };
        let value = object.value();
        let held = value["data"]["token"].as_str().unwrap_or_default();
        !object.is_terminating() && base64::engine::general_purpose::STANDARD.encode(token) == held
    }
}

impl Roles for Store {
    fn bindings(&self, namespace: Option<&str>, visit: &mut dyn FnMut(&Value)) {
        let plural = if namespace.is_some() {
            "rolebindings"
        } else {
            "clusterrolebindings"
        };
        for object in self.rbac(plural, namespace) {
            visit(&object.value());
        }
    }

    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value)) {
        let plural = if namespace.is_some() {
            "roles"
        } else {
            "clusterroles"
        };
        let Some(res) = self.resource("rbac.authorization.k8s.io", plural) else {
            return;
        };
        if let Ok(object) = self.0.get(&res, namespace, name) {
            visit(&object.value());
        }
    }

    fn cluster_roles(&self, visit: &mut dyn FnMut(&Value)) {
        for object in self.rbac("clusterroles", None) {
            visit(&object.value());
        }
    }
}
