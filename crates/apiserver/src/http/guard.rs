//! What depends on who writes: nobody may grant what he does not have, create by a change, or decide about
//! certificates of a signer that is not his. Judged by the store's owner, about the very change that is written.

mod params;

use std::sync::Arc;

use serde_json::Value;

use super::access;
use super::call::Call;
use super::server::ApiServer;
use crate::auth::{MASTERS, User};
use crate::db::{Gate, Judge};
use crate::error::StatusError;
use crate::rbac::{Attributes, Decision, decide, escalation, visit_role};
use crate::registry::Resource;
use crate::store::json::{child, set, text};

/// The judge of one request's writes.
struct Guard {
    server: Arc<ApiServer>,
    user: User,
    attributes: Attributes,
}

/// The gate through which a request's writes go.
pub(super) fn gate(call: &Call) -> Gate {
    Gate::new(Guard {
        server: Arc::clone(&call.server),
        user: call.user.clone(),
        attributes: call.route.attributes.clone(),
    })
}

impl Judge for Guard {
    fn begin(&self, res: &Resource, object: &mut Value) {
        if is_certificate_request(res) {
            note_requestor(&self.user, object);
        }
    }

    fn may_ask(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError> {
        if before.is_none() && self.attributes.verb != "create" {
            // A write to an object that is not there makes it, and needs the right to do so.
            let attributes = Attributes {
                verb: "create".to_owned(),
                ..self.attributes.clone()
            };
            access::authorize(&self.server, &self.user, &attributes)?;
            let (name, asked) = (text(&after["metadata"], "name"), &self.attributes.name);
            if !name.is_empty() && name != asked {
                return Err(StatusError::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({asked})"
                )));
            }
        }
        if res.group == "rbac.authorization.k8s.io" {
            return self.may_grant(res, before, after);
        }
        Ok(())
    }

    fn may_write(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError> {
        self.may_read_params(res, before, after)?;
        let Some(before) = before.filter(|_| is_certificate_request(res)) else {
            return Ok(());
        };
        let verb = match self.attributes.subresource.as_str() {
            "approval" => "approve",
            "status" if is_signed_by(before, after) => "sign",
            _ => return Ok(()),
        };
        let signer = text(&before["spec"], "signerName");
        if self.may_act_for(verb, signer) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        let name = text(&before["metadata"], "name");
        Err(StatusError::forbidden(res, name, &why))
    }

    fn user(&self) -> &User {
        &self.user
    }

    fn may(&self, account: Option<&User>, wanted: &Attributes) -> Decision {
        decide(self.server.roles(), account.unwrap_or(&self.user), wanted)
    }
}

impl Guard {
    /// Refuses a role or binding that would give more than its writer has.
    fn may_grant(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError> {
        if self.user.is_in(MASTERS) || before.is_some_and(|before| only_collects(before, after)) {
            return Ok(());
        }
        let refused = if matches!(res.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
            self.may_bind(res, after)?
        } else {
            self.may_escalate(res, before, after)
        };
        let name = text(&after["metadata"], "name");
        refused.map_err(|why| StatusError::forbidden(res, name, &why))
    }

    fn may_escalate(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), String> {
        let namespace = self.namespace(res);
        let (roles, user) = (self.server.roles(), &self.user);
        let exempt = Attributes {
            verb: "escalate".to_owned(),
            group: res.group.clone(),
            resource: res.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: self.attributes.name.clone(),
            ..Attributes::default()
        };
        if decide(roles, user, &exempt).allowed {
            return Ok(());
        }
        let rules = after["rules"].as_array();
        escalation::confirm(roles, user, namespace, rules.map_or(&[], Vec::as_slice))?;
        let aggregates = |role: &Value| {
            let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
            selectors.is_some_and(|selectors| !selectors.is_empty())
        };
        if aggregates(after) || before.is_some_and(aggregates) {
            escalation::confirm(roles, user, namespace, &escalation::everything()).map_err(
                |_lacks| "must have cluster-admin privileges to use the aggregationRule".to_owned(),
            )?;
        }
        Ok(())
    }

    /// The outer error is that of a role that nobody can look into.
    fn may_bind(&self, res: &Resource, after: &Value) -> Result<Result<(), String>, StatusError> {
        let namespace = self.namespace(res);
        let (roles, user) = (self.server.roles(), &self.user);
        let reference = &after["roleRef"];
        let text = |field: &str| text(reference, field).to_owned();
        let exempt = Attributes {
            verb: "bind".to_owned(),
            group: Some(text("apiGroup"))
                .filter(|group| !group.is_empty())
                .unwrap_or_else(|| res.group.clone()),
            resource: format!("{}s", text("kind").to_lowercase()),
            namespace: namespace.map(str::to_owned),
            name: text("name"),
            ..Attributes::default()
        };
        if decide(roles, user, &exempt).allowed {
            return Ok(Ok(()));
        }
        let mut rules = Vec::new();
        visit_role(roles, reference, namespace, &mut |rule| {
            rules.push(rule.clone());
        })
        .map_err(|_lost| StatusError::not_found(res, &exempt.name))?;
        Ok(escalation::confirm(roles, user, namespace, &rules))
    }

    fn namespace(&self, res: &Resource) -> Option<&str> {
        let namespace = self.attributes.namespace.as_deref();
        namespace.filter(|_| res.is_namespaced())
    }

    /// May the user do this for the signer, or for all of its domain?
    fn may_act_for(&self, verb: &str, signer: &str) -> bool {
        let domain = signer.split('/').next().unwrap_or_default();
        [signer.to_owned(), format!("{domain}/*")]
            .into_iter()
            .any(|name| {
                let attributes = Attributes {
                    verb: verb.to_owned(),
                    group: "certificates.k8s.io".to_owned(),
                    version: "*".to_owned(),
                    resource: "signers".to_owned(),
                    name,
                    ..Attributes::default()
                };
                decide(self.server.roles(), &self.user, &attributes).allowed
            })
    }
}

fn is_certificate_request(res: &Resource) -> bool {
    res.group == "certificates.k8s.io" && res.kind == "CertificateSigningRequest"
}

/// Whether a change of the status is what signers write.
fn is_signed_by(before: &Value, after: &Value) -> bool {
    ["certificate", "conditions"]
        .iter()
        .any(|field| before["status"][field] != after["status"][field])
}

/// A request for a certificate says who has asked, whatever he says himself.
fn note_requestor(user: &User, object: &mut Value) {
    let mut user = user.to_value();
    let spec = child(object, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        set(spec, field, user.get_mut(field).map(Value::take));
    }
}

/// A write that changes nothing but what the garbage collector writes.
fn only_collects(before: &Value, after: &Value) -> bool {
    let rest = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(field);
            }
        }
        value
    };
    rest(before) == rest(after)
}

#[cfg(test)]
mod tests;
