//! Why there is no TLS connection, told apart as far as an operator must act differently.
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a handshake failed. Nothing of what was to be said over the connection has been sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// This side has no certificate yet.
    #[error("this side is not certified yet")]
    NotCertified,
    /// The other side's certificate does not end in one of our anchors.
    #[error("the peer's certificate is from another trust root")]
    OtherRoot,
    /// The other side's certificate has expired.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The other side's certificate is not valid yet: a clock is wrong.
    #[error("the peer's certificate is not valid yet")]
    NotYetValid,
    /// The other side's certificate is for another name.
    #[error("the peer's certificate is not for {expected}")]
    OtherName {
        /// The name that it had to have.
        expected: String,
    },
    /// The other side presented no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The two sides have no application protocol in common.
    #[error("the peer did not agree to the application protocol")]
    NoProtocol,
    /// The other side refused ours.
    #[error("the peer refused the handshake: {0}")]
    Refused(&'static str),
    /// The handshake took too long.
    #[error("the handshake took longer than {0:?}")]
    Timeout(Duration),
    /// What came is not TLS 1.3, or breaks its rules.
    #[error("the peer broke the rules of TLS 1.3: {0}")]
    Protocol(Error),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
    /// The name cannot be a DNS name.
    #[error("{0:?} is no DNS name")]
    Name(String),
}

impl TlsError {
    /// A short name for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotCertified => "not-certified",
            Self::OtherRoot => "other-root",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::OtherName { .. } => "other-name",
            Self::NoCertificate => "no-certificate",
            Self::NoProtocol => "no-protocol",
            Self::Refused(_) => "refused",
            Self::Timeout(_) => "timeout",
            Self::Protocol(_) => "protocol",
            Self::Io(_) => "io",
            Self::Name(_) => "name",
        }
    }

    /// Reads the reason out of what tokio-rustls makes of it; also for errors of reads and writes
    /// after the handshake, where a TLS 1.3 client learns that its certificate was refused.
    #[must_use]
    pub fn from_io(error: io::Error, expected: &str) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
            .cloned();
        match inner {
            Some(Error::InvalidCertificate(reason)) => Self::from_certificate(reason, expected),
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::NoApplicationProtocol) => Self::NoProtocol,
            Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::NoProtocol,
            Some(Error::AlertReceived(alert)) => Self::Refused(alert_text(alert)),
            Some(other) => Self::Protocol(other),
            None => Self::Io(error),
        }
    }

    fn from_certificate(reason: CertificateError, expected: &str) -> Self {
        match reason {
            // A bad signature is what another root of the same name looks like.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::OtherRoot,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName {
                    expected: expected.to_owned(),
                }
            }
            other => Self::Protocol(Error::InvalidCertificate(other)),
        }
    }
}

fn alert_text(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "our certificate is from another trust root",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::BadCertificate => "our certificate is not acceptable",
        AlertDescription::CertificateRequired => "it requires a certificate",
        AlertDescription::UnrecognisedName => "it has another name",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        AlertDescription::HandshakeFailure => "no common parameters, or it is not certified yet",
        _ => "another alert",
    }
}
