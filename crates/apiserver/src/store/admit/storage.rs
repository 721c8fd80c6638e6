//! PersistentVolumes and their claims, StorageClasses and the objects of CSI drivers.
use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::{defaults, host_path, scheduling};
use super::{diff, words};
use crate::quantity::Quantity;
use crate::store::json::{child, default, fields, set};

const MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const POSITIVE: &str = "must be greater than zero";
/// What can be the volume of a PersistentVolume.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// The defaults of an object of these kinds.
pub(super) fn complete(kind: &str, object: &mut Value) {
    match kind {
        "PersistentVolumeClaim" => {
            let spec = child(object, "spec");
            let mut value = Value::Object(std::mem::take(spec));
            defaults::claim_spec(&mut value);
            fields(object).insert("spec".to_owned(), value);
        }
        "PersistentVolume" => {
            let spec = child(object, "spec");
            defaults::absent_is_default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
            if let Some(capacity) = spec.get_mut("capacity") {
                defaults::resource_list(capacity);
            }
            if let Some(path) = spec.get_mut("hostPath").filter(|path| path.is_object()) {
                default(fields(path), "type", "");
            }
        }
        "StorageClass" => {
            default(fields(object), "reclaimPolicy", "Delete");
            default(fields(object), "volumeBindingMode", "Immediate");
        }
        "CSIDriver" => {
            let spec = child(object, "spec");
            default(spec, "attachRequired", true);
            for name in [
                "podInfoOnMount",
                "storageCapacity",
                "requiresRepublish",
                "seLinuxMount",
                "preventPodSchedulingIfMissing",
            ] {
                default(spec, name, false);
            }
            default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
            default(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
        _ => {}
    }
}

/// What must hold of an object of these kinds.
pub(super) fn check(kind: &str, (before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    match (kind, before) {
        ("PersistentVolumeClaim", before) => {
            claim_spec(&spec, causes);
            if let Some(before) = before {
                claim_update(before, object, causes);
            }
        }
        ("PersistentVolume", before) => {
            volume(&spec, causes);
            if let Some(before) = before {
                volume_update(before, object, causes);
            }
        }
        ("StorageClass", before) => class(before, object, causes),
        ("CSIDriver", Some(before)) => {
            for name in ["attachRequired", "fsGroupPolicy", "volumeLifecycleModes"] {
                let old = At::new("", &before["spec"][name]);
                spec.get(name).immutable(causes, &old);
            }
        }
        _ => {}
    }
}

fn access_modes(spec: &At<'_>, why: &str, causes: &mut Causes) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        modes.required(causes, why);
    }
    for mode in modes.items() {
        mode.named(modes.path.clone()).one_of(causes, MODES);
    }
    let alone = |mode: &At<'_>| mode.text() == "ReadWriteOncePod";
    let other = |mode: &At<'_>| !alone(mode) && MODES.contains(&mode.text());
    if modes.items().any(|mode| alone(&mode)) && modes.items().any(|mode| other(&mode)) {
        modes.forbidden(
            causes,
            "may not use ReadWriteOncePod with other access modes",
        );
    }
}

/// The spec of a claim.
pub(super) fn claim_spec(spec: &At<'_>, causes: &mut Causes) {
    access_modes(spec, "at least 1 access mode is required", causes);
    scheduling::selector(&spec.get("selector"), causes);
    let resources = spec.get("resources");
    let size = resources.get("requests").get("storage");
    let size = size.named(format!("{}[storage]", resources.path));
    match Quantity::of(size.value) {
        None => size.required(causes, ""),
        Some(amount) if amount <= Quantity::ZERO => {
            size.invalid_as(causes, &json!(amount.to_string()), POSITIVE);
        }
        Some(_) => {}
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        class.all_invalid(causes, words::subdomain(class.text()));
    }
    spec.get("volumeMode")
        .one_of(causes, &["Block", "Filesystem"]);
    for name in ["dataSource", "dataSourceRef"] {
        let source = spec.get(name);
        if !source.is_set() {
            continue;
        }
        for name in ["name", "kind"] {
            if source.get(name).text().is_empty() {
                source.get(name).required(causes, "");
            }
        }
        let (group, kind) = (source.get("apiGroup"), source.get("kind"));
        if group.is_empty() && kind.text() != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            kind.named(source.path).invalid(causes, why);
        }
    }
}

fn claim_update(before: &Value, object: &Value, causes: &mut Causes) {
    let (old, new) = (&before["spec"], &object["spec"]);
    let (mut old_kept, mut new_kept) = (old.clone(), new.clone());
    if old["volumeName"].as_str().is_none_or(str::is_empty) {
        set(
            fields(&mut old_kept),
            "volumeName",
            new.get("volumeName").cloned(),
        );
    }
    if object["status"]["phase"] == "Bound" {
        let size = old["resources"]["requests"].get("storage").cloned();
        let resources = child(&mut new_kept, "resources");
        if let Some(requests) = resources.get_mut("requests") {
            set(fields(requests), "storage", size);
        }
        let name = "volumeAttributesClassName";
        set(fields(&mut new_kept), name, old.get(name).cloned());
    }
    if old["storageClassName"].is_null() {
        // One that was made before there was a default class may get one.
        set(fields(&mut new_kept), "storageClassName", None);
    }
    if old_kept != new_kept {
        let why = format!(
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n{}",
            diff::of("PersistentVolumeClaimSpec", &old_kept, &new_kept)
        );
        At::new("spec", new).forbidden(causes, &why);
    }
    let size = |spec: &Value| Quantity::of(&spec["resources"]["requests"]["storage"]);
    let capacity = Quantity::of(&before["status"]["capacity"]["storage"]).unwrap_or(Quantity::ZERO);
    if size(new) < size(old) && size(new) <= Some(capacity) {
        let field = At::new("spec.resources.requests.storage", &Value::Null);
        field.forbidden(causes, "field can not be less than status.capacity");
    }
    let old_mode = At::new("volumeMode", &old["volumeMode"]);
    At::new("volumeMode", &new["volumeMode"]).immutable(causes, &old_mode);
}

fn volume(spec: &At<'_>, causes: &mut Causes) {
    access_modes(spec, "", causes);
    let capacity = spec.get("capacity");
    if capacity.is_empty() {
        capacity.required(causes, "");
    }
    if !capacity.get("storage").is_set() || capacity.len() > 1 {
        let shown = if capacity.is_set() {
            capacity.value.clone()
        } else {
            Value::Null
        };
        causes.push(crate::error::Cause::unsupported(
            &capacity.path,
            &shown,
            &["storage"],
        ));
    }
    for (_, one) in capacity.entries() {
        let Some(amount) = Quantity::of(one.value) else {
            continue;
        };
        if amount.is_negative() {
            one.invalid_as(
                causes,
                &amount.value().into(),
                "must be a valid resource quantity",
            );
        }
        if amount <= Quantity::ZERO {
            one.invalid_as(causes, &json!(amount.to_string()), POSITIVE);
        }
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    policy.one_of(causes, &["Delete", "Recycle", "Retain"]);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.get("required");
        if required.is_set() {
            scheduling::node_selector(&required, causes);
        } else {
            required.required(causes, "must specify required node constraints");
        }
    }
    volume_source(spec, causes);
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        class.all_invalid(causes, words::subdomain(class.text()));
    }
    spec.get("volumeMode")
        .one_of(causes, &["Block", "Filesystem"]);
}

fn volume_source(spec: &At<'_>, causes: &mut Causes) {
    let mut found = false;
    for kind in SOURCES {
        let source = spec.get(kind);
        if !source.is_set() {
            continue;
        }
        if found {
            source.forbidden(causes, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        match *kind {
            "hostPath" => host_path(&source, causes),
            "nfs" => {
                for name in ["server", "path"] {
                    if source.get(name).text().is_empty() {
                        source.get(name).required(causes, "");
                    }
                }
            }
            "local" => {
                if source.get("path").text().is_empty() {
                    source.get("path").required(causes, "");
                }
                if !spec.get("nodeAffinity").is_set() {
                    let why = "Local volume requires node affinity";
                    spec.get("nodeAffinity").required(causes, why);
                }
            }
            "csi" => {
                for name in ["driver", "volumeHandle"] {
                    if source.get(name).text().is_empty() {
                        source.get(name).required(causes, "");
                    }
                }
            }
            _ => {}
        }
    }
    if !found {
        spec.required(causes, "must specify a volume type");
    }
    if spec.get("hostPath").get("path").text() == "/"
        && spec.get("persistentVolumeReclaimPolicy").text() == "Recycle"
    {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        spec.get("persistentVolumeReclaimPolicy")
            .forbidden(causes, why);
    }
}

fn volume_update(before: &Value, object: &Value, causes: &mut Causes) {
    let (old, new) = (&before["spec"], &object["spec"]);
    if SOURCES.iter().any(|source| old[*source] != new[*source]) {
        let why = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            diff::of("PersistentVolumeSource", old, new)
        );
        At::new("spec.persistentvolumesource", new).forbidden(causes, &why);
    }
    let old_mode = At::new("volumeMode", &old["volumeMode"]);
    At::new("volumeMode", &new["volumeMode"]).immutable(causes, &old_mode);
}

fn class(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let at = At::new("", object);
    if let Some(before) = before {
        let old = At::new("", before);
        for name in [
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "volumeBindingMode",
        ] {
            at.get(name).fixed(causes, &old.get(name));
        }
        return;
    }
    let provisioner = at.get("provisioner");
    if !provisioner.is_empty() {
        let lower = json!(provisioner.text().to_lowercase());
        let lower = At::new("provisioner", &lower);
        lower.all_invalid(causes, words::qualified(lower.text()));
    }
    for (key, value) in at.get("parameters").entries() {
        if key.is_empty() {
            let field = value.named("parameters");
            field.invalid_as(causes, &json!(""), "field can not be empty.");
        }
    }
    at.get("reclaimPolicy")
        .one_of(causes, &["Delete", "Retain"]);
    at.get("volumeBindingMode")
        .one_of(causes, &["Immediate", "WaitForFirstConsumer"]);
    if provisioner.is_empty() {
        provisioner.required(causes, "");
    }
}
