//! CustomResourceDefinitions: names, and the status that says they are served.
use serde_json::{Value, json};

use crate::error::Cause;
use crate::store::json::{child, default, fields, list, list_mut, text};

/// Completes and checks a CRD.
pub(super) fn crd((before, object): (Option<&Value>, &mut Value), causes: &mut Vec<Cause>) {
    let spec = child(object, "spec");
    default(spec, "conversion", json!({ "strategy": "None" }));
    let names = fields(spec.entry("names").or_insert_with(|| json!({})));
    let kind = names
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !kind.is_empty() {
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    }
    for version in list_mut(spec, "versions") {
        let columns = fields(version)
            .get_mut("additionalPrinterColumns")
            .and_then(Value::as_array_mut);
        if columns.is_some_and(|columns| columns.is_empty()) {
            fields(version).remove("additionalPrinterColumns");
        }
    }
    check(object, causes);
    if before.is_none() && causes.is_empty() {
        let status = established(object);
        fields(object).insert("status".to_owned(), status);
    } else if causes.is_empty() {
        follow(object);
    }
}

fn check(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let (group, plural) = (text(spec, "group"), text(&spec["names"], "plural"));
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        causes.push(Cause::invalid("spec.group", &spec["group"], why));
    }
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(&spec["names"], name).is_empty() {
            causes.push(Cause::required(format!("spec.names.{name}"), ""));
        }
    }
    let name = &object["metadata"]["name"];
    if *name != json!(format!("{plural}.{group}")) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", name, why));
    }
    let scopes = ["Cluster", "Namespaced"];
    if !scopes.contains(&text(spec, "scope")) {
        if spec["scope"].is_null() {
            causes.push(Cause::required("spec.scope", ""));
        } else {
            causes.push(Cause::unsupported("spec.scope", &spec["scope"], &scopes));
        }
    }
    let versions = list(spec, "versions");
    if versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count()
        != 1
    {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], why));
    }
    for (index, version) in versions.iter().enumerate() {
        if text(version, "name").is_empty() {
            causes.push(Cause::required(format!("spec.versions[{index}].name"), ""));
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        } else if schema["type"] != "object" {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema.type");
            causes.push(Cause::invalid(
                field,
                &schema["type"],
                "must be object at the root",
            ));
        }
    }
}

/// The status of a CRD that is served: here that is so as soon as it is stored.
fn established(object: &Value) -> Value {
    let at = &object["metadata"]["creationTimestamp"];
    let spec = &object["spec"];
    let stored = list(spec, "versions")
        .iter()
        .find(|version| version["storage"] == true);
    json!({
        "conditions": [
            { "type": "NamesAccepted", "status": "True", "lastTransitionTime": at,
              "reason": "NoConflicts", "message": "no conflicts found" },
            { "type": "Established", "status": "True", "lastTransitionTime": at,
              "reason": "InitialNamesAccepted",
              "message": "the initial names have been accepted" },
        ],
        "acceptedNames": spec["names"],
        "storedVersions": [stored.map_or(Value::Null, |version| version["name"].clone())],
    })
}

/// Names and stored versions follow a change of the spec.
fn follow(object: &mut Value) {
    let names = object["spec"]["names"].clone();
    let versions = list(&object["spec"], "versions");
    let stored = versions.iter().find(|version| version["storage"] == true);
    let stored = stored.map_or(Value::Null, |version| version["name"].clone());
    let status = child(object, "status");
    status.insert("acceptedNames".to_owned(), names);
    let all = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(all) = all.as_array_mut().filter(|all| !all.contains(&stored)) {
        all.push(stored);
    }
}
