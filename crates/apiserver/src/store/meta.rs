//! Metadata: names, uids, timestamps, generations, and the rules that all kinds share.
use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::admit::words;
use super::json::{child, list, text};
use crate::error::Cause;
use crate::registry::Resource;

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
    PathSegment,
}

fn name_rule(res: &Resource) -> NameRule {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Namespace" | "Service") => NameRule::Label,
        ("rbac.authorization.k8s.io" | "apiregistration.k8s.io", _) => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

/// Everything that is wrong with a name.
fn name_problems(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => words::subdomain(name),
        NameRule::Label => words::label(name),
        NameRule::PathSegment => words::path_segment(name),
    }
}

/// A prefix may end where a name may not: something follows it.
fn prefix_problems(rule: NameRule, prefix: &str) -> Vec<String> {
    match prefix.strip_suffix('-') {
        Some(rest) if rule != NameRule::PathSegment => name_problems(rule, &format!("{rest}a")),
        _ => name_problems(rule, prefix),
    }
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
    let (name, prefix) = (text(meta, "name"), text(meta, "generateName"));
    let mut causes = Vec::new();
    if !prefix.is_empty() {
        for why in prefix_problems(name_rule(res), prefix) {
            causes.push(Cause::invalid(
                "metadata.generateName",
                &json!(prefix),
                &why,
            ));
        }
    }
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        for why in name_problems(name_rule(res), name) {
            causes.push(Cause::invalid("metadata.name", &json!(name), &why));
        }
    }
    if res.is_namespaced() && !text(meta, "namespace").is_empty() {
        let namespace = text(meta, "namespace");
        for why in words::label(namespace) {
            causes.push(Cause::invalid(
                "metadata.namespace",
                &json!(namespace),
                &why,
            ));
        }
    }
    labels(&meta["labels"], "metadata.labels", &mut causes);
    annotations(&meta["annotations"], "metadata.annotations", &mut causes);
    owners(meta, &mut causes);
    finalizers(meta, &mut causes);
    if !res.custom {
        for (index, one) in list(meta, "finalizers").iter().enumerate() {
            let field = format!("metadata.finalizers[{index}]");
            standard_finalizer(&field, one.as_str().unwrap_or_default(), &mut causes);
        }
    }
    causes
}

/// A finalizer without a domain must be one that Kubernetes knows.
pub(crate) fn standard_finalizer(field: &str, name: &str, causes: &mut Vec<Cause>) {
    if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        causes.push(Cause::invalid(field, &json!(name), why));
    }
}

/// What may not change of an object's metadata.
pub(crate) fn changes(before: &Value, object: &Value) -> Vec<Cause> {
    let (old, new) = (&before["metadata"], &object["metadata"]);
    let mut causes = Vec::new();
    for name in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if old[name] != new[name] && !new[name].is_null() && new[name] != "" {
            let field = format!("metadata.{name}");
            causes.push(Cause::invalid(field, &new[name], "field is immutable"));
        }
    }
    causes
}

fn finalizers(meta: &Value, causes: &mut Vec<Cause>) {
    let all = list(meta, "finalizers");
    for finalizer in all {
        let text = finalizer.as_str().unwrap_or_default();
        for why in words::qualified(text) {
            causes.push(Cause::invalid("metadata.finalizers", finalizer, &why));
        }
    }
    let has = |name: &str| all.iter().any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid("metadata.finalizers", &json!(all), why));
    }
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
        for why in words::qualified(key) {
            causes.push(Cause::invalid(field, &json!(key), &why));
        }
        for why in words::label_value(value.as_str().unwrap_or("-")) {
            causes.push(Cause::invalid(field, value, &why));
        }
    }
}

/// Checks a map of annotations.
pub(crate) fn annotations(value: &Value, field: &str, causes: &mut Vec<Cause>) {
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
        for why in words::qualified(&key.to_lowercase()) {
            causes.push(Cause::invalid(field, &json!(key), &why));
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
    for (index, owner) in list(meta, "ownerReferences").iter().enumerate() {
        let field = |name: &str| format!("metadata.ownerReferences[{index}].{name}");
        let version = text(owner, "apiVersion");
        if version.split('/').count() > 2 || version.ends_with('/') {
            let why = "must be <group>/<version> or <version>";
            causes.push(Cause::invalid(field("apiVersion"), &json!(version), why));
        }
        for name in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, name).is_empty() {
                causes.push(Cause::required(field(name), "must not be empty"));
            }
        }
        if version == "v1" && owner["kind"] == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            let at = format!("metadata.ownerReferences[{index}]");
            causes.push(Cause::invalid(at, owner, why));
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
                let shown: Vec<String> = list(meta, "ownerReferences")
                    .iter()
                    .map(owner_shown)
                    .collect();
                causes.push(Cause {
                    reason: "FieldValueInvalid",
                    message: format!("Invalid value: [{}]: {why}", shown.join(",")),
                    field: "metadata.ownerReferences".to_owned(),
                });
            }
        }
    }
}

/// An owner reference, its fields in the order of Kubernetes.
fn owner_shown(owner: &Value) -> String {
    let names = [
        "apiVersion",
        "kind",
        "name",
        "uid",
        "controller",
        "blockOwnerDeletion",
    ];
    let fields: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("\"{name}\":{}", owner.get(*name)?)))
        .collect();
    format!("{{{}}}", fields.join(","))
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
                | "PriorityClass"
                | "Pod"
                | "PodDisruptionBudget"
                | "HorizontalPodAutoscaler"
                | "EndpointSlice"
                | "ReplicationController"
                | "PodTemplate"
                | "Ingress"
                | "NetworkPolicy"
                | "FlowSchema"
                | "PriorityLevelConfiguration"
                | "ValidatingWebhookConfiguration"
                | "MutatingWebhookConfiguration"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
                | "IngressClass"
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
        check("", "namespaces", "a.b", &["must not contain dots"]);
        check("", "services", "1a", &[]);
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
                "metadata.ownerReferences[0].uid"
            ]
        );
    }
}
