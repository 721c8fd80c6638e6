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
use crate::token::{Bound, LegacyClaims, Named};

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
    fn check(&self, bound: &Bound) -> Result<(), String> {
        let namespace = bound.namespace.as_str();
        let Bound {
            serviceaccount: account,
            pod,
            node,
            secret,
            ..
        } = bound;
        let present = self.object("serviceaccounts", Some(namespace), &account.name);
        let present =
            present.ok_or_else(|| format!("serviceaccounts {:?} not found", account.name))?;
        if present.uid() != account.uid {
            return Err(format!(
                "service account UID ({}) does not match claim ({})",
                present.uid(),
                account.uid
            ));
        }
        let lives = |what: &str, namespace: Option<&str>, named: &Named| {
            let present = self.object(&format!("{what}s"), namespace, &named.name);
            let present =
                present.ok_or_else(|| "service account token has been invalidated".to_owned())?;
            if present.uid() == named.uid {
                return Ok(());
            }
            Err(format!(
                "{what} UID ({}) does not match service account {} ref claim ({})",
                present.uid(),
                what,
                named.uid
            ))
        };
        if let Some(secret) = secret {
            lives("secret", Some(namespace), secret)?;
        }
        match (pod, node) {
            // The node is told only for information.
            (Some(pod), _) => lives("pod", Some(namespace), pod),
            (None, Some(node)) => lives("node", None, node),
            (None, None) => Ok(()),
        }
    }

    fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> Result<(), String> {
        use base64::Engine as _;
        let namespace = Some(claims.namespace.as_str());
        let secret = self
            .object("secrets", namespace, &claims.secret)
            .filter(|secret| !secret.is_terminating())
            .ok_or("Token has been invalidated")?;
        let value = secret.value();
        let held = value["data"]["token"].as_str().unwrap_or_default();
        if base64::engine::general_purpose::STANDARD.encode(token) != held {
            return Err("Token does not match server's copy".to_owned());
        }
        let name = &claims.account;
        let account = self
            .object("serviceaccounts", namespace, name)
            .ok_or_else(|| format!("serviceaccounts {name:?} not found"))?;
        if account.is_terminating() {
            return Err(format!(
                "ServiceAccount {}/{name} has been deleted",
                claims.namespace
            ));
        }
        if account.uid() != claims.account_uid {
            return Err(format!(
                "ServiceAccount UID ({}) does not match claim ({})",
                account.uid(),
                claims.account_uid
            ));
        }
        Ok(())
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

    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value)) -> bool {
        let plural = if namespace.is_some() {
            "roles"
        } else {
            "clusterroles"
        };
        let res = self.resource("rbac.authorization.k8s.io", plural);
        let object = res.and_then(|res| self.db.get(&res, namespace, name).ok());
        if let Some(object) = &object {
            visit(&self.value(object));
        }
        object.is_some()
    }
}
