//! Requests for certificates.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::at::{At, Causes};
use super::words;

const PEM: &str = "-----BEGIN CERTIFICATE REQUEST-----";

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

fn is_path(text: &str) -> bool {
    words::subdomain(text).is_empty()
}
