//! LimitRanges: what must hold of them, and what they do to pods and claims.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::at::{At, Causes};
use super::pod::{limits_of, requests_of, resources};
use super::words;
use crate::quantity::Quantity;
use crate::store::json::{child, fields, list, list_mut, text};

/// What must hold of a LimitRange.
pub(super) fn check(object: &Value, causes: &mut Causes) {
    let mut kinds = BTreeSet::new();
    for item in At::new("spec", &object["spec"]).each("limits") {
        let kind = item.get("type");
        let why = words::qualified(kind.text());
        if !why.is_empty() {
            kind.all_invalid(causes, why);
        } else if !kind.text().contains('/')
            && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind.text())
        {
            kind.invalid(causes, "must be a standard limit type or fully qualified");
        }
        if !kinds.insert(kind.text()) {
            kind.duplicate(causes);
        }
        item_names(&item, kind.text(), causes);
        let lists = [
            "max",
            "min",
            "default",
            "defaultRequest",
            "maxLimitRequestRatio",
        ];
        let mut keys = BTreeSet::new();
        for name in lists {
            keys.extend(item.get(name).entries().map(|(key, _)| key));
        }
        for key in keys {
            item_values(&item, key, causes);
        }
    }
}

fn item_names(item: &At<'_>, kind: &str, causes: &mut Causes) {
    for name in [
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ] {
        let list = item.get(name);
        if kind == "Pod" && name.starts_with("default") {
            if !list.is_empty() {
                list.forbidden(causes, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (key, one) in list.entries() {
            resources::name(&one, key, causes);
        }
    }
    let has = |name: &str| item.get(name).get("storage").is_set();
    if kind == "PersistentVolumeClaim" && !has("min") && !has("max") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        item.get("limits").required(causes, why);
    }
}

fn item_values(item: &At<'_>, key: &str, causes: &mut Causes) {
    let of = |name: &str| item.value[name].get(key).and_then(Quantity::of);
    let mut less = |low: (&str, &str), high: (&str, &str), (field, shown): (&str, &str)| {
        if let (Some(first), Some(second)) = (of(low.0), of(high.0))
            && first > second
        {
            let why = format!(
                "{} value {first} is greater than {} value {second}",
                low.1, high.1
            );
            let at = At::new(
                format!("{}.{field}[{key}]", item.path),
                &item.value[shown][key],
            );
            at.invalid(causes, &why);
        }
    };
    let (min, max) = (("min", "min"), ("max", "max"));
    let request = ("defaultRequest", "default request");
    less(min, max, ("min", "min"));
    less(min, request, ("defaultRequest", "defaultRequest"));
    less(request, max, ("defaultRequest", "defaultRequest"));
    less(
        request,
        ("default", "default limit"),
        ("defaultRequest", "defaultRequest"),
    );
    less(min, ("default", "default"), ("default", "min"));
    less(("default", "default"), max, ("default", "max"));
    if let Some(ratio) = of("maxLimitRequestRatio").filter(|ratio| *ratio < Quantity::whole(1)) {
        let path = format!("{}.maxLimitRequestRatio[{key}]", item.path);
        let at = At::new(path, &item.value["maxLimitRequestRatio"][key]);
        at.invalid(causes, &format!("ratio {ratio} is less than 1"));
    }
}

/// The defaults that LimitRanges give to the containers of a pod.
pub(super) fn complete(ranges: &[Value], object: &mut Value) {
    for range in ranges {
        let items = list(&range["spec"], "limits");
        let Some(item) = items.iter().find(|item| item["type"] == "Container") else {
            continue;
        };
        let mut told = Vec::new();
        let spec = child(object, "spec");
        for (kind, lists) in [
            ("container", "containers"),
            ("init container", "initContainers"),
        ] {
            for container in list_mut(spec, lists) {
                complete_container(item, kind, container, &mut told);
            }
        }
        if !told.is_empty() {
            let meta = child(object, "metadata");
            let annotations = fields(meta.entry("annotations").or_insert_with(|| json!({})));
            let told = format!("LimitRanger plugin set: {}", told.join("; "));
            annotations.insert("kubernetes.io/limit-ranger".to_owned(), told.into());
        }
    }
}

fn complete_container(item: &Value, kind: &str, container: &mut Value, told: &mut Vec<String>) {
    let name = text(container, "name").to_owned();
    let resources = child(container, "resources");
    for (field, from, word) in [
        ("requests", "defaultRequest", "request"),
        ("limits", "default", "limit"),
    ] {
        let mut set = Vec::new();
        for (key, value) in item[from].as_object().into_iter().flatten() {
            let own = fields(resources.entry(field).or_insert_with(|| json!({})));
            if !own.contains_key(key) {
                own.insert(key.clone(), value.clone());
                set.push(key.clone());
            }
        }
        if !set.is_empty() {
            told.push(format!("{} {word} for {kind} {name}", set.join(", ")));
        }
    }
}

/// Why a pod or a claim is outside the limits; all reasons.
pub(super) fn refusals(range: &Value, kind: &str, object: &Value) -> Vec<String> {
    let mut why = Vec::new();
    let spec = &object["spec"];
    for item in list(&range["spec"], "limits") {
        match (text(item, "type"), kind) {
            ("Container", "Pod") => {
                let containers = list(spec, "containers").iter();
                for one in containers.chain(list(spec, "initContainers")) {
                    outside(item, "Container", &one["resources"], &mut why);
                }
            }
            ("Pod", "Pod") => {
                let whole = json!({
                    "requests": shown(requests_of(spec)), "limits": shown(limits_of(spec)),
                });
                outside(item, "Pod", &whole, &mut why);
            }
            ("PersistentVolumeClaim", "PersistentVolumeClaim") => claim(item, object, &mut why),
            _ => {}
        }
    }
    why
}

fn shown(amounts: super::pod::Amounts) -> Value {
    let text = |(name, one): (String, Quantity)| (name, json!(one.to_string()));
    Value::Object(amounts.into_iter().map(text).collect())
}

fn claim(item: &Value, object: &Value, why: &mut Vec<String>) {
    let of = |list: &Value| list.get("storage").and_then(Quantity::of);
    let Some(size) = of(&object["spec"]["resources"]["requests"]) else {
        return;
    };
    let word = "storage usage per PersistentVolumeClaim";
    if let Some(min) = of(&item["min"]).filter(|min| size < *min) {
        why.push(format!("minimum {word} is {min}, but request is {size}"));
    }
    if let Some(max) = of(&item["max"]).filter(|max| size > *max) {
        why.push(format!("maximum {word} is {max}, but request is {size}"));
    }
}

/// One amount against the least, the most and the ratio.
fn outside(item: &Value, kind: &str, resources: &Value, why: &mut Vec<String>) {
    let entries = |name: &str| {
        let map = item[name].as_object().into_iter().flatten();
        map.filter_map(|(key, value)| Some((key.clone(), Quantity::of(value)?)))
            .collect::<Vec<_>>()
    };
    let of = |field: &str, key: &str| resources[field].get(key).and_then(Quantity::of);
    for (key, min) in entries("min") {
        match (of("requests", &key), of("limits", &key)) {
            (None, _) => why.push(format!(
                "minimum {key} usage per {kind} is {min}.  No request is specified"
            )),
            (Some(request), _) if request < min => why.push(format!(
                "minimum {key} usage per {kind} is {min}, but request is {request}"
            )),
            (_, Some(limit)) if limit < min => why.push(format!(
                "minimum {key} usage per {kind} is {min}, but limit is {limit}"
            )),
            _ => {}
        }
    }
    for (key, max) in entries("max") {
        match (of("requests", &key), of("limits", &key)) {
            (_, None) => why.push(format!(
                "maximum {key} usage per {kind} is {max}.  No limit is specified"
            )),
            (_, Some(limit)) if limit > max => why.push(format!(
                "maximum {key} usage per {kind} is {max}, but limit is {limit}"
            )),
            (Some(request), _) if request > max => why.push(format!(
                "maximum {key} usage per {kind} is {max}, but request is {request}"
            )),
            _ => {}
        }
    }
    for (key, ratio) in entries("maxLimitRequestRatio") {
        let some = |field: &str| of(field, &key).filter(|one| !one.is_zero());
        let text = format!("{key} max limit to request ratio per {kind} is {ratio}");
        match (some("requests"), some("limits")) {
            (None, _) => why.push(format!(
                "{text}, but no request is specified or request is 0"
            )),
            (_, None) => why.push(format!("{text}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let found = limit.over(request);
                if found > ratio.over(Quantity::whole(1)) {
                    why.push(format!("{text}, but provided ratio is {found:.6}"));
                }
            }
        }
    }
}
