//! ResourceQuotas: what is used, and what would be too much.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::within;
use crate::error::StatusError;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::registry::{Resource, StorageKey};
use crate::store::Store;
use crate::store::admit::pod::{Amounts, amounts, limits_of, quality, requests_of};
use crate::store::json::{fields, list, text};

/// What a container must say if there is a quota of it.
const EXPLICIT: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
/// Kinds that are counted by a name of their own.
const COUNTED: [&str; 7] = [
    "services",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "pods",
];

/// Refuses a new object for which a quota has no room.
pub(super) fn refuse(store: &Store, res: &Resource, object: &Value) -> Result<(), StatusError> {
    if !res.is_namespaced() {
        return Ok(());
    }
    let namespace = text(&object["metadata"], "namespace");
    let mut quotas = within(store, "resourcequotas", namespace);
    quotas.retain(|quota| selects(quota, &res.group, &res.plural, object));
    let name = text(&object["metadata"], "name");
    let wanted = usage(&res.group, &res.plural, object);
    for quota in &quotas {
        let hard = amounts(&quota["spec"]["hard"]);
        if res.group.is_empty()
            && res.plural == "pods"
            && let Some(why) = unsaid(&hard, &object["spec"])
        {
            let why = format!("failed quota: {}: {why}", text(&quota["metadata"], "name"));
            return Err(StatusError::forbidden(res, name, &why));
        }
    }
    for quota in &quotas {
        let hard = amounts(&quota["spec"]["hard"]);
        let used = used(store, namespace, quota);
        let mut over = Vec::new();
        for (resource, more) in &wanted {
            let Some(limit) = hard.get(resource).filter(|_| !more.is_zero()) else {
                continue;
            };
            let now = used.get(resource).copied().unwrap_or(Quantity::ZERO);
            if now.plus(*more) > *limit {
                over.push((resource, *more, now, *limit));
            }
        }
        if over.is_empty() {
            continue;
        }
        let shown = |pick: fn(&(&String, Quantity, Quantity, Quantity)) -> Quantity| {
            let all: Vec<String> = over
                .iter()
                .map(|one| format!("{}={}", one.0, pick(one)))
                .collect();
            all.join(",")
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            text(&quota["metadata"], "name"),
            shown(|one| one.1),
            shown(|one| one.2),
            shown(|one| one.3)
        );
        return Err(StatusError::forbidden(res, name, &why));
    }
    Ok(())
}

/// What containers would have to say.
fn unsaid(hard: &Amounts, spec: &Value) -> Option<String> {
    let mut missing = Vec::new();
    for resource in hard.keys().filter(|name| EXPLICIT.contains(&name.as_str())) {
        let (kind, plain) = resource.split_once('.').unwrap_or(("requests", resource));
        let mut names = BTreeSet::new();
        for lists in ["containers", "initContainers"] {
            for one in list(spec, lists) {
                if one["resources"][kind].get(plain).is_none() {
                    names.insert(text(one, "name"));
                }
            }
        }
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            missing.push(format!("{resource} for: {}", names.join(",")));
        }
    }
    let whole =
        spec["resources"]["requests"].is_object() || spec["resources"]["limits"].is_object();
    (!missing.is_empty() && !whole).then(|| format!("must specify {}", missing.join("; ")))
}

/// Whether a quota counts an object: by its scopes.
fn selects(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let scopes = list(&quota["spec"], "scopes");
    let expressions = list(&quota["spec"]["scopeSelector"], "matchExpressions");
    if scopes.is_empty() && expressions.is_empty() {
        return true;
    }
    if !group.is_empty() || plural != "pods" {
        return false;
    }
    let spec = &object["spec"];
    let in_scope = |name: &str| match name {
        "Terminating" => spec["activeDeadlineSeconds"]
            .as_i64()
            .is_some_and(|one| one >= 0),
        "NotTerminating" => spec["activeDeadlineSeconds"]
            .as_i64()
            .is_none_or(|one| one < 0),
        "BestEffort" => quality(spec) == "BestEffort",
        "NotBestEffort" => quality(spec) != "BestEffort",
        "PriorityClass" => !text(spec, "priorityClassName").is_empty(),
        _ => false,
    };
    let by_expression = |one: &Value| {
        let name = text(one, "scopeName");
        if name != "PriorityClass" {
            return in_scope(name);
        }
        let class = &spec["priorityClassName"];
        match text(one, "operator") {
            "In" => list(one, "values").contains(class),
            "NotIn" => !list(one, "values").contains(class),
            "DoesNotExist" => !in_scope(name),
            _ => in_scope(name),
        }
    };
    scopes
        .iter()
        .all(|scope| in_scope(scope.as_str().unwrap_or_default()))
        && expressions.iter().all(by_expression)
}

/// What one object uses, of everything that can be counted.
fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let one = Quantity::whole(1);
    let mut all = Amounts::new();
    let full = if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    };
    all.insert(format!("count/{full}"), one);
    if !group.is_empty() {
        return all;
    }
    if COUNTED.contains(&plural) && plural != "pods" {
        all.insert(plural.to_owned(), one);
    }
    match plural {
        "pods" => pod_usage(object, &mut all),
        "services" => service_usage(object, &mut all),
        "persistentvolumeclaims" => {
            let size = Quantity::of(&object["spec"]["resources"]["requests"]["storage"]);
            let size = size.unwrap_or(Quantity::ZERO);
            all.insert("requests.storage".to_owned(), size);
            let class = text(&object["spec"], "storageClassName");
            if !class.is_empty() {
                let key = format!("{class}.storageclass.storage.k8s.io");
                all.insert(format!("{key}/requests.storage"), size);
                all.insert(format!("{key}/persistentvolumeclaims"), one);
            }
        }
        _ => {}
    }
    all
}

fn pod_usage(object: &Value, all: &mut Amounts) {
    if matches!(text(&object["status"], "phase"), "Failed" | "Succeeded") {
        return;
    }
    all.insert("pods".to_owned(), Quantity::whole(1));
    for (name, amount) in requests_of(&object["spec"]) {
        if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) {
            all.insert(name.clone(), amount);
        }
        all.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in limits_of(&object["spec"]) {
        all.insert(format!("limits.{name}"), amount);
    }
}

fn service_usage(object: &Value, all: &mut Amounts) {
    let ports = list(&object["spec"], "ports");
    let count = |number: usize| Quantity::whole(i64::try_from(number).unwrap_or(i64::MAX));
    let (mut nodes, mut balancers) = (0, 0);
    match text(&object["spec"], "type") {
        "NodePort" => nodes = ports.len(),
        "LoadBalancer" => {
            balancers = 1;
            let open = |port: &&Value| port["nodePort"].as_i64().unwrap_or(0) != 0;
            nodes = ports.iter().filter(open).count();
        }
        _ => {}
    }
    all.insert("services.nodeports".to_owned(), count(nodes));
    all.insert("services.loadbalancers".to_owned(), count(balancers));
}

/// The collections in which what a quota names is found.
fn collections(hard: &Amounts) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for name in hard.keys() {
        let found = if let Some(full) = name.strip_prefix("count/") {
            let (plural, group) = full.split_once('.').unwrap_or((full, ""));
            (group.to_owned(), plural.to_owned())
        } else if name.starts_with("services") {
            (String::new(), "services".to_owned())
        } else if name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/") {
            (String::new(), "persistentvolumeclaims".to_owned())
        } else if COUNTED.contains(&name.as_str()) {
            (String::new(), name.clone())
        } else {
            (String::new(), "pods".to_owned())
        };
        all.insert(found);
    }
    all
}

/// What a namespace uses of what a quota names.
fn used(store: &Store, namespace: &str, quota: &Value) -> Amounts {
    let hard = amounts(&quota["spec"]["hard"]);
    let mut used: Amounts = hard
        .keys()
        .map(|name| (name.clone(), Quantity::ZERO))
        .collect();
    for (group, plural) in collections(&hard) {
        let key = StorageKey::new(&group, &plural);
        for object in store.head.within(&key, Some(namespace)) {
            let value = object.value();
            if !selects(quota, &group, &plural, &value) {
                continue;
            }
            for (name, amount) in usage(&group, &plural, &value) {
                if let Some(sum) = used.get_mut(&name) {
                    *sum = sum.plus(amount);
                }
            }
        }
    }
    used
}

/// The quotas whose status is no longer so, with the status that they should have.
pub(in crate::store) fn stale(
    store: &Store,
    collection: &StorageKey,
    namespace: &str,
) -> Vec<(Arc<Object>, Value)> {
    let key = StorageKey::new("", "resourcequotas");
    let mut stale = Vec::new();
    for object in store.head.within(&key, Some(namespace)) {
        let mut value = object.value();
        let hard = amounts(&value["spec"]["hard"]);
        let about = (collection.group.to_string(), collection.plural.to_string());
        if *collection != key && !collections(&hard).contains(&about) {
            continue;
        }
        let used = used(store, namespace, &value);
        let shown: serde_json::Map<String, Value> = used
            .into_iter()
            .map(|(name, one)| (name, json!(one.to_string())))
            .collect();
        let status = json!({ "hard": value["spec"]["hard"], "used": shown });
        if status != value["status"] && value["spec"]["hard"].is_object() {
            fields(&mut value).insert("status".to_owned(), status);
            stale.push((Arc::clone(object), value));
        }
    }
    stale
}
