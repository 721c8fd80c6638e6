//! The CustomResourceDefinition of Link: Linkerd's, and beside it `status.conditions` and
//! `status.clusterUid`. Where Linkerd's own is installed, we work without the two.
use serde_json::{Value, json};

use crate::names::{LINK_GROUP, LINKS};

/// The definition, served as v1alpha1, v1alpha2 and v1alpha3, stored as v1alpha3.
#[must_use]
pub fn links_crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{LINKS}.{LINK_GROUP}"),
            "labels": { "linkerd.io/extension": "multicluster" },
        },
        "spec": {
            "group": LINK_GROUP,
            "scope": "Namespaced",
            "names": { "plural": LINKS, "singular": "link", "kind": "Link", "listKind": "LinkList" },
            "versions": [v1alpha1(), v1alpha2(), v1alpha3()],
        },
    })
}

fn v1alpha1() -> Value {
    version("v1alpha1", base_spec(), None)
}

fn v1alpha2() -> Value {
    let mut spec = base_spec();
    spec["properties"]["probeSpec"]["properties"]["period"]["format"] = json!("duration");
    spec["properties"]["federatedServiceSelector"] = selector();
    version("v1alpha2", spec, Some(status()))
}

fn v1alpha3() -> Value {
    let mut spec = base_spec();
    spec["properties"]["probeSpec"]["properties"]["period"]["format"] = json!("duration");
    spec["properties"]["federatedServiceSelector"] = selector();
    for field in ["excludedAnnotations", "excludedLabels"] {
        spec["properties"][field] = json!({
            "type": "array",
            "items": { "type": "string" },
            "description": "Keys that are not copied: exact ones, or prefix/*.",
        });
    }
    let mut version = version("v1alpha3", spec, Some(status()));
    version["storage"] = json!(true);
    version["additionalPrinterColumns"] = json!([
        { "name": "Target", "type": "string", "jsonPath": ".spec.targetClusterName" },
        column("Accepted"),
        column("Synced"),
        column("GatewayAlive"),
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]);
    version
}

fn column(condition: &str) -> Value {
    let path = format!(".status.conditions[?(@.type==\"{condition}\")].status");
    json!({ "name": condition, "type": "string", "jsonPath": path })
}

fn version(name: &str, spec: Value, status: Option<Value>) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": spec,
        },
    });
    let mut version = json!({ "name": name, "served": true, "storage": false });
    if let Some(status) = status {
        schema["properties"]["status"] = status;
        version["subresources"] = json!({ "status": {} });
    }
    version["schema"] = json!({ "openAPIV3Schema": schema });
    version
}

fn base_spec() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "clusterCredentialsSecret": text("Secret with a kubeconfig of the target cluster."),
            "gatewayAddress": text("Addresses or names of the gateway, with commas between them."),
            "gatewayIdentity": text("The TLS identity of the gateway."),
            "gatewayPort": text("The port of the gateway."),
            "probeSpec": {
                "type": "object",
                "description": "How the gateway is probed; without a path it is not.",
                "properties": {
                    "path": { "type": "string" },
                    "period": { "type": "string" },
                    "port": { "type": "string" },
                    "timeout": { "type": "string", "format": "duration", "default": "30s" },
                    "failureThreshold": { "type": "string", "default": "3" },
                },
            },
            "selector": selector(),
            "remoteDiscoverySelector": selector(),
            "targetClusterName": text("The cluster linked to: suffix of its mirrors."),
            "targetClusterDomain": text("The DNS domain of that cluster."),
            "targetClusterLinkerdNamespace": text("The namespace of its control plane."),
        },
    })
}

fn selector() -> Value {
    json!({
        "type": "object",
        "description": "Of Services; an empty one matches nothing.",
        "properties": {
            "matchLabels": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "matchExpressions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string" },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": { "type": "array", "items": { "type": "string" } },
                    },
                },
            },
        },
    })
}

fn status() -> Value {
    let services = |description: &str| {
        json!({
            "type": "array",
            "description": description,
            "items": {
                "type": "object",
                "required": ["controllerName", "remoteRef"],
                "properties": {
                    "controllerName": {
                        "type": "string",
                        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9\\/\\-._~%!$&'()*+,;=:]+$",
                    },
                    "remoteRef": reference(),
                    "conditions": conditions(),
                },
            },
        })
    };
    json!({
        "type": "object",
        "properties": {
            "clusterUid": {
                "type": "string",
                "description": "The uid of the target's namespace kube-system.",
            },
            "conditions": conditions(),
            "mirrorServices": services("What became of each Service to be mirrored."),
            "federatedServices": services("What became of each Service that is to be a member."),
        },
    })
}

fn conditions() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": { "type": "string", "maxLength": 32768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "localRef": reference(),
            },
        },
    })
}

fn reference() -> Value {
    json!({
        "type": "object",
        "required": ["name", "namespace"],
        "properties": {
            "group": { "type": "string", "maxLength": 253, "default": "core" },
            "kind": { "type": "string", "minLength": 1, "maxLength": 63, "default": "Service" },
            "name": { "type": "string", "minLength": 1, "maxLength": 253 },
            "namespace": { "type": "string", "minLength": 1, "maxLength": 63 },
        },
    })
}
