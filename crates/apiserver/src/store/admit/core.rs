//! Namespaces, Secrets, ConfigMaps, Nodes, Events.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::error::Cause;
use crate::store::json::{child, default, fields, text};

const DATA_BYTES_MAX: usize = 1024 * 1024;

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

/// `stringData` moves into `data`; the type is `Opaque` unless it says otherwise.
pub(super) fn secret(before: Option<&Value>, object: &mut Value, causes: &mut Vec<Cause>) {
    default(fields(object), "type", "Opaque");
    if let Some(Value::Object(plain)) = fields(object).remove("stringData") {
        let data = child(object, "data");
        for (key, value) in plain {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
    data_keys(&object["data"], "data", causes);
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        if value
            .as_str()
            .is_none_or(|text| STANDARD.decode(text).is_err())
            && !value.is_null()
        {
            let field = format!("data[{key}]");
            causes.push(Cause::invalid(field, value, "must be base64 encoded"));
        }
    }
    if object["type"] == "kubernetes.io/service-account-token" {
        let account = "kubernetes.io/service-account.name";
        if text(&object["metadata"]["annotations"], account).is_empty() {
            causes.push(Cause::required(
                format!("metadata.annotations[{account}]"),
                "",
            ));
        }
    }
    let Some(before) = before else { return };
    if before["type"] != object["type"] {
        causes.push(Cause::invalid(
            "type",
            &object["type"],
            "field is immutable",
        ));
    }
    if before["immutable"] == true {
        immutable(before, object, &["data"], causes);
    }
}

/// Keys must be file names; what is immutable stays.
pub(super) fn config_map(before: Option<&Value>, object: &Value, causes: &mut Vec<Cause>) {
    data_keys(&object["data"], "data", causes);
    data_keys(&object["binaryData"], "binaryData", causes);
    if let Some(before) = before.filter(|before| before["immutable"] == true) {
        immutable(before, object, &["data", "binaryData"], causes);
    }
}

fn immutable(before: &Value, object: &Value, names: &[&str], causes: &mut Vec<Cause>) {
    if object["immutable"] != true {
        let why = "field is immutable when `immutable` is set";
        causes.push(Cause::forbidden("immutable", why));
    }
    for name in names {
        if before[*name] != object[*name] {
            let why = "field is immutable when `immutable` is set";
            causes.push(Cause::forbidden(*name, why));
        }
    }
}

fn data_keys(data: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if key.is_empty() || key.len() > 253 || !key.bytes().all(plain) {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or \
                       '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for \
                       validation is '[-._a-zA-Z0-9]+')";
            causes.push(Cause::invalid(format!("{field}[{key}]"), &json!(key), why));
        }
        size += value.as_str().map_or(0, str::len);
    }
    if size > DATA_BYTES_MAX * 4 / 3 + 4 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {DATA_BYTES_MAX} bytes"),
            field: field.to_owned(),
        });
    }
}

/// A Node may bring its status along when it registers.
pub(super) fn node(before: Option<&Value>, object: &mut Value) {
    if before.is_none() {
        child(object, "spec");
        child(object, "status");
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
