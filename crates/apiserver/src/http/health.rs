//! `/healthz`, `/livez` and `/readyz`: the checks that a real server names, all of which hold once this one answers.

use http::{Response, StatusCode};

use super::query::Query;
use super::{Body, respond};

/// Checks of every kind, the kind's own apart.
const HOOKS: &[&str] = &[
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/peer-endpoint-reconciler-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

fn checks(kind: &str) -> Vec<&'static str> {
    let (first, last): (&[&str], &[&str]) = if kind == "readyz" {
        (
            &["ping", "log", "etcd", "etcd-readiness", "informer-sync"],
            &["shutdown"],
        )
    } else {
        (
            &["ping", "log", "loopback-serving-certificate", "etcd"],
            &[],
        )
    };
    [first, HOOKS, last].concat()
}

/// Answers for all checks of a kind, or for one.
pub(super) fn answer(query: &Query, kind: &str, check: &str) -> Response<Body> {
    let checks = checks(kind);
    if !check.is_empty() {
        return if checks.contains(&check) {
            respond::text(StatusCode::OK, "ok")
        } else {
            respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
        };
    }
    if !query.has("verbose") {
        return respond::text(StatusCode::OK, "ok");
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut text = String::new();
    for check in &checks {
        let what = if excluded.contains(check) {
            " excluded: ok"
        } else {
            " ok"
        };
        text.push_str(&format!("[+]{check}{what}\n"));
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.contains(name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        text.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(",")
        ));
    }
    text.push_str(&format!("{kind} check passed\n"));
    respond::text(StatusCode::OK, text)
}

/// Not ready: the store cannot be written.
pub(super) fn failed(why: &str) -> Response<Body> {
    let text = format!("[+]ping ok\n[-]etcd failed: {why}\nreadyz check failed\n");
    respond::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// All paths, for the list of paths.
pub(super) fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    for kind in ["healthz", "livez", "readyz"] {
        paths.push(format!("/{kind}"));
        paths.extend(checks(kind).iter().map(|check| format!("/{kind}/{check}")));
    }
    paths
}
