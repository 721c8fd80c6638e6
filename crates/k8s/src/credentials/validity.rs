//! Whether a token or certificate is one, and still is. What it may do is for the other cluster to say.
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;
use x509_parser::pem::Pem;

use crate::json::Reader;

/// A bearer token: one line of visible characters. If it is a JWT that ends, its end is returned.
pub(super) fn token(
    reader: &mut Reader,
    field: &str,
    token: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.fault(
            field,
            "is no token: it has characters that no header may have",
        );
        return None;
    }
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    // Any text may be a token; only one that says when it ends can be judged.
    let end = claims
        .as_ref()
        .and_then(|claims| claims.get("exp")?.as_i64());
    let end = end.and_then(|end| Timestamp::from_second(end).ok())?;
    if end <= now {
        reader.fault(field, format!("expired at {end}"));
    }
    Some(end)
}

/// Authorities to trust: at least one, and not all expired.
pub(super) fn authorities(reader: &mut Reader, field: &str, data: &str, now: Timestamp) {
    let ends = certificates(reader, field, data);
    if let Some(last) = ends.iter().max().filter(|last| **last <= now) {
        reader.fault(field, format!("expired at {last}"));
    }
}

/// A client certificate, with its chain: the first one counts.
pub(super) fn certificate(
    reader: &mut Reader,
    field: &str,
    data: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    let end = *certificates(reader, field, data).first()?;
    if end <= now {
        reader.fault(field, format!("expired at {end}"));
    }
    Some(end)
}

/// When the certificates in base64 of PEM end.
fn certificates(reader: &mut Reader, field: &str, data: &str) -> Vec<Timestamp> {
    let text: String = data.split_whitespace().collect();
    let Ok(pem) = STANDARD.decode(text) else {
        reader.fault(field, "is no base64");
        return Vec::new();
    };
    let mut ends = Vec::new();
    for block in Pem::iter_from_buffer(&pem) {
        let Ok(block) = block else {
            reader.fault(field, "is no PEM");
            return Vec::new();
        };
        if block.label != "CERTIFICATE" {
            continue;
        }
        let Ok(certificate) = block.parse_x509() else {
            reader.fault(field, "holds something that is no certificate");
            return Vec::new();
        };
        let end = certificate.validity().not_after.timestamp();
        ends.extend(Timestamp::from_second(end).ok());
    }
    if ends.is_empty() {
        reader.fault(field, "holds no certificate");
    }
    ends
}
