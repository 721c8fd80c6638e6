//! Why a webhook could not be called, in the words of Kubernetes' client.
use std::error::Error;
use std::io;

use rustls::CertificateError;

/// What was wrong with a connection that was being made.
pub(super) fn dial(address: &str, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {why}")
}

/// What was wrong with a handshake with a server that must be called so.
pub(super) fn handshake(name: &str, error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let why = certificate(name, why);
            format!("tls: failed to verify certificate: x509: {why}")
        }
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(other) => format!("tls: {other}"),
        None => broken(error),
    }
}

fn certificate(name: &str, why: &CertificateError) -> String {
    let is_ip = name.parse::<std::net::IpAddr>().is_ok();
    match why {
        // The second is of an authority that is only called the same.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            named(name, is_ip, &names(presented, is_ip))
        }
        CertificateError::NotValidForName => named(name, is_ip, &[]),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        other => other.to_string(),
    }
}

/// The names of a certificate that are of the kind that was asked for; as rustls shows them: `DnsName("a")`.
fn names(presented: &[String], ips: bool) -> Vec<String> {
    let named = presented.iter().filter_map(|shown| {
        let (kind, rest) = shown.split_once('(')?;
        let value = rest.trim_end_matches(')').trim_matches('"');
        (kind.starts_with("Ip") == ips).then(|| value.to_owned())
    });
    named.collect()
}

fn named(name: &str, is_ip: bool, names: &[String]) -> String {
    if names.is_empty() && is_ip {
        return format!(
            "cannot validate certificate for {name} because it doesn't contain any IP SANs"
        );
    }
    if names.is_empty() {
        return format!("certificate is not valid for any names, but wanted to match {name}");
    }
    format!("certificate is valid for {}, not {name}", names.join(", "))
}

/// What was wrong with a connection that was in use.
pub(super) fn broken(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::UnexpectedEof) => return "EOF".to_owned(),
            Some(io::ErrorKind::ConnectionReset) => {
                return "read: connection reset by peer".to_owned();
            }
            Some(io::ErrorKind::BrokenPipe) => return "write: broken pipe".to_owned(),
            _ => {}
        }
        let ended = error.downcast_ref::<hyper::Error>();
        let ended = ended
            .is_some_and(|one| one.is_incomplete_message() || one.is_closed() || one.is_canceled());
        if ended {
            return "EOF".to_owned();
        }
        cause = error.source();
    }
    error.to_string()
}

/// What the client says of an answer that is no success; `said` is its body if that is text.
pub(super) fn refused(code: u16, said: &str) -> String {
    let text = match code {
        400 => "the server rejected our request for an unknown reason",
        401 => "the server has asked for the client to provide credentials",
        404 => "the server could not find the requested resource",
        405 => "the server does not allow this method on the requested resource",
        406 if said == "unknown" || said.is_empty() => {
            "the server was unable to respond with a content type that the client supports"
        }
        403 | 406 | 415 => said,
        409 => "the server reported a conflict",
        422 => "the server rejected our request due to an error in our request",
        429 => "the server has received too many requests and has asked us to try again later",
        503 => "the server is currently unable to handle the request",
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
        }
        500.. => {
            return format!(
                "an error on the server ({said:?}) has prevented the request from succeeding"
            );
        }
        _ => {
            return format!(
                "the server responded with the status code {code} but did not return more information"
            );
        }
    };
    text.to_owned()
}
