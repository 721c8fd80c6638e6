//! URLs, addresses and networks.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::eval::{Evaluated, Failure};
use super::super::value::{Key, Val};

/// An absolute URL or path, in its parts.
#[derive(Debug)]
pub(in crate::crd::cel) struct Url {
    pub(in crate::crd::cel) text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            return None;
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest))
                if scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
            {
                (scheme, rest)
            }
            _ if text.starts_with('/') => ("", text),
            _ => return None,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = if scheme.is_empty() {
            ("", rest)
        } else {
            rest.split_at(slash)
        };
        if !scheme.is_empty() && !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            host: host
                .rsplit_once('@')
                .map_or(host, |(_, host)| host)
                .to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    fn host_and_port(&self) -> (&str, &str) {
        if let Some((inside, after)) = self
            .host
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            return (inside, after.strip_prefix(':').unwrap_or_default());
        }
        self.host.split_once(':').unwrap_or((&self.host, ""))
    }

    fn query(&self) -> Val {
        let mut map: BTreeMap<Key, Vec<Val>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.entry(Key::Text(name.into()))
                .or_default()
                .push(Val::text(value));
        }
        Val::Map(Arc::new(
            map.into_iter()
                .map(|(key, values)| (key, Val::list(values)))
                .collect(),
        ))
    }
}

/// Calls a function of this module; nothing if it is another's.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Evaluated> {
    match args {
        [Val::Text(text)] => of_text(name, text),
        [Val::Url(url)] => Some(Ok(match name {
            "getScheme" => Val::text(&url.scheme),
            "getHost" => Val::text(&url.host),
            "getHostname" => Val::text(url.host_and_port().0),
            "getPort" => Val::text(url.host_and_port().1),
            "getEscapedPath" => Val::text(&url.path),
            "getQuery" => url.query(),
            _ => return None,
        })),
        [Val::Ip(ip)] => of_ip(name, *ip),
        [Val::Cidr(cidr)] => Some(Ok(match name {
            "ip" => Val::Ip(cidr.addr()),
            "masked" => Val::Cidr(cidr.trunc()),
            "prefixLength" => Val::Int(i64::from(cidr.prefix_len())),
            _ => return None,
        })),
        [Val::Cidr(cidr), other] => contains(name, cidr, other),
        _ => None,
    }
}

fn ip(text: &str) -> Result<IpAddr, Failure> {
    text.parse()
        .map_err(|_no| Failure::new(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP")))
}

fn cidr(text: &str) -> Result<IpNet, Failure> {
    text.parse()
        .map_err(|_no| Failure::new(format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'")))
}

fn of_text(name: &str, text: &str) -> Option<Evaluated> {
    Some(match name {
        "isURL" => Ok(Val::Bool(Url::parse(text).is_some())),
        "url" => Url::parse(text).map(|url| Val::Url(Arc::new(url))).ok_or_else(|| {
            Failure::new(format!("URL parse error during conversion from string: parse {text:?}: invalid URI for request"))
        }),
        "isIP" => Ok(Val::Bool(text.parse::<IpAddr>().is_ok())),
        "ip" => ip(text).map(Val::Ip),
        "ip.isCanonical" => ip(text).map(|ip| Val::Bool(ip.to_string() == text)),
        "isCIDR" => Ok(Val::Bool(text.parse::<IpNet>().is_ok())),
        "cidr" => cidr(text).map(Val::Cidr),
        _ => return None,
    })
}

fn of_ip(name: &str, ip: IpAddr) -> Option<Evaluated> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0) == 0xfe80,
    };
    let link_local_multicast = match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => (ip.segments()[0] & 0xff0f) == 0xff02,
    };
    Some(Ok(match name {
        "family" => Val::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(ip.is_unspecified()),
        "isLoopback" => Val::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Val::Bool(link_local_multicast),
        "isLinkLocalUnicast" => Val::Bool(link_local),
        "isGlobalUnicast" => {
            let special =
                ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local;
            Val::Bool(!special)
        }
        _ => return None,
    }))
}

fn contains(name: &str, outer: &IpNet, other: &Val) -> Option<Evaluated> {
    let found = match (name, other) {
        ("containsIP", Val::Ip(ip)) => Ok(outer.contains(ip)),
        ("containsIP", Val::Text(text)) => ip(text).map(|ip| outer.contains(&ip)),
        ("containsCIDR", Val::Cidr(inner)) => Ok(outer.contains(inner)),
        ("containsCIDR", Val::Text(text)) => cidr(text).map(|inner| outer.contains(&inner)),
        _ => return None,
    };
    Some(found.map(Val::Bool))
}
