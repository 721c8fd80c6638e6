//! What plugins add to a new Pod: its account and token, its priority, what it tolerates.
use serde_json::{Map, Value, json};

use super::{everywhere, within};
use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::admit::pod::defaults::absent_is_default;
use crate::store::json::{child, default, fields, list, list_mut, text};
use crate::store::meta::random_suffix;
use crate::store::{Moment, Store};

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const DEFAULT_ACCOUNT: &str = "default";
/// Priorities that exist in every cluster.
const SYSTEM: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

/// All of it, in the order of Kubernetes.
pub(super) fn change(
    store: &Store,
    moment: &mut Moment<'_>,
    res: &Resource,
    object: &mut Value,
) -> Result<(), StatusError> {
    let name = text(&object["metadata"], "name").to_owned();
    let forbidden = |why: String| StatusError::forbidden(res, &name, &why);
    account(store, moment, object).map_err(&forbidden)?;
    priority(store, child(object, "spec")).map_err(&forbidden)?;
    tolerations(child(object, "spec"));
    runtime(store, child(object, "spec")).map_err(&forbidden)
}

/// What a changed Pod keeps.
pub(super) fn change_again(before: &Value, spec: &mut Map<String, Value>) {
    for name in ["priority", "preemptionPolicy"] {
        if !before["spec"][name].is_null() {
            default(spec, name, before["spec"][name].clone());
        }
    }
    tolerations(spec);
}

fn account(store: &Store, moment: &mut Moment<'_>, object: &mut Value) -> Result<(), String> {
    if !object["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null() {
        return Ok(());
    }
    let namespace = text(&object["metadata"], "namespace").to_owned();
    let spec = child(object, "spec");
    absent_is_default(spec, "serviceAccountName", DEFAULT_ACCOUNT);
    let name = spec["serviceAccountName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    spec.insert("serviceAccount".to_owned(), name.clone().into());
    let accounts = within(store, "serviceaccounts", &namespace);
    let found = accounts
        .into_iter()
        .find(|one| one["metadata"]["name"] == *name);
    // A controller makes the default account of every namespace, and Kubernetes waits for it here.
    if found.is_none() && name != DEFAULT_ACCOUNT {
        return Err(format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        ));
    }
    let found = found.unwrap_or(Value::Null);
    let key = "automountServiceAccountToken";
    let own = spec.get(key).and_then(Value::as_bool);
    if own.or_else(|| found[key].as_bool()).unwrap_or(true) {
        mount_token(moment, spec);
    }
    let secrets = list(&found, "imagePullSecrets");
    let none = spec
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if none && !secrets.is_empty() {
        spec.insert("imagePullSecrets".to_owned(), secrets.into());
    }
    Ok(())
}

fn mount_token(moment: &mut Moment<'_>, spec: &mut Map<String, Value>) {
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let made = |name: &str| name.starts_with("kube-api-access-");
    let mut names = volumes.into_iter().flatten().map(|one| text(one, "name"));
    let name = match names.find(|name| made(name)) {
        Some(name) => name.to_owned(),
        None => format!("kube-api-access-{}", random_suffix(5, moment.rng)),
    };
    let mut needed = false;
    for lists in ["initContainers", "containers"] {
        for container in list_mut(spec, lists) {
            let mounts = list(container, "volumeMounts");
            if mounts.iter().any(|mount| mount["mountPath"] == TOKEN_PATH) {
                continue;
            }
            needed = true;
            let mut mounts = mounts.to_vec();
            mounts.push(json!({ "name": name, "readOnly": true, "mountPath": TOKEN_PATH }));
            fields(container).insert("volumeMounts".to_owned(), mounts.into());
        }
    }
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let mut volumes = volumes.cloned().unwrap_or_default();
    if needed && !volumes.iter().any(|one| one["name"] == *name) {
        let field = json!({ "apiVersion": "v1", "fieldPath": "metadata.namespace" });
        volumes.push(
            json!({ "name": name, "projected": { "defaultMode": 420, "sources": [
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt",
                "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": field }] } },
        ] } }),
        );
        spec.insert("volumes".to_owned(), volumes.into());
    }
}

fn priority(store: &Store, spec: &mut Map<String, Value>) -> Result<(), String> {
    let classes = everywhere(store, "scheduling.k8s.io", "priorityclasses");
    let name = spec
        .get("priorityClassName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (name, value, policy) = if name.is_empty() {
        let defaults = classes.iter().filter(|one| one["globalDefault"] == true);
        let class = defaults.min_by_key(|one| one["value"].as_i64());
        class.map_or_else(
            || (String::new(), 0, json!("PreemptLowerPriority")),
            of_class,
        )
    } else if let Some(class) = classes.iter().find(|one| one["metadata"]["name"] == *name) {
        of_class(class)
    } else if let Some((name, value)) = SYSTEM.iter().find(|(known, _)| *known == name) {
        ((*name).to_owned(), *value, json!("PreemptLowerPriority"))
    } else {
        return Err(format!("no PriorityClass with name {name} was found"));
    };
    if !name.is_empty() {
        spec.insert("priorityClassName".to_owned(), name.into());
    }
    let asked = spec.get("priority").and_then(Value::as_i64);
    if let Some(asked) = asked.filter(|asked| *asked != value) {
        return Err(format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        ));
    }
    let asked = spec
        .get("preemptionPolicy")
        .filter(|asked| asked.is_string());
    if let Some(asked) = asked.filter(|asked| **asked != policy) {
        return Err(format!(
            "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority \
             admission controller computed {} from the given PriorityClass name",
            asked.as_str().unwrap_or_default(),
            policy.as_str().unwrap_or_default()
        ));
    }
    default(spec, "priority", value);
    default(spec, "preemptionPolicy", policy);
    Ok(())
}

fn of_class(class: &Value) -> (String, i64, Value) {
    let name = text(&class["metadata"], "name").to_owned();
    let policy = match &class["preemptionPolicy"] {
        Value::Null => json!("PreemptLowerPriority"),
        policy => policy.clone(),
    };
    (name, class["value"].as_i64().unwrap_or(0), policy)
}

/// Five minutes on a node that is not heard of, unless the pod says otherwise.
fn tolerations(spec: &mut Map<String, Value>) {
    let own = spec.get("tolerations").and_then(Value::as_array);
    let mut all = own.cloned().unwrap_or_default();
    let before = all.len();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = all[..before].iter().any(|one| {
            let (own, effect) = (text(one, "key"), text(one, "effect"));
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerated {
            all.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300 }),
            );
        }
    }
    if all.len() > before {
        spec.insert("tolerations".to_owned(), all.into());
    }
}

fn runtime(store: &Store, spec: &mut Map<String, Value>) -> Result<(), String> {
    let name = spec
        .get("runtimeClassName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        return Ok(());
    }
    let classes = everywhere(store, "node.k8s.io", "runtimeclasses");
    let Some(class) = classes
        .into_iter()
        .find(|one| one["metadata"]["name"] == *name)
    else {
        return Err(format!("pod rejected: RuntimeClass {name:?} not found"));
    };
    if let Some(fixed) = class["overhead"].get("podFixed") {
        default(spec, "overhead", fixed.clone());
    }
    let wanted = &class["scheduling"];
    if let Some(Value::Object(labels)) = wanted.get("nodeSelector") {
        let own = fields(spec.entry("nodeSelector").or_insert_with(|| json!({})));
        for (key, value) in labels {
            if own.get(key).is_some_and(|found| found != value) {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; \
                     pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    own[key].as_str().unwrap_or_default()
                ));
            }
            own.insert(key.clone(), value.clone());
        }
    }
    let more = list(wanted, "tolerations");
    if !more.is_empty() {
        let own = spec.get("tolerations").and_then(Value::as_array);
        let mut all = own.cloned().unwrap_or_default();
        let missing: Vec<Value> = more
            .iter()
            .filter(|one| !all.contains(one))
            .cloned()
            .collect();
        all.extend(missing);
        spec.insert("tolerations".to_owned(), all.into());
    }
    Ok(())
}
