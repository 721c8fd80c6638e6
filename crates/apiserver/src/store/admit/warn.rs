//! Words for the client beside the answer: what is allowed, but hardly meant, or on its way out.
mod pod;

use serde_json::Value;

use super::at::At;
use super::words;
use crate::registry::Resource;
use crate::store::json::{list, text};

/// What is said of a new object.
pub(super) fn on_create(res: &Resource, object: &Value) -> Vec<String> {
    let mut told = Vec::new();
    let kind = res.kind.as_str();
    let what = match (res.group.as_str(), kind) {
        ("", "Pod") => "the Pod's hostname",
        ("apps", "Deployment" | "ReplicaSet")
        | ("batch", "Job" | "CronJob")
        | ("", "ReplicationController") => "Pod names and hostnames",
        _ => "",
    };
    let why = words::label(text(&object["metadata"], "name"));
    if !what.is_empty() && !why.is_empty() {
        told.push(format!(
            "metadata.name: this is used in {what}, which can result in surprising behavior; a \
             DNS label is recommended: [{}]",
            why.join(" ")
        ));
    }
    told.extend(on_any(res, None, object));
    told
}

/// What is said of a changed object.
pub(super) fn on_update(res: &Resource, before: &Value, object: &Value) -> Vec<String> {
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod" | "Endpoints") => Vec::new(),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job" | "CronJob")
            if before["spec"] == object["spec"] =>
        {
            Vec::new()
        }
        _ => on_any(res, Some(before), object),
    }
}

fn on_any(res: &Resource, before: Option<&Value>, object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => pod::template(&At::new("", object)),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => {
            pod::template(&At::new("spec.template", &spec["template"]))
        }
        ("", "PodTemplate") => pod::template(&At::new("template", &object["template"])),
        ("batch", "CronJob") => {
            let path = "spec.jobTemplate.spec.template";
            pod::template(&At::new(path, &spec["jobTemplate"]["spec"]["template"]))
        }
        ("", "Service") => service(spec),
        ("", "Endpoints") if before.is_none() => Vec::new(),
        ("networking.k8s.io", "Ingress") if before.is_none() => {
            let name = "kubernetes.io/ingress.class";
            let old = !object["metadata"]["annotations"][name].is_null();
            let told = format!(
                "annotation {name:?} is deprecated, please use 'spec.ingressClassName' instead"
            );
            if old { vec![told] } else { Vec::new() }
        }
        ("networking.k8s.io", "NetworkPolicy") => super::network::odd_ranges(object),
        ("", "Secret") if before.is_none() => secret(object),
        ("", "Node") => node(object),
        ("storage.k8s.io", "CSIDriver") => {
            let asked = list(spec, "tokenRequests");
            let same = before.is_some_and(|before| list(&before["spec"], "tokenRequests") == asked);
            let unset = spec["serviceAccountTokenInSecrets"].is_null();
            if asked.is_empty() || same || !unset {
                return Vec::new();
            }
            vec![
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                 possible logging of tokens in volume attributes"
                    .to_owned(),
            ]
        }
        _ => Vec::new(),
    }
}

fn service(spec: &Value) -> Vec<String> {
    let mut told = Vec::new();
    if text(spec, "clusterIP") != "None" && text(spec, "type") != "ExternalName" {
        return told;
    }
    let kind = text(spec, "type");
    if kind == "ExternalName" && !list(spec, "externalIPs").is_empty() {
        let name = "ExternalName";
        told.push(format!(
            "spec.externalIPs is ignored when spec.type is {name:?}"
        ));
    }
    if kind != "ExternalName" && text(spec, "sessionAffinity") == "ClientIP" {
        told.push("spec.SessionAffinity is ignored for headless services".to_owned());
    }
    told
}

fn secret(object: &Value) -> Vec<String> {
    let no_certificate = |key: &str| {
        let data = &object["data"][key];
        data.as_str()
            .is_some_and(|text| !text.starts_with("LS0tLS1CRUdJTiB"))
    };
    let mut told = Vec::new();
    if object["type"] == "kubernetes.io/tls" && no_certificate("tls.crt") {
        told.push("tls: failed to find any PEM data in certificate input".to_owned());
    }
    told
}

fn node(object: &Value) -> Vec<String> {
    let mut told = Vec::new();
    if !object["spec"]["externalID"].is_null() {
        told.push(
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
        );
    }
    if !object["spec"]["configSource"].is_null() {
        told.push("spec.configSource: the feature is removed".to_owned());
    }
    told
}
