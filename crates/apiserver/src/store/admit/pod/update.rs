//! Of a Pod that exists, only images and a few small things may change.
use serde_json::{Value, json};

use crate::store::admit::at::{At, Causes};
use crate::store::admit::diff;
use crate::store::facts::BoundPods;
use crate::store::json::{child, fields, list, list_mut, set, text};

use super::scheduling;

/// Compares a Pod with what it was.
pub(super) fn check(
    bound_pods: BoundPods,
    (before, object): (&Value, &Value),
    causes: &mut Causes,
) {
    // There are no admission webhooks: where a cluster says so, who puts a Pod on its node adds
    // the container that one would have added.
    let bound = |pod: &Value| !text(&pod["spec"], "nodeName").is_empty();
    if bound_pods == BoundPods::Completed && !bound(before) && bound(object) {
        return;
    }
    let (old, new) = (
        At::new("spec", &before["spec"]),
        At::new("spec", &object["spec"]),
    );
    for name in ["containers", "initContainers"] {
        if old.get(name).len() != new.get(name).len() {
            new.get(name)
                .forbidden(causes, "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(&old, &new, causes) {
        return;
    }
    tolerations(&old, &new, causes);
    gates(&old, &new, causes);
    let munged = munged(before, object);
    if munged != before["spec"] {
        let why = format!(
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)\n{}",
            diff::of("PodSpec", &before["spec"], &munged)
        );
        new.forbidden(causes, &why);
    }
}

fn deadline(old: &At<'_>, new: &At<'_>, causes: &mut Causes) -> bool {
    let (old, new) = (
        old.get("activeDeadlineSeconds"),
        new.get("activeDeadlineSeconds"),
    );
    if new.is_set() {
        if !(0..=2_147_483_647).contains(&new.int()) {
            new.within(causes, (0, 2_147_483_647));
            return false;
        }
        if old.is_set() && old.int() < new.int() {
            new.invalid(causes, "must be less than or equal to previous value");
            return false;
        }
    } else if old.is_set() {
        new.invalid(
            causes,
            "must not update from a positive integer to nil value",
        );
    }
    true
}

fn tolerations(old: &At<'_>, new: &At<'_>, causes: &mut Causes) {
    let without_time = |one: &At<'_>| {
        let mut value = one.value.clone();
        fields(&mut value).remove("tolerationSeconds");
        value
    };
    let list = new.get("tolerations");
    for one in old.each("tolerations") {
        let wanted = without_time(&one);
        if !list.items().any(|other| without_time(&other) == wanted) {
            let why = "existing toleration can not be modified except its tolerationSeconds";
            list.forbidden(causes, why);
            return;
        }
    }
    scheduling::tolerations(&list, causes);
}

fn gates(old: &At<'_>, new: &At<'_>, causes: &mut Causes) {
    for gate in new.each("schedulingGates") {
        let name = gate.get("name");
        let mut before = old.each("schedulingGates");
        if !before.any(|other| other.get("name").value == name.value) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                name.text()
            );
            name.forbidden(causes, &why);
        }
    }
}

/// The new spec with everything that may change as it was.
fn munged(before: &Value, object: &Value) -> Value {
    let mut after = object.clone();
    let spec = child(&mut after, "spec");
    for name in ["containers", "initContainers"] {
        let old = list(&before["spec"], name);
        for (one, old) in list_mut(spec, name).iter_mut().zip(old) {
            set(fields(one), "image", old.get("image").cloned());
        }
    }
    let mut kept = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    let old_grace = before["spec"]["terminationGracePeriodSeconds"].as_i64();
    let new_grace = spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    if old_grace.is_some_and(|grace| grace < 0) && new_grace == Some(1) {
        kept.push("terminationGracePeriodSeconds");
    }
    if !list(&before["spec"], "schedulingGates").is_empty() {
        kept.push("nodeSelector");
        let affinity = before["spec"]["affinity"].get("nodeAffinity").cloned();
        if let Some(new) = spec.get_mut("affinity") {
            set(fields(new), "nodeAffinity", affinity);
            if *new == json!({}) && before["spec"]["affinity"].is_null() {
                spec.remove("affinity");
            }
        }
    }
    for name in kept {
        set(spec, name, before["spec"].get(name).cloned());
    }
    after["spec"].take()
}
