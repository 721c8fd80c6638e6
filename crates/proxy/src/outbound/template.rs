//! The request as it goes out: what every attempt shares, prepared once.
//!
//! HTTP/1.x is carried as HTTP/2 with `l5d-orig-proto`, from which the peer's proxy restores it.
use http::header::{self, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, request};
use tombolo_core::rescue::Kind;

use crate::body::Body;
use crate::respond::ORIG_PROTO;

/// The service that the client asked for.
const DST_CANONICAL: HeaderName = HeaderName::from_static("l5d-dst-canonical");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A request without its body.
pub(super) struct Template {
    pub(super) kind: Kind,
    pub(super) is_grpc: bool,
    pub(super) version: Version,
    method: Method,
    authority: Option<Authority>,
    path: PathAndQuery,
    headers: HeaderMap,
}

/// What we do not carry, yet.
pub(super) enum Unsupported {
    Connect,
    Upgrade,
}

impl Template {
    pub(super) fn new(parts: request::Parts) -> Result<Self, Unsupported> {
        let request::Parts {
            method,
            uri,
            version,
            mut headers,
            ..
        } = parts;
        if method == Method::CONNECT {
            return Err(Unsupported::Connect);
        }
        let http1 = version < Version::HTTP_2;
        let uri = uri.into_parts();
        let mut authority = uri.authority;
        if http1 {
            if headers.contains_key(header::UPGRADE) && connection_says_upgrade(&headers) {
                return Err(Unsupported::Upgrade);
            }
            let proto = if authority.is_some() {
                "HTTP/1.1; absolute-form"
            } else {
                "HTTP/1.1"
            };
            let proto = if version == Version::HTTP_10 {
                "HTTP/1.0"
            } else {
                proto
            };
            strip_hop_by_hop(&mut headers);
            let host = headers.remove(header::HOST);
            authority = authority.or_else(|| Authority::try_from(host?.as_bytes()).ok());
            headers.insert(ORIG_PROTO, HeaderValue::from_static(proto));
        } else {
            // Beside an authority it would tell the application of another service.
            let host = headers.remove(header::HOST);
            authority =
                authority.or_else(|| host.and_then(|h| Authority::try_from(h.as_bytes()).ok()));
        }
        headers.remove(header::EXPECT);
        let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        Ok(Self {
            kind: Kind::of_method(method.as_str()),
            is_grpc: content_type.is_some_and(|value| value.starts_with(b"application/grpc")),
            version,
            method,
            authority,
            path: uri
                .path_and_query
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers,
        })
    }

    /// For a peer proxy, over HTTP/2.
    pub(super) fn for_mesh(
        &self,
        authority: Option<&Authority>,
        canonical: &HeaderValue,
        fallback: &Authority,
    ) -> Request<()> {
        let mut parts = http::uri::Parts::default();
        let authority = authority.or(self.authority.as_ref()).unwrap_or(fallback);
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(self.path.clone());
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        request
            .headers_mut()
            .insert(DST_CANONICAL, canonical.clone());
        request
    }

    /// For an application, over HTTP/1.1.
    pub(super) fn for_application(&self, fallback: &Authority, body: Body) -> Request<Body> {
        let authority = self.authority.as_ref().unwrap_or(fallback);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.remove(ORIG_PROTO);
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            headers.insert(header::HOST, host);
        }
        request
    }
}

/// Removes what concerns only the connection on which it came (RFC 9110, 7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers
        .get_all(header::CONNECTION)
        .iter()
        .cloned()
        .collect();
    for line in lines.iter().filter_map(|value| value.to_str().ok()) {
        for name in line.split(',').map(str::trim) {
            headers.remove(name);
        }
    }
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    // The peer resets a stream for any other, and after a thousand of those the whole connection.
    let other = |te: &HeaderValue| te.as_bytes() != b"trailers";
    if headers.get_all(header::TE).iter().any(other) {
        headers.remove(header::TE);
    }
}

fn connection_says_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION);
    let mut names = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(request: Request<()>) -> Template {
        Template::new(request.into_parts().0).unwrap_or_else(|_| panic!("unsupported"))
    }

    fn sent(template: &Template, authority: Option<&str>) -> Request<()> {
        let authority = authority.map(|text| text.parse().unwrap());
        let canonical = HeaderValue::from_static("svc:80");
        template.for_mesh(authority.as_ref(), &canonical, &"svc:80".parse().unwrap())
    }

    #[test]
    fn http1_is_carried_as_http2_with_its_origin_marked() {
        let request = Request::get("/x?y")
            .header("host", "a:8080")
            .header("connection", "close, x-hop");
        let request = request
            .header("x-hop", "1")
            .header("te", "gzip")
            .header("x-end", "2");
        let sent = sent(&template(request.body(()).unwrap()), None);
        assert_eq!(sent.uri(), "http://a:8080/x?y");
        assert_eq!(sent.headers()["l5d-orig-proto"], "HTTP/1.1");
        assert_eq!(sent.headers()["x-end"], "2");
        for gone in ["host", "connection", "x-hop", "te"] {
            assert!(!sent.headers().contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn absolute_form_is_told_to_the_peer() {
        let request = Request::get("http://b/x")
            .header("host", "a")
            .body(())
            .unwrap();
        let sent = sent(&template(request), None);
        assert_eq!(sent.uri(), "http://b/x");
        assert_eq!(sent.headers()["l5d-orig-proto"], "HTTP/1.1; absolute-form");
    }

    #[test]
    fn gateway_gets_the_authority_by_which_it_knows_the_service() {
        let request = Request::get("/")
            .header("host", "analytics-east-gw")
            .body(())
            .unwrap();
        let sent = sent(
            &template(request),
            Some("analytics.mc-demo.svc.cluster.local:8080"),
        );
        assert_eq!(
            sent.uri().authority().unwrap(),
            "analytics.mc-demo.svc.cluster.local:8080"
        );
    }

    #[test]
    fn http2_passes_as_it_is() {
        let request = Request::post("http://a/x")
            .version(Version::HTTP_2)
            .header("te", "trailers");
        let sent = sent(&template(request.body(()).unwrap()), None);
        assert_eq!(sent.method(), Method::POST);
        assert_eq!(sent.headers()["te"], "trailers");
        assert!(!sent.headers().contains_key("l5d-orig-proto"));
    }

    #[test]
    fn nothing_goes_out_for_which_a_peer_would_end_the_stream() {
        let request = Request::get("/")
            .header("host", "a")
            .header("connection", "x-one")
            .header("connection", "x-two")
            .header("x-one", "1")
            .header("x-two", "2")
            .header("te", "trailers")
            .header("te", "gzip");
        let sent = sent(&template(request.body(()).unwrap()), None);
        for gone in ["x-one", "x-two", "te"] {
            assert!(!sent.headers().contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn http2_client_cannot_name_another_service_beside_its_authority() {
        let request = Request::get("http://a/x")
            .version(Version::HTTP_2)
            .header("host", "admin");
        let sent = sent(&template(request.body(()).unwrap()), None);
        assert_eq!(sent.uri().authority().unwrap(), "a");
        assert!(!sent.headers().contains_key("host"));
    }

    #[test]
    fn upgrades_are_refused_for_now() {
        let request = Request::get("/")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket");
        assert!(Template::new(request.body(()).unwrap().into_parts().0).is_err());
    }
}
