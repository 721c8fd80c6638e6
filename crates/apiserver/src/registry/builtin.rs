//! The kinds that Kubernetes serves by default, as a real server's discovery names them.
//!
//! Read once from `data/discovery.json`, which `cargo xtask kinds` makes.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::{Below, OfCrd, Resource, ScalePaths, Scope, Served, StorageKey, Subresources};

/// What a real server's discovery says.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
struct Discovery {
    groups: Vec<Group>,
    resources: BTreeMap<&'static str, Vec<Entry>>,
}

/// One API group, its preferred version first.
#[derive(Debug, Deserialize)]
pub struct Group {
    /// Its name, empty for the core group.
    pub name: &'static str,
    /// Its versions.
    pub versions: Vec<&'static str>,
    /// For each version the priority of the group and that of the version, unless it has no APIService.
    pub priorities: Vec<(i64, i64)>,
}

/// One entry of an APIResourceList.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: &'static str,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    #[serde(default)]
    group: &'static str,
    #[serde(default)]
    version: &'static str,
    verbs: Vec<&'static str>,
    #[serde(default)]
    short_names: Vec<&'static str>,
    #[serde(default)]
    categories: Vec<&'static str>,
    #[serde(default)]
    storage_version_hash: &'static str,
}

static DISCOVERY: LazyLock<Discovery> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/discovery.json"))
        .expect("the data is checked by a test of this module")
});

static BUILTIN: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for group in &DISCOVERY.groups {
        for version in &group.versions {
            let key = super::join_version(group.name, version);
            let entries = DISCOVERY.resources.get(key.as_str());
            all.extend(resources(
                (group, version),
                entries.map_or(&[][..], Vec::as_slice),
            ));
        }
    }
    all
});

/// The built-in groups, in the order of discovery.
pub fn builtin_groups() -> &'static [Group] {
    &DISCOVERY.groups
}

/// All built-in resources, in the order of discovery.
pub fn builtin() -> &'static [Arc<Resource>] {
    &BUILTIN
}

/// The resources of one version; what has a slash in its name lies below the one that it follows.
fn resources((group, version): (&Group, &'static str), entries: &[Entry]) -> Vec<Arc<Resource>> {
    let own = entries.iter().filter(|entry| !entry.name.contains('/'));
    own.map(|entry| {
        let below = entries
            .iter()
            .filter_map(|other| {
                let (parent, name) = other.name.split_once('/')?;
                (parent == entry.name).then(|| Below {
                    name,
                    group: other.group,
                    version: other.version,
                    kind: other.kind,
                    verbs: other.verbs.clone(),
                })
            })
            .collect();
        Arc::new(resource((group, version), entry, below))
    })
    .collect()
}

fn resource(
    (group, version): (&Group, &'static str),
    entry: &Entry,
    below: Vec<Below>,
) -> Resource {
    let owned = |list: &[&'static str]| list.iter().map(|&one| one.to_owned()).collect();
    let has = |name: &str| below.iter().any(|below| below.name == name);
    // Events are one collection in two groups.
    let storage = match entry.kind {
        "Event" => StorageKey::new("", "events"),
        _ => StorageKey::new(group.name, entry.name),
    };
    let subresources = Subresources {
        status: has("status"),
        scale: has("scale").then(|| scale(entry.name)),
        others: below
            .iter()
            .map(|below| below.name)
            .filter(|name| !matches!(*name, "status" | "scale"))
            .collect(),
    };
    Resource {
        group: group.name.to_owned(),
        version: version.to_owned(),
        kind: entry.kind.to_owned(),
        list_kind: format!("{}List", entry.kind),
        plural: entry.name.to_owned(),
        singular: entry.singular_name.to_owned(),
        short_names: owned(&entry.short_names),
        categories: owned(&entry.categories),
        scope: if entry.namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        },
        subresources,
        columns: Vec::new(),
        storage_version: group
            .versions
            .first()
            .copied()
            .unwrap_or(version)
            .to_owned(),
        schema: None,
        of_crd: OfCrd::default(),
        storage,
        custom: false,
        deprecation: deprecation(group.name, entry.kind),
        served: Served {
            verbs: entry.verbs.clone(),
            below,
            hash: entry.storage_version_hash.to_owned(),
        },
    }
}

/// What clients are told of kinds that will go.
fn deprecation(group: &str, kind: &str) -> Option<String> {
    let told = match (group, kind) {
        ("", "Endpoints") => {
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
        }
        ("", "ComponentStatus") => "v1 ComponentStatus is deprecated in v1.19+",
        _ => return None,
    };
    Some(told.to_owned())
}

fn scale(plural: &str) -> ScalePaths {
    ScalePaths {
        spec: ".spec.replicas".to_owned(),
        status: ".status.replicas".to_owned(),
        selector: Some(".spec.selector".to_owned()).filter(|_| !plural.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_the_data_has_its_resources() {
        for group in builtin_groups() {
            for version in &group.versions {
                let key = super::super::join_version(group.name, version);
                assert!(DISCOVERY.resources.contains_key(key.as_str()), "{key}");
            }
        }
        assert!(builtin().len() > 60);
    }

    #[test]
    fn what_lies_below_a_resource_is_found() {
        let pods = builtin().iter().find(|res| res.plural == "pods").unwrap();
        assert!(pods.subresources.status);
        assert!(pods.subresources.others.contains(&"log"));
        let deployments = builtin().iter().find(|res| res.plural == "deployments");
        assert!(deployments.unwrap().subresources.scale.is_some());
        let reviews = builtin().iter().find(|res| res.plural == "tokenreviews");
        assert!(!reviews.unwrap().allows("list"));
    }
}
