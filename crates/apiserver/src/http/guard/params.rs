//! Whoever writes an admission policy reads through it what it is given as parameters: he must be allowed to.

use serde_json::Value;

use super::Guard;
use crate::auth::{MASTERS, User};
use crate::error::{Cause, StatusError};
use crate::rbac::{Attributes, decide};
use crate::registry::{Resource, StorageKey};
use crate::store::json::text;

const GROUP: &str = "admissionregistration.k8s.io";

/// Why parameters could not be looked at more closely than as everything there is.
enum Unknown {
    Policy,
    Version,
    Kind,
}

impl Guard {
    /// Refuses a policy whose parameters are of a kind, or a binding that names parameters, that its writer may not read.
    pub(super) fn may_read_params(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), StatusError> {
        if res.group != GROUP || self.user.is_in(MASTERS) {
            return Ok(());
        }
        let (field, refused) = match res.plural.as_str() {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => {
                ("paramKind", self.may_read_kind(before, after))
            }
            "validatingadmissionpolicybindings" | "mutatingadmissionpolicybindings" => {
                ("paramRef", self.may_read_named(res, before, after))
            }
            _ => return Ok(()),
        };
        refused.map_err(|why| {
            let cause = Cause::forbidden(format!("spec.{field}"), &why);
            StatusError::invalid(res, text(&after["metadata"], "name"), &[cause])
        })
    }

    fn may_read_kind(&self, before: Option<&Value>, after: &Value) -> Result<(), String> {
        let kind = &after["spec"]["paramKind"];
        let same = before.is_some_and(|before| before["spec"]["paramKind"] == *kind);
        if kind.is_null() || same {
            return Ok(());
        }
        let wanted = Attributes {
            verb: "get".to_owned(),
            name: "*".to_owned(),
            namespace: Some("*".to_owned()),
            ..self.of_kind(kind).0
        };
        if decide(self.server.roles(), &self.user, &wanted).allowed {
            return Ok(());
        }
        Err(format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            shown(&self.user),
            text(kind, "kind"),
            text(kind, "apiVersion")
        ))
    }

    fn may_read_named(
        &self,
        res: &Resource,
        before: Option<&Value>,
        after: &Value,
    ) -> Result<(), String> {
        let spec = &after["spec"];
        let wanted = &spec["paramRef"];
        // Selectors are looked at each time.
        let same = |before: &Value| {
            let before = &before["spec"];
            before["paramRef"] == *wanted
                && wanted["selector"].is_null()
                && before["policyName"] == spec["policyName"]
        };
        if wanted.is_null() || before.is_some_and(same) {
            return Ok(());
        }
        let name = text(spec, "policyName");
        let policies = res
            .plural
            .replace("bindings", "s")
            .replace("policys", "policies");
        let state = self.server.db.snapshot();
        let policy = state.get(&StorageKey::new(GROUP, &policies), "", name);
        let policy = policy.map(|policy| policy.value());
        let kind = policy.as_ref().map(|policy| &policy["spec"]["paramKind"]);
        let (attributes, unknown) = match kind {
            None => (everything(), Some(Unknown::Policy)),
            Some(Value::Null) => (everything(), None),
            Some(kind) => self.of_kind(kind),
        };
        let verb = if text(wanted, "name").is_empty() {
            "list"
        } else {
            "get"
        };
        let namespace = text(wanted, "namespace");
        let attributes = Attributes {
            verb: verb.to_owned(),
            name: text(wanted, "name").to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            ..attributes
        };
        if decide(self.server.roles(), &self.user, &attributes).allowed {
            return Ok(());
        }
        let user = shown(&self.user);
        let of_all = format!(
            "to determine minimum required permissions and user {user} does not have \"{verb}\" permission for all \
             groups, versions and resources"
        );
        let kind = kind.cloned().unwrap_or_default();
        let kind = format!("&{{{} {}}}", text(&kind, "apiVersion"), text(&kind, "kind"));
        Err(match unknown {
            Some(Unknown::Policy) => format!("unable to get policy {name} {of_all}"),
            Some(Unknown::Version) => format!("unable to parse paramKind {kind} {of_all}"),
            Some(Unknown::Kind) => format!("unable to resolve paramKind {kind} {of_all}"),
            None => {
                // Kubernetes takes one for the other where policies mutate.
                let (user, verb) = match res.plural.starts_with("mutating") {
                    true => (verb, user.as_str()),
                    false => (user.as_str(), verb),
                };
                format!(
                    "user {user} does not have \"{verb}\" permission on the object referenced by paramRef"
                )
            }
        })
    }

    /// The objects of a kind, as narrow as it is known.
    fn of_kind(&self, kind: &Value) -> (Attributes, Option<Unknown>) {
        let version = text(kind, "apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if version.contains('/') {
            return (everything(), Some(Unknown::Version));
        }
        let registry = self.server.db.registry();
        let found = registry.find_kind(group, version, text(kind, "kind"));
        let unknown = found.is_none().then_some(Unknown::Kind);
        let attributes = Attributes {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: found.map_or_else(|| "*".to_owned(), |found| found.plural.clone()),
            ..Attributes::default()
        };
        (attributes, unknown)
    }
}

fn everything() -> Attributes {
    let all = || "*".to_owned();
    Attributes {
        group: all(),
        version: all(),
        resource: all(),
        ..Attributes::default()
    }
}

/// A user as Go prints him.
fn shown(user: &User) -> String {
    let extra: Vec<String> = user
        .extra
        .iter()
        .map(|(key, values)| format!("{key}:[{}]", values.join(" ")))
        .collect();
    format!(
        "&{{{} {} [{}] map[{}]}}",
        user.name,
        user.uid,
        user.groups.join(" "),
        extra.join(" ")
    )
}
