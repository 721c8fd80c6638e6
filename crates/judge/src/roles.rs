//! The first roles and bindings of a real cluster, as our API server takes them over.
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tombolo_judge::{Cluster, Kind, Parts};

const KINDS: [(&str, &str); 4] = [
    ("clusterroles", "ClusterRole"),
    ("clusterrolebindings", "ClusterRoleBinding"),
    ("roles", "Role"),
    ("rolebindings", "RoleBinding"),
];

/// Asks a cluster without controllers, so that no role has been aggregated yet, and writes one object a line.
pub(crate) async fn write() -> Result<ExitCode> {
    let cluster = Cluster::start(Kind::Real, "roles", Parts::ApiOnly).await?;
    let client = cluster.client().await?;
    let mut lines = Vec::new();
    for (plural, kind) in KINDS {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let list: Value = client
            .request(http::Request::get(&path).body(Vec::new())?)
            .await
            .with_context(|| format!("ask for {path}"))?;
        for object in list["items"].as_array().context("a list has items")? {
            lines.push(cut(object, kind).to_string());
        }
    }
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../apiserver/src/rbac/bootstrap.json");
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    crate::tool::say(&format!("{} objects", lines.len()));
    Ok(ExitCode::SUCCESS)
}

/// The object without what every cluster has of its own.
fn cut(object: &Value, kind: &str) -> Value {
    let mut whole = object.clone();
    if let Some(metadata) = whole["metadata"].as_object_mut() {
        let kept = ["name", "namespace", "labels", "annotations"];
        metadata.retain(|name, _| kept.contains(&name.as_str()));
    }
    whole["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    whole["kind"] = json!(kind);
    whole
}
