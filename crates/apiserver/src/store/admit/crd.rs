//! CustomResourceDefinitions: their defaults, and the status that follows from their names.
use serde_json::{Value, json};

use super::super::meta::stamp;
use crate::crd::check;
use crate::error::Cause;
use crate::object::Object;
use crate::registry::{Resource, StorageKey};
use crate::store::facts::OBJECT_DEPTH_MAX;
use crate::store::json::{child, default, fields, is_deeper, list, list_mut, set, text};
use crate::store::request::Warnings;
use crate::store::{Moment, Store};

/// Completes and checks a CRD.
pub(super) fn crd((before, object): (Option<&Value>, &mut Value), causes: &mut Vec<Cause>) {
    if is_deeper(object, OBJECT_DEPTH_MAX) {
        let why = format!("must not nest more than {OBJECT_DEPTH_MAX} levels deep");
        return causes.push(Cause::invalid("spec", &Value::Null, &why));
    }
    complete(object);
    let new = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}});
    let status = before.map_or(new, |before| before["status"].clone());
    set(fields(object), "status", Some(status));
    keep_stored_version(object);
    causes.extend(check::problems(before, object));
}

/// Whether a resource is that of CRDs.
pub(in crate::store) fn is_crd(res: &Resource) -> bool {
    res.kind == "CustomResourceDefinition" && !res.custom
}

/// Warns of what is in the schemas of a CRD and means nothing, if it is new.
pub(in crate::store) fn warn(
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    warnings: &Warnings,
) {
    if !is_crd(res) {
        return;
    }
    let old = before.map(check::warnings).unwrap_or_default();
    let new = check::warnings(object);
    new.into_iter()
        .filter(|text| !old.contains(text))
        .for_each(|text| warnings.add(text));
}

/// A CRD that has just been stored, with the names accepted that are free; nothing if that changes nothing.
pub(in crate::store) fn accepted(
    store: &Store,
    moment: &Moment<'_>,
    stored: &Object,
) -> Option<Value> {
    let before = stored.value();
    let mut after = before.clone();
    name(&mut after, &Taken::of(store, &before), &stamp(moment.now));
    (after != before).then_some(after)
}

/// Fills in what a CRD leaves to others.
pub(in crate::store) fn complete(object: &mut Value) {
    let spec = child(object, "spec");
    default(spec, "conversion", json!({ "strategy": "None" }));
    let names = fields(spec.entry("names").or_insert_with(|| json!({})));
    let kind = names
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let missing = |names: &serde_json::Map<String, Value>, name: &str| {
        names
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
    };
    if !kind.is_empty() {
        if missing(names, "singular") {
            names.insert("singular".to_owned(), kind.to_lowercase().into());
        }
        if missing(names, "listKind") {
            names.insert("listKind".to_owned(), format!("{kind}List").into());
        }
    }
    if spec.get("preserveUnknownFields") == Some(&json!(false)) {
        spec.remove("preserveUnknownFields");
    }
    for version in list_mut(spec, "versions") {
        let version = fields(version);
        for name in ["additionalPrinterColumns", "selectableFields"] {
            if version
                .get(name)
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty)
            {
                version.remove(name);
            }
        }
        for name in ["served", "storage"] {
            default(version, name, false);
        }
    }
    let service = object.pointer_mut("/spec/conversion/webhook/clientConfig/service");
    if let Some(Value::Object(service)) = service {
        default(service, "port", 443);
    }
}

/// The version in which objects are stored from now on.
fn keep_stored_version(object: &mut Value) {
    let versions = list(&object["spec"], "versions");
    let stored = versions.iter().find(|version| version["storage"] == true);
    let Some(stored) = stored.map(|version| version["name"].clone()) else {
        return;
    };
    let status = child(object, "status");
    let all = status.entry("storedVersions").or_insert_with(|| json!([]));
    if !all.is_array() {
        *all = json!([]);
    }
    if let Some(all) = all.as_array_mut().filter(|all| !all.contains(&stored)) {
        all.push(stored);
    }
}

/// Names that other CRDs of the group have.
#[derive(Default)]
struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Taken {
    fn of(store: &Store, crd: &Value) -> Self {
        let mut taken = Self::default();
        let crds = StorageKey::new("apiextensions.k8s.io", "customresourcedefinitions");
        let group = text(&crd["spec"], "group");
        for other in store.head().within(&crds, None) {
            let suffix = other.name().split_once('.').map_or("", |(_, group)| group);
            if suffix != group || other.name() == text(&crd["metadata"], "name") {
                continue;
            }
            let other = other.value();
            let names = &other["status"]["acceptedNames"];
            let short = list(names, "shortNames").iter().filter_map(Value::as_str);
            let resources = [text(names, "plural"), text(names, "singular")]
                .into_iter()
                .chain(short);
            taken.resources.extend(resources.map(str::to_owned));
            taken
                .kinds
                .extend([text(names, "kind"), text(names, "listKind")].map(str::to_owned));
        }
        taken
    }
}

/// Accepts the names that are free, and says so.
fn name(object: &mut Value, taken: &Taken, now: &str) {
    let wanted = object["spec"]["names"].clone();
    let mut accepted = object["status"]["acceptedNames"].clone();
    let mut conflict: Option<(&str, String)> = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, reason, used) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        if wanted[field] == accepted[field] {
            continue;
        }
        let names: Vec<&str> = match &wanted[field] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let old = list(&accepted, field).to_vec();
        let mut bad: Vec<String> = names
            .iter()
            .filter(|name| {
                used.iter().any(|other| other == *name) && !old.iter().any(|own| own == *name)
            })
            .map(|name| in_use(name))
            .collect();
        bad.dedup();
        match bad.as_slice() {
            [] => set(fields(&mut accepted), field, wanted.get(field).cloned()),
            [one] => conflict = Some((reason, one.clone())),
            many => conflict = Some((reason, format!("[{}]", many.join(", ")))),
        }
    }
    set(
        fields(&mut accepted),
        "categories",
        wanted.get("categories").cloned(),
    );
    for name in ["plural", "kind"] {
        default(fields(&mut accepted), name, "");
    }
    let named = match &conflict {
        None => {
            json!({"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"})
        }
        Some((reason, message)) => {
            json!({"type": "NamesAccepted", "status": "False", "reason": reason, "message": message})
        }
    };
    let was_established = list(&object["status"], "conditions")
        .iter()
        .any(|one| one["type"] == "Established" && one["status"] == "True");
    let served = if conflict.is_none() || was_established {
        json!({"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted"})
    } else {
        json!({"type": "Established", "status": "False", "reason": "NotAccepted",
            "message": "not all names are accepted"})
    };
    let status = child(object, "status");
    status.insert("acceptedNames".to_owned(), accepted);
    for condition in [named, served] {
        put_condition(status, condition, now);
    }
}

/// Replaces a condition of the same type; its time stays if its status does.
fn put_condition(status: &mut serde_json::Map<String, Value>, mut condition: Value, now: &str) {
    let all = status.entry("conditions").or_insert(Value::Null);
    if !all.is_array() {
        *all = json!([]);
    }
    let Some(all) = all.as_array_mut() else {
        return;
    };
    let old = all.iter_mut().find(|one| one["type"] == condition["type"]);
    let kept = old
        .as_ref()
        .filter(|old| old["status"] == condition["status"]);
    condition["lastTransitionTime"] =
        kept.map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
    match old {
        Some(old) => *old = condition,
        None => all.push(condition),
    }
}
