//! Discovery: which groups, versions, resources and verbs there are, in the old form and the aggregated one.
//!
//! Derived from the registry alone, plus the reviews, which are served but not stored. Pure; must not know HTTP.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::http::{Namespaced, REVIEWS, Review};
use crate::registry::{Registry, Resource};

/// Which half of the aggregated document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all others.
    Groups,
}

/// Verbs of a stored resource, in the order that Kubernetes prints.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// `/api`.
pub fn versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = named_groups(registry)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_value(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`; nothing if there is no such group.
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let groups = named_groups(registry);
    let versions = groups.get(group)?;
    let mut value = group_value(group, versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// `/api/<version>` or `/apis/<group>/<version>`; nothing if there is no such version.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for res in registry
        .all()
        .iter()
        .filter(|res| res.group == group && res.version == version)
    {
        list.push(old_form(res));
        list.extend(subresources(res).into_iter().map(|sub| {
            json!({
                "name": format!("{}/{}", res.plural, sub.name), "singularName": "",
                "namespaced": res.is_namespaced(), "group": sub.group, "version": sub.version,
                "kind": sub.kind, "verbs": sub.verbs,
            })
        }));
    }
    for review in reviews(group, version) {
        list.push(json!({
            "name": review.plural, "singularName": review.kind.to_lowercase(),
            "namespaced": review.namespaced == Namespaced::Yes, "kind": review.kind,
            "verbs": ["create"],
        }));
    }
    if list.is_empty() {
        return None;
    }
    // The group's own version says nothing new.
    for entry in &mut list {
        if entry["group"] == group
            && entry["version"] == version
            && let Some(entry) = entry.as_object_mut()
        {
            entry.remove("group");
            entry.remove("version");
        }
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": join(group, version), "resources": list}))
}

/// The aggregated document (`apidiscovery.k8s.io/v2` or `v2beta1`).
pub fn aggregated(registry: &Registry, part: Part, version: &str) -> Value {
    let all = registry.all();
    let items: Vec<Value> = named_groups(registry)
        .iter()
        .filter(|(group, _)| group.is_empty() == (part == Part::Core))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let mut resources: Vec<Value> = all
                        .iter()
                        .filter(|res| res.group == *group && res.version == *version)
                        .map(|res| new_form(res))
                        .collect();
                    resources.extend(reviews(group, version).map(review_form));
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

/// Every group with its versions, the preferred first.
fn named_groups(registry: &Registry) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut note = |group: &str, version: &str| {
        let versions = groups.entry(group.to_owned()).or_default();
        if !versions.iter().any(|own| own == version) {
            versions.push(version.to_owned());
        }
    };
    for res in registry.all() {
        note(&res.group, &res.version);
    }
    for review in REVIEWS {
        note(review.group, "v1");
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| priority(version));
    }
    groups
}

/// Kubernetes' order of versions: stable before beta before alpha, newer before older, others last.
fn priority(version: &str) -> (u8, std::cmp::Reverse<u64>, std::cmp::Reverse<u64>, String) {
    let parse = || -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (major, rest) = rest.split_at(digits);
        let major = major.parse().ok()?;
        if rest.is_empty() {
            return Some((0, major, 0));
        }
        let (stage, minor) = match rest.strip_prefix("beta") {
            Some(minor) => (1, minor),
            None => (2, rest.strip_prefix("alpha")?),
        };
        Some((stage, major, minor.parse().ok()?))
    };
    match parse() {
        Some((stage, major, minor)) => (
            stage,
            std::cmp::Reverse(major),
            std::cmp::Reverse(minor),
            String::new(),
        ),
        None => (
            3,
            std::cmp::Reverse(0),
            std::cmp::Reverse(0),
            version.to_owned(),
        ),
    }
}

fn group_value(group: &str, versions: &[String]) -> Value {
    let each: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": join(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": each, "preferredVersion": each.first()})
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn reviews(group: &str, version: &str) -> impl Iterator<Item = &'static Review> {
    let ours = version == "v1";
    REVIEWS
        .iter()
        .filter(move |review| ours && review.group == group)
}

struct Below {
    name: String,
    group: String,
    version: String,
    kind: String,
    verbs: Vec<&'static str>,
}

fn subresources(res: &Resource) -> Vec<Below> {
    let below =
        |name: &str, group: &str, version: &str, kind: &str, verbs: &[&'static str]| Below {
            name: name.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            verbs: verbs.to_vec(),
        };
    let mut list = Vec::new();
    let own = |name: &str, verbs: &[&'static str]| {
        below(name, &res.group, &res.version, &res.kind, verbs)
    };
    for other in res.subresources.others {
        list.push(match *other {
            "binding" => below("binding", "", "v1", "Binding", &["create"]),
            "eviction" => below("eviction", "policy", "v1", "Eviction", &["create"]),
            "token" => below(
                "token",
                "authentication.k8s.io",
                "v1",
                "TokenRequest",
                &["create"],
            ),
            "log" => own("log", &["get"]),
            other => own(other, &["update"]),
        });
    }
    if res.subresources.scale.is_some() {
        list.push(below(
            "scale",
            "autoscaling",
            "v1",
            "Scale",
            &["get", "patch", "update"],
        ));
    }
    if res.subresources.status {
        list.push(own("status", &["get", "patch", "update"]));
    }
    list
}

fn old_form(res: &Resource) -> Value {
    let mut value = json!({
        "name": res.plural, "singularName": res.singular, "namespaced": res.is_namespaced(),
        "kind": res.kind, "verbs": VERBS,
    });
    if !res.short_names.is_empty() {
        value["shortNames"] = res.short_names.clone().into();
    }
    if !res.categories.is_empty() {
        value["categories"] = res.categories.clone().into();
    }
    value
}

fn scope(namespaced: Namespaced) -> &'static str {
    match namespaced {
        Namespaced::Yes => "Namespaced",
        Namespaced::No => "Cluster",
    }
}

fn new_form(res: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let below: Vec<Value> = subresources(res)
        .into_iter()
        .map(|sub| {
            json!({"subresource": sub.name, "verbs": sub.verbs,
                "responseKind": kind(&sub.group, &sub.version, &sub.kind)})
        })
        .collect();
    let namespaced = if res.is_namespaced() {
        Namespaced::Yes
    } else {
        Namespaced::No
    };
    let mut value = json!({
        "resource": res.plural, "responseKind": kind(&res.group, &res.version, &res.kind),
        "scope": scope(namespaced), "singularResource": res.singular, "verbs": VERBS,
    });
    for (field, list) in [
        ("shortNames", &res.short_names),
        ("categories", &res.categories),
    ] {
        if !list.is_empty() {
            value[field] = list.clone().into();
        }
    }
    if !below.is_empty() {
        value["subresources"] = below.into();
    }
    value
}

fn review_form(review: &Review) -> Value {
    json!({
        "resource": review.plural, "scope": scope(review.namespaced), "verbs": ["create"],
        "singularResource": review.kind.to_lowercase(),
        "responseKind": {"group": review.group, "version": "v1", "kind": review.kind},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_first_and_newer_before_older() {
        let mut versions =
            ["v1alpha1", "foo", "v2", "v1beta1", "v1", "v1beta2", "v10"].map(str::to_owned);
        versions.sort_by_key(|version| priority(version));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]
        );
    }

    #[test]
    fn every_stored_resource_and_every_review_is_found_in_both_forms() {
        let registry = Registry::with_builtin();
        let core = resources(&registry, "", "v1").unwrap();
        let names: Vec<&str> = core["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["name"].as_str().unwrap())
            .collect();
        for name in [
            "pods",
            "pods/log",
            "pods/status",
            "pods/eviction",
            "serviceaccounts/token",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(resources(&registry, "authorization.k8s.io", "v1").is_some());
        assert!(resources(&registry, "apps", "v2").is_none());
        let both = [Part::Core, Part::Groups].map(|part| aggregated(&registry, part, "v2"));
        assert_eq!(both[0]["items"].as_array().unwrap().len(), 1);
        let groups = groups(&registry)["groups"].as_array().unwrap().len();
        assert_eq!(both[1]["items"].as_array().unwrap().len(), groups);
    }
}
