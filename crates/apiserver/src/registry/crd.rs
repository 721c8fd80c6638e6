//! From a CustomResourceDefinition to the resources that it serves.
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::crd::schema::Schema;
use crate::object::version_of;
use crate::token::sha256;

use super::{OfCrd, PrinterColumn, Resource, ScalePaths, Scope, Served, StorageKey, Subresources};

/// Every served version of a CRD, as resources. Fields that are missing leave it out.
pub fn resources_of(crd: &Value) -> Vec<Resource> {
    let conditions = crd["status"]["conditions"].as_array();
    let established = conditions.into_iter().flatten();
    if !established
        .into_iter()
        .any(|one| one["type"] == "Established" && one["status"] == "True")
    {
        return Vec::new();
    }
    let spec = &crd["spec"];
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let storage_version = versions
        .iter()
        .find(|version| version["storage"] == true)
        .and_then(|version| version["name"].as_str());
    let (Some(storage_version), Some(group), Some(plural), Some(kind)) = (
        storage_version,
        spec["group"].as_str(),
        spec["names"]["plural"].as_str(),
        spec["names"]["kind"].as_str(),
    ) else {
        return Vec::new();
    };
    let base = Resource {
        group: group.to_owned(),
        version: String::new(),
        kind: kind.to_owned(),
        list_kind: text(&spec["names"]["listKind"]).unwrap_or_else(|| format!("{kind}List")),
        plural: plural.to_owned(),
        singular: text(&spec["names"]["singular"]).unwrap_or_else(|| kind.to_lowercase()),
        short_names: texts(&spec["names"]["shortNames"]),
        categories: texts(&spec["names"]["categories"]),
        scope: if spec["scope"] == "Cluster" {
            Scope::Cluster
        } else {
            Scope::Namespaced
        },
        subresources: Subresources::default(),
        columns: Vec::new(),
        storage_version: storage_version.to_owned(),
        schema: None,
        of_crd: OfCrd::default(),
        storage: StorageKey::new(group, plural),
        custom: true,
        deprecation: None,
        served: Served {
            hash: storage_hash(group, storage_version, kind),
            ..Served::default()
        },
    };
    let schemas: Vec<Option<Arc<Schema>>> = schemas(versions);
    let storage = versions
        .iter()
        .position(|version| version["storage"] == true);
    let storage = storage.and_then(|at| schemas[at].clone());
    versions
        .iter()
        .zip(schemas)
        .filter(|(version, _)| version["served"] == true)
        .filter_map(|(version, structural)| {
            let of_crd = OfCrd {
                structural,
                storage: storage.clone(),
                since: version_of(crd),
                selectable: selectable(&version["selectableFields"]),
            };
            one_version(&base, (version, versions), of_crd)
        })
        .collect()
}

/// What clients know the stored version by.
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = sha256(format!("{group}/{version}/{kind}").as_bytes());
    STANDARD.encode(digest.get(..8).unwrap_or_default())
}

/// The compiled schema of each version; versions with the same schema share it.
fn schemas(versions: &[Value]) -> Vec<Option<Arc<Schema>>> {
    let mut compiled: Vec<(&Value, Arc<Schema>)> = Vec::new();
    let mut all = Vec::with_capacity(versions.len());
    for version in versions {
        let schema = &version["schema"]["openAPIV3Schema"];
        let known = compiled.iter().find(|(other, _)| *other == schema);
        let one = match known {
            Some((_, known)) => Some(Arc::clone(known)),
            None if schema.is_object() => Some(Arc::new(Schema::root(schema))),
            None => None,
        };
        if let Some(new) = &one {
            compiled.push((schema, Arc::clone(new)));
        }
        all.push(one);
    }
    all
}

fn selectable(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    let paths = list.iter().filter_map(|one| one["jsonPath"].as_str());
    paths
        .map(|path| path.trim_start_matches('.').to_owned())
        .collect()
}

fn one_version(
    base: &Resource,
    (version, versions): (&Value, &[Value]),
    of_crd: OfCrd,
) -> Option<Resource> {
    let name = text(&version["name"])?;
    let schema = version["schema"]
        .get("openAPIV3Schema")
        .cloned()
        .map(Arc::new);
    let deprecation = (version["deprecated"] == true).then(|| {
        text(&version["deprecationWarning"])
            .unwrap_or_else(|| default_warning(base, &name, versions))
    });
    Some(Resource {
        version: name,
        subresources: subresources(&version["subresources"]),
        columns: columns(&version["additionalPrinterColumns"]),
        schema,
        of_crd,
        deprecation,
        ..base.clone()
    })
}

/// What is said of a deprecated version: use the newest that is newer and is not.
fn default_warning(base: &Resource, name: &str, versions: &[Value]) -> String {
    let better = versions
        .iter()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .filter(|other| priority(other) > priority(name))
        .max_by_key(|other| priority(other));
    let said = format!("{}/{name} {} is deprecated", base.group, base.kind);
    match better {
        Some(better) => format!("{said}; use {}/{better} {}", base.group, base.kind),
        None => said,
    }
}

/// The order of versions: `v2` before `v1` before `v1beta2` before `v1alpha1` before anything else.
fn priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let number = |text: &str| text.parse::<u64>().ok();
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (major, stage) = rest.split_at(end);
        let (rank, minor) = match stage {
            "" => (3, 0),
            stage => match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                (Some(minor), _) => (2, number(minor)?),
                (_, Some(minor)) => (1, number(minor)?),
                _ => return None,
            },
        };
        Some((
            rank,
            number(major)?,
            minor,
            std::cmp::Reverse(String::new()),
        ))
    });
    parsed.unwrap_or_else(|| (0, 0, 0, std::cmp::Reverse(version.to_owned())))
}

fn subresources(value: &Value) -> Subresources {
    let scale = value
        .get("scale")
        .filter(|scale| scale.is_object())
        .map(|scale| ScalePaths {
            spec: text(&scale["specReplicasPath"]).unwrap_or_default(),
            status: text(&scale["statusReplicasPath"]).unwrap_or_default(),
            selector: text(&scale["labelSelectorPath"]),
        });
    let status = value.get("status").is_some_and(Value::is_object);
    Subresources {
        status,
        scale,
        others: Vec::new(),
    }
}

fn columns(value: &Value) -> Vec<PrinterColumn> {
    let Some(list) = value.as_array() else {
        return Vec::new();
    };
    list.iter()
        .map(|column| PrinterColumn {
            name: text(&column["name"]).unwrap_or_default(),
            kind: text(&column["type"]).unwrap_or_default(),
            format: text(&column["format"]).unwrap_or_default(),
            description: text(&column["description"]).unwrap_or_default(),
            priority: column["priority"].as_i64().unwrap_or(0),
            json_path: text(&column["jsonPath"]).unwrap_or_default(),
        })
        .collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(text).collect()
}
