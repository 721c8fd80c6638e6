//! Requests for certificates.
use std::cmp::Ordering;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::at::{At, Causes};
use super::words;
use crate::auth::MASTERS;
use crate::error::{Cause, StatusError};
use crate::registry::Resource;
use crate::store::json::{list, text};
use crate::store::meta;
use crate::store::request::Subresource;

const PEM: &str = "-----BEGIN CERTIFICATE REQUEST-----";

/// Who signs certificates with which clients come to the API server.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// What a certificate can be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// What must hold of a CertificateSigningRequest.
pub(super) fn check(object: &Value, causes: &mut Causes) {
    let spec = At::new("", object).get("spec");
    let request = spec.get("request");
    let bytes = STANDARD.decode(request.text()).unwrap_or_default();
    if !String::from_utf8_lossy(&bytes).contains(PEM) {
        request.invalid(causes, "PEM block type must be CERTIFICATE REQUEST");
    }
    let usages = spec.get("usages");
    if usages.is_empty() {
        usages.required(causes, "");
    }
    let mut seen = Vec::new();
    for usage in usages.items() {
        if !USAGES.contains(&usage.text()) {
            usage.unsupported(causes, &USAGES);
        }
    }
    for usage in usages.items() {
        if seen.contains(&usage.text()) {
            usage.duplicate(causes);
        }
        seen.push(usage.text());
    }
    let signer = spec.get("signerName");
    let name = signer.text();
    let named = name
        .split_once('/')
        .is_some_and(|(domain, path)| domain.contains('.') && is_path(domain) && is_path(path));
    if name == "kubernetes.io/legacy-unknown" {
        let why = "the legacy signerName is not allowed via this API version";
        signer.invalid(causes, why);
    } else if name.is_empty() {
        signer.required(causes, "");
    } else if !named {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        signer.invalid(causes, why);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.value.as_i64().is_some_and(|seconds| seconds < 600) {
        seconds.invalid(
            causes,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

/// Conditions say since when they are so.
pub(super) fn date(before: &Value, object: &mut Value, now: Timestamp) {
    let old = list(&before["status"], "conditions").to_vec();
    let conditions = object["status"].get_mut("conditions");
    let conditions = conditions.and_then(Value::as_array_mut);
    for one in conditions.into_iter().flatten() {
        let same = old.iter().find(|old| {
            old["type"] == one["type"]
                && old["status"] == one["status"]
                && old["lastTransitionTime"].is_string()
        });
        let since = same.map(|old| old["lastTransitionTime"].clone());
        let stamp = Value::from(meta::stamp(now));
        for (field, time) in [
            ("lastUpdateTime", stamp.clone()),
            ("lastTransitionTime", since.unwrap_or(stamp)),
        ] {
            if one.is_object() && one[field].is_null() {
                one[field] = time;
            }
        }
    }
}

/// What must hold of a write of a request's status or approval: whoever signs does not decide, nobody takes back.
pub(super) fn partly(
    sub: Subresource,
    (before, object): (&Value, &mut Value),
    causes: &mut Causes,
) {
    conditions(before, object, causes);
    let (old, new) = (certificate(before), certificate(object));
    if old != new
        && issued(old).is_ok()
        && let Err(why) = issued(new)
    {
        let status = At::new("status", &object["status"]);
        let at = status.get("certificate");
        at.invalid_as(causes, &"<certificate data>".into(), &why);
    }
    for kind in ["Approved", "Denied", "Failed"] {
        let (old, new) = (of(before, kind), of(object, kind));
        let mut refuse = |what: &str| {
            let why = format!("updates may not {what} a condition of type {kind:?}");
            causes.push(Cause::forbidden("status.conditions", &why));
        };
        let decides = sub == Subresource::Status && kind != "Failed";
        match new.len().cmp(&old.len()) {
            Ordering::Less => refuse("remove"),
            Ordering::Greater if decides => refuse("add"),
            Ordering::Equal if decides => restore(object, kind, old),
            _ => {}
        }
    }
    let (old, new) = (certificate(before), certificate(object));
    if !old.is_empty() && old != new {
        let why = "updates may not modify existing certificate content";
        causes.push(Cause::forbidden("status.certificate", why));
    }
}

fn certificate(object: &Value) -> &str {
    text(&object["status"], "certificate")
}

/// The conditions of a type.
fn of(object: &Value, kind: &str) -> Vec<Value> {
    let conditions = list(&object["status"], "conditions").iter();
    let of_kind = conditions.filter(|one| text(one, "type") == kind);
    of_kind.cloned().collect()
}

/// What must hold of conditions, as far as it held before.
fn conditions(before: &Value, object: &Value, causes: &mut Causes) {
    let had = list(&before["status"], "conditions");
    let decided = |object: &Value| ["Approved", "Denied"].map(|kind| !of(object, kind).is_empty());
    let kinds: BTreeSet<&str> = had.iter().map(|one| text(one, "type")).collect();
    let had_twice = kinds.len() < had.len();
    let had_unnamed = had.iter().any(|one| text(one, "type").is_empty());
    let status = At::new("status", &object["status"]);
    let mut seen = BTreeSet::new();
    for one in status.each("conditions") {
        let (kind, state) = (one.get("type"), one.get("status"));
        if kind.text().is_empty() && !had_unnamed {
            kind.required(causes, "");
        }
        let states: &[&str] = match kind.text() {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if state.text().is_empty() {
            state.required(causes, "");
        } else if !states.contains(&state.text()) {
            state.unsupported(causes, states);
        }
        if !seen.insert(kind.text()) && !had_twice {
            kind.duplicate(causes);
        }
    }
    if decided(object) == [true, true] && decided(before) != [true, true] {
        let [approved, denied] =
            ["Approved", "Denied"].map(|kind| format!("conditions[{{\"type\": \"{kind}\"}}]"));
        let both = format!("{{{approved}, {denied}}}");
        let why = format!("must specify at most one of: `{approved}`, `{denied}`");
        status
            .get("conditions")
            .invalid_as(causes, &both.into(), &why);
    }
}

/// Whether this is what a signer may give: certificates, as PEM, encoded; or nothing.
fn issued(certificate: &str) -> Result<(), String> {
    if certificate.is_empty() {
        return Ok(());
    }
    let bytes = STANDARD.decode(certificate).unwrap_or_default();
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&bytes).map_while(Result::ok) {
        if block.label != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        X509Certificate::from_der(&block.contents)
            .map_err(|_error| "x509: malformed certificate".to_owned())?;
        blocks += 1;
    }
    match blocks {
        0 => Err("must contain at least one CERTIFICATE PEM block".to_owned()),
        _ => Ok(()),
    }
}

/// Puts the conditions of a type back to what they were.
fn restore(object: &mut Value, kind: &str, old: Vec<Value>) {
    let conditions = object["status"].get_mut("conditions");
    let conditions = conditions.and_then(Value::as_array_mut);
    let of_kind = conditions.into_iter().flatten();
    for (one, old) in of_kind.filter(|one| text(one, "type") == kind).zip(old) {
        *one = old;
    }
}

/// Refuses a request for a certificate with which its holder would be an administrator.
pub(super) fn refuse(res: &Resource, object: &Value) -> Result<(), StatusError> {
    let spec = &object["spec"];
    if text(spec, "signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    let why = match is_for(MASTERS, text(spec, "request")) {
        Ok(false) => return Ok(()),
        Ok(true) => {
            format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")
        }
        Err(why) => format!("failed to parse CSR: {why}"),
    };
    let name = text(&object["metadata"], "name");
    Err(StatusError::forbidden(res, name, &why))
}

/// Whether any of the requests is for this group; an error if one cannot be read as whoever signs may read it.
fn is_for(group: &str, request: &str) -> Result<bool, String> {
    let bytes = STANDARD.decode(request).map_err(|why| why.to_string())?;
    let mut found = false;
    for block in Pem::iter_from_buffer(&bytes) {
        let block = block.map_err(|why| why.to_string())?;
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|why| format!("asn1: {why}"))?;
        for organization in parsed
            .certification_request_info
            .subject
            .iter_organization()
        {
            found |= organization.as_str().map_err(|why| why.to_string())? == group;
        }
    }
    Ok(found)
}

fn is_path(text: &str) -> bool {
    words::subdomain(text).is_empty()
}
