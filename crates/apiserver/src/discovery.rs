//! Discovery: which groups, versions, resources and verbs there are, in the old form and the aggregated one.
//!
//! Derived from the registry alone. Pure; must not know HTTP.

mod form;

use std::sync::Arc;

use serde_json::json;

use crate::registry::{Below, Registry, Resource, builtin, builtin_groups};

/// Which half of the aggregated document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all others.
    Groups,
}

/// A group and its versions, the preferred first.
struct Named {
    name: String,
    versions: Vec<String>,
}

/// `/api`: the versions of the core group, and where this server is.
pub fn versions(address: &str) -> String {
    let clients = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    format!(
        "{{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":{clients}}}"
    )
}

/// `/apis`.
pub fn groups(registry: &Registry) -> String {
    let named = named_groups(registry);
    let groups = named.iter().filter(|group| !group.name.is_empty());
    text(&form::GroupList {
        kind: "APIGroupList",
        api_version: "v1",
        groups: groups.map(group_form).collect(),
    })
}

/// `/apis/<group>`; nothing if there is no such group.
pub fn group(registry: &Registry, group: &str) -> Option<String> {
    let groups = named_groups(registry);
    let found = groups.iter().find(|named| named.name == group)?;
    let mut form = group_form(found);
    form.kind = "APIGroup";
    form.api_version = "v1";
    Some(text(&form))
}

/// `/api/<version>` or `/apis/<group>/<version>`; nothing if there is no such version.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<String> {
    let found = of_version(registry, group, version);
    let mut list = Vec::new();
    for res in &found {
        list.push(old_form(res));
        list.extend(below(res).iter().map(|below| old_below(res, below)));
    }
    if list.is_empty() {
        return None;
    }
    Some(text(&form::ResourceList {
        kind: "APIResourceList",
        // The core group is older than that field.
        api_version: if group.is_empty() { "" } else { "v1" },
        group_version: join(group, version),
        resources: list,
    }))
}

/// The aggregated document of `apidiscovery.k8s.io/v2`.
pub fn aggregated(registry: &Registry, part: Part) -> String {
    let groups = named_groups(registry);
    let items = groups
        .iter()
        .filter(|group| group.name.is_empty() == (part == Part::Core))
        .map(|group| aggregated_group(registry, group))
        .collect();
    text(&form::Aggregated {
        kind: "APIGroupDiscoveryList",
        api_version: "apidiscovery.k8s.io/v2",
        metadata: form::Metadata::default(),
        items,
    })
}

fn aggregated_group(registry: &Registry, named: &Named) -> form::AggregatedGroup {
    let Named { name, versions } = named;
    let versions = versions.iter().map(|version| form::AggregatedVersion {
        version: version.clone(),
        resources: of_version(registry, name, version)
            .iter()
            .map(|res| new_form(res))
            .collect(),
        freshness: "Current",
    });
    form::AggregatedGroup {
        metadata: form::Metadata { name: name.clone() },
        versions: versions.collect(),
    }
}

fn text(form: &impl serde::Serialize) -> String {
    serde_json::to_string(form).expect("texts and lists of texts can always be written")
}

/// Every version of every group, the preferred first: the built-in ones in Kubernetes' order, then those of CRDs.
pub fn group_versions(registry: &Registry) -> Vec<(String, String)> {
    let groups = named_groups(registry).into_iter();
    groups
        .flat_map(|Named { name, versions }| {
            versions
                .into_iter()
                .map(move |version| (name.clone(), version))
        })
        .collect()
}

fn named_groups(registry: &Registry) -> Vec<Named> {
    let mut groups: Vec<Named> = builtin_groups()
        .iter()
        .map(|group| Named {
            name: group.name.to_owned(),
            versions: group.versions.iter().map(|&one| one.to_owned()).collect(),
        })
        .collect();
    let fixed = groups.len();
    for res in registry.all().iter().filter(|res| res.custom) {
        match groups.iter_mut().find(|group| group.name == res.group) {
            Some(group) if group.versions.contains(&res.version) => {}
            Some(group) => group.versions.push(res.version.clone()),
            None => groups.push(Named {
                name: res.group.clone(),
                versions: vec![res.version.clone()],
            }),
        }
    }
    for group in groups.iter_mut().skip(fixed) {
        group.versions.sort_by_key(|version| priority(version));
    }
    // Groups of the same priority follow the names of their APIServices, which begin with the version.
    if let Some(custom) = groups.get_mut(fixed..) {
        custom.sort_by_key(|group| (group.versions.first().cloned(), group.name.clone()));
    }
    groups
}

/// The resources of a version: the built-in ones in Kubernetes' order, then those of CRDs.
fn of_version(registry: &Registry, group: &str, version: &str) -> Vec<Arc<Resource>> {
    let fits = |res: &&Arc<Resource>| res.group == group && res.version == version;
    let mut list: Vec<Arc<Resource>> = builtin().iter().filter(fits).cloned().collect();
    let all = registry.all();
    list.extend(all.iter().filter(fits).filter(|res| res.custom).cloned());
    list
}

/// Kubernetes' order of versions: stable before beta before alpha, newer before older, others last.
pub(crate) fn priority(
    version: &str,
) -> (u8, std::cmp::Reverse<u64>, std::cmp::Reverse<u64>, String) {
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

fn group_form(Named { name, versions }: &Named) -> form::Group {
    let versions: Vec<form::Version> = versions
        .iter()
        .map(|version| form::Version {
            group_version: join(name, version),
            version: version.clone(),
        })
        .collect();
    form::Group {
        kind: "",
        api_version: "",
        name: name.clone(),
        preferred_version: versions.first().cloned(),
        versions,
    }
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// What lies below a resource's objects; a CRD says it by its subresources.
fn below(res: &Resource) -> Vec<Below> {
    if !res.custom {
        return res.served.below.clone();
    }
    let verbs = vec!["get", "patch", "update"];
    let mut list = Vec::new();
    if res.subresources.status {
        list.push(Below {
            name: "status",
            group: "",
            version: "",
            kind: "",
            verbs: verbs.clone(),
        });
    }
    if res.subresources.scale.is_some() {
        list.push(Below {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs,
        });
    }
    list
}

fn kind_below(res: &Resource, below: &Below) -> String {
    if below.kind.is_empty() {
        res.kind.clone()
    } else {
        below.kind.to_owned()
    }
}

fn old_form(res: &Resource) -> form::Resource {
    form::Resource {
        name: res.plural.clone(),
        singular_name: res.singular.clone(),
        namespaced: res.is_namespaced(),
        group: "",
        version: "",
        kind: res.kind.clone(),
        verbs: res.served.verbs.clone(),
        short_names: res.short_names.clone(),
        categories: res.categories.clone(),
        storage_version_hash: res.served.hash.clone(),
    }
}

fn old_below(res: &Resource, below: &Below) -> form::Resource {
    form::Resource {
        name: format!("{}/{}", res.plural, below.name),
        singular_name: String::new(),
        namespaced: res.is_namespaced(),
        group: below.group,
        version: below.version,
        kind: kind_below(res, below),
        verbs: below.verbs.clone(),
        short_names: Vec::new(),
        categories: Vec::new(),
        storage_version_hash: String::new(),
    }
}

fn new_form(res: &Resource) -> form::AggregatedResource {
    // Of a built-in kind's own group and version nothing is said.
    let own = |kind: String| form::Kind {
        group: if res.custom {
            res.group.clone()
        } else {
            String::new()
        },
        version: if res.custom {
            res.version.clone()
        } else {
            String::new()
        },
        kind,
    };
    let below = below(res).into_iter().map(|below| {
        let kind = kind_below(res, &below);
        form::AggregatedBelow {
            subresource: below.name,
            response_kind: if below.version.is_empty() {
                own(kind)
            } else {
                form::Kind {
                    group: below.group.to_owned(),
                    version: below.version.to_owned(),
                    kind,
                }
            },
            verbs: below.verbs,
        }
    });
    form::AggregatedResource {
        resource: res.plural.clone(),
        response_kind: own(res.kind.clone()),
        scope: if res.is_namespaced() {
            "Namespaced"
        } else {
            "Cluster"
        },
        singular_resource: res.singular.clone(),
        verbs: res.served.verbs.clone(),
        short_names: res.short_names.clone(),
        categories: res.categories.clone(),
        subresources: below.collect(),
    }
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
    fn every_resource_and_every_review_is_found_in_both_forms() {
        let registry = Registry::with_builtin();
        let core = resources(&registry, "", "v1").unwrap();
        for name in [
            "pods",
            "pods/log",
            "pods/status",
            "pods/eviction",
            "serviceaccounts/token",
        ] {
            assert!(core.contains(&format!("\"name\":\"{name}\"")), "{name}");
        }
        assert!(resources(&registry, "authorization.k8s.io", "v1").is_some());
        assert!(resources(&registry, "apps", "v2").is_none());
        let count = |part| {
            let document: serde_json::Value =
                serde_json::from_str(&aggregated(&registry, part)).unwrap();
            document["items"].as_array().unwrap().len()
        };
        assert_eq!(count(Part::Core), 1);
        assert_eq!(count(Part::Groups), builtin_groups().len() - 1);
    }
}
