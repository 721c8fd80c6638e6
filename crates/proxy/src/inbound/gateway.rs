//! The gateway role: peers of other clusters name a service, and their requests go to one of its
//! endpoints here. Only names below the configured suffixes, never in a circle.
use std::sync::Arc;
use std::time::Duration;

use http::header::{FORWARDED, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};

use super::session::Way;
use crate::body::Body;
use crate::discovery::{Directory, Found, NoDestination, Sought, Wanted};
use crate::outbound::Outbound;
use crate::respond::{self, CLIENT_ID, Reach};

/// The gateway role of a proxy; without suffixes it serves no name.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) suffixes: Vec<String>,
    pub(crate) directory: Directory,
    pub(crate) outbound: Outbound,
    /// This proxy's own identity, by which it recognizes its own traces.
    pub(crate) own: Arc<str>,
}

/// Where the requests of one peer's connection go.
pub(super) struct Route {
    name: Arc<str>,
    sought: Result<Sought, Barred>,
    wait: Duration,
    outbound: Outbound,
    own: Arc<str>,
}

/// Why a name is not served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barred {
    NotAGateway,
    Domain,
    Loop,
    Lookup(NoDestination),
}

impl Gateway {
    /// The way to `name:port` for `client`.
    pub(super) fn way(&self, name: &str, port: u16, client: &str) -> Way {
        let host = name.trim_end_matches('.').to_ascii_lowercase();
        let full: Arc<str> = format!("{host}:{port}").into();
        let sought = match self.barred(&host, client) {
            Some(barred) => Err(barred),
            None => self
                .directory
                .find(&Wanted::Gateway(full.clone()))
                .map_err(Barred::Lookup),
        };
        Way::Gateway(Route {
            name: full,
            sought,
            wait: self.directory.wait(),
            outbound: self.outbound.clone(),
            own: self.own.clone(),
        })
    }

    fn barred(&self, host: &str, client: &str) -> Option<Barred> {
        if self.suffixes.is_empty() {
            Some(Barred::NotAGateway)
        } else if !self.suffixes.iter().any(|suffix| is_below(host, suffix)) {
            Some(Barred::Domain)
        } else if client == &*self.own {
            Some(Barred::Loop)
        } else {
            None
        }
    }
}

/// Whether `host` is below the domain `suffix`.
fn is_below(host: &str, suffix: &str) -> bool {
    let rest = host
        .strip_suffix(suffix)
        .and_then(|rest| rest.strip_suffix('.'));
    rest.is_some_and(|rest| !rest.is_empty())
}

impl Route {
    /// Sends `request` on; it carries who asked, and through whom, in `Forwarded`.
    pub(super) async fn call(&self, mut request: Request<Body>, client: &str) -> Response<Body> {
        let sought = match &self.sought {
            Ok(sought) => sought,
            Err(barred) => return self.refuse(*barred),
        };
        if came_through(request.headers(), &self.own) {
            return self.refuse(Barred::Loop);
        }
        let destination = match sought.now() {
            Found::Destination(destination) => destination,
            Found::Nothing => return self.refuse(Barred::Lookup(NoDestination::Nothing)),
            Found::Unknown => match sought.destination(self.wait).await {
                Ok(destination) => destination,
                Err(reason) => return self.refuse(Barred::Lookup(reason)),
            },
        };
        request.headers_mut().remove(CLIENT_ID);
        if let Some(trace) = self.trace(&request, client) {
            request.headers_mut().append(FORWARDED, trace);
        }
        self.outbound.call(&destination, request).await
    }

    fn trace(&self, request: &Request<Body>, client: &str) -> Option<HeaderValue> {
        let authority = request
            .uri()
            .authority()
            .map_or(&*self.name, http::uri::Authority::as_str);
        let trace = format!("by={};for={client};host={authority};proto=https", self.own);
        HeaderValue::from_str(&trace).ok()
    }

    fn refuse(&self, barred: Barred) -> Response<Body> {
        let name = &self.name;
        let (status, reason) = match barred {
            Barred::NotAGateway => (
                StatusCode::NOT_FOUND,
                format!("{name} is not served: this proxy is no gateway"),
            ),
            Barred::Domain => (
                StatusCode::NOT_FOUND,
                format!("{name} is not in a domain that this gateway serves"),
            ),
            Barred::Loop => (
                StatusCode::LOOP_DETECTED,
                format!("{name} came through this gateway before"),
            ),
            Barred::Lookup(NoDestination::Nothing) => (
                StatusCode::NOT_FOUND,
                format!("{name} does not exist here or is not exported"),
            ),
            Barred::Lookup(reason @ NoDestination::Unanswered) => (
                StatusCode::GATEWAY_TIMEOUT,
                format!("{name} cannot be looked up: {reason}"),
            ),
            Barred::Lookup(reason @ NoDestination::Full) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{name} cannot be looked up: {reason}"),
            ),
        };
        respond::error(status, &reason, Reach::Unsent)
    }
}

/// Whether the request passed the proxy `own` before.
fn came_through(headers: &HeaderMap, own: &str) -> bool {
    let values = headers
        .get_all(FORWARDED)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut parts = values.flat_map(|value| value.split([',', ';']));
    parts.any(|part| {
        let pair = part.trim().split_once('=');
        pair.is_some_and(|(key, by)| key.eq_ignore_ascii_case("by") && by.trim_matches('"') == own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_matches_whole_labels_only() {
        for (host, want) in [
            ("a.ns.svc.cluster.local", true),
            ("svc.cluster.local", false),
            (".svc.cluster.local", false),
            ("a.nssvc.cluster.local", false),
            ("a.ns.svc.cluster.local.evil", false),
        ] {
            assert_eq!(is_below(host, "svc.cluster.local"), want, "{host}");
        }
    }

    #[test]
    fn own_trace_is_recognized_in_any_position() {
        for (value, want) in [
            ("by=gw.mesh;for=a;host=h;proto=https", true),
            ("for=a;by=\"gw.mesh\"", true),
            ("by=other;for=a, by=gw.mesh;for=b", true),
            ("by=other;for=gw.mesh", false),
            ("nonsense", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static("for=x"));
            headers.append(FORWARDED, HeaderValue::from_str(value).unwrap());
            assert_eq!(came_through(&headers, "gw.mesh"), want, "{value}");
        }
    }
}
