//! The names that proxies ask for: `[<hostname>.]<service>.<namespace>.svc.<domain>[:<port>]`.
//!
//! Decides what a text means. Knows nothing of what exists.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::model::Key;

/// A Service, a port, perhaps one host of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Authority {
    /// The Service.
    pub(crate) service: Key,
    /// The port; 80 if none was given.
    pub(crate) port: u16,
    /// One host of the Service.
    pub(crate) hostname: Option<Arc<str>>,
}

/// Why a text is no name that is served here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The port is no port.
    #[error("invalid port in {0:?}")]
    Port(String),
    /// An address where only a name makes sense.
    #[error("{0} is an address, not a name")]
    Address(IpAddr),
    /// A name of another shape or domain.
    #[error("{name:?} is not <service>.<namespace>.svc.{domain}")]
    Name {
        /// What was asked for.
        name: String,
        /// The cluster domain.
        domain: String,
    },
}

/// What `GetProfile` is asked for: an address or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address, as the client dialled it.
    Address(SocketAddr),
    /// A name.
    Name(Authority),
}

impl Authority {
    /// Reads a name under `domain`.
    pub(crate) fn parse(text: &str, domain: &str) -> Result<Self, AuthorityError> {
        match Target::parse(text, domain)? {
            Target::Name(name) => Ok(name),
            Target::Address(address) => Err(AuthorityError::Address(address.ip())),
        }
    }
}

impl Target {
    /// Reads an address or a name under `domain`.
    pub(crate) fn parse(text: &str, domain: &str) -> Result<Self, AuthorityError> {
        if text.len() > 512 {
            return Err(name_error(
                &text.chars().take(64).collect::<String>(),
                domain,
            ));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(AuthorityError::Port(text.into())),
                _ => Ok(Self::Address(address)),
            };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, parse_port(port, text)?),
            _ => (text, 80),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip, port)));
        }
        let (service, hostname) =
            parse_name(host, domain).ok_or_else(|| name_error(host, domain))?;
        Ok(Self::Name(Authority {
            service,
            port,
            hostname,
        }))
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, AuthorityError> {
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(AuthorityError::Port(text.into())),
    }
}

fn parse_name(host: &str, domain: &str) -> Option<(Key, Option<Arc<str>>)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let rest = host.strip_suffix(domain)?.strip_suffix(".svc.")?;
    let mut parts: Vec<&str> = rest.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let namespace = parts.pop()?;
    let service = parts.pop()?;
    let hostname = match parts.as_slice() {
        [] => None,
        [hostname] => Some(Arc::from(*hostname)),
        _ => return None,
    };
    Some((Key::new(namespace, service), hostname))
}

fn name_error(name: &str, domain: &str) -> AuthorityError {
    AuthorityError::Name {
        name: name.into(),
        domain: domain.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, u16, Option<String>), AuthorityError> {
        Authority::parse(text, "cluster.local").map(|a| {
            (
                a.service.to_string(),
                a.port,
                a.hostname.map(|h| h.to_string()),
            )
        })
    }

    #[test]
    fn names_have_a_service_a_namespace_and_a_port() {
        let yes = |s: &str, p, h: Option<&str>| Ok((s.to_owned(), p, h.map(str::to_owned)));
        for (text, want) in [
            (
                "web.demo.svc.cluster.local:8080",
                yes("demo/web", 8080, None),
            ),
            ("web.demo.svc.cluster.local", yes("demo/web", 80, None)),
            ("web.demo.svc.cluster.local.:1", yes("demo/web", 1, None)),
            (
                "p0.web.demo.svc.cluster.local:1",
                yes("demo/web", 1, Some("p0")),
            ),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "web",
            "web.demo",
            "web.demo.svc",
            "web.demo.svc.other.local:80",
            ".demo.svc.cluster.local",
            "a.b.web.demo.svc.cluster.local",
            "svc.cluster.local",
            "web.demo.svc.cluster.local:0",
            "web.demo.svc.cluster.local:x",
            "web.demo.svc.cluster.local:65536",
            "10.0.0.1:80",
            "10.0.0.1",
            "[::1]:80",
            "::1",
            "web..svc.cluster.local",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_may_be_an_address() {
        let target = |text| Target::parse(text, "cluster.local");
        assert_eq!(
            target("10.0.0.1:81"),
            Ok(Target::Address("10.0.0.1:81".parse().unwrap()))
        );
        assert_eq!(
            target("10.0.0.1"),
            Ok(Target::Address("10.0.0.1:80".parse().unwrap()))
        );
        assert!(target("10.0.0.1:0").is_err());
    }
}
