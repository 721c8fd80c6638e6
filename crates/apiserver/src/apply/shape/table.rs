//! The table of list and map types of built-in kinds, as Kubernetes' OpenAPI has them.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{Key, Listing, Mapping, Shape};

/// A path, and how what is there merges: `set`, `atomic`, or the keys of a list.
type Entry = (&'static str, &'static str);

const ATOMIC: &str = "atomic";
const SET: &str = "set";

const METADATA: &[Entry] = &[
    ("ownerReferences", "uid"),
    ("ownerReferences[]", ATOMIC),
    ("finalizers", SET),
];

const POD_SPEC: &[Entry] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("imagePullSecrets[]", ATOMIC),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey,whenUnsatisfiable"),
    ("topologySpreadConstraints[].labelSelector", ATOMIC),
    ("schedulingGates", "name"),
    ("resourceClaims", "name"),
    ("nodeSelector", ATOMIC),
    (
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        ATOMIC,
    ),
];

const CONTAINER: &[Entry] = &[
    ("ports", "containerPort,protocol=TCP"),
    ("env", "name"),
    ("env[].valueFrom.configMapKeyRef", ATOMIC),
    ("env[].valueFrom.secretKeyRef", ATOMIC),
    ("env[].valueFrom.fieldRef", ATOMIC),
    ("env[].valueFrom.resourceFieldRef", ATOMIC),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("resources.claims", "name"),
];

const WEBHOOKS: &[Entry] = &[
    ("webhooks", "name"),
    ("webhooks[].matchConditions", "name"),
    ("webhooks[].namespaceSelector", ATOMIC),
    ("webhooks[].objectSelector", ATOMIC),
];

const POLICY: &[Entry] = &[
    ("spec.matchConditions", "name"),
    ("spec.matchConstraints", ATOMIC),
    ("spec.paramKind", ATOMIC),
    ("spec.variables", "name"),
    ("spec.variables[]", ATOMIC),
    ("status.conditions", "type"),
];

/// Tables of the kinds; the pod specs inside them are added by [`pod_spec_at`].
static KINDS: &[(&str, &str, &[Entry])] = &[
    (
        "",
        "Pod",
        &[
            ("status.conditions", "type"),
            ("status.podIPs", "ip"),
            ("status.hostIPs", ATOMIC),
            ("status.resourceClaimStatuses", "name"),
        ],
    ),
    (
        "",
        "Service",
        &[
            ("spec.ports", "port,protocol=TCP"),
            ("spec.selector", ATOMIC),
            ("status.conditions", "type"),
        ],
    ),
    (
        "",
        "ServiceAccount",
        &[
            ("secrets", "name"),
            ("secrets[]", ATOMIC),
            ("imagePullSecrets", ATOMIC),
        ],
    ),
    ("", "Namespace", &[("status.conditions", "type")]),
    (
        "",
        "Node",
        &[
            ("spec.podCIDRs", SET),
            ("status.conditions", "type"),
            ("status.addresses", "type"),
            ("spec.configSource", ATOMIC),
        ],
    ),
    (
        "",
        "Event",
        &[("involvedObject", ATOMIC), ("related", ATOMIC)],
    ),
    (
        "events.k8s.io",
        "Event",
        &[("regarding", ATOMIC), ("related", ATOMIC)],
    ),
    ("", "Secret", &[]),
    ("", "ConfigMap", &[]),
    (
        "apps",
        "Deployment",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    (
        "apps",
        "ReplicaSet",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    (
        "apps",
        "StatefulSet",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    (
        "apps",
        "DaemonSet",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    (
        "batch",
        "Job",
        &[("spec.selector", ATOMIC), ("status.conditions", ATOMIC)],
    ),
    (
        "batch",
        "CronJob",
        &[
            ("status.active", ATOMIC),
            ("spec.jobTemplate.spec.selector", ATOMIC),
        ],
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        &[("status.conditions", "type")],
    ),
    (
        "policy",
        "PodDisruptionBudget",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        &[("roleRef", ATOMIC)],
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        &[("roleRef", ATOMIC)],
    ),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &[("status.conditions", "type")],
    ),
    (
        "",
        "ReplicationController",
        &[("spec.selector", ATOMIC), ("status.conditions", "type")],
    ),
    ("", "PodTemplate", &[]),
    ("", "ResourceQuota", &[("spec.scopeSelector", ATOMIC)]),
    (
        "",
        "PersistentVolume",
        &[
            ("spec.nodeAffinity.required", ATOMIC),
            ("spec.csi.controllerExpandSecretRef", ATOMIC),
            ("spec.csi.controllerPublishSecretRef", ATOMIC),
            ("spec.csi.nodeExpandSecretRef", ATOMIC),
            ("spec.csi.nodePublishSecretRef", ATOMIC),
            ("spec.csi.nodeStageSecretRef", ATOMIC),
            ("spec.iscsi.secretRef", ATOMIC),
            ("spec.rbd.secretRef", ATOMIC),
        ],
    ),
    (
        "",
        "PersistentVolumeClaim",
        &[
            ("spec.dataSource", ATOMIC),
            ("spec.selector", ATOMIC),
            ("status.conditions", "type"),
        ],
    ),
    (
        "networking.k8s.io",
        "NetworkPolicy",
        &[("spec.podSelector", ATOMIC)],
    ),
    (
        "networking.k8s.io",
        "Ingress",
        &[
            ("spec.defaultBackend.resource", ATOMIC),
            ("spec.defaultBackend.service.port", ATOMIC),
        ],
    ),
    (
        "networking.k8s.io",
        "ServiceCIDR",
        &[("status.conditions", "type")],
    ),
    (
        "certificates.k8s.io",
        "CertificateSigningRequest",
        &[("status.conditions", "type")],
    ),
    (
        "apiregistration.k8s.io",
        "APIService",
        &[("status.conditions", "type")],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        &[("status.conditions", "type")],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        &[("status.conditions", "type")],
    ),
    (
        "storage.k8s.io",
        "CSIDriver",
        &[("spec.volumeLifecycleModes", SET)],
    ),
    (
        "node.k8s.io",
        "RuntimeClass",
        &[("scheduling.nodeSelector", ATOMIC)],
    ),
    ("storage.k8s.io", "CSINode", &[("spec.drivers", "name")]),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        WEBHOOKS,
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        WEBHOOKS,
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        POLICY,
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        POLICY,
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        &[
            ("spec.matchResources", ATOMIC),
            ("spec.paramRef", ATOMIC),
            ("spec.validationActions", SET),
        ],
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        &[("spec.matchResources", ATOMIC), ("spec.paramRef", ATOMIC)],
    ),
];

/// Where the pod spec of a kind is.
fn pod_spec_at(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("spec"),
        "Deployment"
        | "ReplicaSet"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "ReplicationController" => Some("spec.template.spec"),
        "PodTemplate" => Some("template.spec"),
        "CronJob" => Some("spec.jobTemplate.spec.template.spec"),
        _ => None,
    }
}

static SHAPES: LazyLock<BTreeMap<(&'static str, &'static str), Arc<Shape>>> = LazyLock::new(|| {
    KINDS
        .iter()
        .map(|(group, kind, entries)| ((*group, *kind), Arc::new(build(kind, entries))))
        .collect()
});

static OTHER: LazyLock<Arc<Shape>> = LazyLock::new(|| Arc::new(build("", &[])));

/// The shape of a built-in kind.
pub(super) fn builtin(group: &str, kind: &str) -> Arc<Shape> {
    SHAPES
        .get(&(group, kind))
        .map_or_else(|| Arc::clone(&OTHER), Arc::clone)
}

/// The shape of `metadata`, of all kinds.
pub(super) fn metadata() -> Shape {
    let mut shape = Shape::default();
    for entry in METADATA {
        enter(&mut shape, "", entry);
    }
    shape
}

fn build(kind: &str, entries: &[Entry]) -> Shape {
    let mut shape = Shape::default();
    shape.fields.insert("metadata".to_owned(), metadata());
    for entry in entries {
        enter(&mut shape, "", entry);
    }
    if let Some(at) = pod_spec_at(kind) {
        for entry in POD_SPEC {
            enter(&mut shape, &format!("{at}."), entry);
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for entry in CONTAINER {
                enter(&mut shape, &format!("{at}.{list}[]."), entry);
            }
        }
        if let Some(template) = at.strip_suffix(".spec").filter(|_| at != "spec") {
            shape
                .at_path(&format!("{template}.metadata"))
                .clone_from(&metadata());
        }
    }
    shape
}

fn enter(shape: &mut Shape, prefix: &str, (path, how): &Entry) {
    let is_list = !path.ends_with("[]");
    let place = shape.at_path(&format!("{prefix}{path}"));
    match *how {
        SET => place.listing = Listing::Set,
        ATOMIC => {
            place.mapping = Mapping::Atomic;
            place.listing = Listing::Atomic;
        }
        keys if is_list => place.listing = Listing::Map(keys.split(',').map(key).collect()),
        _ => {}
    }
}

fn key(text: &str) -> Key {
    let (name, default) = match text.split_once('=') {
        Some((name, default)) => (name, Some(default.into())),
        None => (text, None),
    };
    Key {
        name: name.to_owned(),
        default,
    }
}
