//! What must hold of requests and limits.
use std::collections::BTreeSet;

use serde_json::json;

use crate::quantity::Quantity;
use crate::store::admit::at::{At, Causes};
use crate::store::admit::words;

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const QUOTA: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const OF_CONTAINERS: &[&str] = &["cpu", "memory", "ephemeral-storage"];

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && words::qualified(&format!("requests.{name}")).is_empty()
}

/// The name of a resource.
pub(in crate::store::admit) fn name(at: &At<'_>, name: &str, causes: &mut Causes) -> bool {
    let shown = json!(name);
    let named = At::new(at.path.clone(), &shown);
    let why = words::qualified(name);
    if !why.is_empty() {
        named.all_invalid(causes, why);
        return false;
    }
    let huge = is_huge(name) || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !STANDARD.contains(&name) && !huge {
        named.invalid(
            causes,
            "must be a standard resource type or fully qualified",
        );
        return false;
    }
    true
}

/// Whether a quota can name it without a domain.
pub(in crate::store::admit) fn is_quota_name(text: &str) -> bool {
    QUOTA.contains(&text) || is_huge(text) || text.starts_with("requests.hugepages-")
}

/// The name of a resource in a quota.
pub(in crate::store::admit) fn quota_name(at: &At<'_>, text: &str, causes: &mut Causes) {
    name(at, text, causes);
    if !text.contains('/') && !is_quota_name(text) {
        let why = "must be a standard resource for quota";
        at.invalid_as(causes, &json!(text), why);
    }
}

/// The amount of a resource.
pub(in crate::store::admit) fn amount(at: &At<'_>, name: &str, causes: &mut Causes) {
    let Some(amount) = Quantity::of(at.value) else {
        return;
    };
    if amount.is_negative() {
        at.invalid_as(
            causes,
            &json!(amount.to_string()),
            "must be greater than or equal to 0",
        );
    }
    if (WHOLE.contains(&name) || is_extended(name)) && !amount.is_whole() {
        at.invalid(causes, "must be an integer");
    }
}

/// Requests and limits of a container.
pub(super) fn container(at: &At<'_>, claims: &BTreeSet<&str>, causes: &mut Causes) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    for (key, limit) in limits.entries() {
        container_name(&limit, key, causes);
        amount(&limit, key, causes);
    }
    for (key, request) in requests.entries() {
        container_name(&request, key, causes);
        amount(&request, key, causes);
        let limit = limits.value.get(key).and_then(Quantity::of);
        let overcommit = is_native(key) && !is_huge(key);
        match (limit, Quantity::of(request.value)) {
            (Some(limit), Some(wanted)) => {
                let why = if wanted != limit && !overcommit {
                    "equal to"
                } else if wanted > limit {
                    "less than or equal to"
                } else {
                    continue;
                };
                let why = format!("must be {why} {key} limit of {limit}");
                requests.invalid_as(causes, &json!(wanted.to_string()), &why);
            }
            (None, _) if !overcommit => {
                limits.required(causes, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
    let any = |wanted: fn(&str) -> bool| {
        let mut all = limits.entries().chain(requests.entries());
        all.any(|(key, _)| wanted(key))
    };
    if any(is_huge) && !any(|key| key == "cpu" || key == "memory") {
        at.forbidden(causes, "HugePages require cpu or memory");
    }
    for claim in at.each("claims") {
        let name = claim.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
        } else if !claims.contains(name.text()) {
            name.named(claim.path).not_found(causes);
        }
    }
}

fn container_name(at: &At<'_>, key: &str, causes: &mut Causes) {
    name(at, key, causes);
    if !key.contains('/') {
        if !OF_CONTAINERS.contains(&key) && !is_huge(key) {
            at.invalid_as(
                causes,
                &json!(key),
                "must be a standard resource for containers",
            );
        }
    } else if !is_native(key) && !is_extended(key) {
        let why = "doesn't follow extended resource name standard";
        at.invalid_as(causes, &json!(key), why);
    }
}
