//! What a certificate signing request may ask for: one key, one name, nothing else.
//!
//! Decides whether a request is acceptable. Knows nothing of who asks.
use rcgen::{
    CertificateSigningRequestParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, PublicKey,
    SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;

/// Bytes of a request that are looked at at all; a P-256 request has about 300.
pub(crate) const CSR_BYTES_MAX: usize = 16 * 1024;

/// Why a signing request is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CsrError {
    /// It is larger than any honest request.
    #[error("the signing request has {0} bytes, more than {CSR_BYTES_MAX}")]
    TooLarge(usize),
    /// It is no PKCS#10 request, has an extension that nobody may ask for, or a bad signature.
    #[error("the signing request cannot be read or is not signed by its own key: {0}")]
    Unreadable(String),
    /// Its subject holds more than the identity as common name.
    #[error("the subject of the signing request must be empty or hold only CN={wanted}")]
    Subject {
        /// The identity that was asked for.
        wanted: String,
    },
    /// Its alternative names are not exactly the identity.
    #[error("the signing request must have exactly one DNS name, {wanted}")]
    Names {
        /// The identity that was asked for.
        wanted: String,
    },
    /// It wants to become an authority.
    #[error("the signing request asks for a certificate authority")]
    Authority,
    /// It wants more than authenticating a client and a server.
    #[error("the signing request asks for a usage other than client and server authentication")]
    Usage,
}

/// Reads a request in DER and checks that it is signed by its own key and asks for `identity` alone.
pub(crate) fn check(der: &[u8], identity: &str) -> Result<PublicKey, CsrError> {
    if der.len() > CSR_BYTES_MAX {
        return Err(CsrError::TooLarge(der.len()));
    }
    let request =
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|error| CsrError::Unreadable(error.to_string()))?;
    let params = &request.params;
    let subject_fits = params.distinguished_name.iter().all(|(kind, value)| {
        *kind == DnType::CommonName && dn_text(value).is_some_and(|text| text == identity)
    });
    if !subject_fits {
        return Err(CsrError::Subject {
            wanted: identity.into(),
        });
    }
    match params.subject_alt_names.as_slice() {
        [SanType::DnsName(name)] if name.as_str() == identity => {}
        _ => {
            return Err(CsrError::Names {
                wanted: identity.into(),
            });
        }
    }
    if matches!(params.is_ca, IsCa::Ca(_)) {
        return Err(CsrError::Authority);
    }
    let usual = |usage: &ExtendedKeyUsagePurpose| {
        matches!(
            usage,
            ExtendedKeyUsagePurpose::ClientAuth | ExtendedKeyUsagePurpose::ServerAuth
        )
    };
    if !params.extended_key_usages.iter().all(usual) {
        return Err(CsrError::Usage);
    }
    Ok(request.public_key)
}

fn dn_text(value: &DnValue) -> Option<&str> {
    match value {
        DnValue::Utf8String(text) => Some(text),
        DnValue::PrintableString(text) => Some(text.as_str()),
        DnValue::Ia5String(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const NAME: &str = "a.b.serviceaccount.identity.tombolo.cluster.local";

    fn request(edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn one_name_and_one_key_are_accepted() {
        check(&request(|_| ()), NAME).unwrap();
        let without_subject = request(|p| p.distinguished_name = rcgen::DistinguishedName::new());
        check(&without_subject, NAME).unwrap();
    }

    #[test]
    fn whatever_asks_for_more_is_refused() {
        let names = CsrError::Names {
            wanted: NAME.into(),
        };
        let other = SanType::DnsName("evil".try_into().unwrap());
        assert_eq!(
            check(&request(|p| p.subject_alt_names.push(other)), NAME),
            Err(names)
        );
        assert!(matches!(
            check(&request(|p| p.subject_alt_names.clear()), NAME),
            Err(CsrError::Names { .. })
        ));
        assert!(matches!(
            check(
                &request(|p| p.distinguished_name.push(DnType::CommonName, "evil")),
                NAME
            ),
            Err(CsrError::Subject { .. })
        ));
        assert!(matches!(
            check(
                &request(|p| p
                    .distinguished_name
                    .push(DnType::OrganizationName, "system:masters")),
                NAME
            ),
            Err(CsrError::Subject { .. })
        ));
        let authority = request(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
        assert_eq!(check(&authority, NAME), Err(CsrError::Authority));
        let signing = request(|p| {
            p.extended_key_usages
                .push(ExtendedKeyUsagePurpose::CodeSigning)
        });
        assert_eq!(check(&signing, NAME), Err(CsrError::Usage));
    }

    #[test]
    fn garbage_and_a_foreign_signature_are_refused() {
        assert!(matches!(
            check(b"nonsense", NAME),
            Err(CsrError::Unreadable(_))
        ));
        assert!(matches!(
            check(&[0; CSR_BYTES_MAX + 1], NAME),
            Err(CsrError::TooLarge(_))
        ));
        let mut forged = request(|_| ());
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(matches!(check(&forged, NAME), Err(CsrError::Unreadable(_))));
    }
}
