//! The roles and bindings that every cluster has from its first start, as Kubernetes 1.37.2 has them; and what the
//! lab's node agent may, which needs no binding. Pure.
//!
//! `bootstrap.json` is the real server's own answer: `cargo run -p tombolo-judge -- --roles` writes it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{list, text};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const READ: [&str; 3] = ["get", "list", "watch"];
const ALL: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// ClusterRoles, ClusterRoleBindings, Roles and RoleBindings, in this order.
pub fn objects() -> Vec<Value> {
    serde_json::from_str(include_str!("bootstrap.json")).expect("a test reads the same text")
}

/// The present object with the rules and subjects that it lacks; nothing if it lacks none, or wants none.
pub fn completed(present: &Value, wanted: &Value) -> Option<Value> {
    if present["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return None;
    }
    let mut completed = present.clone();
    for field in ["rules", "subjects"] {
        let own = list(present, field);
        let lacking = list(wanted, field).iter().filter(|one| !own.contains(one));
        let all: Vec<Value> = own.iter().chain(lacking).cloned().collect();
        if all.len() > own.len() {
            completed[field] = all.into();
        }
    }
    (completed != *present).then_some(completed)
}

/// Where an object of [`objects`] belongs: the plural of its kind, its namespace if it has one, its name.
pub fn place(object: &Value) -> (String, Option<&str>, &str) {
    let plural = format!("{}s", text(object, "kind").to_lowercase());
    let metadata = &object["metadata"];
    (
        plural,
        metadata["namespace"].as_str(),
        text(metadata, "name"),
    )
}

/// What the node agent may: it binds pods to its node, runs them and says how they are; it gives LoadBalancer
/// Services an address. As with Kubernetes' own authorizer for nodes, no binding says so.
pub(super) static AGENT_RULES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    vec![
        rule(
            &[""],
            &[
                "nodes",
                "pods",
                "services",
                "endpoints",
                "namespaces",
                "configmaps",
                "serviceaccounts",
            ],
            &READ,
        ),
        rule(&["discovery.k8s.io"], &["endpointslices"], &READ),
        rule(&["apps"], &["deployments", "replicasets"], &READ),
        rule(
            &[""],
            &["nodes", "nodes/status"],
            &["create", "patch", "update"],
        ),
        rule(
            &[""],
            &["pods/status", "services/status"],
            &["get", "patch", "update"],
        ),
        rule(&[""], &["pods"], &["delete", "patch", "update"]),
        rule(
            &[""],
            &["pods/binding", "pods/eviction", "serviceaccounts/token"],
            &["create"],
        ),
        rule(
            &["", "events.k8s.io"],
            &["events"],
            &["create", "patch", "update"],
        ),
        rule(&["coordination.k8s.io"], &["leases"], &ALL),
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(
            &["authorization.k8s.io"],
            &["localsubjectaccessreviews", "subjectaccessreviews"],
            &["create"],
        ),
    ]
});

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}
