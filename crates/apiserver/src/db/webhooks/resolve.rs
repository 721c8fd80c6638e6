//! Where a webhook is: the URL that it is called by, and whom to dial for that.
use serde_json::Value;

use crate::registry::StorageKey;
use crate::store::json::{list, text};
use crate::store::snapshot::Snapshot;
use crate::store::webhooks::hook::Place;

const SLICE_OF: &str = "kubernetes.io/service-name";

/// A webhook's address, as its configuration has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Host and port, as the URL has them.
    pub(super) authority: String,
    /// Begins with a slash.
    pub(super) path: String,
    /// Whom the certificate must be for.
    pub(super) name: String,
    /// Where to dial, if nobody else knows.
    pub(super) port: u16,
}

impl Address {
    /// Reads what a configuration says.
    pub(super) fn of(place: &Place) -> Result<Self, String> {
        let url = match place {
            Place::Service {
                namespace,
                name,
                path,
                port,
            } => {
                let host = format!("{name}.{namespace}.svc");
                return Ok(Self {
                    authority: format!("{host}:{port}"),
                    path: cleaned(path),
                    name: host,
                    port: *port,
                });
            }
            Place::Url(url) => url,
        };
        let uri: http::Uri = url
            .parse()
            .map_err(|error| format!("Unparsable URL: {error}"))?;
        let is_https = uri.scheme_str() == Some("https");
        let Some(authority) = uri.authority().filter(|_| is_https) else {
            return Err("webhook configuration must have either service or URL".to_owned());
        };
        Ok(Self {
            authority: authority.as_str().to_owned(),
            path: cleaned(uri.path()),
            name: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(443),
        })
    }
}

/// A path without what is empty in it.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Where ready endpoints of a Service listen, in the order of its slices; else why there are none.
pub(super) fn endpoints(
    state: &Snapshot,
    (namespace, name, port): (&str, &str, u16),
) -> Result<Vec<(String, u16)>, String> {
    let services = StorageKey::new("", "services");
    let service = state.get(&services, namespace, name);
    let service = service
        .ok_or_else(|| format!("service {name:?} not found"))?
        .value();
    let spec = &service["spec"];
    if text(spec, "type") == "ExternalName" {
        return Err("unsupported service type \"ExternalName\"".to_owned());
    }
    let mut ports = list(spec, "ports").iter();
    let Some(found) = ports.find(|one| one["port"] == port) else {
        return Err(format!("no service port {port} found for service {name:?}"));
    };
    let wanted = text(found, "name");
    let slices = StorageKey::new("discovery.k8s.io", "endpointslices");
    let of_service = state
        .within(&slices, Some(namespace))
        .filter(|slice| slice.label(SLICE_OF) == Some(name));
    let mut all = Vec::new();
    for slice in of_service {
        all.extend(ready(&slice.value(), wanted));
    }
    if all.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(all)
}

/// The first address of each ready endpoint of a slice, with the number of its port of that name.
fn ready(slice: &Value, wanted: &str) -> Vec<(String, u16)> {
    let mut ports = list(slice, "ports").iter();
    let port = ports
        .find(|port| text(port, "name") == wanted)
        .and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
    let Some(port) = port else {
        return Vec::new();
    };
    let endpoints = list(slice, "endpoints").iter();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .filter_map(|endpoint| {
            let address = endpoint["addresses"][0].as_str()?;
            Some((address.to_owned(), port))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_called() {
        let url = |url: &str| Address::of(&Place::Url(url.to_owned()));
        for (given, authority, path, name, port) in [
            (
                "https://127.0.0.1:8443",
                "127.0.0.1:8443",
                "/",
                "127.0.0.1",
                8443,
            ),
            (
                "https://example.com/a/",
                "example.com",
                "/a",
                "example.com",
                443,
            ),
            ("https://[::1]:1//a/../b", "[::1]:1", "/b", "::1", 1),
        ] {
            let found = url(given).unwrap();
            let found = (&*found.authority, &*found.path, &*found.name, found.port);
            assert_eq!(found, (authority, path, name, port), "{given}");
        }
        assert!(url("http://127.0.0.1").is_err());
        let service = Place::Service {
            namespace: "n".to_owned(),
            name: "s".to_owned(),
            path: "/v".to_owned(),
            port: 9443,
        };
        let found = Address::of(&service).unwrap();
        assert_eq!(
            (&*found.authority, &*found.name),
            ("s.n.svc:9443", "s.n.svc")
        );
    }
}
