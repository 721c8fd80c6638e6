//! What may change of a Pod through its subresources `ephemeralcontainers` and `resize`.
use serde_json::Value;

use super::quality;
use crate::store::admit::at::{At, Causes};
use crate::store::admit::diff;
use crate::store::json::{child, fields, list, list_mut, set, text};

const LISTS: [&str; 2] = ["containers", "initContainers"];
const RESIZED: [&str; 2] = ["resources", "resizePolicy"];

/// The Pod as it was, with the amounts that are asked for; with all that is asked for, if containers come, go or change
/// places, which is refused then.
pub(in crate::store) fn resized(before: &Value, asked: &Value) -> Value {
    let spec = |pod: &Value, name: &str| list(&pod["spec"], name).to_vec();
    let names = |pod: &Value, name: &str| -> Vec<String> {
        let all = spec(pod, name);
        all.iter().map(|one| text(one, "name").to_owned()).collect()
    };
    if LISTS
        .iter()
        .any(|list| names(before, list) != names(asked, list))
    {
        return asked.clone();
    }
    let mut after = before.clone();
    for name in LISTS {
        let wanted = spec(asked, name);
        let own = list_mut(child(&mut after, "spec"), name);
        for (one, wanted) in own.iter_mut().zip(&wanted) {
            for field in RESIZED {
                set(fields(one), field, wanted.get(field).cloned());
            }
        }
    }
    let whole = asked["spec"].get("resources").cloned();
    if whole.is_some() {
        set(child(&mut after, "spec"), "resources", whole);
    }
    after
}

/// Whether containers for debugging are only added.
pub(in crate::store::admit) fn check_ephemeral(
    before: &Value,
    object: &Value,
    causes: &mut Causes,
) {
    let (old, new) = (
        At::new("spec", &before["spec"]),
        At::new("spec", &object["spec"]),
    );
    let all = new.get("ephemeralContainers");
    for one in old.each("ephemeralContainers") {
        let name = one.get("name").text();
        match all.items().find(|other| other.get("name").text() == name) {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                all.forbidden(causes, &why);
            }
            Some(other) if other.value != one.value => {
                let why = format!(
                    "existing ephemeral containers {name:?} may not be changed\n{}",
                    diff::of("EphemeralContainer", one.value, other.value)
                );
                all.forbidden(causes, &why);
            }
            Some(_) => {}
        }
    }
}

/// Whether nothing but amounts of CPU and memory changes.
pub(in crate::store::admit) fn check_resized(before: &Value, object: &Value, causes: &mut Causes) {
    let (old, new) = (
        At::new("spec", &before["spec"]),
        At::new("spec", &object["spec"]),
    );
    if quality(&before["spec"]) != quality(&object["spec"]) {
        let why = "Pod QOS Class may not change as a result of resizing";
        new.invalid_as(causes, &before["status"]["qosClass"], why);
    }
    let statuses = list(&before["status"], "containerStatuses").iter();
    let running = statuses
        .clone()
        .find(|one| one["state"]["running"].is_object());
    if running.is_some_and(|one| one.get("resources").is_none()) {
        new.forbidden(causes, "Pod running on node without support for resize");
    }
    if !same_places(&old, &new, causes) {
        return;
    }
    for name in ["initContainers", "containers"] {
        for (old, new) in old.each(name).zip(new.each(name)) {
            let (old, new) = (old.get("resources"), new.get("resources"));
            for (kind, why) in [
                ("requests", "resource requests cannot be removed"),
                ("limits", "resource limits cannot be removed"),
            ] {
                let (old, new) = (old.get(kind), new.get(kind));
                let mut kept = old.entries().map(|(key, _)| key);
                if kept.any(|key| new.value.get(key).is_none()) {
                    new.forbidden(causes, why);
                }
            }
        }
    }
    for (old, one) in old.each("containers").zip(new.each("containers")) {
        if of_other(old.value) != of_other(one.value) {
            new.forbidden(causes, "only cpu and memory resources are mutable");
        }
    }
    for (old, one) in old.each("initContainers").zip(new.each("initContainers")) {
        if of_other(old.value) != of_other(one.value) {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            one.forbidden(causes, why);
        }
    }
}

fn same_places(old: &At<'_>, new: &At<'_>, causes: &mut Causes) -> bool {
    let before = causes.len();
    for name in LISTS {
        let (old, new) = (old.get(name), new.get(name));
        if old.len() != new.len() {
            let why = format!("{name} may not be added or removed on resize");
            new.forbidden(causes, &why);
            continue;
        }
        for (old, new) in old.items().zip(new.items()) {
            if old.get("name").value != new.get("name").value {
                let why = format!("{name} may not be renamed or reordered on resize");
                new.get("name").forbidden(causes, &why);
            }
        }
    }
    causes.len() == before
}

/// A container without its amounts of CPU and memory.
fn of_other(container: &Value) -> Value {
    let mut container = container.clone();
    let resources = child(&mut container, "resources");
    for kind in ["requests", "limits"] {
        if let Some(amounts) = resources.get_mut(kind) {
            let amounts = fields(amounts);
            amounts.retain(|name, _| !["cpu", "memory"].contains(&name.as_str()));
            if amounts.is_empty() {
                resources.remove(kind);
            }
        }
    }
    container
}
