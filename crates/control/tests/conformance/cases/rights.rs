//! A Link's credential can do what its ClusterRole says, and nothing else.
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tombolo_k8s::manifest;

use super::cases;
use crate::conformance::objects;
use crate::conformance::site::client;
use crate::conformance::world::World;

cases!["rights":
    credential_reads_what_is_mirrored_and_nothing_else,
    credential_has_the_rules_of_its_role,
];

/// What it is for; `NS` stands for the namespace of the case.
const ALLOWED: &[(&str, &str)] = &[
    ("GET", "/api/v1/services"),
    ("GET", "/api/v1/namespaces/NS/services"),
    ("GET", "/api/v1/namespaces/NS/services/web"),
    ("GET", "/api/v1/services?watch=1&timeoutSeconds=1"),
    ("GET", "/api/v1/pods"),
    ("GET", "/api/v1/namespaces/NS/pods?watch=1&timeoutSeconds=1"),
    ("GET", "/api/v1/endpoints"),
    ("GET", "/api/v1/namespaces/NS/endpoints/none"),
    ("GET", "/apis/discovery.k8s.io/v1/endpointslices"),
    (
        "GET",
        "/apis/discovery.k8s.io/v1/namespaces/NS/endpointslices?watch=1&timeoutSeconds=1",
    ),
    ("GET", "/api/v1/namespaces/kube-system"),
    // Everybody may, who is known.
    ("GET", "/version"),
    ("GET", "/apis"),
    ("GET", "/openapi/v2"),
];

/// Every other verb, resource, subresource and name nearby.
const REFUSED: &[(&str, &str)] = &[
    ("POST", "/api/v1/namespaces/NS/services"),
    ("PUT", "/api/v1/namespaces/NS/services/web"),
    ("PATCH", "/api/v1/namespaces/NS/services/web"),
    ("DELETE", "/api/v1/namespaces/NS/services/web"),
    ("DELETE", "/api/v1/namespaces/NS/services"),
    ("GET", "/api/v1/namespaces/NS/services/web/status"),
    ("GET", "/api/v1/namespaces/NS/services/web/proxy/"),
    ("POST", "/api/v1/namespaces/NS/pods"),
    ("DELETE", "/api/v1/namespaces/NS/pods/p"),
    ("GET", "/api/v1/namespaces/NS/pods/p/log"),
    ("GET", "/api/v1/namespaces/NS/pods/p/exec?command=sh"),
    ("POST", "/api/v1/namespaces/NS/pods/p/eviction"),
    ("POST", "/api/v1/namespaces/NS/endpoints"),
    (
        "DELETE",
        "/apis/discovery.k8s.io/v1/namespaces/NS/endpointslices",
    ),
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/NS"),
    ("GET", "/api/v1/namespaces/default"),
    ("DELETE", "/api/v1/namespaces/kube-system"),
    ("PATCH", "/api/v1/namespaces/kube-system"),
    ("GET", "/api/v1/secrets"),
    (
        "GET",
        "/api/v1/namespaces/tombolo/secrets/remote-access-token",
    ),
    ("GET", "/api/v1/namespaces/NS/configmaps"),
    ("GET", "/api/v1/namespaces/NS/serviceaccounts/default"),
    (
        "POST",
        "/api/v1/namespaces/tombolo/serviceaccounts/remote-access/token",
    ),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/events"),
    ("GET", "/apis/apps/v1/deployments"),
    ("GET", "/apis/multicluster.linkerd.io/v1alpha3/links"),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    (
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ),
    (
        "GET",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    ),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
    ("GET", "/metrics"),
    ("GET", "/logs/"),
];

async fn credential_reads_what_is_mirrored_and_nothing_else(w: &mut World) -> Result<()> {
    w.export("web", json!({})).await?;
    w.r.apply(objects::pod(&w.ns, "p", "192.0.2.1")).await?;
    let link = client(&w.access).await?;
    w.provokes = true;
    let mut wrong = Vec::new();
    for (rows, may) in [(ALLOWED, true), (REFUSED, false)] {
        for (method, path) in rows {
            let code = ask(&link, method, &path.replace("NS", &w.ns)).await?;
            let right = match may {
                true => code.is_success() || code == StatusCode::NOT_FOUND,
                false => code == StatusCode::FORBIDDEN,
            };
            if !right {
                wrong.push(format!("{method} {path}: {code}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let web = w.r.get("Service", &w.ns, "web").await?;
    ensure!(web.is_some(), "what was refused was done");
    Ok(())
}

async fn credential_has_the_rules_of_its_role(w: &mut World) -> Result<()> {
    let link = client(&w.access).await?;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": w.ns}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let request = Request::post(path).header("content-type", "application/json");
    let answer: Value = link
        .request(request.body(review.to_string().into_bytes())?)
        .await?;
    let found = rights(&answer["status"]["resourceRules"]);
    let role = manifest::remote_access("tombolo")
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole")
        .context("a role")?;
    let mut wanted = rights(&role["rules"]);
    // What everybody may ask about himself, and every service account about authorities.
    for (verb, resource) in [
        ("create", "authorization.k8s.io/selfsubjectaccessreviews"),
        ("create", "authorization.k8s.io/selfsubjectrulesreviews"),
        ("create", "authentication.k8s.io/selfsubjectreviews"),
        ("get", "certificates.k8s.io/clustertrustbundles"),
        ("list", "certificates.k8s.io/clustertrustbundles"),
        ("watch", "certificates.k8s.io/clustertrustbundles"),
    ] {
        wanted.insert(format!("{verb} {resource} "));
    }
    let differ: Vec<_> = found.symmetric_difference(&wanted).collect();
    ensure!(differ.is_empty(), "only in one of both: {differ:#?}");
    Ok(())
}

/// Each verb on each resource of rules, as `verb group/resource name`.
fn rights(rules: &Value) -> BTreeSet<String> {
    let texts = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect()
    };
    let mut found = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        let names = texts(&rule["resourceNames"]).join(",");
        for verb in texts(&rule["verbs"]) {
            for group in texts(&rule["apiGroups"]) {
                let resources = texts(&rule["resources"]).into_iter();
                found
                    .extend(resources.map(|resource| format!("{verb} {group}/{resource} {names}")));
            }
        }
    }
    found
}

/// The code of the answer; of what follows it nothing is read.
async fn ask(client: &kube::Client, method: &str, path: &str) -> Result<StatusCode> {
    let media = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes())?)
        .uri(path)
        .header("content-type", media)
        .body(Body::from(b"{}".to_vec()))?;
    let answer = client.send(request).await;
    Ok(answer.with_context(|| format!("{method} {path}"))?.status())
}
