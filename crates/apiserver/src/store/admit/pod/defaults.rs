//! The defaults of a pod's spec, in a Pod and in a template.
use serde_json::{Map, Value, json};

use crate::quantity::Quantity;
use crate::store::json::{default, fields, list_mut, text};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Of a Pod and of a template.
pub(in crate::store::admit) fn spec(spec: &mut Map<String, Value>) {
    absent_is_default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    absent_is_default(spec, "dnsPolicy", "ClusterFirst");
    absent_is_default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    let named = |spec: &Map<String, Value>, name: &str| {
        let value = spec.get(name).and_then(Value::as_str);
        value.filter(|name| !name.is_empty()).map(str::to_owned)
    };
    if let Some(account) =
        named(spec, "serviceAccountName").or_else(|| named(spec, "serviceAccount"))
    {
        spec.insert("serviceAccountName".to_owned(), account.clone().into());
        spec.insert("serviceAccount".to_owned(), account.into());
    }
    for name in CONTAINER_LISTS {
        for one in list_mut(spec, name) {
            container(fields(one));
        }
    }
    for one in list_mut(spec, "volumes") {
        volume(fields(one));
    }
    for name in ["resources", "overhead"] {
        if let Some(value) = spec.get_mut(name) {
            if name == "overhead" {
                resource_list(value);
            } else {
                requirements(value);
            }
        }
    }
}

/// Of a Pod only: what is requested follows what is the limit.
pub(in crate::store::admit) fn pod(spec: &mut Map<String, Value>) {
    let negative = |value: &Value| value.as_i64().is_some_and(|seconds| seconds < 0);
    if spec
        .get("terminationGracePeriodSeconds")
        .is_some_and(negative)
    {
        spec.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
    }
    let host_network = spec.get("hostNetwork").is_some_and(|value| *value == true);
    for name in ["initContainers", "containers"] {
        for one in list_mut(spec, name) {
            requests_follow_limits(fields(one));
            if host_network {
                host_ports(fields(one));
            }
        }
    }
    for name in CONTAINER_LISTS {
        for one in list_mut(spec, name) {
            probe_protocols(fields(one));
        }
    }
    default(spec, "enableServiceLinks", true);
}

fn requests_follow_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container
        .get_mut("resources")
        .filter(|value| value.is_object())
    else {
        return;
    };
    let Some(limits) = resources["limits"].as_object().cloned() else {
        return;
    };
    let requests = fields(
        fields(resources)
            .entry("requests")
            .or_insert_with(|| json!({})),
    );
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

fn host_ports(container: &mut Map<String, Value>) {
    for port in list_mut(container, "ports") {
        let inner = port["containerPort"].clone();
        let port = fields(port);
        if port
            .get("hostPort")
            .is_none_or(|port| port.is_null() || *port == 0)
        {
            port.insert("hostPort".to_owned(), inner);
        }
    }
}

/// The handlers that may ask by HTTP.
fn handlers(container: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (name, value) in container.iter_mut() {
        match name.as_str() {
            "livenessProbe" | "readinessProbe" | "startupProbe" if value.is_object() => {
                found.push(value);
            }
            "lifecycle" => {
                let both = value.as_object_mut().into_iter().flatten();
                found.extend(
                    both.filter(|(name, _)| *name != "stopSignal")
                        .map(|(_, one)| one),
                );
            }
            _ => {}
        }
    }
    found
}

fn probe_protocols(container: &mut Map<String, Value>) {
    for handler in handlers(container) {
        let get = handler.get_mut("httpGet");
        if let Some(get) = get.filter(|get| get.is_object()) {
            // The gate for another protocol is off: the field is dropped.
            fields(get).remove("protocol");
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = pull_policy(image);
    absent_is_default(container, "imagePullPolicy", policy);
    absent_is_default(container, "terminationMessagePath", "/dev/termination-log");
    absent_is_default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    if let Some(resources) = container.get_mut("resources") {
        requirements(resources);
    }
    for port in list_mut(container, "ports") {
        absent_is_default(fields(port), "protocol", "TCP");
    }
    for handler in handlers(container) {
        if let Some(get) = handler.get_mut("httpGet").filter(|get| get.is_object()) {
            absent_is_default(fields(get), "path", "/");
            absent_is_default(fields(get), "scheme", "HTTP");
        }
        if let Some(grpc) = handler.get_mut("grpc").filter(|grpc| grpc.is_object()) {
            default(fields(grpc), "service", "");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) else {
            continue;
        };
        let probe = fields(probe);
        for (name, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            if probe
                .get(name)
                .is_none_or(|value| value.is_null() || *value == 0)
            {
                probe.insert(name.to_owned(), value.into());
            }
        }
    }
    for variable in list_mut(container, "env") {
        if let Some(from) = variable.get_mut("valueFrom") {
            field_reference(from);
        }
    }
}

/// Always for the moving tag, or for none.
pub(in crate::store::admit) fn pull_policy(image: &str) -> &'static str {
    let tag = image.rsplit('/').next().unwrap_or_default();
    let moving = !image.contains('@') && (!tag.contains(':') || tag.ends_with(":latest"));
    if moving { "Always" } else { "IfNotPresent" }
}

fn field_reference(holder: &mut Value) {
    if let Some(reference) = holder.get_mut("fieldRef").filter(|one| one.is_object()) {
        absent_is_default(fields(reference), "apiVersion", "v1");
    }
    if let Some(reference) = holder
        .get_mut("resourceFieldRef")
        .filter(|one| one.is_object())
    {
        let divisor = reference.get("divisor").and_then(Quantity::of);
        let divisor = divisor.unwrap_or(Quantity::ZERO).to_string();
        fields(reference).insert("divisor".to_owned(), divisor.into());
    }
}

fn volume(volume: &mut Map<String, Value>) {
    volume.retain(|_, value| !value.is_null());
    if volume.len() <= usize::from(volume.contains_key("name")) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for (name, source) in volume.iter_mut() {
        let mode = matches!(
            name.as_str(),
            "secret" | "configMap" | "downwardAPI" | "projected"
        );
        if mode && source.is_object() {
            default(fields(source), "defaultMode", 420);
        }
        match name.as_str() {
            "hostPath" if source.is_object() => default(fields(source), "type", ""),
            "downwardAPI" => downward(source),
            "projected" => {
                for one in list_mut(fields(source), "sources") {
                    projection(one);
                }
            }
            "emptyDir" => {
                if let Some(limit) = source.get_mut("sizeLimit") {
                    canonical(limit);
                }
            }
            "image" if source.is_object() => {
                let policy = pull_policy(text(source, "reference"));
                absent_is_default(fields(source), "pullPolicy", policy);
            }
            "ephemeral" => {
                let claim = source.get_mut("volumeClaimTemplate");
                if let Some(spec) = claim.and_then(|claim| claim.get_mut("spec")) {
                    claim_spec(spec);
                }
            }
            _ => {}
        }
    }
}

fn downward(source: &mut Value) {
    if source.is_object() {
        for item in list_mut(fields(source), "items") {
            field_reference(item);
        }
    }
}

fn projection(one: &mut Value) {
    if let Some(inner) = one.get_mut("downwardAPI") {
        downward(inner);
    }
    if let Some(token) = one
        .get_mut("serviceAccountToken")
        .filter(|one| one.is_object())
    {
        default(fields(token), "expirationSeconds", 3600);
    }
}

/// The spec of a PersistentVolumeClaim.
pub(in crate::store::admit) fn claim_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    default(fields(spec), "volumeMode", "Filesystem");
    let resources = fields(spec).entry("resources").or_insert_with(|| json!({}));
    requirements(resources);
    let core = |reference: &Value| !text(reference, "kind").is_empty();
    let (source, newer) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if source.is_null() && core(&newer) && text(&newer, "namespace").is_empty() {
        fields(spec).insert("dataSource".to_owned(), newer);
    } else if newer.is_null() && core(&source) {
        fields(spec).insert("dataSourceRef".to_owned(), source);
    }
}

fn requirements(resources: &mut Value) {
    for name in ["limits", "requests"] {
        if let Some(list) = resources.get_mut(name) {
            resource_list(list);
        }
    }
}

/// Quantities in the form in which they are stored.
pub(in crate::store::admit) fn resource_list(list: &mut Value) {
    for (_, value) in list.as_object_mut().into_iter().flatten() {
        canonical(value);
    }
}

/// A quantity in the form in which it is stored.
pub(in crate::store::admit) fn canonical(value: &mut Value) {
    if let Some(quantity) = Quantity::of(value) {
        *value = quantity.in_milli().to_string().into();
    }
}

/// A default also for an empty text.
pub(in crate::store::admit) fn absent_is_default(
    map: &mut Map<String, Value>,
    name: &str,
    value: &str,
) {
    if map
        .get(name)
        .is_none_or(|found| found.is_null() || *found == "")
    {
        map.insert(name.to_owned(), value.into());
    }
}
