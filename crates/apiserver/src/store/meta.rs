//! Metadata: names, uids, timestamps, generations, and the rules that all kinds share.
use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::json::{child, list, text};
use crate::error::Cause;
use crate::registry::Resource;
use crate::selector::{
    LABEL_VALUE, QUALIFIED_NAME, is_dns_label, is_dns_subdomain, is_label_key, is_label_value,
};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name', \
 or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What Kubernetes says of a name that is too long.
const TOO_LONG_LABEL: &str = "must be no more than 63 characters";
const TOO_LONG_NAME: &str = "must be no more than 253 characters";
/// A name made from `generateName` keeps at most this much of it.
const GENERATE_BASE_MAX: usize = 58;
const GENERATE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The time in the form of Kubernetes' timestamps: whole seconds, UTC.
pub(crate) fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A new random uid.
pub(crate) fn new_uid(rng: &mut StdRng) -> String {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A name from a `generateName`: the base and five random characters.
pub(crate) fn generated_name(base: &str, rng: &mut StdRng) -> String {
    let kept: String = base.chars().take(GENERATE_BASE_MAX).collect();
    format!("{kept}{}", random_suffix(5, rng))
}

/// Random characters that form no words.
pub(crate) fn random_suffix(length: usize, rng: &mut StdRng) -> String {
    (0..length)
        .map(|_| char::from(GENERATE_ALPHABET[rng.next_u32() as usize % GENERATE_ALPHABET.len()]))
        .collect()
}

/// How names of a kind must look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NameRule {
    Subdomain,
    Label,
    Label1035,
    PathSegment,
}

fn name_rule(res: &Resource) -> NameRule {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Namespace") => NameRule::Label,
        ("", "Service") => NameRule::Label1035,
        ("rbac.authorization.k8s.io", _) => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

/// Everything that is wrong with a name.
fn name_problems(rule: NameRule, name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    match rule {
        NameRule::Subdomain => {
            if name.len() > 253 {
                problems.push(TOO_LONG_NAME);
            } else if !is_dns_subdomain(name) {
                problems.push(SUBDOMAIN);
            }
        }
        NameRule::Label | NameRule::Label1035 => {
            if name.len() > 63 {
                problems.push(TOO_LONG_LABEL);
            }
            let shape = name.get(..name.len().min(63)).is_some_and(is_dns_label)
                || (name.len() > 63 && !name.is_empty() && name.split('-').all(str::is_ascii));
            if rule == NameRule::Label && !shape {
                problems.push(LABEL);
            }
            let letter_first = name.starts_with(|first: char| first.is_ascii_lowercase());
            if rule == NameRule::Label1035 && !(shape && letter_first) {
                problems.push(LABEL_1035);
            }
        }
        NameRule::PathSegment => {
            if name == "." {
                problems.push("may not be '.'");
            } else if name == ".." {
                problems.push("may not be '..'");
            }
            if name.contains('/') {
                problems.push("may not contain '/'");
            }
            if name.contains('%') {
                problems.push("may not contain '%'");
            }
        }
    }
    problems
}

/// Takes fields out of the metadata that say nothing: nulls, and empty lists and maps.
pub(crate) fn tidy(object: &mut Value) {
    child(object, "metadata").retain(|name, value| match name.as_str() {
        "labels" | "annotations" => {
            value.as_object().is_none_or(|map| !map.is_empty()) && !value.is_null()
        }
        "finalizers" | "ownerReferences" | "managedFields" => {
            value.as_array().is_none_or(|list| !list.is_empty()) && !value.is_null()
        }
        "generateName" | "selfLink" => value.as_str().is_some_and(|text| !text.is_empty()),
        _ => !value.is_null(),
    });
}

/// Everything that is wrong with an object's metadata, in Kubernetes' words.
pub(crate) fn problems(res: &Resource, object: &Value) -> Vec<Cause> {
    let meta = &object["metadata"];
    let name = text(meta, "name");
    let mut causes = Vec::new();
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        for why in name_problems(name_rule(res), name) {
            causes.push(Cause::invalid("metadata.name", &json!(name), why));
        }
    }
    labels(&meta["labels"], "metadata.labels", &mut causes);
    annotations(&meta["annotations"], &mut causes);
    owners(meta, &mut causes);
    for finalizer in list(meta, "finalizers") {
        if !finalizer.as_str().is_some_and(is_label_key) {
            causes.push(Cause::invalid(
                "metadata.finalizers",
                finalizer,
                QUALIFIED_NAME,
            ));
        }
    }
    causes
}

/// Checks a map of labels.
pub(crate) fn labels(value: &Value, field: &str, causes: &mut Vec<Cause>) {
    let Some(map) = value.as_object() else {
        if !value.is_null() {
            causes.push(Cause::type_invalid(
                field,
                value,
                "must be a map of strings",
            ));
        }
        return;
    };
    for (key, value) in map {
        if !is_label_key(key) {
            causes.push(Cause::invalid(field, &json!(key), QUALIFIED_NAME));
        }
        match value.as_str() {
            Some(text) if text.len() > 63 => {
                causes.push(Cause::invalid(field, value, TOO_LONG_LABEL));
            }
            Some(text) if is_label_value(text) => {}
            _ => causes.push(Cause::invalid(field, value, LABEL_VALUE)),
        }
    }
}

fn annotations(value: &Value, causes: &mut Vec<Cause>) {
    let field = "metadata.annotations";
    let Some(map) = value.as_object() else {
        if !value.is_null() {
            causes.push(Cause::type_invalid(
                field,
                value,
                "must be a map of strings",
            ));
        }
        return;
    };
    let mut size = 0;
    for (key, value) in map {
        if !is_label_key(&key.to_lowercase()) {
            causes.push(Cause::invalid(field, &json!(key), QUALIFIED_NAME));
        }
        match value.as_str() {
            Some(text) => size += key.len() + text.len(),
            None => causes.push(Cause::type_invalid(field, value, "must be a string")),
        }
    }
    if size > ANNOTATIONS_BYTES_MAX {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes"),
            field: field.to_owned(),
        });
    }
}

fn owners(meta: &Value, causes: &mut Vec<Cause>) {
    let mut controller: Option<String> = None;
    for owner in list(meta, "ownerReferences") {
        let field = |name: &str| format!("metadata.ownerReferences.{name}");
        if text(owner, "apiVersion").is_empty() {
            causes.push(Cause::invalid(
                field("apiVersion"),
                &json!(""),
                "version must not be empty",
            ));
        }
        for name in ["kind", "name", "uid"] {
            if text(owner, name).is_empty() {
                causes.push(Cause::invalid(field(name), &json!(""), "must not be empty"));
            }
        }
        if owner["controller"] != true {
            continue;
        }
        let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        match &controller {
            None => controller = Some(this),
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {this}"
                );
                causes.push(Cause::invalid("metadata.ownerReferences", owner, &why));
            }
        }
    }
}

/// Whether writes to the spec of a kind are counted in `metadata.generation`.
pub(crate) fn counts_generations(res: &Resource) -> bool {
    res.custom
        || matches!(
            res.kind.as_str(),
            "Deployment"
                | "ReplicaSet"
                | "StatefulSet"
                | "DaemonSet"
                | "Job"
                | "CronJob"
                | "Pod"
                | "PodDisruptionBudget"
                | "EndpointSlice"
                | "CustomResourceDefinition"
        )
}

/// Whether anything but metadata (and the status, where it is apart) differs.
pub(crate) fn spec_differs(res: &Resource, old: &Value, new: &Value) -> bool {
    let skipped = |name: &str| {
        matches!(name, "metadata" | "apiVersion" | "kind")
            || (name == "status" && res.subresources.status)
    };
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old != new;
    };
    let names = old.keys().chain(new.keys()).filter(|name| !skipped(name));
    names.into_iter().any(|name| old.get(name) != new.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[track_caller]
    fn check(group: &str, plural: &str, name: &str, wanted: &[&str]) {
        let res = Registry::with_builtin().find(group, "v1", plural).unwrap();
        let causes = problems(&res, &json!({"metadata": {"name": name}}));
        let found: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.contains(wanted), "{name}: {found}");
        }
    }

    #[test]
    fn names_are_checked_by_the_rule_of_their_kind() {
        check("", "configmaps", "a.b-c", &[]);
        check(
            "",
            "configmaps",
            "A",
            &["Invalid value: \"A\": a lowercase RFC 1123 subdomain"],
        );
        check("", "namespaces", "a.b", &["a lowercase RFC 1123 label"]);
        check("", "services", "1a", &["a DNS-1035 label"]);
        check(
            "",
            "services",
            &"a".repeat(64),
            &["must be no more than 63 characters"],
        );
        check(
            "",
            "services",
            "",
            &["Required value: name or generateName is required"],
        );
        check("rbac.authorization.k8s.io", "roles", "system:node", &[]);
        check(
            "rbac.authorization.k8s.io",
            "roles",
            "a/b",
            &["may not contain '/'"],
        );
    }

    #[test]
    fn labels_and_owners_are_checked() {
        let res = Registry::with_builtin()
            .find("", "v1", "configmaps")
            .unwrap();
        let causes = problems(
            &res,
            &json!({"metadata": {
                "name": "a", "labels": {"-x": "ok", "y": "-"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]
            }}),
        );
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.labels",
                "metadata.labels",
                "metadata.ownerReferences.uid"
            ]
        );
    }
}
