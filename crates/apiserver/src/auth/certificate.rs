//! The user that a verified client certificate names: common name and organizations. The TLS layer has verified it.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{CREDENTIAL_ID, User};
use crate::token::sha256;

/// The user of a certificate whose chain has been verified; nothing if it names none.
pub fn user(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups: Vec<&str> = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .collect();
    let mut user = User::new(name, &groups);
    let digits = sha256(certificate);
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("X509SHA256={digits}");
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
    Some(user)
}
