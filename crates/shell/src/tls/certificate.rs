//! What a certificate says, read for logs, renewal and identity; trust is decided elsewhere (webpki).
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The DNS names of its SAN, in order.
    pub dns_names: Vec<String>,
    /// The common name of its subject, if it has one.
    pub common_name: Option<String>,
    /// The organizations of its subject.
    pub organizations: Vec<String>,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ceases to be valid.
    pub not_after: Timestamp,
}

impl CertificateFacts {
    /// Reads a certificate; nothing if it is malformed.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
        let subject = certificate.subject();
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().ok().map(str::to_owned)
        };
        let validity = certificate.validity();
        Some(Self {
            dns_names: names_of(&certificate),
            common_name: subject.iter_common_name().find_map(text),
            organizations: subject.iter_organization().filter_map(text).collect(),
            not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        })
    }
}

/// The DNS names of a certificate's SAN, in order; none if it is malformed.
#[must_use]
pub fn dns_names(der: &CertificateDer<'_>) -> Vec<String> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok((_, certificate)) => names_of(&certificate),
        Err(_malformed) => Vec::new(),
    }
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    alternatives
        .value
        .general_names
        .iter()
        .filter_map(dns)
        .collect()
}
