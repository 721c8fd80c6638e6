//! Tables of volumes and their classes.

use serde_json::{Value, json};

use super::text::{field, flag, list};
use super::{Layout, Row, layout};

pub(super) const LAYOUTS: &[Layout] = &[
    layout("", "persistentvolumes", volume),
    layout("", "persistentvolumeclaims", claim),
    layout("storage.k8s.io", "storageclasses", class),
    layout("storage.k8s.io", "volumeattributesclasses", |row| {
        vec![row.name(), row.object["driverName"].clone(), row.age()]
    }),
    layout("storage.k8s.io", "volumeattachments", attachment),
    layout("storage.k8s.io", "csinodes", |row| {
        let drivers = list(&row.object["spec"], "drivers").len();
        vec![row.name(), drivers.into(), row.age()]
    }),
    layout("storage.k8s.io", "csidrivers", driver),
];

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

fn phase(row: &Row<'_>) -> Value {
    if row.is_terminating() {
        "Terminating".into()
    } else {
        field(&row.object["status"], "phase").into()
    }
}

fn modes(of: &Value) -> String {
    let names = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = list(of, "accessModes");
    let has = |name: &str| modes.iter().any(|mode| mode == name);
    let shown: Vec<&str> = names
        .iter()
        .filter(|(name, _)| has(name))
        .map(|(_, short)| *short)
        .collect();
    shown.join(",")
}

fn class_of(row: &Row<'_>) -> Value {
    let annotated = field(&row.object["metadata"]["annotations"], CLASS);
    if annotated.is_empty() {
        field(&row.object["spec"], "storageClassName").into()
    } else {
        annotated.into()
    }
}

fn unset(spec: &Value, name: &str) -> Value {
    spec[name].as_str().unwrap_or("<unset>").into()
}

fn volume(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let claim = &spec["claimRef"];
    let claim = if claim.is_null() {
        String::new()
    } else {
        format!("{}/{}", field(claim, "namespace"), field(claim, "name"))
    };
    vec![
        row.name(),
        spec["capacity"]["storage"].as_str().unwrap_or("0").into(),
        modes(spec).into(),
        field(spec, "persistentVolumeReclaimPolicy").into(),
        phase(row),
        claim.into(),
        class_of(row),
        unset(spec, "volumeAttributesClassName"),
        field(status, "reason").into(),
        row.age(),
        unset(spec, "volumeMode"),
    ]
}

fn claim(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let volume = field(spec, "volumeName");
    let (capacity, modes) = if volume.is_empty() {
        ("", String::new())
    } else {
        let capacity = status["capacity"]["storage"].as_str().unwrap_or("0");
        (capacity, modes(status))
    };
    vec![
        row.name(),
        phase(row),
        volume.into(),
        capacity.into(),
        modes.into(),
        class_of(row),
        unset(spec, "volumeAttributesClassName"),
        row.age(),
        unset(spec, "volumeMode"),
    ]
}

/// The name of the class that is taken when none is asked for: of several the newest.
pub(super) fn default_class(classes: &[Value]) -> Option<Value> {
    let mut default: Option<&Value> = None;
    let created = |class: &Value| field(&class["metadata"], "creationTimestamp").to_owned();
    for class in classes {
        let annotations = &class["metadata"]["annotations"];
        let marked = DEFAULT.iter().any(|name| flag(annotations, name));
        if marked && default.is_none_or(|before| created(class) > created(before)) {
            default = Some(class);
        }
    }
    Some(default?["metadata"]["name"].clone())
}

fn class(row: &Row<'_>) -> Vec<Value> {
    let object = row.object;
    let name = if row.is_default {
        format!("{} (default)", field(&object["metadata"], "name")).into()
    } else {
        row.name()
    };
    vec![
        name,
        object["provisioner"].clone(),
        object["reclaimPolicy"].as_str().unwrap_or("Delete").into(),
        object["volumeBindingMode"]
            .as_str()
            .unwrap_or("Immediate")
            .into(),
        (object["allowVolumeExpansion"] == true).into(),
        row.age(),
    ]
}

fn attachment(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    vec![
        row.name(),
        field(spec, "attacher").into(),
        field(&spec["source"], "persistentVolumeName").into(),
        field(spec, "nodeName").into(),
        (row.object["status"]["attached"] == true).into(),
        row.age(),
    ]
}

fn driver(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let join = |texts: Vec<&str>| texts.join(",");
    let audiences = spec["tokenRequests"].as_array().map(|requests| {
        let audiences = requests.iter().map(|request| field(request, "audience"));
        join(audiences.collect())
    });
    let modes = list(spec, "volumeLifecycleModes").iter();
    let modes = join(modes.filter_map(Value::as_str).collect());
    vec![
        row.name(),
        (spec["attachRequired"] != false).into(),
        (spec["podInfoOnMount"] == true).into(),
        (spec["storageCapacity"] == true).into(),
        audiences.map_or_else(|| json!("<unset>"), Value::from),
        (spec["requiresRepublish"] == true).into(),
        super::text::or_none(modes).into(),
        row.age(),
    ]
}
