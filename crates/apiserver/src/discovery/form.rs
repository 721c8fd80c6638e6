//! The documents of discovery, their fields in the order in which Kubernetes writes them.

use serde::Serialize;

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupList {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) groups: Vec<Group>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) api_version: &'static str,
    pub(super) name: String,
    pub(super) versions: Vec<Version>,
    pub(super) preferred_version: Option<Version>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub(super) group_version: String,
    pub(super) version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceList {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) api_version: &'static str,
    pub(super) group_version: String,
    pub(super) resources: Vec<Resource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) singular_name: String,
    pub(super) namespaced: bool,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) group: &'static str,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) version: &'static str,
    pub(super) kind: String,
    pub(super) verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) categories: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) storage_version_hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Aggregated {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) metadata: Metadata,
    pub(super) items: Vec<AggregatedGroup>,
}

#[derive(Default, Serialize)]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
}

#[derive(Serialize)]
pub(super) struct AggregatedGroup {
    pub(super) metadata: Metadata,
    pub(super) versions: Vec<AggregatedVersion>,
}

#[derive(Serialize)]
pub(super) struct AggregatedVersion {
    pub(super) version: String,
    pub(super) resources: Vec<AggregatedResource>,
    pub(super) freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AggregatedResource {
    pub(super) resource: String,
    pub(super) response_kind: Kind,
    pub(super) scope: &'static str,
    pub(super) singular_resource: String,
    pub(super) verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) subresources: Vec<AggregatedBelow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AggregatedBelow {
    pub(super) subresource: &'static str,
    pub(super) response_kind: Kind,
    pub(super) verbs: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}
