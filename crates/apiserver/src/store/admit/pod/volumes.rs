//! What must hold of volumes, of their mounts, and of what variables are taken from.
use std::collections::BTreeSet;

use serde_json::json;

use super::container::Around;
use crate::quantity::Quantity;
use crate::store::admit::at::{At, Causes};
use crate::store::admit::{storage, words};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// In the order in which Kubernetes looks at them.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
const CONVERTIBLE: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// The volumes; answers the names of those that can be mounted.
pub(super) fn volumes<'a>(list: &At<'a>, causes: &mut Causes) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for one in list.items() {
        let before = causes.len();
        source(&one, causes);
        let name = one.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
        } else {
            name.all_invalid(causes, words::label(name.text()));
        }
        if names.contains(name.text()) {
            name.duplicate(causes);
        }
        if causes.len() == before {
            names.insert(name.text());
        }
    }
    names
}

fn source(volume: &At<'_>, causes: &mut Causes) {
    let mut found = false;
    for kind in SOURCES {
        let one = volume.get(kind);
        if !one.is_set() {
            continue;
        }
        if found {
            one.forbidden(causes, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        one_source(kind, &one, causes);
    }
    if !found {
        volume.required(causes, "must specify a volume type");
    }
}

fn one_source(kind: &str, one: &At<'_>, causes: &mut Causes) {
    match kind {
        "emptyDir" => {
            let limit = one.get("sizeLimit");
            if Quantity::of(limit.value).is_some_and(Quantity::is_negative) {
                limit.forbidden(causes, "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => host_path(one, causes),
        "secret" | "configMap" => {
            let name = one.get(if kind == "secret" {
                "secretName"
            } else {
                "name"
            });
            need(&name, causes);
            mode(&one.get("defaultMode"), causes);
            for item in one.each("items") {
                key_to_path(&item, causes);
            }
        }
        "persistentVolumeClaim" => need(&one.get("claimName"), causes),
        "nfs" => {
            need(&one.get("server"), causes);
            let path = one.get("path");
            need(&path, causes);
            if !path.text().starts_with('/') && !path.is_empty() {
                path.invalid(causes, "must be an absolute path");
            }
        }
        "downwardAPI" => {
            mode(&one.get("defaultMode"), causes);
            for item in one.each("items") {
                downward(&item, &one.path, causes);
            }
        }
        "projected" => projected(one, causes),
        "csi" => need(&one.get("driver"), causes),
        "ephemeral" => {
            let template = one.get("volumeClaimTemplate");
            if template.is_set() {
                storage::claim_spec(&template.get("spec"), causes);
            } else {
                template.required(causes, "");
            }
        }
        "image" => need(&one.get("reference"), causes),
        _ => {}
    }
}

/// Something that must be there.
fn need(at: &At<'_>, causes: &mut Causes) {
    if at.text().is_empty() {
        at.required(causes, "");
    }
}

/// A directory of the node.
pub(in crate::store::admit) fn host_path(one: &At<'_>, causes: &mut Causes) {
    let path = one.get("path");
    if path.text().is_empty() {
        path.required(causes, "");
        return;
    }
    no_backsteps(&path, causes);
    one.get("type").one_of(
        causes,
        &[
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ],
    );
}

fn mode(at: &At<'_>, causes: &mut Causes) {
    if at.is_set() && !(0..=0o777).contains(&at.int()) {
        at.invalid(causes, MODE);
    }
}

fn key_to_path(item: &At<'_>, causes: &mut Causes) {
    need(&item.get("key"), causes);
    need(&item.get("path"), causes);
    local_path(&item.get("path"), causes);
    mode(&item.get("mode"), causes);
}

fn no_backsteps(path: &At<'_>, causes: &mut Causes) {
    if path.text().split('/').any(|part| part == "..") {
        path.invalid(causes, "must not contain '..'");
    }
}

fn descending(path: &At<'_>, causes: &mut Causes) {
    if path.text().starts_with('/') {
        path.invalid(causes, "must be a relative path");
    }
    no_backsteps(path, causes);
}

fn local_path(path: &At<'_>, causes: &mut Causes) {
    descending(path, causes);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        path.invalid(causes, "must not start with '..'");
    }
}

fn downward(item: &At<'_>, list: &str, causes: &mut Causes) {
    let item = item.named(list);
    need(&item.get("path"), causes);
    local_path(&item.get("path"), causes);
    let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
    if field.is_set() {
        object_field(&field, VOLUME_FIELDS, causes);
        if resource.is_set() {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            item.invalid_as(causes, &json!("resource"), why);
        }
    } else if resource.is_set() {
        if resource.get("containerName").text().is_empty() {
            resource.get("containerName").required(causes, "");
        } else {
            resource_field(&resource, causes);
        }
    } else {
        item.required(causes, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&item.get("mode"), causes);
}

fn projected(one: &At<'_>, causes: &mut Causes) {
    mode(&one.get("defaultMode"), causes);
    let mut paths = BTreeSet::new();
    for source in one.each("sources") {
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            let from = source.get(kind);
            if !from.is_set() {
                continue;
            }
            count += 1;
            need(&from.get("name"), causes);
            for item in from.each("items") {
                key_to_path(&item, causes);
                let path = item.get("path").text();
                if !path.is_empty() && !paths.insert(path) {
                    let name = from.get("name").value;
                    one.invalid_as(causes, name, "conflicting duplicate paths");
                }
            }
        }
        let from = source.get("downwardAPI");
        count += usize::from(from.is_set());
        for item in from.each("items") {
            downward(&item, &from.path, causes);
            let path = item.get("path");
            if !path.is_empty() && !paths.insert(path.text()) {
                one.invalid_as(causes, path.value, "conflicting duplicate paths");
            }
        }
        let token = source.get("serviceAccountToken");
        if token.is_set() {
            count += 1;
            token_source(one, &token, causes);
        }
        count += usize::from(source.get("clusterTrustBundle").is_set());
        count += usize::from(source.get("podCertificate").is_set());
        if count > 1 {
            source.forbidden(causes, "may not specify more than 1 volume type");
        } else if count == 0 {
            source.required(causes, "must specify a volume type");
        }
    }
}

fn token_source(volume: &At<'_>, token: &At<'_>, causes: &mut Causes) {
    let seconds = token.get("expirationSeconds");
    if seconds.int() < 600 {
        seconds.invalid(causes, "may not specify a duration less than 10 minutes");
    }
    if seconds.int() > 1 << 32 {
        seconds.invalid(
            causes,
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    let path = token.get("path");
    if path.text().is_empty() {
        volume.get("path").required(causes, "");
    } else {
        local_path(&path, causes);
    }
}

/// Where a variable's value comes from.
pub(super) fn variable_source(variable: &At<'_>, causes: &mut Causes) {
    let from = variable.get("valueFrom");
    if !from.is_set() {
        return;
    }
    let mut count = 0;
    for kind in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        let one = from.get(kind);
        if !one.is_set() {
            continue;
        }
        count += 1;
        match kind {
            "fieldRef" => object_field(&one, VARIABLE_FIELDS, causes),
            "resourceFieldRef" => resource_field(&one, causes),
            "fileKeyRef" => {}
            _ => {
                let (name, key) = (one.get("name"), one.get("key"));
                name.all_invalid(causes, words::subdomain(name.text()));
                if key.text().is_empty() {
                    key.required(causes, "");
                } else {
                    key.all_invalid(causes, words::config_key(key.text()));
                }
            }
        }
    }
    let why = match count {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !variable.get("value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    from.invalid_as(causes, &json!(""), why);
}

fn object_field(reference: &At<'_>, fields: &[&str], causes: &mut Causes) {
    let path = reference.get("fieldPath");
    let full = path.text();
    if full.is_empty() {
        path.required(causes, "");
        return;
    }
    let (name, subscript) = match full
        .strip_suffix("']")
        .and_then(|text| text.split_once("['"))
    {
        Some((name, subscript)) => (name, Some(subscript)),
        None => (full, None),
    };
    let version = reference.get("apiVersion").text();
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        path.invalid(causes, &why);
    } else if !CONVERTIBLE.contains(&name) {
        let why = format!("error converting fieldPath: field label not supported: {full}");
        path.invalid(causes, &why);
    } else if let Some(subscript) = subscript {
        match name {
            "metadata.annotations" | "metadata.labels" => {
                let lower = subscript.to_lowercase();
                let key = if name.ends_with("labels") {
                    subscript
                } else {
                    &lower
                };
                let shown = json!(key);
                At::new(reference.path.clone(), &shown).all_invalid(causes, words::qualified(key));
            }
            _ => reference.invalid_as(causes, &json!(name), "does not support subscript"),
        }
    } else if !fields.contains(&name) {
        path.unsupported(causes, fields);
    }
}

fn resource_field(reference: &At<'_>, causes: &mut Causes) {
    let resource = reference.get("resource");
    let huge = |prefix: &str| resource.text().starts_with(prefix);
    if resource.text().is_empty() {
        resource.required(causes, "");
    } else if !RESOURCE_FIELDS.contains(&resource.text())
        && !huge("limits.hugepages-")
        && !huge("requests.hugepages-")
    {
        resource.unsupported(causes, RESOURCE_FIELDS);
    }
    let divisor = reference.get("divisor");
    let amount = Quantity::of(divisor.value).unwrap_or(Quantity::ZERO);
    let shown = amount.to_string();
    let sizes = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let wrong = match resource.text().split_once('.').map(|(_, name)| name) {
        Some("cpu") if shown != "1m" && shown != "1" => {
            "only divisor's values 1m and 1 are supported with the cpu resource"
        }
        Some("memory") if !sizes.contains(&&*shown) => {
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource"
        }
        _ => return,
    };
    if !amount.is_zero() {
        divisor.invalid_as(causes, resource.value, wrong);
    }
}

/// Mounts of volumes, and devices.
pub(super) fn mounts(container: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    let mut paths = BTreeSet::new();
    let list = container.get("volumeMounts");
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        need(&name, causes);
        if !around.volumes.contains(name.text()) {
            name.not_found(causes);
        }
        need(&path, causes);
        if !paths.insert(path.text()) {
            path.invalid(causes, "must be unique");
        }
        for field in ["subPath", "subPathExpr"] {
            let sub = mount.get(field);
            if sub.is_empty() {
                continue;
            }
            if field == "subPathExpr" && !mount.get("subPath").is_empty() {
                sub.invalid(causes, "subPathExpr and subPath are mutually exclusive");
            }
            descending(&sub.named(list.get(field).path), causes);
        }
        let propagation = mount
            .get("mountPropagation")
            .named(list.get("mountPropagation").path);
        propagation.one_of(causes, &["Bidirectional", "HostToContainer", "None"]);
        let privileged = container.get("securityContext").get("privileged").is_true();
        if propagation.text() == "Bidirectional" && !privileged {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            propagation.forbidden(causes, why);
        }
    }
    for device in container.each("volumeDevices") {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        need(&name, causes);
        need(&path, causes);
        if !name.is_empty() && !around.volumes.contains(name.text()) {
            name.not_found(causes);
        }
    }
}
