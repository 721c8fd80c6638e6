//! Which volume a claim gets: the smallest one that has all it asks for.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{LabelSelector, Quantity, View, classes, list, text, volumes};

/// The best volume for a claim, if there is one.
pub(super) fn best(view: &View<'_>, claim: &Value) -> Option<Value> {
    let delayed = is_delayed(view, claim);
    let selector = &claim["spec"]["selector"];
    let selector = (!selector.is_null()).then(|| LabelSelector::from_object(selector));
    let mut best: Option<(usize, Quantity, Value)> = None;
    for object in view.state.within(&volumes(), None) {
        let volume = object.value();
        let unclaimed = volume["spec"]["claimRef"].is_null();
        if !(unclaimed || is_for(&volume, claim)) || object.is_terminating() {
            continue;
        }
        if !has_modes(&volume, claim) || size(&volume) < request(claim) {
            continue;
        }
        if mode(&volume) != mode(claim) || attributes(&volume) != attributes(claim) {
            continue;
        }
        if is_for(&volume, claim) {
            return Some(volume);
        }
        let selected = selector
            .as_ref()
            .is_none_or(|selector| selector.matches(|key| object.label(key)));
        let free = volume["status"]["phase"] == "Available" && class(&volume) == class(claim);
        if delayed || !free || !selected {
            continue;
        }
        let (modes, size) = (modes(&volume).len(), size(&volume));
        if best
            .as_ref()
            .is_none_or(|(fewest, smallest, _)| (modes, size) < (*fewest, *smallest))
        {
            best = Some((modes, size, volume));
        }
    }
    best.map(|(_, _, volume)| volume)
}

/// Why a claim cannot have the volume that it names.
pub(super) fn mismatch(volume: &Value, claim: &Value) -> Option<String> {
    let why = if !volume["metadata"]["deletionTimestamp"].is_null() {
        let name = text(&volume["metadata"], "name");
        return Some(format!("the volume is marked for deletion {name:?}"));
    } else if size(volume) < request(claim) {
        "requested PV is too small"
    } else if class(volume) != class(claim) {
        "storageClassName does not match"
    } else if attributes(volume) != attributes(claim) {
        "volumeAttributesClassName does not match"
    } else if mode(volume) != mode(claim) {
        "incompatible volumeMode"
    } else if !has_modes(volume, claim) {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// Whether a volume names this claim as its own.
pub(super) fn is_for(volume: &Value, claim: &Value) -> bool {
    let (reference, meta) = (&volume["spec"]["claimRef"], &claim["metadata"]);
    let uid = text(reference, "uid");
    reference["name"] == meta["name"]
        && reference["namespace"] == meta["namespace"]
        && (uid.is_empty() || uid == text(meta, "uid"))
        && !reference.is_null()
}

/// Whether a claim's class waits until a Pod needs the volume.
pub(super) fn is_delayed(view: &View<'_>, claim: &Value) -> bool {
    let found = view.state.get(&classes(), "", class(claim));
    found.is_some_and(|class| class.value()["volumeBindingMode"] == "WaitForFirstConsumer")
}

fn class(object: &Value) -> &str {
    let old = &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    old.as_str()
        .unwrap_or_else(|| text(&object["spec"], "storageClassName"))
}

fn attributes(object: &Value) -> &str {
    text(&object["spec"], "volumeAttributesClassName")
}

fn mode(object: &Value) -> &str {
    match text(&object["spec"], "volumeMode") {
        "" => "Filesystem",
        mode => mode,
    }
}

fn modes(object: &Value) -> BTreeSet<&str> {
    let modes = list(&object["spec"], "accessModes").iter();
    modes.filter_map(Value::as_str).collect()
}

fn has_modes(volume: &Value, claim: &Value) -> bool {
    modes(claim).is_subset(&modes(volume))
}

fn size(volume: &Value) -> Quantity {
    Quantity::of(&volume["spec"]["capacity"]["storage"]).unwrap_or(Quantity::ZERO)
}

fn request(claim: &Value) -> Quantity {
    Quantity::of(&claim["spec"]["resources"]["requests"]["storage"]).unwrap_or(Quantity::ZERO)
}
