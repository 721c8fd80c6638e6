//! Who may do what: as little as each part needs. A linked cluster reads Services and their endpoints,
//! and writes nothing.
use serde_json::{Value, json};

use crate::names::{LINK_GROUP, REMOTE_ACCESS};

/// The service account of the control plane.
pub const CONTROL: &str = "control";

/// A namespace.
#[must_use]
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// The service account whose token other clusters' Links hold, its token Secret, and its rights.
#[must_use]
pub fn remote_access(namespace: &str) -> Vec<Value> {
    let rules = json!([
        rule(&[""], &["pods", "endpoints", "services"], READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(&["policy.linkerd.io"], &["servers"], READ),
        by_its_namespace(),
    ]);
    let mut objects = account(namespace, REMOTE_ACCESS, &rules);
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace,
            "name": format!("{REMOTE_ACCESS}-token"),
            "annotations": { "kubernetes.io/service-account.name": REMOTE_ACCESS },
        },
        "type": "kubernetes.io/service-account-token",
    }));
    objects
}

/// The service account `control` and its rights in its own cluster: what it does, and no verb more.
#[must_use]
pub fn control(namespace: &str) -> Vec<Value> {
    // Written by server-side apply: never replaced.
    let managed = ["list", "watch", "create", "patch", "delete"];
    let rules = json!([
        rule(&[""], &["services"], &managed),
        rule(&["discovery.k8s.io"], &["endpointslices"], &managed),
        // Those that a Linkerd left beside mirrors that are ours now.
        rule(&[""], &["endpoints"], &["delete"]),
        // The zones of nodes decide which endpoints are near.
        rule(&[""], &["namespaces", "nodes", "pods"], FOLLOW),
        by_its_namespace(),
        rule(&[LINK_GROUP], &["links"], FOLLOW),
        rule(&["policy.linkerd.io"], &["servers"], FOLLOW),
        rule(&[LINK_GROUP], &["links/status"], &["patch"]),
        // A Link may lie in any namespace, and its credentials lie beside it.
        rule(&[""], &["secrets"], FOLLOW),
        rule(&[""], &["events"], &["create"]),
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
    ]);
    account(namespace, CONTROL, &rules)
}

/// The service account `agent` of nodes, and its rights: pods, their tokens, addresses of gateways.
#[must_use]
pub fn agent(namespace: &str) -> Vec<Value> {
    let rules = json!([
        rule(
            &[""],
            &["pods"],
            &["get", "list", "watch", "patch", "update", "delete"]
        ),
        rule(&[""], &["pods/status"], &["get", "patch", "update"]),
        rule(&[""], &["pods/binding"], &["create"]),
        rule(
            &[""],
            &["nodes"],
            &["get", "list", "watch", "create", "patch", "update"]
        ),
        rule(&[""], &["nodes/status"], &["get", "patch", "update"]),
        rule(
            &[""],
            &["services", "namespaces", "serviceaccounts", "configmaps"],
            READ
        ),
        rule(&[""], &["services/status"], &["get", "patch", "update"]),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
        rule(&[""], &["events"], &["create", "update", "patch"]),
    ]);
    account(namespace, "agent", &rules)
}

/// The service account of the nodes' own proxies: an identity, and no rights.
#[must_use]
pub fn node_proxy(namespace: &str) -> Value {
    let metadata = json!({ "namespace": namespace, "name": "node" });
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
}

const READ: &[&str] = &["get", "list", "watch"];
const FOLLOW: &[&str] = &["list", "watch"];

/// A cluster is known by the uid of this namespace.
fn by_its_namespace() -> Value {
    json!({
        "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"],
        "verbs": ["get"],
    })
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

/// A service account and a cluster role `tombolo-<account>` that is bound to it.
fn account(namespace: &str, account: &str, rules: &Value) -> Vec<Value> {
    let name = format!("tombolo-{account}");
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "namespace": namespace, "name": account },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name }, "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": role_ref("ClusterRole", &name),
            "subjects": [subject(namespace, account)],
        }),
    ]
}

fn role_ref(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

fn subject(namespace: &str, account: &str) -> Value {
    json!({ "kind": "ServiceAccount", "namespace": namespace, "name": account })
}
