//! The names of a kind.
use serde_json::{Value, json};

use super::{invalid, is_group};
use crate::crd::path::Path;
use crate::error::Cause;
use crate::selector::is_dns_label;
use crate::store::json::{list, text};

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with a label that begins with a letter.
pub(super) fn dns1035(name: &str) -> Option<String> {
    if name.len() > 63 {
        return Some("must be no more than 63 characters".to_owned());
    }
    let fits = is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    (!fits).then(|| DNS_1035.to_owned())
}

/// What is wrong with a domain.
pub(super) fn dns1123(name: &str) -> Option<String> {
    if name.len() > 253 {
        return Some("must be no more than 253 characters".to_owned());
    }
    (!is_group(name)).then(|| DNS_1123.to_owned())
}

/// Names that a spec must have.
pub(super) fn required(names: &Value, causes: &mut Vec<Cause>) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(names, name).is_empty() {
            causes.push(Cause::required(format!("spec.names.{name}"), ""));
        }
    }
}

/// The form of names.
pub(super) fn check(names: &Value, path: &Path, causes: &mut Vec<Cause>) {
    for name in ["plural", "singular"] {
        let value = text(names, name);
        if let Some(why) = dns1035(value).filter(|_| !value.is_empty()) {
            causes.push(invalid(&path.child(name), &json!(value), &why));
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        if let Some(why) = dns1035(&value.to_lowercase()).filter(|_| !value.is_empty()) {
            let why = format!("may have mixed case, but should otherwise match: {why}");
            causes.push(invalid(&path.child(name), &json!(value), &why));
        }
    }
    each(names, "shortNames", path, causes);
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let why = "kind and listKind may not be the same";
        causes.push(invalid(&path.child("listKind"), &json!(list_kind), why));
    }
    each(names, "categories", path, causes);
}

fn each(names: &Value, field: &str, path: &Path, causes: &mut Vec<Cause>) {
    for (at, value) in list(names, field).iter().enumerate() {
        if let Some(why) = dns1035(value.as_str().unwrap_or_default()) {
            causes.push(invalid(&path.child(field).key(at), value, &why));
        }
    }
}
