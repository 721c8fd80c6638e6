//! What the store says about accounts, roles and bindings: the answers to authentication and authorization.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::auth::Accounts;
use crate::db::Db;
use crate::object::Object;
use crate::rbac::Roles;
use crate::registry::Resource;
use crate::selector::Selectors;
use crate::token::Bound;

/// Larger than any cluster's number of roles and bindings that are asked for again and again.
const PARSED_MAX: usize = 4096;

/// An object's version, and its value at that version.
type Parsed = (u64, Arc<Value>);

/// The store, seen as accounts and roles.
pub(super) struct Facts {
    db: Db,
    /// Roles and bindings by uid, with the version that was parsed.
    parsed: Mutex<BTreeMap<Box<str>, Parsed>>,
}

impl Facts {
    pub(super) fn new(db: Db) -> Self {
        Self {
            db,
            parsed: Mutex::default(),
        }
    }

    /// The object's value. Every request asks for the same few, so they are parsed once per version.
    fn value(&self, object: &Object) -> Arc<Value> {
        let version = object.resource_version();
        if let Some((known, value)) = self.parsed.lock().get(object.uid())
            && *known == version
        {
            return Arc::clone(value);
        }
        let value = Arc::new(object.value());
        let mut parsed = self.parsed.lock();
        if parsed.len() >= PARSED_MAX {
            parsed.clear();
        }
        parsed.insert(object.uid().into(), (version, Arc::clone(&value)));
        value
    }

    fn resource(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.db.registry().find(group, "v1", plural)
    }

    fn object(&self, plural: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.db
            .get(&self.resource("", plural)?, namespace, name)
            .ok()
    }

    fn rbac(&self, plural: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let Some(res) = self.resource("rbac.authorization.k8s.io", plural) else {
            return Vec::new();
        };
        self.db.list(&res, namespace, &Selectors::default()).items
    }
}

impl Accounts for Facts {
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

impl Roles for Facts {
    fn bindings(&self, namespace: Option<&str>, visit: &mut dyn FnMut(&Value)) {
        let plural = if namespace.is_some() {
            "rolebindings"
        } else {
            "clusterrolebindings"
        };
        for object in self.rbac(plural, namespace) {
            visit(&self.value(&object));
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
        if let Ok(object) = self.db.get(&res, namespace, name) {
            visit(&self.value(&object));
        }
    }

    fn cluster_roles(&self, visit: &mut dyn FnMut(&Value)) {
        for object in self.rbac("clusterroles", None) {
            visit(&self.value(&object));
        }
    }
}
