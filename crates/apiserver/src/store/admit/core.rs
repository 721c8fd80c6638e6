//! Namespaces, Secrets, ConfigMaps, Nodes, Events.
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::at::{At, Causes};
use super::pod::{defaults, resources};
use super::words;
use crate::error::Cause;
use crate::schema::syntax;
use crate::store::json::{child, default, fields, list, text};
use crate::store::meta;

const DATA_BYTES_MAX: usize = 1024 * 1024;
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// The label with its own name, the finalizer of the cluster, and its phase.
pub(super) fn namespace(object: &mut Value) {
    let name = text(&object["metadata"], "name").to_owned();
    let meta = child(object, "metadata");
    let labels = fields(meta.entry("labels").or_insert_with(|| json!({})));
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    if object["metadata"]["deletionTimestamp"].is_null() {
        default(child(object, "spec"), "finalizers", json!(["kubernetes"]));
        default(child(object, "status"), "phase", "Active");
    }
}

/// A new Namespace has the cluster's finalizer, whatever others it asks for.
pub(super) fn new_namespace(object: &mut Value) {
    let finalizers = list(&object["spec"], "finalizers");
    if !finalizers.iter().any(|one| one == "kubernetes") {
        let all: Vec<Value> = finalizers
            .iter()
            .cloned()
            .chain([json!("kubernetes")])
            .collect();
        child(object, "spec").insert("finalizers".to_owned(), all.into());
    }
    fields(object).insert("status".to_owned(), json!({ "phase": "Active" }));
    namespace(object);
}

fn cidr(at: &At<'_>, causes: &mut Causes) {
    if at.text().parse::<ipnet::IpNet>().is_err() {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        at.invalid(causes, why);
    }
}

/// What must hold of a Namespace's status.
pub(super) fn check_namespace_status(object: &Value, causes: &mut Causes) {
    let phase = At::new("status.Phase", &object["status"]["phase"]);
    let (wanted, rest) = if object["metadata"]["deletionTimestamp"].is_null() {
        ("Active", "empty")
    } else {
        ("Terminating", "not empty")
    };
    if phase.text() != wanted {
        let why = format!("may only be '{wanted}' if `deletionTimestamp` is {rest}");
        phase.invalid(causes, &why);
    }
}

/// What must hold of the finalizers in a Namespace's spec.
pub(super) fn finalizers(object: &Value, causes: &mut Causes) {
    for one in At::new("spec", &object["spec"]).each("finalizers") {
        one.all_invalid(causes, words::qualified(one.text()));
        meta::standard_finalizer(&one.path, one.text(), causes);
    }
}

/// The defaults of a Secret: `stringData` moves into `data`.
pub(super) fn complete_secret(object: &mut Value) {
    defaults::absent_is_default(fields(object), "type", "Opaque");
    if let Some(Value::Object(plain)) = fields(object).remove("stringData") {
        let data = child(object, "data");
        for (key, value) in plain {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
}

/// What must hold of a Secret.
pub(super) fn secret((before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    if let Some(before) = before {
        let kind = At::new("type", &object["type"]);
        kind.immutable(causes, &At::new("type", &before["type"]));
    }
    if let Some(before) = before.filter(|before| before["immutable"] == true) {
        immutable(before, object, &["data"], causes);
    }
    let data = At::new("data", &object["data"]);
    let mut size = 0;
    for (key, value) in data.entries() {
        let shown = json!(key);
        At::new(value.path.clone(), &shown).all_invalid(causes, words::config_key(key));
        match STANDARD.decode(value.text()) {
            Ok(bytes) => size += bytes.len(),
            Err(_) => value.invalid(causes, "must be base64 encoded"),
        }
    }
    if size > DATA_BYTES_MAX {
        data.too_long(causes, DATA_BYTES_MAX);
    }
    required_keys(object, &data, causes);
}

fn required_keys(object: &Value, data: &At<'_>, causes: &mut Causes) {
    let at = |key: &str| At::new(format!("data[{key}]"), &data.value[key]);
    let need = |key: &str, causes: &mut Causes| {
        if !at(key).is_set() {
            at(key).required(causes, "");
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if text(&object["metadata"]["annotations"], account).is_empty() {
                let field = format!("metadata.annotations[{account}]");
                causes.push(Cause::required(field, ""));
            }
        }
        "kubernetes.io/dockercfg" => docker(&at(".dockercfg"), causes),
        "kubernetes.io/dockerconfigjson" => docker(&at(".dockerconfigjson"), causes),
        "kubernetes.io/basic-auth" if !at("username").is_set() && !at("password").is_set() => {
            at("username").required(causes, "");
            at("password").required(causes, "");
        }
        "kubernetes.io/ssh-auth" if at("ssh-privatekey").text().is_empty() => {
            at("ssh-privatekey").required(causes, "");
        }
        "kubernetes.io/tls" => {
            need("tls.crt", causes);
            need("tls.key", causes);
        }
        _ => {}
    }
}

fn docker(config: &At<'_>, causes: &mut Causes) {
    if !config.is_set() {
        config.required(causes, "");
        return;
    }
    let bytes = STANDARD.decode(config.text()).unwrap_or_default();
    let problem = || syntax::problem(&bytes).unwrap_or_default();
    let why = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let kind = match other {
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
        }
        Err(_) => problem(),
    };
    config.invalid_as(causes, &json!("<secret contents redacted>"), &why);
}

/// Keys must be file names; what is immutable stays.
pub(super) fn config_map((before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    if let Some(before) = before.filter(|before| before["immutable"] == true) {
        immutable(before, object, &["data", "binaryData"], causes);
    }
    let (data, binary) = (
        At::new("data", &object["data"]),
        At::new("binaryData", &object["binaryData"]),
    );
    let mut size = 0;
    for (key, value) in data.entries() {
        let shown = json!(key);
        let named = At::new(value.path.clone(), &shown);
        named.all_invalid(causes, words::config_key(key));
        if binary.value.get(key).is_some() {
            named.invalid(causes, "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in binary.entries() {
        let shown = json!(key);
        At::new(value.path.clone(), &shown).all_invalid(causes, words::config_key(key));
        size += value.len() / 4 * 3;
    }
    if size > DATA_BYTES_MAX {
        // Kubernetes writes the path of the whole object so.
        At::new("[]", object).too_long(causes, DATA_BYTES_MAX);
    }
}

fn immutable(before: &Value, object: &Value, names: &[&str], causes: &mut Causes) {
    if object["immutable"] != true {
        causes.push(Cause::forbidden("immutable", IMMUTABLE));
    }
    for name in names {
        if before[*name] != object[*name] {
            causes.push(Cause::forbidden(*name, IMMUTABLE));
        }
    }
}

/// A Node may bring its status along when it registers.
pub(super) fn complete_node(before: Option<&Value>, object: &mut Value) {
    child(object, "spec");
    if before.is_none() {
        let status = child(object, "status");
        for name in ["capacity", "allocatable"] {
            if let Some(list) = status.get_mut(name) {
                defaults::resource_list(list);
            }
        }
        default(
            status,
            "daemonEndpoints",
            json!({ "kubeletEndpoint": { "Port": 0 } }),
        );
        let info = fields(status.entry("nodeInfo").or_insert_with(|| json!({})));
        for name in [
            "architecture",
            "bootID",
            "containerRuntimeVersion",
            "kernelVersion",
            "kubeProxyVersion",
            "kubeletVersion",
            "machineID",
            "operatingSystem",
            "osImage",
            "systemUUID",
        ] {
            default(info, name, "");
        }
        if let Some(capacity) = status.get("capacity").cloned().filter(Value::is_object) {
            default(status, "allocatable", capacity);
        }
    }
}

/// What must hold of a Node.
pub(super) fn node((before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let mut seen = BTreeSet::new();
    // Kubernetes looks for them where they once were.
    for taint in spec.get("taints").named("metadata.taints").items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        key.all_invalid(causes, words::qualified(key.text()));
        let why = words::label_value(value.text());
        if !why.is_empty() {
            value.invalid(causes, &why.join(";"));
        }
        if effect.text().is_empty() {
            effect.required(causes, "");
        } else {
            effect.one_of(causes, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
        if !seen.insert((key.text(), effect.text())) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!(
                    "Duplicate value: {{\"Key\":{:?},\"Value\":{:?},\"Effect\":{:?},\
                     \"TimeAdded\":null}}: taints must be unique by key and effect pair",
                    key.text(),
                    value.text(),
                    effect.text()
                ),
                field: taint.path,
            });
        }
    }
    for range in spec.each("podCIDRs") {
        cidr(&range, causes);
    }
    if spec.get("podCIDRs").is_empty() && spec.get("podCIDR").is_set() {
        let range = spec.get("podCIDR").named("spec.podCIDRs[0]");
        cidr(&range, causes);
    }
    let Some(before) = before else { return };
    let old = &before["spec"];
    let changed = |name: &str| !old[name].is_null() && old[name] != *spec.get(name).value;
    if changed("podCIDR") || changed("podCIDRs") {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        spec.get("podCIDRs").forbidden(causes, why);
    }
    if changed("providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        spec.get("providerID").forbidden(causes, why);
    }
}

/// Events of old clients have no reporting component.
pub(super) fn event(object: &mut Value) {
    let map = fields(object);
    default(map, "metadata", json!({}));
    for name in ["reportingComponent", "reportingInstance"] {
        default(map, name, "");
    }
}

/// The defaults of a LimitRange: of a container's limits, one follows from another.
pub(super) fn complete_limits(object: &mut Value) {
    let items = child(object, "spec").get_mut("limits");
    for item in items.and_then(Value::as_array_mut).into_iter().flatten() {
        for name in [
            "max",
            "min",
            "default",
            "defaultRequest",
            "maxLimitRequestRatio",
        ] {
            if let Some(list) = item.get_mut(name) {
                defaults::resource_list(list);
            }
        }
        if item["type"] != "Container" {
            continue;
        }
        let own = |item: &Value, name: &str| item[name].as_object().cloned().unwrap_or_default();
        let follow = |to: &mut Map<String, Value>, from: &Map<String, Value>| {
            for (key, value) in from {
                to.entry(key.clone()).or_insert_with(|| value.clone());
            }
        };
        let (mut limit, mut request) = (own(item, "default"), own(item, "defaultRequest"));
        follow(&mut limit, &own(item, "max"));
        follow(&mut request, &limit);
        follow(&mut request, &own(item, "min"));
        for (name, map) in [("default", limit), ("defaultRequest", request)] {
            if map.is_empty() {
                fields(item).remove(name);
            } else {
                fields(item).insert(name.to_owned(), map.into());
            }
        }
    }
}

/// The defaults of a ResourceQuota.
pub(super) fn complete_quota(object: &mut Value) {
    if let Some(hard) = child(object, "spec").get_mut("hard") {
        defaults::resource_list(hard);
    }
}

/// What must hold of a ResourceQuota.
pub(super) fn quota((before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    for (name, hard) in spec.get("hard").entries() {
        resources::quota_name(&hard, name, causes);
        resources::amount(&hard, name, causes);
    }
    quota_scopes(&spec, causes);
    if let Some(before) = before {
        let old = At::new("spec", &before["spec"]);
        for name in ["scopes", "scopeSelector"] {
            spec.get(name).immutable(causes, &old.get(name));
        }
    }
}

fn quota_scopes(spec: &At<'_>, causes: &mut Causes) {
    let known = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "VolumeAttributesClass",
        "CrossNamespacePodAffinity",
    ];
    let scopes = spec.get("scopes");
    let has = |name: &str| scopes.items().any(|one| one.text() == name);
    for scope in scopes.items() {
        let scope = scope.named(scopes.path.clone());
        if !known.contains(&scope.text()) {
            scopes.invalid(causes, "unsupported scope");
        }
        for (name, _) in spec.get("hard").entries() {
            let pods = name == "pods";
            let compute = [
                "cpu",
                "memory",
                "limits.cpu",
                "limits.memory",
                "requests.cpu",
                "requests.memory",
            ];
            let fits = match scope.text() {
                "BestEffort" => pods,
                "VolumeAttributesClass" => {
                    ["persistentvolumeclaims", "requests.storage"].contains(&name)
                }
                other => !known.contains(&other) || pods || compute.contains(&name),
            };
            if !fits && resources::is_quota_name(name) {
                scopes.invalid(causes, "unsupported scope applied to resource");
            }
        }
    }
    for (one, other) in [
        ("BestEffort", "NotBestEffort"),
        ("Terminating", "NotTerminating"),
    ] {
        if has(one) && has(other) {
            scopes.invalid(causes, "conflicting scopes");
        }
    }
    for one in spec.get("scopeSelector").each("matchExpressions") {
        let (name, operator) = (one.get("scopeName"), one.get("operator"));
        if !known.contains(&name.text()) {
            name.invalid(causes, "unsupported scope");
        }
        if !["In", "NotIn", "Exists", "DoesNotExist"].contains(&operator.text()) {
            operator.invalid(causes, "not a valid selector operator");
        }
    }
}
